"""Files of labels, CSV and Parquet, read in batches; every fault by line, column and value."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from collector.labels.from_json import UploadError
from collector.store.spelling import class_name
from collector.store.uploads import ColumnNames, FileFault
from driftline.events import Label

LONGEST_LINE = 1024 * 1024
_TRUTH = {"true": True, "false": False}
_MAGIC = b"PAR1"
_GZIP = b"\x1f\x8b"
_OTHER_MARKS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row: either the label, or why it cannot be one."""

    line: int
    label: Label | None
    fault: FileFault | None = None


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Rows that follow each other; ``bytes_read`` of the file are behind them, as far as that is known."""

    rows: Sequence[FileRow]
    bytes_read: int


def rows_in(path: Path) -> int | None:
    """How many rows the file says it has; None where only reading it would tell. Raises UploadError."""
    if not _is_parquet(path):
        return None
    with _parquet(path) as file:
        return int(file.metadata.num_rows)


def read_batches(path: Path, columns: ColumnNames, now_s: float, skip: int, size: int) -> Iterator[FileBatch]:
    """The rows behind the first ``skip``, ``size`` at a time; labels without a time count as observed at ``now_s``.

    Raises UploadError where the file cannot be read, which may be in the middle of it.
    """
    if _is_parquet(path):
        return _read_parquet(path, columns, now_s, skip, size)
    return _read_csv(path, columns, now_s, skip, size)


# --- CSV ------------------------------------------------------------------------------------------------------------
def _read_csv(path: Path, columns: ColumnNames, now_s: float, skip: int, size: int) -> Iterator[FileBatch]:
    rows: list[FileRow] = []
    if _begins(path, _GZIP):
        raise UploadError("the file is compressed by gzip; send what is in it")
    with path.open(encoding="utf-8-sig", newline="") as text:
        try:
            for row in _csv_rows(text, columns, now_s, skip):
                rows.append(row)
                if len(rows) >= size:
                    yield FileBatch(rows, _position(text))
                    rows = []
        except UploadError:
            if rows:  # what could be read is taken all the same
                yield FileBatch(rows, _position(text))
            raise
    yield FileBatch(rows, path.stat().st_size)


def _csv_rows(text: TextIO, columns: ColumnNames, now_s: float, skip: int) -> Iterator[FileRow]:
    reader = csv.reader(_lines(text), strict=True)
    header: list[str] = []
    for values in _checked(reader):
        if not header:
            header = values
            _require(columns, header)
        elif values and skip > 0:
            skip -= 1
        elif values:
            yield _csv_row(reader.line_num, header, values, columns, now_s)
    if not header:
        raise UploadError("the file is empty")


def _lines(text: TextIO) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise UploadError(f"a line has more than {LONGEST_LINE} characters")
        yield line


def _checked(reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except (UnicodeDecodeError, csv.Error) as error:
        raise UploadError(f"line {reader.line_num + 1}: not CSV in UTF-8: {error}") from error


def _position(text: TextIO) -> int:
    return text.buffer.tell()


def _csv_row(line: int, header: Sequence[str], values: Sequence[str], columns: ColumnNames, now_s: float) -> FileRow:
    if len(values) != len(header):
        return _refused(line, "", "", f"{len(values)} values stand under {len(header)} columns")
    found = {name: value for name, value in zip(header, values, strict=True) if value != ""}
    return _row(line, found, columns, now_s)


# --- Parquet --------------------------------------------------------------------------------------------------------
def _is_parquet(path: Path) -> bool:
    return _begins(path, _MAGIC)


def _begins(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UploadError(f"the file is not Parquet: {error}") from error


def _read_parquet(path: Path, columns: ColumnNames, now_s: float, skip: int, size: int) -> Iterator[FileBatch]:
    with _parquet(path) as file:
        _require(columns, file.schema_arrow.names)
        names = [name for name in file.schema_arrow.names if name in columns.used]
        total, size_bytes, seen = file.metadata.num_rows, path.stat().st_size, 0
        try:
            for batch in file.iter_batches(batch_size=size, columns=names):
                first, seen = seen, seen + batch.num_rows
                if seen <= skip:
                    continue
                listed = batch.slice(max(0, skip - first)).to_pylist()
                lines = range(seen - len(listed) + 1, seen + 1)
                rows = [
                    _row(line, {name: value for name, value in row.items() if value is not None}, columns, now_s)
                    for line, row in zip(lines, listed, strict=True)
                ]
                yield FileBatch(rows, size_bytes * seen // max(total, 1))
        except (pa.ArrowException, OSError) as error:
            raise UploadError(f"row {seen + 1}: the file cannot be read: {error}") from error


# --- rows -----------------------------------------------------------------------------------------------------------
def _row(line: int, found: Mapping[str, Any], columns: ColumnNames, now_s: float) -> FileRow:
    fields: dict[str, Any] = {"model": columns.of_model, "namespace": columns.of_namespace}
    for name, read in _READERS.items():
        column = columns.column_of(name)
        value = found.get(column)
        try:
            if value is not None:
                fields[name] = read(value)
            elif name not in _NAMES:
                fields[name] = _absent(name, now_s)
        except (ValueError, OverflowError) as error:
            return _refused(line, column, value, str(error))
    if not fields.get("request_id") and not fields.get("key"):
        return _refused(line, "", "", f"there is neither a value of '{columns.request_id}' nor one of '{columns.key}'")
    return FileRow(line, Label(**fields))


def _absent(name: str, now_s: float) -> Any:
    return {"row": 0, "observed_at_s": now_s, "value": None}[name]


def _name(value: Any) -> str:
    """A name or id; a column of whole numbers is one of floats where a row has none."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float | Decimal):
        return class_name(float(value)) or ""
    if isinstance(value, str | int):
        return str(value)
    raise ValueError("is neither a text nor a number")


def _whole(value: Any) -> int:
    if not isinstance(value, str | int | float | Decimal) or not float(value).is_integer():
        raise ValueError("is not a whole number")
    return int(float(value))


def _seconds(value: Any) -> float:
    """Seconds since the epoch, or a moment; one without a time zone is meant in UTC, a day at its beginning."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float | Decimal):
        return float(value)
    raise ValueError("is no time")


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _TRUTH.get(value.lower(), value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bool | int | float):
        return value
    raise ValueError("is neither a number nor a text nor a truth value")


_NAMES = ("request_id", "key", "model", "namespace")
_READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_NAMES, _name), "row": _whole, "observed_at_s": _seconds, "value": _value
}  # fmt: skip


def _refused(line: int, column: str, value: Any, fault: str) -> FileRow:
    return FileRow(line, None, FileFault(line, column, str(value)[:_SHOWN], fault))


def _require(columns: ColumnNames, given: Sequence[str]) -> None:
    if missing := columns.missing(given):
        has = f"it has {', '.join(given)[:300]}"
        marks = [mark for mark in _OTHER_MARKS if len(given) == 1 and mark in given[0]]
        if marks:
            has = f"its first line is '{given[0][:300]}', separated by {_OTHER_MARKS[marks[0]]}; commas are expected"
        raise UploadError(f"the file lacks the columns {', '.join(missing)}; {has}")
    named = Counter(name for name in given if name in columns.used)
    if twice := [name for name, times in named.items() if times > 1]:
        raise UploadError(f"the column '{twice[0]}' stands {named[twice[0]]} times; which one is meant cannot be told")
