"""The short way of the most frequent event: V2 JSON on both sides, with the same tensors as the event before it.

Such an event needs no more than to be parsed and compared with what its kind looks like; its values then go where those
of the others are (``serving.groups``). Whatever looks different in the least takes the long way, which decides.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from driftline import names
from driftline.events import InferenceEvent, Payload
from serving.codecs import v2_json
from serving.codecs.reading import Reading
from serving.codecs.v2_json import JsonTensor
from serving.groups import Group, Stack
from serving.tensors import flatten

_MARK = b'"datatype"'
_requests = msgspec.json.Decoder(v2_json.Request).decode
_responses = msgspec.json.Decoder(v2_json.Response).decode

#: Kinds of events that are remembered within one batch.
_MAX_KINDS = 64


class _Kind(NamedTuple):
    """Events of one kind: name, shape and number of values of each tensor, and where its values go (None: nowhere)."""

    asked: int
    heads: Sequence[tuple[str, tuple[int, ...], int]]
    stacks: Sequence[Stack | None]
    group: Group


class V2Runs:
    """Remembers kinds of V2 events, and takes further events of these kinds.

    ``keeps``: groups want to look into the documents, too.
    """

    def __init__(self, *, keeps: bool) -> None:
        self._keeps = keeps
        self._last: _Kind | None = None
        self._kinds: dict[Any, _Kind] = {}
        self._unknown: tuple[int, list[JsonTensor]] | None = None

    def take(self, place: int, event: InferenceEvent) -> bool:
        """Whether the event was of a known kind, and is where it belongs."""
        self._unknown = None
        if not _is_plain(event):
            return False
        try:
            parts = _requests(event.request.body).inputs
            asked = len(parts)
            parts += _responses(event.response.body).outputs
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        kind = self._last
        if kind is None or not _fits(parts, asked, kind):
            kind = self._kinds.get(_key(parts, asked))
            if kind is None or not _fits(parts, asked, kind):
                self._unknown = asked, parts
                return False
            self._last = kind
        for part, stack, head in zip(parts, kind.stacks, kind.heads, strict=True):
            if stack is not None:
                stack.values += _flat(part)
                stack.rows.append(head[1][0])
        kind.group.note(place, event if self._keeps else None)
        return True

    def remember(self, group: Group, request: Reading, response: Reading) -> None:
        """The event that was not taken is in this group: others that look like it belong there, too."""
        if self._unknown is None or len(self._kinds) >= _MAX_KINDS or request.format != "v2" != response.format:
            return
        asked, parts = self._unknown
        heads = [(part.name, part.shape, len(_flat(part))) for part in parts]
        stacks = [
            *_stacks_of(parts[:asked], request, group.requests),
            *_stacks_of(parts[asked:], response, group.responses),
        ]
        is_usable = all(part.shape and part.data and type(_flat(part)[0]) is not dict for part in parts)
        if is_usable and len({stack for stack in stacks if stack}) == len(group.requests) + len(group.responses):
            self._last = self._kinds[_key(parts, asked)] = _Kind(asked, heads, stacks, group)


def _is_plain(event: InferenceEvent) -> bool:
    """Whether nothing but the two bodies has to be looked at."""
    return (
        200 <= event.status_code < 300
        and not event.grpc_status
        and not event.truncated
        and not event.not_observable
        and not event.answer_unknown
        and event.chunk_count < 2
        and _is_plain_body(event.request)
        and _is_plain_body(event.response)
    )


def _is_plain_body(payload: Payload) -> bool:
    return (
        payload.content_encoding is None
        and _MARK in payload.body
        and payload.body[:1] == b"{"
        and (not payload.headers or names.HEADER_BINARY_LENGTH not in payload.headers)
    )


def _fits(parts: Sequence[JsonTensor], asked: int, kind: _Kind) -> bool:
    if asked != kind.asked or len(parts) != len(kind.heads):
        return False
    for part, (name, shape, count) in zip(parts, kind.heads, strict=True):
        data = part.data
        if data is None or part.name != name or part.shape != shape:
            return False
        first = type(data[0]) if data else None
        if first is dict or (len(data) != count and (first is not list or len(_flat(part)) != count)):
            return False
        if first is list and len(data) == count:
            return False
    return True


def _flat(part: JsonTensor) -> list[Any]:
    data = part.data or []
    return flatten(part.name, data) if data and type(data[0]) is list else data


def _key(parts: Iterable[JsonTensor], asked: int) -> Any:
    return asked, tuple([(part.name, part.shape) for part in parts])


def _stacks_of(parts: Sequence[JsonTensor], reading: Reading, stacks: Sequence[Stack]) -> list[Stack | None]:
    places = {tensor.name: place for place, tensor in enumerate(reading.tensors)}
    return [stacks[places[part.name]] if part.name in places else None for part in parts]
