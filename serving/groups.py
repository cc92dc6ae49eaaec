"""Events whose tensors have the same names and shapes, taken together: their values become columns at once.

The values of such events are put one after the other as they are read, so that NumPy is called once per column and
group instead of once per column and event, and so that nothing is kept of an event but its values.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent
from driftline.payload_paths import EVERY
from serving import json_body
from serving.codecs.reading import ABSENT, OBJECT, Reading
from serving.extraction import (
    Columns,
    SplitError,
    add_held,
    add_named,
    add_only_input,
    add_outputs,
    add_target,
    by_name,
    find_target,
)
from serving.plan import Plan, Target
from serving.row_values import from_document
from serving.tensors import Tensor, Values, joined_values


class Part(NamedTuple):
    """Rows of some events, stacked: the events' places, each one's rows, and the columns."""

    places: Sequence[int]
    counts: NDArray[np.intp]
    columns: ColumnBatch


class Stack:
    """The tensors of many events, stacked."""

    __slots__ = ("_listed", "_parts", "like")

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self._parts: list[Values] = []
        #: The last of the parts, where it is a list: of this stack alone, so that it may grow.
        self._listed: list[Any] | None = None

    def extend(self, values: Values) -> None:
        """The values of the next events, whose tensors have the same name and inner shape."""
        if not isinstance(values, list):
            self._parts.append(values)
            self._listed = None
        elif self._listed is None:
            self._listed = values.copy()
            self._parts.append(self._listed)
        else:
            self._listed += values

    def tensor(self, rows: int) -> Tensor:
        """All of it as one tensor of so many rows."""
        like = self.like
        return Tensor(like.name, like.datatype, (rows, *like.shape[1:]), joined_values(self._parts))


class Group:
    """Events that are read together; see the module's docstring.

    ``readings`` are kept only where the plan may look into documents.
    """

    def __init__(self, request: Reading, response: Reading, plan: Plan) -> None:
        self.places: list[int] = []
        #: The rows of each tensor, and of how many events one after another.
        self._rows: list[tuple[tuple[int, ...], int]] = []
        self.requests = [Stack(tensor) for tensor in request.tensors]
        self.responses = [Stack(tensor) for tensor in response.tensors]
        self._plan = plan
        self._loose = (request.loose, response.loose)
        #: Halves whose tensors are no more than members of their document: paths are followed in the document.
        self._objects = {"request": request.format == OBJECT, "response": response.format == OBJECT}
        self._readings: list[tuple[Reading, Reading]] = []

    def add(self, place: int, request: Reading, response: Reading) -> None:
        """The next event."""
        self.places.append(place)
        self._rows.append((tuple([tensor.rows for tensor in (*request.tensors, *response.tensors)]), 1))
        for stack, tensor in zip(self.requests, request.tensors, strict=True):
            stack.extend(tensor.values)
        for stack, tensor in zip(self.responses, response.tensors, strict=True):
            stack.extend(tensor.values)
        if self._plan.targets:
            self._readings.append((request, response))

    def note(self, places: Sequence[int], events: Sequence[InferenceEvent], rows: tuple[int, ...]) -> None:
        """The next events, of V2, whose values are in the stacks already; ``rows``: of each tensor of each event."""
        self.places.extend(places)
        self._rows.append((rows, len(places)))
        if self._plan.targets:
            for place in places:
                event = events[place]
                halves = (event.request, event.response)
                request, response = (Reading("v2", [], text=half.body) for half in halves)
                self._readings.append((request, response))

    def part(self, events: Sequence[InferenceEvent]) -> Part:
        """The columns of all its events; raises DecodeError, or SplitError where they must be looked at apart."""
        plan = self._plan
        sums = [sum(rows) for rows in self._by_tensor()]
        asked_sums, answered_sums = sums[: len(self.requests)], sums[len(self.requests) :]
        requests = [stack.tensor(rows) for stack, rows in zip(self.requests, asked_sums, strict=True)]
        responses = [stack.tensor(rows) for stack, rows in zip(self.responses, answered_sums, strict=True)]
        asked, answered = by_name(requests, plan.request.names), by_name(responses, plan.response.names)
        columns = Columns()
        is_found = add_held(columns, asked, plan)
        is_found = add_named(columns, asked, plan) or is_found
        is_found = self._add_targets(columns, asked, answered, events) or is_found
        if not is_found:
            add_only_input(columns, requests, plan, loose=self._loose[0])
        add_outputs(columns, responses, answered, plan, self._counts(columns), loose=self._loose[1])
        return Part(self.places, self._counts(columns), columns.batch())

    def _add_targets(
        self,
        columns: Columns,
        asked: Mapping[str, Tensor],
        answered: Mapping[str, Tensor],
        events: Sequence[InferenceEvent],
    ) -> bool:
        late = []
        is_found = False
        for target in self._plan.targets:
            found = {"request": asked, "response": answered}.get(target.half)
            is_later = found is None or (self._objects[target.half] and target.path is not None)
            tensor = None if found is None or is_later else find_target(target, found)
            if tensor is None:
                late.append(target)
            else:
                add_target(columns, target, tensor)
                is_found = True
        # Lists with a value per row first: where there is nothing else, they say how many rows there are.
        late.sort(key=lambda target: target.path is None or EVERY not in target.path.steps)
        for target in late:
            is_found = self._add_late(columns, target, events) or is_found
        return is_found

    def _add_late(self, columns: Columns, target: Target, events: Sequence[InferenceEvent]) -> bool:
        """A column from the documents of the events, or from what was measured; whether any event has a value."""
        found = [
            _late_value(target, events[place], *readings)
            for place, readings in zip(self.places, self._readings, strict=True)
        ]
        if all(each is None for each in found):
            return False
        counts = self._counts(columns)
        lengths = np.array([len(each[0]) if each and each[1] else -1 for each in found], np.intp)
        if columns.rows < 0 and (lengths >= 0).all():
            counts = columns.counts = lengths
        elif bool(((lengths >= 0) & (lengths != counts)).any()) and len(found) > 1:
            raise SplitError
        values: list[Any] = []
        for each, rows in zip(found, counts.tolist(), strict=True):
            if each is None:
                values.extend([None] * rows)
            else:
                values.extend(each[0] if each[1] else each[0] * rows)
        add_target(columns, target, Tensor(target.name, "", (len(values),), values))
        return True

    def _counts(self, columns: Columns) -> NDArray[np.intp]:
        """The rows of each event; one each where there is no column yet. Raises SplitError where they are not told."""
        if columns.counts is not None:
            return columns.counts
        events = len(self.places)
        if columns.rows < 0:
            return np.ones(events, np.intp)
        if events == 1:
            return np.array([columns.rows], np.intp)
        # All tensors of an event have the same rows, or all events have the same ones: any tensor with this sum tells.
        events_in_row = [count for _, count in self._rows]
        for rows, all_rows in zip(zip(*[rows for rows, _ in self._rows], strict=True), self._by_tensor(), strict=True):
            if sum(all_rows) == columns.rows:
                columns.counts = np.repeat(np.array(rows, np.intp), events_in_row)
                return columns.counts
        raise SplitError

    def _by_tensor(self) -> list[list[int]]:
        """The rows of each tensor, summed over events one after another that have the same."""
        counted = [[each * count for each in rows] for rows, count in self._rows]
        return [list(rows) for rows in zip(*counted, strict=True)]


def signature(request: Reading, response: Reading) -> Any:
    """What events have in common whose values may be stacked."""
    tensors = [*request.tensors, *response.tensors]
    kinds = [(tensor.name, tensor.shape[1:], _kind(tensor)) for tensor in tensors]
    rows = [tensor.rows for tensor in tensors]
    # Where the tensors of an event have different rows, only events with the very same ones go together: sums over
    # events must not hide that an event's own do not fit.
    told = () if len(set(rows)) < 2 else tuple(rows)
    objects = request.format == OBJECT, response.format == OBJECT
    return tuple(kinds), len(request.tensors), request.loose, response.loose, objects, told


def _kind(tensor: Tensor) -> str:
    return tensor.values.dtype.str if isinstance(tensor.values, np.ndarray) else ""


def _late_value(
    target: Target, event: InferenceEvent, request: Reading, response: Reading
) -> tuple[list[Any], bool] | None:
    if target.path is None:
        return None
    if target.half == "event":
        return [_measured(event, str(target.path.steps[0]))], False
    document = document_of(request if target.half == "request" else response)
    return None if document is ABSENT else from_document(document, target.path.steps)


def _measured(event: InferenceEvent, name: str) -> float:
    sizes = {"request_bytes": event.request, "response_bytes": event.response}
    return float(len(sizes[name].body)) if name in sizes else float(getattr(event, name))


def document_of(reading: Reading) -> Any:
    """The document of a half, read now where it was not needed before."""
    if reading.document is ABSENT and reading.text:
        reading.document = json_body.read_any(reading.text)
    return reading.document
