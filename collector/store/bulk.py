"""Many rows into one table: ``COPY`` in its binary form on PostgreSQL, one prepared statement on SQLite.

Rows are given as columns. Encoded here, column by column, they cost a third of what a statement per row costs, in the
collector as in the server. Columns whose values all take the same room become one array; of the others equal values,
which are most of them, are encoded once.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, Dialect, Double, Integer, LargeBinary, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.exc import DBAPIError

from collector.store.arrays import BytesArray, register
from collector.store.ids import KEY_KIND, KeyColumn
from driftline.columns import CodedTexts
from driftline.errors import PermanentError

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_SAVEPOINT = "SAVEPOINT driftline"
#: Marks a connection that knows how to send :mod:`collector.store.arrays`.
_TAKES_ARRAYS = "driftline_takes_arrays"
#: Rows that are handed to the driver at once.
_ROWS_AT_ONCE = 20_000

_Encode = Callable[[Any], bytes]
#: A column: values (texts may be coded), numbers as an array, or keys.
Column = Sequence[Any] | NDArray[Any] | KeyColumn


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A column of a chunk whose values take as many bytes each: what stands before each of them, and the values."""

    head: bytes
    values: NDArray[Any] | None = None
    kind: str = ""

    @property
    def size(self) -> int:
        """Bytes a row."""
        return len(self.head) + (np.dtype(self.kind).itemsize if self.values is not None else 0)


#: A column of a chunk as the protocol has it: values of any lengths, or of one.
_Encoded = list[bytes] | _Fixed


def insert_columns(
    connection: Connection, table: Table, columns: Mapping[str, Column], part: str | None = None
) -> None:
    """Insert rows given as columns of one length; raises PermanentError for values that the column's type lacks.

    ``part``: PostgreSQL's partition that all of them belong to, which it then does not look for row by row.
    """
    if not columns or not len(next(iter(columns.values()))):
        return
    if connection.dialect.name == "sqlite":
        listed = [_listed(values) for values in columns.values()]
        _insert(connection, table, list(columns), list(zip(*listed, strict=True)))
    else:
        _copy(connection, table, columns, part or table.name)


def insert_tuples(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows given as tuples in the order of ``columns``."""
    if rows:
        insert_columns(connection, table, dict(zip(columns, zip(*rows, strict=True), strict=True)))


class UpsertForm(NamedTuple):
    """What rows of a table look like, and what becomes of one whose key is there: SQL expressions by column."""

    table: Table
    columns: tuple[str, ...]
    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Upsert:
    """Rows to insert, or to change where their key is there; no key may come twice."""

    form: UpsertForm
    rows: Sequence[tuple[Any, ...]]


def upsert_together(connection: Connection, upserts: Sequence[Upsert]) -> None:
    """Upserts into different tables: one statement for all on PostgreSQL; raises ValueError for one table twice.

    There a statement more costs 0.1 ms, in the collector as in the server, before it does anything.
    """
    if len({upsert.form.table.name for upsert in upserts}) < len(upserts):
        raise ValueError("of two parts of a statement that change one table, neither sees what the other did")
    upserts = [upsert for upsert in upserts if upsert.rows]
    if not upserts:
        return
    if connection.dialect.name == "sqlite":
        for upsert in upserts:
            connection.exec_driver_sql(_upsert_statement(connection.dialect, upsert.form), list(upsert.rows))
        return
    statement = _together(connection.dialect, tuple(upsert.form for upsert in upserts))
    values = [array_parameter(column) for upsert in upserts for column in zip(*upsert.rows, strict=True)]
    with driver_cursor(connection, statement) as cursor:
        cursor.execute(statement, values)


@lru_cache(maxsize=256)
def _together(dialect: Dialect, forms: tuple[UpsertForm, ...]) -> str:
    *others, last = (_upsert_statement(dialect, form) for form in forms)
    named = ", ".join(f"u{number} AS ({statement})" for number, statement in enumerate(others))
    return f"WITH {named} {last}" if named else last


@lru_cache(maxsize=256)
def _upsert_statement(dialect: Dialect, form: UpsertForm) -> str:
    quote = dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in form.columns)
    keys = ", ".join(quote(column.name) for column in form.table.primary_key.columns)
    changed = ", ".join(f"{quote(name)} = {expression}" for name, expression in form.changes)
    end = f"ON CONFLICT ({keys}) DO UPDATE SET {changed}"
    into = f"INSERT INTO {quote(form.table.name)} ({names})"
    if dialect.name == "sqlite":
        return f"{into} VALUES ({', '.join('?' * len(form.columns))}) {end}"
    arrays = ", ".join(f"%s::{form.table.c[name].type.compile(dialect)}[]" for name in form.columns)
    return f"{into} SELECT * FROM unnest({arrays}) {end}"  # noqa: S608 - our own tables


def array_parameter(values: Sequence[str] | Sequence[float | None] | Sequence[bytes]) -> str | BytesArray:
    r"""Values as a parameter that is cast to an array; the driver's own way looks at each value several times.

    >>> array_parameter(["a", 'say "b"']), array_parameter([1, 2]), array_parameter([0.5, None])
    ('{"a","say \\"b\\""}', '{1,2}', '{0.5,NULL}')
    """
    if isinstance(values[0], bytes):
        return BytesArray.of(values)  # type: ignore[arg-type]
    if not isinstance(values[0], str):
        return "{" + ",".join(["NULL" if value is None else repr(value) for value in values]) + "}"
    joined = '","'.join(values)  # type: ignore[arg-type]
    if "\\" in joined or joined.count('"') != 2 * len(values) - 2:
        joined = '","'.join(str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return '{"' + joined + '"}'


def _insert(connection: Connection, table: Table, columns: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    # Past SQLAlchemy's handling of single parameters, which would cost more than the insert itself.
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in columns)
    markers = ", ".join("?" * len(columns))
    connection.exec_driver_sql(f"INSERT INTO {quote(table.name)} ({names}) VALUES ({markers})", rows)  # noqa: S608


def _listed(values: Column) -> Sequence[Any]:
    if isinstance(values, KeyColumn):
        return values.texts
    if isinstance(values, CodedTexts):
        return list(values)
    return values.tolist() if isinstance(values, np.ndarray) else values


@contextmanager
def driver_cursor(connection: Connection, statement: str, *, binary: bool = False) -> Iterator[Any]:
    """A cursor of the driver's own, past SQLAlchemy; errors of ``statement`` look as if they had come through it."""
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - a connection in use has one
    if _TAKES_ARRAYS not in connection.info:  # which stays with the driver's connection
        register(driver)
        connection.info[_TAKES_ARRAYS] = True
    error_class = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor(binary=binary) as cursor:
            yield cursor
    except error_class as error:
        raise DBAPIError.instance(statement, None, error, error_class) from error


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """What fails inside is taken back, and the transaction goes on.

    On PostgreSQL the savepoint is not released, which would be a statement more: it ends with the transaction.
    """
    if connection.dialect.name == "sqlite":
        with connection.begin_nested():
            yield
        return
    with driver_cursor(connection, _SAVEPOINT) as cursor:
        cursor.execute(_SAVEPOINT)
        try:
            yield
        except BaseException:
            cursor.execute(f"ROLLBACK TO {_SAVEPOINT}")
            raise


def _copy(connection: Connection, table: Table, columns: Mapping[str, Column], into: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in columns)
    statement = f"COPY {quote(into)} ({names}) FROM STDIN (FORMAT BINARY)"
    length = len(next(iter(columns.values())))
    with driver_cursor(connection, statement) as cursor, cursor.copy(statement) as copy:
        copy.write(_BEGIN)
        for start in range(0, length, _ROWS_AT_ONCE):
            part = {name: _part(values, start, start + _ROWS_AT_ONCE) for name, values in columns.items()}
            copy.write(_encoded(table, part))
        copy.write(_END)


def _part(values: Column, start: int, end: int) -> Sequence[Any] | NDArray[Any]:
    return (values.raw if isinstance(values, KeyColumn) else values)[start:end]


def _encoded(table: Table, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> bytes | bytearray:
    """Rows in binary form: where every value of a column takes the same room, no row of it is looked at alone."""
    count = len(next(iter(columns.values())))
    pieces: list[list[bytes]] = []
    fixed = [_Fixed(struct.pack(">h", len(columns)))]
    for name, values in columns.items():
        for encoded in _encode_column(table.name, table.c[name], values):
            if isinstance(encoded, _Fixed):
                fixed.append(encoded)
                continue
            pieces += [_rows(_side_by_side(fixed, count), count), encoded] if fixed else [encoded]
            fixed = []
    if not pieces:
        return _side_by_side(fixed, count)
    if fixed:
        pieces.append(_rows(_side_by_side(fixed, count), count))
    return b"".join([value for row in zip(*pieces, strict=True) for value in row])


def _side_by_side(pieces: Sequence[_Fixed], count: int) -> bytearray:
    """The columns of ``count`` rows, row by row."""
    # What is the same in each row is laid out as bytes; the values are put between, each turned round on its way.
    laid = bytearray(b"".join([piece.head.ljust(piece.size, b"\0") for piece in pieces])) * count
    fields: dict[str, NDArray[Any]] = {}
    kinds, places, at = [], [], 0
    for piece in pieces:
        if piece.values is not None:
            fields[f"f{at}"] = piece.values
            kinds.append(piece.kind)
            places.append(at + len(piece.head))
        at += piece.size
    if fields:
        row = np.dtype({"names": list(fields), "formats": kinds, "offsets": places, "itemsize": at})
        rows = np.frombuffer(laid, row)
        for name, values in fields.items():
            rows[name] = values
    return laid


def _rows(laid: bytearray, count: int) -> list[bytes]:
    raw, size = bytes(laid), len(laid) // count
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def _encode_column(table: str, column: Any, values: Sequence[Any] | NDArray[Any]) -> Sequence[_Encoded]:
    """The column in one piece, or its lengths and its values in two."""
    kind = type(_on_postgresql(column.type))
    try:
        if isinstance(values, CodedTexts):
            return (_coded_texts(values),)
        fixed = _fixed(kind, values)
        if fixed is not None:
            return (fixed,)
        if kind is LargeBinary and None not in values:
            return _Fixed(b"", np.array([len(value) for value in values]), ">i4"), list(values)
        return (_each(_ENCODERS.get(kind, _text), values),)
    except (struct.error, ValueError, OverflowError, TypeError) as error:  # UnicodeEncodeError is a ValueError
        raise PermanentError(f"column '{column.name}' of '{table}' cannot hold a value: {error}") from error


def _fixed(kind: type, values: Sequence[Any] | NDArray[Any]) -> _Fixed | None:
    """The column as rows of equal length; None where its values differ in length, or some are missing."""
    count = len(values)
    if isinstance(values, np.ndarray):
        if kind is UUID:
            return _sized(np.ascontiguousarray(values).view(KEY_KIND).ravel(), KEY_KIND)
        return _numbers(kind, values)
    if kind is Text:
        return _texts(values)
    missing = values.count(None)
    if missing == count:
        return _Fixed(_NULL)
    if kind in _NUMBERS and not missing:
        return _numbers(kind, np.array(values, dtype=np.float64 if kind is Double else None))
    return None


def _numbers(kind: type, values: NDArray[Any]) -> _Fixed:
    dtype = np.dtype(_NUMBERS[kind])
    same = _all_one(values)
    if same:
        values = values[:1]
    if dtype.kind == "i" and len(values):
        if values.dtype.kind not in "iub":
            raise ValueError(f"{values[0]!r} is not a whole number of 64 bits")
        bounds = np.iinfo(dtype)
        if values.min() < bounds.min or values.max() > bounds.max:
            raise ValueError(f"{values.min()} to {values.max()} is beyond {8 * dtype.itemsize} bits")
    if same:
        return _Fixed(dtype.itemsize.to_bytes(4, "big") + values.astype(dtype).tobytes())
    return _sized(values, _NUMBERS[kind])


def _all_one(values: NDArray[Any]) -> bool:
    """Whether all are the same to the last bit, as columns that speak of the batch are: then no row is looked at."""
    bits = values.view(f"i{values.dtype.itemsize}") if values.dtype.kind == "f" else values  # -0.0 is 0.0
    return len(values) > 0 and bool((bits == bits[0]).all())


def _coded_texts(values: CodedTexts) -> _Encoded:
    """Texts of which each different one is looked at once."""
    if len(values.texts) and (values.codes >= 0).all():
        raws = [text.encode() for text in values.texts]
        size = len(raws[0])
        if size and all(len(raw) == size for raw in raws):
            kind = f"V{size}"
            return _sized(np.frombuffer(b"".join(raws), kind)[values.codes], kind)
    encoded = [*map(_text, values.texts), _NULL]
    return [encoded[code] for code in values.codes.tolist()]


def _texts(values: Sequence[str | None]) -> _Fixed | None:
    different = set(values)
    if different == {None}:
        return _Fixed(_NULL)
    if None in different or len({*map(len, different)}) > 1 or not all(map(str.isascii, different)):  # type: ignore[arg-type]
        return None
    joined = "".join(values).encode()  # type: ignore[arg-type]
    kind = f"V{len(joined) // len(values)}"
    return _sized(np.frombuffer(joined, dtype=kind), kind) if joined else _Fixed(bytes(4))


def _sized(values: NDArray[Any], kind: str) -> _Fixed:
    """Each value with its length before it."""
    return _Fixed(np.dtype(kind).itemsize.to_bytes(4, "big"), values, kind)


def _on_postgresql(kind: Any) -> Any:
    return kind._variant_mapping.get("postgresql", kind)  # noqa: SLF001 - SQLAlchemy has no public way to a variant


def _each(encode: _Encode, values: Sequence[Any] | NDArray[Any]) -> list[bytes]:
    known: dict[Any, bytes] = {None: _NULL}
    found = []
    for value in values:
        encoded = known.get(value)
        if encoded is None:
            encoded = known[value] = encode(value)
        found.append(encoded)
    return found


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(4, "big") + raw


def _binary(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _uuid(value: str) -> bytes:
    return b"\x00\x00\x00\x10" + bytes.fromhex(value.replace("-", ""))


_NUMBERS: dict[type, str] = {SmallInteger: ">i2", Integer: ">i4", BigInteger: ">i8", Double: ">f8"}
_ENCODERS: dict[type, _Encode] = {
    SmallInteger: lambda value: struct.pack(">ih", 2, value),
    Integer: lambda value: struct.pack(">ii", 4, value),
    BigInteger: lambda value: struct.pack(">iq", 8, value),
    Double: lambda value: struct.pack(">id", 8, value),
    LargeBinary: _binary,
    UUID: _uuid,
}
