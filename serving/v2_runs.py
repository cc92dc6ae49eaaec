"""The short way of the most frequent event: V2 JSON on both sides, with the same tensors as the event before it.

Such an event needs no more than to be parsed and compared with what its kind looks like; its values then go where those
of the others are (``serving.groups``). Whatever looks different in the least takes the long way, which decides.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from driftline import names
from driftline.events import InferenceEvent, Payload
from serving.codecs import v2_json
from serving.codecs.reading import Reading
from serving.codecs.v2_json import FlatTensor
from serving.groups import Group, Stack

_MARK = b'"datatype"'
_requests = msgspec.json.Decoder(v2_json.FlatRequest).decode
_responses = msgspec.json.Decoder(v2_json.FlatResponse).decode

#: Kinds of events that are remembered within one batch.
_MAX_KINDS = 64
Parts = list[FlatTensor]
#: Name, shape and number of values of a tensor.
Head = tuple[str, tuple[int, ...], int]


class _Kind(NamedTuple):
    """Events of one kind: what their tensors look like, and where their values go (None: nowhere).

    ``rows``: of each tensor that goes somewhere.
    """

    asked: Sequence[Head]
    answered: Sequence[Head]
    values: Sequence[list[Any] | None]
    rows: tuple[int, ...]
    group: Group


class V2Runs:
    """Remembers kinds of V2 events, and takes further events of these kinds."""

    def __init__(self) -> None:
        self._last: _Kind | None = None
        self._kinds: dict[Any, _Kind] = {}
        self._unknown: tuple[Parts, Parts] | None = None

    def take(self, place: int, event: InferenceEvent) -> bool:
        """Whether the event was of a known kind, and is where it belongs."""
        self._unknown = None
        if not _is_plain(event):
            return False
        try:
            asked, answered = _requests(event.request.body).inputs, _responses(event.response.body).outputs
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        kind = self._last
        if kind is None or not (_fits(asked, kind.asked) and _fits(answered, kind.answered)):
            kind = self._kinds.get(_key(asked, answered))
            if kind is None or not (_fits(asked, kind.asked) and _fits(answered, kind.answered)):
                self._unknown = asked, answered
                return False
            self._last = kind
        for part, values in zip(asked + answered, kind.values, strict=True):
            if values is not None:
                values.extend(part.data or ())
        kind.group.note(place, event, kind.rows)
        return True

    def remember(self, group: Group, request: Reading, response: Reading) -> None:
        """The event that was not taken is in this group: others that look like it belong there, too."""
        if self._unknown is None or len(self._kinds) >= _MAX_KINDS or request.format != "v2" or response.format != "v2":
            return
        asked, answered = self._unknown
        stacks = [*_stacks_of(asked, group.requests), *_stacks_of(answered, group.responses)]
        used = [stack for stack in stacks if stack is not None]
        if not all(part.shape and part.data for part in asked + answered):
            return
        if used != [*group.requests, *group.responses]:
            return
        values = [None if stack is None else stack.values for stack in stacks]
        rows = tuple([part.shape[0] for part, stack in zip(asked + answered, stacks, strict=True) if stack is not None])
        self._last = self._kinds[_key(asked, answered)] = _Kind(_heads(asked), _heads(answered), values, rows, group)


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


def _fits(parts: Parts, heads: Sequence[Head]) -> bool:
    if len(parts) != len(heads):
        return False
    for part, (name, shape, count) in zip(parts, heads, strict=True):
        data = part.data
        if part.shape != shape or part.name != name or data is None or len(data) != count:
            return False
    return True


def _heads(parts: Parts) -> list[Head]:
    return [(part.name, part.shape, len(part.data or ())) for part in parts]


def _key(asked: Parts, answered: Parts) -> Any:
    return len(asked), tuple([(part.name, part.shape) for part in asked + answered])


def _stacks_of(parts: Parts, stacks: Sequence[Stack]) -> list[Stack | None]:
    by_name = {stack.like.name: stack for stack in stacks}
    return [by_name.get(part.name) for part in parts]
