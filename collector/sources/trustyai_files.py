"""What TrustyAI's service keeps of a model's inferences in a volume, as inferences of the V2 protocol.

Three files a model, of which the two CSV files grow by a few lines with every inference and have no header:
``MODEL-data.csv`` with the values of inputs and outputs, a row each; ``MODEL-internal_data.csv`` with tag, id and time
of the row in the same place; ``MODEL-metadata.json`` with names and types of the columns. Texts are put into quotes as
they are, so that a text with a quote in it breaks the file for TrustyAI, too; then nothing of it is believed.
"""

import csv
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from driftline.errors import EventError
from driftline.events import InferenceEvent, Payload, parse_time_ns
from driftline.records import Ignored

INDEX = "-internal_data.csv"
_DATA = "-data.csv"
_SCHEMA = "-metadata.json"
#: What labels of its own are kept under: a model of this name, in three files more.
_TRUTHS = "-ground-truths"
#: The tag of what clients asked; any other says what somebody made or marked, such as training data.
_ORGANIC = "_trustyai_unlabeled"
_DATATYPES = {
    "BOOL": "BOOL",
    "INT32": "INT32",
    "INT64": "INT64",
    "FLOAT": "FP32",
    "DOUBLE": "FP64",
    "STRING": "BYTES",
}
_MINUTES = len("2024-03-13T10:56")

#: An inference, a row that is none, or why one cannot be read, with its bytes.
Item = InferenceEvent | Ignored | tuple[str, bytes]


class UnevenError(EventError):
    """As many rows as ids are not there: one file was written just now and the other not yet, or they never will."""


class StoredFiles(NamedTuple):
    """The content of a model's three files."""

    ids: bytes
    data: bytes
    schema: bytes


def is_index(path: str) -> bool:
    """Whether a file says what the rows of two others are."""
    return path.endswith(INDEX) and not path.endswith(_TRUTHS + INDEX)


def is_companion(path: str) -> bool:
    """Whether a file is one that is read with another, or holds TrustyAI's own labels, and so is no file of its own."""
    return path.endswith((_DATA, _SCHEMA, _TRUTHS + INDEX))


def companions(path: str) -> tuple[str, str]:
    """The files with the values and with the names of what an index lists."""
    return path.removesuffix(INDEX) + _DATA, path.removesuffix(INDEX) + _SCHEMA


def read_stored(path: str, files: StoredFiles) -> Iterator[Item]:
    """The inferences in the order they were kept, one for neighbouring rows of one id.

    Raises EventError, and UnevenError where it may be too early to tell.
    """
    model = path.rsplit("/", 1)[-1].removesuffix(INDEX)
    inputs, outputs = _tensors(files.schema)
    index = list(_rows("the index", files.ids))
    width = sum(len(tensor.columns) for tensor in (*inputs, *outputs))
    widths = [len(row) for row in _rows("the data", files.data)]
    for place, found in enumerate(widths):
        if found != width:
            raise EventError("TrustyAI's data", [f"row {place} has {found} values, its metadata has {width} columns"])
    if len(widths) != len(index):
        raise UnevenError("TrustyAI's data", [f"there are {len(widths)} rows and {len(index)} ids: whose is which?"])
    return _inferences(path, model, (inputs, outputs), index, _rows("the data", files.data))


def _inferences(
    path: str,
    model: str,
    tensors: tuple[Sequence["_Tensor"], Sequence["_Tensor"]],
    index: Sequence[list[str]],
    data: Iterator[list[str]],
) -> Iterator[Item]:
    for number, (key, listed) in enumerate(itertools.groupby(zip(index, data, strict=True), lambda pair: pair[0][:2])):
        together = list(listed)
        if len(together[0][0]) == 3 and key[0] != _ORGANIC:
            yield Ignored(f"TrustyAI's {key[0]}"[:100])
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
    return InferenceEvent(
        id=event_id,
        source="trustyai",
        model=model,
        # Java's local time: TrustyAI's image has no zone, and so UTC; whole minutes are written without seconds.
        time_ns=parse_time_ns(f"{at}:00Z" if len(at) == _MINUTES else f"{at}Z"),
        request_id=request_id,
        protocol="v2",
        status_code=200,
        request=_payload({"id": request_id, "inputs": inputs}),
        response=_payload({"model_name": model, "id": request_id, "outputs": outputs}),
    )


def _payload(document: Any) -> Payload:
    return Payload(content_type="application/json", body=msgspec.json.encode(document))


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

    def of(self, rows: Sequence[list[str]]) -> dict[str, Any]:
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
    first = columns[0].name.removesuffix("-0") if columns else ""
    numbered = [f"{first}-{number}" for number in range(len(columns))]
    types = {_datatype(column) for column in columns}
    if columns and [column.name for column in columns] == numbered and len(types) == 1:
        yield _Tensor(first, types.pop(), tuple(column.place for column in columns), is_flat=False)
        return
    for column in columns:
        yield _Tensor(column.name, _datatype(column), (column.place,), is_flat=True)


def _datatype(column: _Column) -> str:
    if column.type not in _DATATYPES:
        raise EventError("TrustyAI's metadata", [f"column '{column.name}' holds {column.type}, an object of Java"])
    return _DATATYPES[column.type]
