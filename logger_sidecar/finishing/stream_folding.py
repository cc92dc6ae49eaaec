r"""A captured stream of server-sent events as one body, in the form that the same protocol has without streaming.

Every later reader then sees one shape. What the data of the events look like decides:

* chat completion chunks, completion chunks, events of the responses API: see ``finishing.openai_folding``;
* ``text_output`` (Triton's ``generate_stream``): the last event, with the ``text_output`` of all of them joined;
* ``outputs`` (V2 answers of ``infer_stream`` and of decoupled models): one V2 answer, whose tensors have the rows of
  all of them, joined by name along the first axis; where shapes or types differ, a list as below;
* anything else: a JSON list of the data, each as JSON where it is JSON, else as a text.

An event that reports an error is kept as the member ``error`` of the body (in a list: as it was).

>>> stream = b'data: {"text_output": "Hel"}\n\ndata: {"text_output": "lo"}\n\n'
>>> folded = fold_stream(stream, [(20, 12.0), (60, 15.0)], ends_early=False)
>>> folded.body, folded.chunk_count, folded.ttft_ms
(b'{"text_output":"Hello"}', 2, 15.0)
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from logger_sidecar.finishing.event_streams import ServerEvent, read_events
from logger_sidecar.finishing.openai_folding import (
    RESPONSE_END_TYPES,
    Json,
    dicts,
    fold_chat,
    fold_completion,
    fold_response,
    has_generated,
    is_generated_event,
    plain_tool_calls,
)

CONTENT_TYPE = "application/json"
NO_DONE = "the stream ended before [DONE]"
NO_RESPONSE_END = "the stream ended before response.completed"
NO_DOCUMENT = "an event of the stream is no JSON document, and is left out"
_DONE = "[DONE]"
_MAX_ERROR = 512
Arrivals = Sequence[tuple[int, float]]


class Folded(NamedTuple):
    """One body of a stream, and how the stream went; see ``driftline.events.InferenceEvent`` for the last three."""

    body: bytes
    chunk_count: int
    ttft_ms: float
    stream_error: str


def fold_stream(body: bytes, arrivals: Arrivals, *, ends_early: bool) -> Folded:
    """Fold a whole stream, decoded. Never raises: what is no known protocol becomes a list.

    ``arrivals``: bytes of ``body`` seen so far and milliseconds, per piece. ``ends_early``: the capture limit cut the
    stream, so that its missing end says nothing.
    """
    stream = read_events(body)
    is_done = stream.torn.strip() == _DONE or any(event.data.strip() == _DONE for event in stream.events)
    events = [event for event in stream.events if event.data.strip() != _DONE]
    payloads = [_payload(event.data) for event in events]
    kind = next((kind for payload in payloads if (kind := _kind(payload)) is not None), _OTHER)
    said = [payload for payload in payloads if isinstance(payload, dict) and not _is_error(payload)]
    document = _fold_safely(kind, said, payloads)
    error = _first_error(events, payloads)
    if error is not None and isinstance(document, dict) and document.get("object") != "error":
        document["error"] = document.get("error") or error
    text = error_line(error)
    if not text and kind is not _OTHER and not all(isinstance(payload, dict) for payload in payloads):
        text = NO_DOCUMENT
    if not text and not ends_early:
        text = kind.unfinished(is_done, said)
    return Folded(_encode(document), len(events), _ttft_ms(kind, events, payloads, arrivals), text)


def error_in(document: Any) -> str:
    """The error that a folded body reports, as :func:`fold_stream` finds it; empty where there is none."""
    items = document if isinstance(document, list) else [document]
    return next((line for item in items if _is_error(item) and (line := error_line(_error_of(item)))), "")


def error_line(error: Any) -> str:
    r"""An error as one line of at most 512 characters: its message where it has one.

    >>> error_line({"message": "out\nof memory", "code": 500}), error_line(None)
    ('out of memory', '')
    """
    if error is None:
        return ""
    if isinstance(error, dict):
        error = error.get("message") or error.get("error") or error
    text = error if isinstance(error, str) else _encode(error).decode("utf-8", "replace")
    return " ".join(text.split())[:_MAX_ERROR] or "error"


class _Kind(NamedTuple):
    """How the events of one protocol are folded."""

    fold: Callable[[Sequence[Json]], Any]
    generates: Callable[[Any], bool]
    #: What its missing end means, as a line; given whether there was a [DONE], and the events.
    unfinished: Callable[[bool, Sequence[Json]], str]


def _kind(payload: Any) -> _Kind | None:
    if not isinstance(payload, dict):
        return None
    if isinstance(choices := payload.get("choices"), list):
        if payload.get("object") == "text_completion":
            return _COMPLETION
        if payload.get("object") == "chat.completion.chunk" or any("delta" in choice for choice in dicts(choices)):
            return _CHAT
        return _COMPLETION if any("text" in choice for choice in dicts(choices)) else None
    if str(payload.get("type", "")).startswith("response."):
        return _RESPONSES
    if "text_output" in payload:
        return _GENERATE
    return _V2 if isinstance(payload.get("outputs"), list) else None


def _fold_safely(kind: _Kind, said: Sequence[Json], payloads: Sequence[Any]) -> Any:
    if kind is _OTHER:
        return payloads[0] if len(payloads) == 1 and _is_error(payloads[0]) else list(payloads)
    try:
        return kind.fold(said)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        return list(payloads)  # it only looked like the protocol


def _fold_generate(said: Sequence[Json]) -> Json:
    texts = [payload.get("text_output") for payload in said]
    whole: Json = {}
    for payload in said:
        whole.update(payload)
    return {**whole, "text_output": "".join(text for text in texts if isinstance(text, str))}


def _fold_v2(said: Sequence[Json]) -> Json:
    outputs: dict[str, Json] = {}
    whole: Json = {}
    for payload in said:
        whole.update(payload)
        for tensor in payload["outputs"]:
            known = outputs.get(tensor["name"])
            if known is None:
                outputs[tensor["name"]] = {**tensor, "shape": list(tensor["shape"]), "data": list(tensor["data"])}
            elif known["datatype"] == tensor["datatype"] and known["shape"][1:] == tensor["shape"][1:]:
                known["shape"][0] += tensor["shape"][0]
                known["data"] += tensor["data"]
            else:
                raise ValueError("tensors of one name whose rows differ")
    return {**whole, "outputs": list(outputs.values())}


def _no_end(_is_done: bool, _said: Sequence[Json]) -> str:
    return ""


def _no_done(is_done: bool, _said: Sequence[Json]) -> str:
    return "" if is_done else NO_DONE


def _no_response_end(_is_done: bool, said: Sequence[Json]) -> str:
    for event in reversed(said):
        if event.get("type") in RESPONSE_END_TYPES:
            response = event.get("response")
            return error_line(response.get("error")) if isinstance(response, dict) else ""
    return NO_RESPONSE_END


def _has_rows(payload: Any) -> bool:
    return any(tensor.get("data") for tensor in dicts(payload.get("outputs")))


_CHAT = _Kind(lambda said: plain_tool_calls(fold_chat(said)), has_generated, _no_done)
_COMPLETION = _Kind(fold_completion, has_generated, _no_done)
_RESPONSES = _Kind(fold_response, is_generated_event, _no_response_end)
_GENERATE = _Kind(_fold_generate, lambda payload: bool(payload.get("text_output")), _no_end)
_V2 = _Kind(_fold_v2, _has_rows, _no_end)
_OTHER = _Kind(list, lambda payload: payload not in (None, "", [], {}), _no_end)


def _is_error(payload: Any) -> bool:
    """``{"error": ...}`` in place of a chunk, of OpenAI's servers and Triton's, or one that is the error (vLLM)."""
    if not isinstance(payload, dict):
        return False
    return payload.get("object") == "error" or (payload.get("error") is not None and "type" not in payload)


def _error_of(payload: Json) -> Any:
    error = payload.get("error")
    return {name: value for name, value in payload.items() if name != "object"} if error is None else error


def _first_error(events: Sequence[ServerEvent], payloads: Sequence[Any]) -> Any:
    for event, payload in zip(events, payloads, strict=True):
        if _is_error(payload):
            return _error_of(payload)
        if event.type == "error" or (isinstance(payload, dict) and payload.get("type") == "error"):
            return payload.get("error", payload) if isinstance(payload, dict) else payload
    return None


def _ttft_ms(kind: _Kind, events: Sequence[ServerEvent], payloads: Sequence[Any], arrivals: Arrivals) -> float:
    for event, payload in zip(events, payloads, strict=True):
        if (isinstance(payload, dict) or kind is _OTHER) and not _is_error(payload) and kind.generates(payload):
            place = bisect_left(arrivals, (event.end, 0.0))
            return arrivals[place][1] if place < len(arrivals) else 0.0
    return 0.0


def _payload(data: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return data


def _encode(document: Any) -> bytes:
    try:
        return msgspec.json.encode(document)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return json.dumps(document, default=str).encode()
