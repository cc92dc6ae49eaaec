"""Redaction: what rules name is taken out of an event, headers and both bodies, before it is written anywhere.

It fails closed. A body that a rule by path or column may apply to, and that cannot be read, is left out as a whole, and
told by reason. Patterns alone also apply to bodies that are no documents: to their text.

Texts that came in pieces, in the events or messages of a stream, are looked at as one text, too.

What no rule can see: the event's own fields (ids, model, variant), values inside images or base64, tokens given as
numbers, and fractions (patterns look at whole numbers only, as a whole). Where something was taken out of a text, token
lists beside it (``logprobs``, ``token_ids``) go too, because they spell the same text.

>>> from driftline.events import InferenceEvent, Payload
>>> rules, _ = parse_rules(["json:$.user", "pattern:@email"])
>>> event = InferenceEvent(id="1", source="/ns/app/pod", model="m", time_ns=0, request_id="r", protocol="openai",
...     status_code=200, response=Payload(), request=Payload(body=b'{"user": "Ann", "prompt": "mail a@b.de"}'))
>>> redacted = Redactor(rules, b"", limit_bytes=1000).redact(event)
>>> redacted.event.request.body, redacted.event.redacted
(b'{"user":"[redacted]","prompt":"mail [redacted]"}', True)
"""

from typing import Any, NamedTuple

import msgspec

from driftline import names
from driftline.content_coding import REASON_TRUNCATED, CodingError, decode, is_coded
from driftline.events import InferenceEvent, Payload
from driftline.json_ends import json_length
from logger_sidecar.finishing.openai_folding import dicts
from logger_sidecar.finishing.redaction_bodies import (
    REASON_BROKEN_MESSAGE,
    REASON_TOO_DEEP,
    Opened,
    Unreadable,
    is_grpc,
    join_messages,
    open_body,
    split_messages,
)
from logger_sidecar.finishing.redaction_columns import redact_columns
from logger_sidecar.finishing.redaction_rules import RedactionRules, parse_rules
from logger_sidecar.finishing.redaction_texts import REASON_OPAQUE, TextScrubber
from logger_sidecar.finishing.redaction_values import REDACTED, Replacement
from logger_sidecar.finishing.stream_folding import NO_DOCUMENT, NO_DONE, NO_RESPONSE_END, error_in

__all__ = ["Redacted", "Redactor", "parse_rules"]
#: Lists that spell a generated text again, token by token.
_TOKENS = frozenset({"logprobs", "prompt_logprobs", "token_ids", "prompt_token_ids", "top_logprobs"})
_GRPC_MESSAGE = "grpc-message"
_CONTENT_TYPE, _CONTENT_ENCODING = "content-type", "content-encoding"
#: So often a body may be packed within a packed one; nobody does it in earnest.
_MAX_LAYERS = 4
_OWN_ERRORS = frozenset({"", NO_DOCUMENT, NO_DONE, NO_RESPONSE_END})


class Redacted(NamedTuple):
    """An event as it may be written. ``left_out``: a reason for each body that had to go as a whole."""

    event: InferenceEvent
    left_out: list[str]


class _Half(NamedTuple):
    payload: Payload
    is_changed: bool = False
    reason: str = ""
    documents: tuple[Any, ...] = ()
    is_cut: bool = False


class Redactor:
    """Applies rules. ``key``: of the hashes; ``limit_bytes``: how much a body may become when its coding is undone."""

    def __init__(self, rules: RedactionRules, key: bytes, *, limit_bytes: int) -> None:
        plain, hashed = Replacement(None), Replacement(key)
        self._paths = [(path, hashed if hashes else plain) for path, hashes in rules.paths]
        self._columns = {name: hashed if hashes else plain for name, hashes in rules.columns.items()}
        self._headers = {name: hashed if hashes else plain for name, hashes in rules.headers.items()}
        self._texts = TextScrubber([(form, hashed if hashes else plain) for form, hashes in rules.patterns])
        self._reads_documents = bool(self._paths or self._columns)
        self._limit_bytes = limit_bytes

    def redact(self, event: InferenceEvent) -> Redacted:
        """The event without what the rules name."""
        request = self._half(event, event.request, is_request=True)
        response = self._half(event, event.response, is_request=False)
        traceparent = None if names.HEADER_TRACEPARENT in self._headers else event.traceparent
        stream_error = self._stream_error(event.stream_error, response)
        is_changed = (
            request.is_changed
            or response.is_changed
            or traceparent != event.traceparent
            or stream_error != event.stream_error
        )
        redacted = msgspec.structs.replace(
            event,
            request=request.payload,
            response=response.payload,
            traceparent=traceparent,
            stream_error=stream_error,
            truncated=event.truncated or request.is_cut or response.is_cut,
            redacted=event.redacted or is_changed,
        )
        return Redacted(redacted, [half.reason for half in (request, response) if half.reason])

    def _half(self, event: InferenceEvent, payload: Payload, *, is_request: bool) -> _Half:
        headers = {name: self._header(name, value) for name, value in payload.headers.items()}
        is_changed = headers != payload.headers
        half = self._half_body(event, msgspec.structs.replace(payload, headers=headers), is_request=is_request)
        # Only now: the body was read by what they said.
        content_type = self._description(_CONTENT_TYPE, half.payload.content_type)
        content_encoding = self._description(_CONTENT_ENCODING, half.payload.content_encoding)
        if (content_type, content_encoding) != (half.payload.content_type, half.payload.content_encoding):
            is_changed = True
        payload = msgspec.structs.replace(half.payload, content_type=content_type, content_encoding=content_encoding)
        return half._replace(payload=payload, is_changed=is_changed or half.is_changed)

    def _half_body(self, event: InferenceEvent, payload: Payload, *, is_request: bool) -> _Half:
        if not payload.body or not (self._reads_documents or self._texts):
            return _Half(payload)
        try:
            return self._body(event, payload, is_request=is_request)
        except (Unreadable, CodingError) as fault:
            return _left_out(payload, fault.reason)
        except RecursionError:
            return _left_out(payload, REASON_TOO_DEEP)

    def _description(self, name: str, value: str | None) -> str | None:
        return None if value is None else self._header(name, value)

    def _header(self, name: str, value: str) -> str:
        replacement = self._headers.get(name)
        if replacement is not None:
            return replacement.text(value.encode("utf-8", "surrogatepass"))
        if name == names.HEADER_BINARY_LENGTH:
            return value  # a number of ours, not a text of theirs
        return self._texts.percent_text(value) if name == _GRPC_MESSAGE else self._texts.text(value)

    def _body(self, event: InferenceEvent, payload: Payload, *, is_request: bool) -> _Half:
        """Raises Unreadable or CodingError where the body must be left out."""
        messages = is_grpc(payload.content_type, event.protocol)
        plain, is_whole = (payload, True) if messages else self._unpacked(payload)
        cut = event.truncated or not is_whole
        try:
            opened = open_body(
                plain.body,
                plain.content_type,
                plain.headers,
                protocol=event.protocol,
                is_request=is_request,
                limit_bytes=self._limit_bytes,
            )
        except Unreadable as fault:
            if not self._reads_documents:
                cut = cut or (not messages and _is_open(plain.body))
                return self._text(plain, messages=messages, cut=cut)._replace(is_cut=cut)
            if cut:
                raise Unreadable(REASON_TRUNCATED) from fault
            raise
        return self._documents(plain, opened, is_folded=not is_request and event.chunk_count > 1)

    def _unpacked(self, payload: Payload) -> tuple[Payload, bool]:
        """A body without its content coding, and without one inside it; and whether all of it is there."""
        is_whole = True
        for _ in range(_MAX_LAYERS):
            if not is_coded(payload.body, payload.content_encoding):
                return payload, is_whole
            decoded = decode(payload.body, payload.content_encoding, self._limit_bytes)
            if not decoded.is_whole and self._reads_documents:
                raise Unreadable(decoded.reason)
            is_whole = is_whole and decoded.is_whole
            if payload.content_encoding is None and decoded.body == payload.body:
                return payload, is_whole  # it only begins like one
            payload = msgspec.structs.replace(payload, body=decoded.body, content_encoding=None)
        raise Unreadable(REASON_OPAQUE)

    def _documents(self, payload: Payload, opened: Opened, *, is_folded: bool) -> _Half:
        documents = opened.documents
        is_changed = bool(self._texts) and self._pieces(documents, is_folded=is_folded)
        if is_changed:
            _drop_tokens(documents)
        for place in range(len(documents)):
            if self._apply(documents, place):
                _drop_tokens(documents[place])
                is_changed = True
        try:
            body, headers = opened.write(documents)
        except (ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
            raise Unreadable(REASON_BROKEN_MESSAGE) from error  # a rule took away what holds the message together
        changed_payload = msgspec.structs.replace(payload, body=body, headers={**payload.headers, **headers})
        return _Half(changed_payload, is_changed, documents=tuple(documents))

    def _apply(self, documents: list[Any], index: int) -> bool:
        """Apply every rule to the document; whether it changed."""
        is_changed = False
        for path, replacement in self._paths:
            for place in path.find(documents[index]):
                holder = documents if not path.segments else place.holder
                key = index if not path.segments else place.key
                before = holder[key]
                holder[key] = replacement.value(before)
                is_changed |= before is not None
        if self._columns:
            is_changed |= redact_columns(documents[index], self._columns)
        if self._texts:
            scrubbed, found = self._texts.document(documents[index])
            documents[index] = scrubbed
            is_changed |= found
        return is_changed

    def _pieces(self, documents: list[Any], *, is_folded: bool) -> bool:
        """Take out what crosses the borders of documents, or of the pieces that a stream was folded from."""
        is_changed = self._texts.pieces(documents) if len(documents) > 1 else False
        for document in documents if is_folded else ():
            outputs = document.get("outputs") if isinstance(document, dict) else [{"data": document}]
            for tensor in dicts(outputs):
                if isinstance(rows := tensor.get("data"), list):
                    is_changed |= self._texts.pieces(rows)
        return is_changed

    def _text(self, payload: Payload, *, messages: bool, cut: bool) -> _Half:
        """A body that is no document, and only patterns to apply."""
        if messages:
            plain = split_messages(payload.body, payload.headers, self._limit_bytes)
            body = join_messages([self._texts.opaque(message) for message in plain])
        else:
            body = self._texts.body(payload.body, payload.content_type, cut=cut)
        return _Half(msgspec.structs.replace(payload, body=body), body != payload.body)

    def _stream_error(self, error: str, response: _Half) -> str:
        """A stream's error stands in its body too: what was taken out there must not stay here."""
        if error in _OWN_ERRORS:
            return error
        if response.reason or (response.is_changed and self._reads_documents):
            error = next((line for document in response.documents if (line := error_in(document))), REDACTED)
        return self._texts.text(error)


def _is_open(body: bytes) -> bool:
    """Whether JSON has no end: a body that goes on until its connection closes does not say whether it is whole."""
    return body.lstrip()[:1] in (b"{", b"[") and not json_length(body)


def _left_out(payload: Payload, reason: str) -> _Half:
    headers = {name: value for name, value in payload.headers.items() if name != names.HEADER_BINARY_LENGTH}
    return _Half(Payload(content_type=payload.content_type, headers=headers), True, reason)


def _drop_tokens(document: Any) -> None:
    if isinstance(document, dict):
        for name, value in document.items():
            if name in _TOKENS and isinstance(value, list | dict):
                document[name] = None
            elif isinstance(value, list | dict):
                _drop_tokens(value)
    elif isinstance(document, list):
        for item in document:
            if isinstance(item, list | dict):
                _drop_tokens(item)
