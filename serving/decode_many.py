"""Many inference events of one monitor decoded at once: the collector's ``BatchDecoder``.

Each event's bodies are read alone; what follows is done once for all events whose tensors look alike
(``serving.groups``).
An answer outside 200-299, or with a gRPC error, has no rows: nothing was predicted. Where the answer was not logged,
the rows have inputs and no prediction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from driftline.columns import CodedTexts, ColumnBatch, DecodedBatch
from driftline.errors import DecodeError
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from serving import reasons, recognition
from serving.body_scanners import MakeScanner, scanners
from serving.codecs.reading import REQUEST, RESPONSE, Reading, Wanted
from serving.extraction import SplitError
from serving.groups import Group, Part, signature
from serving.plan import Plan, plan_of
from serving.tensors import Tensor
from serving.v1_runs import V1Runs
from serving.v2_runs import V2Runs

_LONGEST_DETAIL = 1000
#: What only a fault of ours raises; the event is set aside, the others go on.
_FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class BatchDecoder:
    """:func:`decode_many` with the scanner of bodies that the compiled build has; None where this one has none."""

    make_scanner: MakeScanner | None = field(default_factory=scanners)

    def __call__(self, events: Sequence[InferenceEvent], monitor: Monitor) -> DecodedBatch:
        """The rows of all events."""
        return decode_many(events, monitor, make_scanner=self.make_scanner)


def decode_many(
    events: Sequence[InferenceEvent], monitor: Monitor, *, make_scanner: MakeScanner | None = None
) -> DecodedBatch:
    """The rows of all events; never raises for what they hold. Reasons of faults: ``serving.reasons``.

    ``make_scanner`` makes it faster and changes no answer.
    """
    batch = _Batch(events, plan_of(monitor), make_scanner)
    batch.read(range(len(events)))
    return _assembled(batch.parts, sorted(batch.faults, key=lambda fault: fault[0]))


class _Batch:
    """Events on their way to rows: the parts that are done, and the faults that were found."""

    def __init__(self, events: Sequence[InferenceEvent], plan: Plan, make_scanner: MakeScanner | None) -> None:
        self._events = events
        self._plan = plan
        # Columns with a source or a feature of their own look at single values as they are written.
        self._make_scanner = None if plan.targets else make_scanner
        self.parts: list[Part] = []
        self.faults: list[tuple[int, DecodeError]] = []

    def read(self, places: Sequence[int]) -> None:
        """Read the events at these places, group by group."""
        for group in self._groups(places):
            try:
                self.parts.append(group.part(self._events))
            except (SplitError, DecodeError, *_FAULTS) as error:
                self._read_apart(group.places, error)

    def _read_apart(self, places: Sequence[int], error: Exception) -> None:
        # One of them is at fault, or means something else than the others: halves, until it stands alone.
        if len(places) > 1:
            middle = len(places) // 2
            self.read(places[:middle])
            self.read(places[middle:])
        else:
            self._set_aside(places[0], error)

    def _set_aside(self, place: int, error: Exception) -> None:
        if not isinstance(error, DecodeError):
            error = DecodeError(reasons.DECODER_FAULT, f"{type(error).__name__}: {error}"[:_LONGEST_DETAIL])
        elif len(error.detail) > _LONGEST_DETAIL:  # a name may be as long as a body
            error = DecodeError(error.reason, error.detail[:_LONGEST_DETAIL])
        self.faults.append((place, error))

    def _groups(self, places: Sequence[int]) -> Sequence[Group]:
        groups: dict[Any, Group] = {}
        runs = V2Runs(self._make_scanner)
        tables = None if self._plan.targets else V1Runs()
        left: Sequence[int] = places
        at = 0
        while at < len(left):
            place = left[at]
            at += 1
            event = self._events[place]
            try:
                if not (tables is not None and tables.take(place, event)) and not runs.take(place, self._events):
                    self._read_event(place, event, groups, runs, tables)
            except (DecodeError, *_FAULTS) as error:
                self._set_aside(place, error)
            if runs.may_learn:
                left, at = runs.take_alike(event, left[at:], self._events), 0
        if tables is not None:
            tables.finish(self._events)
        return list(groups.values())

    def _read_event(
        self, place: int, event: InferenceEvent, groups: dict[Any, Group], runs: V2Runs, tables: V1Runs | None
    ) -> None:
        halves = _read(event, self._plan)
        if halves is None:
            return
        request, response = halves
        look = signature(request, response)
        group = groups.get(look)
        if group is None:
            group = groups[look] = Group(request, response, self._plan)
        group.add(place, request, response)
        runs.remember(group, request, response)
        if tables is not None:
            tables.remember(group, request, response)


def _read(event: InferenceEvent, plan: Plan) -> tuple[Reading, Reading] | None:
    """Both halves of an event; None where nothing was predicted. Raises DecodeError."""
    if not event.answer_unknown and (not 200 <= event.status_code < 300 or event.grpc_status):
        return None
    if event.truncated:
        longest = max(len(event.request.body), len(event.response.body))
        raise DecodeError(
            reasons.TRUNCATED, f"event '{event.id}' holds a body cut at {longest} bytes; raise the capture limit"
        )
    if event.not_observable:
        raise DecodeError(reasons.NOT_OBSERVABLE, f"the values never crossed the wire: {event.not_observable[:80]}")
    request = recognition.read(event.request, REQUEST, plan.request)
    if event.answer_unknown:
        request.tensors = _wanted(request, plan.request)
        return request, Reading("none", [], loose=False)
    rows = request.tensors[0].rows if request.tensors else None
    response = recognition.read(event.response, RESPONSE, plan.response, rows)
    if request.messages == 1 and rows == 1 and (response.messages > 1 or event.chunk_count > 1):
        response.tensors = [_as_one_row(tensor) for tensor in response.tensors]
    request.tensors = _wanted(request, plan.request)
    response.tensors = _wanted(response, plan.response)
    return request, response


def _wanted(reading: Reading, wanted: Wanted) -> list[Tensor]:
    """The tensors that matter; all of them where none has a name that does."""
    return [tensor for tensor in reading.tensors if tensor.name in wanted.names] or reading.tensors


def _as_one_row(tensor: Tensor) -> Tensor:
    """A streamed answer to one row: its pieces of text joined, or the last of its numbers."""
    if tensor.rows < 2 or tensor.width != 1:
        return tensor
    if all(isinstance(value, str) for value in tensor.values):
        return Tensor(tensor.name, tensor.datatype, (1, *tensor.shape[1:]), ["".join(map(str, tensor.values))])
    return Tensor(tensor.name, tensor.datatype, (1, *tensor.shape[1:]), tensor.values[-1:])


# --- putting the parts together -----------------------------------------------------------------------------------
def _assembled(parts: Sequence[Part], faults: Sequence[tuple[int, DecodeError]]) -> DecodedBatch:
    places = np.array([place for part in parts for place in part.places], np.intp)
    counts = np.concatenate([part.counts for part in parts]) if parts else np.zeros(0, np.intp)
    columns = _stacked([part.columns for part in parts])
    owners = np.repeat(places, counts)
    rows = np.arange(len(owners), dtype=np.intp) - np.repeat(np.cumsum(counts) - counts, counts)
    if bool((np.diff(owners) < 0).any()):  # events that are alike were read together
        order = np.argsort(owners, kind="stable")
        columns, owners, rows = columns.take(order), owners[order], rows[order]
    return DecodedBatch(columns, owners, rows, faults)


def _stacked(batches: Sequence[ColumnBatch]) -> ColumnBatch:
    """All rows in order; a column absent from some of the parts is missing (NaN, None) there."""
    if len(batches) == 1:
        return batches[0]
    numeric = _stack([batch.numeric for batch in batches], batches, np.float64, np.nan)
    text = _stack([batch.text for batch in batches], batches, np.object_, None)
    vectors = _stack([batch.vectors for batch in batches], batches, np.float64, np.nan)
    coded = {}
    for name in batches[0].coded if batches else ():
        if all(name in batch.coded for batch in batches):
            coded[name] = CodedTexts.joined([batch.coded[name] for batch in batches])
    return ColumnBatch(sum(batch.rows for batch in batches), numeric, text, coded, vectors)


def _stack(
    parts: Sequence[Mapping[str, Any]], batches: Sequence[ColumnBatch], dtype: Any, absent: Any
) -> dict[str, Any]:
    columns = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        inner = next(part[name].shape[1:] for part in parts if name in part)
        columns[name] = np.concatenate(
            [
                part[name] if name in part else np.full((batch.rows, *inner), absent, dtype)
                for part, batch in zip(parts, batches, strict=True)
            ]
        )
    return columns
