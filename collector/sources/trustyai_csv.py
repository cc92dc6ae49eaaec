"""What TrustyAI's service in Java keeps of a model: two CSV files without headers, and one that says what they hold.

``MODEL-data.csv`` has the values of inputs and outputs, a row each; ``MODEL-internal_data.csv`` tag, id and time of the
row in the same place; ``MODEL-metadata.json`` names and types of the columns. Texts are put into quotes as they are, so
that a text with a quote in it breaks the file for TrustyAI, too; then nothing of it is believed.
"""

import csv
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from collector.sources.trustyai_rows import (
    DATATYPES,
    ORGANIC,
    Item,
    Tensor,
    UnevenError,
    ignored,
    inference,
    name_of_one,
)
from driftline.errors import EventError
from driftline.events import InferenceEvent
from driftline.message_fields import parse_time_ns

_MINUTES = len("2024-03-13T10:56")


def read_stored(path: str, model: str, ids: bytes, data: bytes, schema: bytes) -> Iterator[Item]:
    """The inferences in the order they were kept, one for neighbouring rows of one id.

    Raises EventError, and UnevenError where it may be too early to tell.
    """
    inputs, outputs = _tensors(schema)
    index = list(_rows("the index", ids))
    width = sum(len(tensor.columns) for tensor in (*inputs, *outputs))
    widths = [len(row) for row in _rows("the data", data)]
    for place, found in enumerate(widths):
        if found != width:
            raise EventError("TrustyAI's data", [f"row {place} has {found} values, its metadata has {width} columns"])
    if len(widths) != len(index):
        raise UnevenError("TrustyAI's data", [f"there are {len(widths)} rows and {len(index)} ids: whose is which?"])
    return _inferences(path, model, (inputs, outputs), index, _rows("the data", data))


def _inferences(
    path: str,
    model: str,
    tensors: tuple[Sequence["_Tensor"], Sequence["_Tensor"]],
    index: Sequence[list[str]],
    data: Iterator[list[str]],
) -> Iterator[Item]:
    for number, (key, listed) in enumerate(itertools.groupby(zip(index, data, strict=True), lambda pair: pair[0][:2])):
        together = list(listed)
        if len(together[0][0]) == 3 and key[0] != ORGANIC:
            yield ignored(key[0])
            continue
        try:
            yield _inference(f"{path}#{number}", model, tensors, together[0][0], [row for _, row in together])
        except (ValueError, EventError) as error:
            yield f"record {number}: {error}", msgspec.json.encode(together)


def _inference(
    event_id: str,
    model: str,
    tensors: tuple[Sequence["_Tensor"], Sequence["_Tensor"]],
    marks: list[str],
    rows: Sequence[list[str]],
) -> InferenceEvent:
    if len(marks) != 3:
        raise ValueError(f"the index has {len(marks)} values and not tag, id and time")
    _, request_id, at = marks
    inputs, outputs = ([tensor.of(rows) for tensor in half] for half in tensors)
    # Java's local time: TrustyAI's image has no zone, and so UTC; whole minutes are written without seconds.
    time_ns = parse_time_ns(f"{at}:00Z" if len(at) == _MINUTES else f"{at}Z")
    return inference(event_id, model, request_id, time_ns, inputs, outputs)


def _rows(what: str, data: bytes) -> Iterator[list[str]]:
    try:
        text = data.decode()
        csv.field_size_limit(max(len(text), csv.field_size_limit()))
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise EventError(f"TrustyAI's file: {what}", [f"is no CSV: {error}"]) from error


# --- columns ------------------------------------------------------------------------------------------------------
class _Column(msgspec.Struct, rename="camel"):
    name: str
    type: str
    column_index: int = -1
    index: int = -1  # its name in older files

    @property
    def place(self) -> int:
        return max(self.column_index, self.index)


class _Columns(msgspec.Struct):
    items: dict[str, _Column]


class _Schemas(msgspec.Struct, rename="camel"):
    input_schema: _Columns
    output_schema: _Columns


_read_schemas = msgspec.json.Decoder(_Schemas)


class _Tensor(NamedTuple):
    """A tensor and where in a row its values are; ``is_flat``: it has one value per row and no second dimension."""

    name: str
    datatype: str
    columns: tuple[int, ...]
    is_flat: bool

    def of(self, rows: Sequence[list[str]]) -> Tensor:
        """The tensor of these rows, as JSON of the V2 protocol has it; raises ValueError."""
        values = [_value(self.datatype, row[place]) for row in rows for place in self.columns]
        shape = [len(rows)] if self.is_flat else [len(rows), len(self.columns)]
        return {"name": self.name, "shape": shape, "datatype": self.datatype, "data": values}


def _value(datatype: str, text: str) -> Any:
    if datatype == "BYTES":
        return text
    if datatype == "BOOL":
        if text not in {"true", "false"}:
            raise ValueError(f"'{text[:60]}' is neither true nor false")
        return text == "true"
    if datatype.startswith("INT"):
        return int(text)
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"'{text[:60]}' is no number that JSON has")
    return None if math.isnan(number) else number


def _tensors(schema: bytes) -> tuple[list[_Tensor], list[_Tensor]]:
    try:
        found = _read_schemas.decode(schema)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("TrustyAI's metadata", [str(error)]) from error
    halves = [
        sorted(half.items.values(), key=lambda one: one.place) for half in (found.input_schema, found.output_schema)
    ]
    places = sorted(column.place for half in halves for column in half)
    if places != list(range(len(places))):
        raise EventError("TrustyAI's metadata", [f"its columns are in the places {places[:20]}"])
    inputs, outputs = ([*_as_sent(half)] for half in halves)
    return inputs, outputs


def _as_sent(columns: Sequence[_Column]) -> Iterator[_Tensor]:
    """Columns as the tensors that they were: those of one tensor were numbered, ``NAME-0``, ``NAME-1`` and so on."""
    one = name_of_one([column.name for column in columns])
    types = {_datatype(column) for column in columns}
    if one is not None and len(types) == 1:
        yield _Tensor(one, types.pop(), tuple(column.place for column in columns), is_flat=False)
        return
    for column in columns:
        yield _Tensor(column.name, _datatype(column), (column.place,), is_flat=True)


def _datatype(column: _Column) -> str:
    if column.type not in DATATYPES:
        raise EventError("TrustyAI's metadata", [f"column '{column.name}' holds {column.type}, an object of Java"])
    return DATATYPES[column.type]
