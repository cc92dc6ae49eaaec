"""Many rows into one table: ``COPY`` in its binary form on PostgreSQL, one prepared statement on SQLite.

Rows are given as columns. Encoded here, column by column, they cost a third of what a statement per row costs, in the
collector as in the server; equal values of a column, which are most of them, are encoded once.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, Connection, Double, Integer, LargeBinary, SmallInteger, Table
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.exc import DBAPIError

from driftline.errors import PermanentError

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_FLOAT = np.dtype([("size", ">i4"), ("value", ">f8")])
#: Rows that are handed to the driver at once.
_ROWS_AT_ONCE = 20_000

_Encode = Callable[[Any], bytes]


def insert_columns(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """Insert rows given as columns of one length; raises PermanentError for values that the column's type lacks."""
    if not columns or not len(next(iter(columns.values()))):
        return
    if connection.dialect.name == "sqlite":
        _insert(connection, table, list(columns), list(zip(*columns.values(), strict=True)))
    else:
        _copy(connection, table, columns)


def insert_tuples(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows given as tuples in the order of ``columns``."""
    if rows:
        insert_columns(connection, table, dict(zip(columns, zip(*rows, strict=True), strict=True)))


def _insert(connection: Connection, table: Table, columns: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    # Past SQLAlchemy's handling of single parameters, which would cost more than the insert itself.
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in columns)
    markers = ", ".join("?" * len(columns))
    connection.exec_driver_sql(f"INSERT INTO {quote(table.name)} ({names}) VALUES ({markers})", rows)  # noqa: S608


def _copy(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in columns)
    statement = f"COPY {quote(table.name)} ({names}) FROM STDIN (FORMAT BINARY)"
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - a connection in use has one
    length = len(next(iter(columns.values())))
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(_BEGIN)
            for start in range(0, length, _ROWS_AT_ONCE):
                part = {name: values[start : start + _ROWS_AT_ONCE] for name, values in columns.items()}
                copy.write(_encoded(table, part))
            copy.write(_END)
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError.instance(statement, None, error, connection.dialect.loaded_dbapi.Error) from error


def _encoded(table: Table, columns: Mapping[str, Sequence[Any]]) -> bytes:
    head = len(columns).to_bytes(2, "big")
    listed = [_encode_column(table.name, table.c[name], values) for name, values in columns.items()]
    listed[0] = [head + value for value in listed[0]]
    return b"".join([value for row in zip(*listed, strict=True) for value in row])


def _encode_column(table: str, column: Any, values: Sequence[Any]) -> list[bytes]:
    kind = column.type
    try:
        if isinstance(kind, Double):
            return _floats(values)
        return _each(_ENCODERS.get(type(_on_postgresql(kind)), _text), values)
    except (struct.error, ValueError, OverflowError, TypeError) as error:  # UnicodeEncodeError is a ValueError
        raise PermanentError(f"column '{column.name}' of '{table}' cannot hold a value: {error}") from error


def _on_postgresql(kind: Any) -> Any:
    return kind._variant_mapping.get("postgresql", kind)  # noqa: SLF001 - SQLAlchemy has no public way to a variant


def _each(encode: _Encode, values: Sequence[Any]) -> list[bytes]:
    known: dict[Any, bytes] = {None: _NULL}
    found = []
    for value in values:
        encoded = known.get(value)
        if encoded is None:
            encoded = known[value] = encode(value)
        found.append(encoded)
    return found


def _floats(values: Sequence[float | None]) -> list[bytes]:
    array = np.empty(len(values), dtype=_FLOAT)
    array["size"] = 8
    try:
        array["value"] = values
    except TypeError:  # some are None
        array["value"] = [0.0 if value is None else value for value in values]
    raw, size = array.tobytes(), _FLOAT.itemsize
    found = [raw[start : start + size] for start in range(0, size * len(values), size)]
    for place, value in enumerate(values):
        if value is None:
            found[place] = _NULL
    return found


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(4, "big") + raw


def _binary(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _uuid(value: str) -> bytes:
    return b"\x00\x00\x00\x10" + bytes.fromhex(value.replace("-", ""))


_ENCODERS: dict[type, _Encode] = {
    SmallInteger: lambda value: struct.pack(">ih", 2, value),
    Integer: lambda value: struct.pack(">ii", 4, value),
    BigInteger: lambda value: struct.pack(">iq", 8, value),
    LargeBinary: _binary,
    UUID: _uuid,
}
