"""Space of deleted rows, given back to the disk in small steps.

On SQLite alone: its file keeps the pages of what was deleted, and what is stored next uses them. PostgreSQL drops days
as files, and its own vacuum cares for the rest.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine

from driftline.errors import UnavailableError

#: Empty pages that the file may keep, as a share of all: the next rows want them.
SPARE_SHARE = 0.1
#: One step is one transaction, for which other writers wait: 1 MiB of pages, 5 to 20 ms.
_PAGES_AT_ONCE = 256
#: A file up to this size is written anew at a start, which takes a second or two for each 100 MiB.
_REWRITTEN_BYTES = 256 * 1024 * 1024
#: So long readers are waited for before the log is emptied; writers wait with us.
_LOG_WAIT_MS = 500
_INCREMENTAL = 2

_log = logging.getLogger("driftline.collector")


def give_back(engine: Engine, pause: Callable[[], bool], spare_share: float = SPARE_SHARE) -> int:
    """Cut empty pages off the file until at most ``spare_share`` of its pages are empty; by how many bytes.

    ``pause`` is called between steps; it may wait, and says whether to go on. Raises UnavailableError.
    """
    if engine.dialect.name != "sqlite":
        return 0
    with _connection(engine) as connection:
        before = pages = _number(connection, "page_count")
        while _number(connection, "freelist_count") > spare_share * pages:
            # A script, because a single statement of this kind ends after its first page.
            connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE});")
            left = _number(connection, "page_count")
            if left == pages or not pause():
                break
            pages = left
        return (before - _number(connection, "page_count")) * _number(connection, "page_size")


def empty_log(engine: Engine) -> bool:
    """Write the log of changes into the file and empty it, so that it keeps nothing that was deleted.

    False where that has to wait: somebody reads an older state, or the disk is full. The keeper tries again.
    """
    if engine.dialect.name != "sqlite":
        return True
    with suppress(UnavailableError), _connection(engine) as connection:
        waits_ms = _number(connection, "busy_timeout")
        connection.execute(f"PRAGMA busy_timeout={_LOG_WAIT_MS}")
        try:
            return _number(connection, "wal_checkpoint(TRUNCATE)") == 0
        finally:
            connection.execute(f"PRAGMA busy_timeout={waits_ms}")
    return False


def let_shrink(engine: Engine) -> None:
    """Write a file that an earlier version made anew, once, where it is small: only then it can ever get shorter."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return
    path = Path(engine.url.database)
    with _connection(engine) as connection:
        if _number(connection, "auto_vacuum") == _INCREMENTAL:
            return
        if path.stat().st_size <= _REWRITTEN_BYTES:
            try:
                connection.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
                connection.execute("VACUUM")
            except sqlite3.OperationalError as error:  # somebody else writes, or the disk is too full for a second file
                _log.warning("'%s' could not be written anew, which is tried at the next start: %s", path, error)
            return
    _log.warning(
        "'%s' was made by an earlier version and keeps the space of what is deleted; once, while nothing uses it: "
        "sqlite3 '%s' 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'",
        path,
        path,
    )


@contextmanager
def _connection(engine: Engine) -> Iterator[sqlite3.Connection]:
    """The driver's own connection, outside any transaction: what is said here cannot be said within one."""
    pooled = engine.raw_connection()
    try:
        connection = pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - asked of engines of SQLite alone
        yield connection
    except sqlite3.OperationalError as error:
        raise UnavailableError("database", str(error)) from error
    finally:
        pooled.close()


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
