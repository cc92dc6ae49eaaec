"""The fast path of V1: rows that are objects with the same fields as those of an event before them.

Their values are put one after the other as they are read, and become columns once for all events. Whatever looks
different in the least takes the slow path, which decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import NoneType
from typing import Any, NamedTuple

import msgspec

from driftline.events import InferenceEvent
from serving.body_blocks import is_plain
from serving.codecs.reading import Reading
from serving.groups import Group, Stack

#: Kinds of events that are remembered within one batch.
_MAX_KINDS = 64
#: Lists and objects have rules of their own (``serving.codecs.tf_serving``).
_SCALARS = frozenset({str, int, float, bool, NoneType})
_BEGINNINGS = (b'{"instances"', b'{"predictions"')
#: The fields of the rows of both halves; none where rows are values.
_Fields = tuple[tuple[str, ...], tuple[str, ...]]


class _Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    instances: list[dict[str, Any]]
    signature_name: Any = None
    parameters: Any = None


class _Response(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    predictions: list[Any]
    model_name: Any = None
    model_version: Any = None


_requests = msgspec.json.Decoder(_Request).decode
_responses = msgspec.json.Decoder(_Response).decode


@dataclass(slots=True)
class _Kind:
    """Events of one kind: the fields of their rows, the group of their columns, and what was read of them."""

    fields: _Fields
    group: Group
    #: The place and the number of rows of each event.
    events: list[tuple[int, int]] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    answered: list[Any] = field(default_factory=list)


class _Rows(NamedTuple):
    """An event's values, row after row."""

    fields: _Fields
    rows: int
    asked: list[Any]
    answered: list[Any]


class V1Runs:
    """Remembers kinds of V1 events, and takes further events of these kinds. Not for plans with targets."""

    def __init__(self) -> None:
        self._kinds: dict[_Fields, _Kind] = {}
        self._unknown: _Rows | None = None

    def take(self, place: int, event: InferenceEvent) -> bool:
        """Whether the event at this place was of a known kind; its values are in the group after ``finish``."""
        self._unknown = None
        found = _read(event)
        if found is None:
            return False
        kind = self._kinds.get(found.fields)
        if kind is None:
            self._unknown = found
            return False
        kind.events.append((place, found.rows))
        kind.asked += found.asked
        kind.answered += found.answered
        return True

    def remember(self, group: Group, request: Reading, response: Reading) -> None:
        """The event that was not taken is in this group: others with the same fields belong there, too."""
        if self._unknown is None or len(self._kinds) >= _MAX_KINDS:
            return
        asked, answered = self._unknown.fields
        if request.format != "v1" or response.format != "v1" or not (request.tensors and response.tensors):
            return
        is_known = all(tensor.name in asked for tensor in request.tensors)
        if is_known and all(not answered or tensor.name in answered for tensor in response.tensors):
            self._kinds[self._unknown.fields] = _Kind(self._unknown.fields, group)

    def finish(self, events: Sequence[InferenceEvent]) -> None:
        """Put what was taken into its groups."""
        for kind in self._kinds.values():
            if kind.events:
                _hand_over(kind, events)
        self._kinds = {}


def _hand_over(kind: _Kind, events: Sequence[InferenceEvent]) -> None:
    group = kind.group
    halves = ((group.requests, kind.asked), (group.responses, kind.answered))
    for fields, (stacks, values) in zip(kind.fields, halves, strict=True):
        for stack in stacks:
            stack.extend(_column(stack, fields, values))
    tensors = len(group.requests) + len(group.responses)
    for rows, alike in groupby(kind.events, lambda one: one[1]):
        group.note([place for place, _ in alike], events, (rows,) * tensors)


def _column(stack: Stack, fields: tuple[str, ...], values: list[Any]) -> list[Any]:
    return values[fields.index(stack.like.name) :: len(fields)] if fields else values


def _read(event: InferenceEvent) -> _Rows | None:
    """The values of an event whose halves have as many rows, each with the same fields and nothing but scalars."""
    request, response = event.request.body, event.response.body
    if not (request.startswith(_BEGINNINGS[0]) and response.startswith(_BEGINNINGS[1]) and is_plain(event)):
        return None
    try:
        asked, answered = _requests(request).instances, _responses(response).predictions
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not asked or len(asked) != len(answered):
        return None
    names = tuple(asked[0])
    values = _values(asked, names)
    if values is None or not names:
        return None
    if type(answered[0]) is not dict:
        said = answered if _SCALARS.issuperset(map(type, answered)) else None
        answer_names: tuple[str, ...] = ()
    else:
        answer_names = tuple(answered[0])
        said = _values(answered, answer_names) if answer_names else None
    return None if said is None else _Rows((names, answer_names), len(asked), values, said)


def _values(rows: Sequence[Any], names: tuple[str, ...]) -> list[Any] | None:
    """The values of rows with these fields, in this order; None where one has others, or no scalar."""
    values: list[Any] = []
    for row in rows:
        if type(row) is not dict or tuple(row) != names:
            return None
        values += row.values()
    return values if _SCALARS.issuperset(map(type, values)) else None
