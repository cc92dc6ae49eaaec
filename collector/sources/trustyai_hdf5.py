"""What TrustyAI's service in Python keeps of a model: three HDF5 files, as inferences.

Each file holds one data set, a row of it per row of a request. Numbers are kept as an array; where a text or a truth
value is among them, every row is kept as JSON, compressed, in bytes of a fixed length. Earlier versions pickled such
rows: these are refused, because reading them would run whatever they say.
"""

import importlib.util
import math
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from collector.sources.hdf5_messages import Fault, Table, Wanted
from collector.sources.trustyai_rows import (
    DATATYPES,
    ORGANIC,
    Item,
    MissingLibraryError,
    Tensor,
    UnevenError,
    ignored,
    inference,
    name_of_one,
)
from driftline.errors import EventError
from driftline.events import InferenceEvent
from driftline.message_fields import parse_time_ns

_READER = "collector.sources.hdf5_tables"
_READER_TIMEOUT_S = 120.0
_GZIP = b"\x1f\x8b"
_LONGEST_ROW = 16 * 1024 * 1024

_read_json = msgspec.json.Decoder()
_read_answer = msgspec.msgpack.Decoder(list[Table | Fault])


def read_stored(path: str, model: str, index: bytes, inputs: bytes, outputs: bytes) -> Iterator[Item]:
    """The inferences in the order they were kept, one for neighbouring rows of one id.

    Raises EventError, and UnevenError where it may be too early to tell.
    """
    parts = ("metadata", "inputs", "outputs")
    wanted = [Wanted(f"{model}_{part}", data) for part, data in zip(parts, (index, inputs, outputs), strict=True)]
    tables = [_rows_of(part, found) for part, found in zip(parts, _ask(wanted), strict=True)]
    counts = [len(table.rows) for table in tables]
    if len(set(counts)) != 1:
        raise UnevenError("TrustyAI's data", [f"there are {counts[0]} ids, {counts[1]} inputs and {counts[2]} outputs"])
    return _inferences(path, model, *tables)


def _ask(wanted: Sequence[Wanted]) -> Sequence[Table | Fault]:
    """The answers of the process that reads HDF5: of a damaged file it may die."""
    if importlib.util.find_spec("h5py") is None:
        raise MissingLibraryError("TrustyAI's HDF5", ["needs a library: pip install 'driftline[hdf5]'"])
    asked = msgspec.msgpack.encode(wanted)
    try:
        done = subprocess.run(
            [sys.executable, "-m", _READER], input=asked, capture_output=True, timeout=_READER_TIMEOUT_S, check=True
        )
        return _read_answer.decode(done.stdout)
    except (subprocess.SubprocessError, msgspec.MsgspecError) as error:
        raise UnevenError("TrustyAI's HDF5", [f"cannot be read: {error}"]) from error


def _rows_of(what: str, found: Table | Fault) -> Table:
    """A table whose rows are values; raises EventError, UnevenError."""
    if isinstance(found, Fault):
        fault = UnevenError if found.may_be_torn else EventError
        raise fault(f"TrustyAI's {what}", [found.detail])
    if not found.rows or not isinstance(found.rows[0], bytes):
        return found
    try:
        return msgspec.structs.replace(found, rows=[_unpacked(row) for row in found.rows])
    except (ValueError, msgspec.MsgspecError, zlib.error, RecursionError) as error:
        raise EventError(f"TrustyAI's {what}", [str(error)]) from error


def _inferences(path: str, model: str, index: Table, inputs: Table, outputs: Table) -> Iterator[Item]:
    marks = [_Mark.of(row) for row in index.rows]
    for number, rows in enumerate(_together(marks)):
        mark = marks[rows.start]
        if isinstance(mark, _Mark) and mark.tag != ORGANIC:
            yield ignored(mark.tag)
            continue
        try:
            yield _inference(f"{path}#{number}", model, mark, (inputs, outputs), rows)
        except (ValueError, EventError) as error:
            yield f"record {number}: {error}", repr(index.rows[rows.start]).encode()


def _inference(
    event_id: str, model: str, mark: "_Mark | str", tables: tuple[Table, Table], rows: slice
) -> InferenceEvent:
    if isinstance(mark, str):
        raise ValueError(mark)  # noqa: TRY004 - of values in a file
    inputs, outputs = ([*_tensors(table, rows)] for table in tables)
    return inference(event_id, model, mark.request_id, parse_time_ns(mark.at), inputs, outputs)


class _Mark(NamedTuple):
    """What the index says of a row."""

    request_id: str
    place: int
    at: str
    tag: str

    @classmethod
    def of(cls, row: Any) -> "_Mark | str":
        """A row of the index, ``[ID_PLACE, ISO time, seconds, [tag]]``; or why it is none."""
        match row:
            case [str(name), str(at), int() | float(), [str(tag), *_]]:
                request_id, _, place = name.rpartition("_")
                if request_id and place.isdecimal():
                    return cls(request_id, int(place), at, tag)
                return cls(name, 0, at, tag)
        return f"the index has {row!r:.100} and not id, time, seconds and tags"


def _together(marks: Sequence["_Mark | str"]) -> Iterator[slice]:
    """The rows of each inference: those of one id count up from 0."""
    first = 0
    for row in range(1, len(marks) + 1):
        if row == len(marks) or not _goes_on(marks[row - 1], marks[row]):
            yield slice(first, row)
            first = row


def _goes_on(before: "_Mark | str", mark: "_Mark | str") -> bool:
    if isinstance(before, str) or isinstance(mark, str):
        return False
    return (mark.request_id, mark.place) == (before.request_id, before.place + 1)


def _unpacked(row: bytes) -> Any:
    if row[:2] != _GZIP:
        raise ValueError("a row is no compressed JSON; those that an earlier version pickled are not read")
    packed = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    text = packed.decompress(row, _LONGEST_ROW)
    if not packed.eof:
        raise ValueError("a row was cut, or is larger than it may be")
    return _read_json.decode(text)


# --- tensors ------------------------------------------------------------------------------------------------------
def _tensors(table: Table, rows: slice) -> Iterator[Tensor]:
    """Columns as the tensors that they were: those of one tensor were numbered, others had one value per row."""
    values = table.rows[rows]
    types = table.types if len(table.types) == len(table.names) else []
    shape = _shape(values)
    one = name_of_one(table.names) if len(shape) > 1 else None
    if one is not None or len(shape) == 1:
        yield _tensor(one or table.names[0], types[:1], shape, values)
        return
    if shape != [len(values), len(table.names)]:
        raise ValueError(f"rows have the shape {shape[1:]} and {len(table.names)} columns")
    for place, name in enumerate(table.names):
        column = [row[place] for row in values]
        yield _tensor(name, types[place : place + 1], [len(column)], column)


def _shape(values: Any) -> list[int]:
    """The shape of a list of lists; raises ValueError where they have different lengths."""
    if not isinstance(values, list):
        return []
    shapes = [_shape(value) for value in values]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("rows have different numbers of values")
    return [len(values), *(shapes[0] if shapes else [])]


def _tensor(name: str, types: Sequence[str], shape: list[int], values: list[Any]) -> Tensor:
    data = list(_flat(values))
    datatype = DATATYPES.get(types[0]) if types else None
    if datatype is None:
        datatype = _datatype(data)
    return {"name": name, "shape": shape, "datatype": datatype, "data": [_value(datatype, each) for each in data]}


def _flat(values: Any) -> Iterator[Any]:
    if isinstance(values, list):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def _datatype(data: Sequence[Any]) -> str:
    """Of values whose type nobody said."""
    kinds = {type(value) for value in data if value is not None}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    return "BYTES" if kinds == {str} else "FP64"


def _value(datatype: str, value: Any) -> Any:
    """A value as JSON has it. Columns that share an array have the type of the widest: 3 may have become 3.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if datatype == "BYTES" and isinstance(value, str):
        return value
    if datatype == "BOOL" and value in (0, 1):
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or datatype in ("BYTES", "BOOL"):
        raise ValueError(f"{value!r:.60} is no value of type {datatype}")
    if math.isinf(value):
        raise ValueError(f"{value!r} is no number that JSON has")
    if datatype.startswith("INT"):
        if value != int(value):
            raise ValueError(f"{value!r} is no whole number")
        return int(value)
    return value
