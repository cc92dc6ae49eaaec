"""SQLite's file gets shorter when rows go, in steps, and keeps nothing of what was erased."""

import sqlite3
import threading
from collections.abc import Iterator
from itertools import count
from math import ceil
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.keeping.keeper import Keeper
from collector.store.database import connect, reading
from collector.store.file_space import SPARE_SHARE, empty_log, give_back
from collector.store.store import Store
from tests.collector.helpers import START_S, Parts, drain, event, records

SECRET = "anna@example.org"
DAY_S = 86_400.0


@pytest.fixture
def path(tmp_path: Path, migrated: Path) -> Path:
    copy = tmp_path / "store.db"
    copy.write_bytes(migrated.read_bytes())
    return copy


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def parts(path: Path) -> Iterator[Parts]:
    store = Store(f"sqlite:///{path}", prepare=False)
    yield Parts(store, directory=path.parent)
    store.close()


def go_on() -> bool:
    return True


def fill(engine: Engine, rows: int = 2000) -> None:
    """Rows of a kilobyte, and then nothing of them."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE big (content BLOB)"))
        connection.execute(text("INSERT INTO big VALUES (zeroblob(1000))"), [{}] * rows)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM big"))
    empty_log(engine)


def test_the_file_gets_shorter_in_steps_and_keeps_a_share_to_spare(engine: Engine, path: Path) -> None:
    empty = path.stat().st_size
    fill(engine)
    full = path.stat().st_size
    assert full > empty + 2_000_000
    steps = count()
    given = give_back(engine, lambda: next(steps) >= 0)
    assert empty_log(engine)
    assert path.stat().st_size == full - given
    assert next(steps) == ceil(given / (256 * 4096)) >= 2
    with reading(engine) as connection:
        free, pages = (
            connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("freelist_count", "page_count")
        )
        assert free <= SPARE_SHARE * pages
        assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert give_back(engine, go_on) == 0


def test_it_stops_when_it_is_told_to(engine: Engine) -> None:
    fill(engine)
    assert give_back(engine, lambda: False) == 256 * 4096


def test_somebody_who_reads_an_older_state_only_delays_the_log(engine: Engine, path: Path) -> None:
    with reading(engine) as connection:
        connection.execute(text("SELECT count(*) FROM streams")).scalar_one()
        fill(engine)
        assert not empty_log(engine)
    assert empty_log(engine)
    assert path.with_name("store.db-wal").stat().st_size == 0


@pytest.mark.parametrize("how", ["erased", "kept too long"])
def test_nothing_of_what_went_is_left_in_any_file(parts: Parts, path: Path, how: str) -> None:
    body = b'{"customer": "' + SECRET.encode() + b'", broken' + b" " * 20_000
    drain(parts.collector(records([event(number, body=body) for number in range(20)])))
    assert SECRET in everything(path)
    if how == "erased":
        eraser = Eraser(parts.store, SubjectHasher(), parts.clock, None)
        eraser.erase(Selector("default", "flights", "subject", SECRET), "somebody")
    else:
        parts.clock.now_s = START_S + 400 * DAY_S
        Keeper(parts.store, parts.monitors, None, parts.clock, 1.0, threading.Event()).run_once()
    assert SECRET not in everything(path)


def test_the_keeper_gives_back_what_retention_freed(parts: Parts, path: Path) -> None:
    drain(parts.collector(records([event(number, body=b"{" + b"x" * 50_000) for number in range(60)])))
    assert empty_log(parts.store.engine)
    full = path.stat().st_size
    parts.clock.now_s = START_S + 400 * DAY_S
    Keeper(parts.store, parts.monitors, None, parts.clock, 1.0, threading.Event()).run_once()
    assert path.stat().st_size < full / 2


def test_a_file_of_an_earlier_version_is_written_anew_once(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("VACUUM")
    connection.close()
    assert mode(path) == 0
    store = Store(f"sqlite:///{path}")
    store.close()
    assert mode(path) == 2


def mode(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA auto_vacuum").fetchone()[0])
    finally:
        connection.close()


def everything(path: Path) -> str:
    """All bytes of the database's files."""
    return b"".join(each.read_bytes() for each in sorted(path.parent.glob("store.db*"))).decode("latin-1")
