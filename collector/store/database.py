"""Connecting to the store's database: what differs between SQLite and PostgreSQL, and what a failure means.

SQLite runs in write-ahead mode: readers never wait, writers take turns and say so at their beginning
(``BEGIN IMMEDIATE``), so that a transaction that has begun is never refused half-way.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any

import msgspec
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from driftline.errors import PermanentError, SettingsError, TransientError, UnavailableError

#: Marks a connection whose transaction writes.
WRITES = "driftline_writes"
_BUSY_TIMEOUT_MS = 15_000
#: The log of changes is cut to so many bytes once they are in the file.
_LOG_BYTES = 64 * 1024 * 1024
#: Text of so many characters is a key as it is, where it is ASCII and has no NUL.
SHORT_KEY = 512
#: PostgreSQL's class of errors for values beyond a limit of the program; waiting does not help there.
_LIMIT_EXCEEDED = "54"
_NO_TABLE = "42P01"
_NO_ADDRESS = "neither sqlite:///PATH nor postgresql://USER@HOST/DATABASE"
#: See :func:`prefer_indexes`.
PREFER_INDEXES = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off; "
    "SET LOCAL enable_memoize = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0; "
    "SET LOCAL work_mem = '64MB'"
)


def connect(url: str) -> Engine:
    """An engine for ``sqlite:///PATH`` or ``postgresql://...``; raises SettingsError for any other."""
    parsed = _parsed(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        driven = parsed.set(drivername="postgresql+psycopg")
        return create_engine(driven, pool_pre_ping=True, pool_size=5, pool_use_lifo=True)
    if backend != "sqlite" or not parsed.database or parsed.database == ":memory:":
        shown = parsed.render_as_string(hide_password=True)
        raise SettingsError("store", [f"'{shown}' is {_NO_ADDRESS}"])
    directory = Path(parsed.database).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError("store", [f"directory '{directory}' cannot be made: {error.strerror}"]) from error
    # The connection that was used last is used next: each has a page cache of its own, and taking turns fills them all.
    engine = create_engine(parsed, pool_use_lifo=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def require_database(url: str) -> None:
    """Raise SettingsError where ``url`` names a file of SQLite that is not there, which connecting would make."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).is_file():
        raise SettingsError("store", [f"there is no file '{parsed.database}'; --database-url says where the store is"])


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for one consistent read."""
    with translated_errors(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    with (
        translated_errors(engine),
        engine.connect().execution_options(**{WRITES: True}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Turn the database's errors into driftline's.

    UnavailableError: not there, busy or interrupted; of a file it says which. TransientError: another writer was first.
    PermanentError: the values themselves cannot be stored.
    """
    try:
        yield
    except IntegrityError as error:
        raise TransientError(f"another writer stored the same first: {_sentence(error)}") from error
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        if _sqlstate(error).startswith(_LIMIT_EXCEEDED):
            raise PermanentError(f"database refuses the values: {_sentence(error)}") from error
        raise UnavailableError("database", _of_file(engine) + _sentence(error)) from error
    except DBAPIError as error:
        if _sqlstate(error) == _NO_TABLE:  # the database is migrated, so that it can only be a day that was dropped
            raise TransientError(f"a day was dropped meanwhile: {_sentence(error)}") from error
        if error.connection_invalidated:
            raise UnavailableError("database", _sentence(error)) from error
        raise PermanentError(f"database refuses the values: {_sentence(error)}") from error
    except SQLAlchemyError as error:
        raise PermanentError(f"database: {_sentence(error)}") from error
    except OverflowError as error:
        raise PermanentError(f"database: {error}") from error


def prefer_indexes(connection: Connection) -> None:
    """Until the transaction ends, look rows up one by one: what the collector writes are few rows among many.

    PostgreSQL knows nothing about lists that are parameters, and reads whole tables when it guesses them to be long. It
    reckons with 8 KiB for each part of each group that it guesses at, and sorts where hashing them has not the room.
    """
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(PREFER_INDEXES)


def upsert(connection: Connection, table: Table) -> Any:
    """An ``INSERT`` that may say what is to happen where a row of the same key is there: each dialect has its own."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def is_any_of(connection: Connection, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """``column`` is one of ``values``: one parameter however many they are."""
    listed = bindparam(None, msgspec.json.encode(values).decode(), type_=Text)
    if connection.dialect.name == "sqlite":
        each = func.json_each(listed).table_valued("value")
        return column.in_(select(each.c.value))
    # An array, not a subquery to join with: whatever statistics say, the index is asked once for each value.
    each_text = select(func.json_array_elements_text(cast(listed, JSON))).scalar_subquery()
    return column == any_(func.array(each_text, type_=ARRAY(Text)))


def clean(value: str) -> str:
    r"""Text that every database takes: without NUL characters and halves of surrogate pairs.

    >>> clean("a\x00b")
    'a\ufffdb'
    """
    if "\x00" in value:
        value = value.replace("\x00", "\ufffd")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def key_text(value: str) -> str:
    """Clean text short enough for every index; long text is cut and told apart by its digest.

    >>> key_text("r1"), len(key_text("x" * 9000))
    ('r1', 512)
    """
    if len(value) <= SHORT_KEY and value.isascii() and "\x00" not in value:
        return value  # nearly always
    cleaned = clean(value)
    if len(cleaned) <= SHORT_KEY:
        return cleaned
    return cleaned[: SHORT_KEY - 64] + hashlib.sha256(cleaned.encode()).hexdigest()


def key_texts(values: Sequence[str]) -> Sequence[str]:
    """:func:`key_text` of each, at hardly any cost where all are plain."""
    together = "".join(values)
    if together.isascii() and "\x00" not in together and max(map(len, values), default=0) <= SHORT_KEY:
        return values
    return [key_text(each) for each in values]


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:  # which is not shown: it may hold a password
        raise SettingsError("store", [f"the database's URL is {_NO_ADDRESS}"]) from error


def _prepare_sqlite(connection: SqliteConnection, _record: object) -> None:
    connection.create_function("md5", 1, _md5, deterministic=True)
    connection.isolation_level = None  # transactions begin where _begin_sqlite says, not where the driver guesses
    cursor = connection.cursor()
    if not cursor.execute("PRAGMA page_count").fetchone()[0]:
        # So that the file can be shortened later (file_space). Later it says nothing, and waits for whoever writes.
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
    # What is erased is overwritten, in the file as in its empty pages.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA cache_size=-32768")
    cursor.close()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")


def _of_file(engine: Engine) -> str:
    """Which file SQLite speaks of, as it does not say so itself; PostgreSQL names its host."""
    return f"{engine.url.database}: " if engine.dialect.name == "sqlite" else ""


def _sqlstate(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None))


def _sentence(error: Exception) -> str:
    origin = getattr(error, "orig", None) or error
    return " ".join(str(origin).split())[:300]
