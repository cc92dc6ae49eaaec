"""The schema goes forward and back, and the migrations say what the tables say."""

import math
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from collector.store.database import connect, require_database
from collector.store.migrate import downgrade, migrate
from collector.store.schema import DAILY, metadata
from driftline.errors import SettingsError
from driftline.events import Payload
from driftline.halves import Half
from driftline.results import HEAVY_TAILS, DueWindow, Result, StreamKey, Verdict, WindowKey
from tests.collector.helpers import HOUR_S, START_S, Parts, drain, event, label, records, tables

DAY_S = 86_400.0


def found_tables(url: str) -> set[str]:
    engine = connect(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def not_a_partition(name: str | None, kind: str, _parents: object) -> bool:
    """Whether it is none of the tables that hold a day, or what was before the first, of another."""
    table, _, suffix = (name or "").rpartition("_")
    return kind != "table" or table not in DAILY or not (suffix == "before" or suffix.isdigit())


def test_upgrade_and_downgrade_and_upgrade_again(url: str) -> None:
    assert set(metadata.tables) < found_tables(url)
    downgrade(url, "base")
    assert found_tables(url) == {"alembic_version"}
    migrate(url)
    migrate(url)
    assert set(metadata.tables) < found_tables(url)


def test_the_migrations_make_exactly_the_tables_of_the_schema(url: str) -> None:
    engine = connect(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": not_a_partition})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


@pytest.mark.parametrize("address", ["mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_an_address_of_another_kind_is_refused_by_name(address: str) -> None:
    with pytest.raises(SettingsError, match="is neither sqlite:///PATH nor postgresql"):
        connect(address)


@pytest.mark.parametrize("address", ["", "store.db", "postgresql:/u:secret@h/d", "postgresql://u:secret@h:port/d"])
def test_what_is_no_address_is_refused_without_showing_a_password(address: str) -> None:
    for read in (connect, require_database):
        with pytest.raises(SettingsError, match="neither sqlite:///PATH nor postgresql") as refused:
            read(address)
        assert "secret" not in str(refused.value)


def test_halves_that_waited_before_are_found_by_their_request_id_afterwards(url: str) -> None:
    downgrade(url, "0007")
    engine = connect(url)
    half = Half(
        kind="request", id="1", source="s", type="t", request_id="request-1", model="m", time_ns=1, payload=Payload()
    )
    columns = "identity, pair, kind, namespace, model, received_at_s, size_bytes, half"
    values = "'i', 'p', 'request', 'default', 'm', 1.0, 512, :half"
    with engine.begin() as connection:
        statement = text(f"INSERT INTO waiting_halves ({columns}) VALUES ({values})")
        connection.execute(statement, {"half": msgspec.msgpack.encode(half)})
    migrate(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT request_id FROM waiting_halves")).scalar_one()
    downgrade(url, "0007")
    with engine.connect() as connection:
        left = connection.execute(text("SELECT half FROM waiting_halves")).scalar_one()
    engine.dispose()
    assert found == "request-1"
    assert msgspec.msgpack.decode(bytes(left), type=Half) == half


@pytest.mark.real
def test_processes_that_start_at_once_make_one_schema(postgres: str) -> None:
    code = "import sys; from collector.store.migrate import migrate; input('ready'); migrate(sys.argv[1])"
    command = [sys.executable, "-c", code, postgres]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(6)]
    for process in started:  # each has imported what it needs
        assert process.stdout is not None
        assert process.stdout.read(5) == "ready"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [(process.communicate(timeout=240)[1], process.returncode) for process in started] == [("", 0)] * 6


def test_labels_keep_every_revision_when_they_are_keyed_by_time_and_back(parts: Parts, url: str) -> None:
    drain(parts.collector(records([event(number, at_s=START_S + DAY_S * number) for number in range(3)])))
    for change, value in enumerate(("1", "0", None)):
        later = [label(number, value, after_s=HOUR_S * change) for number in range(change, 3)]
        drain(parts.collector(records(later, f"spool:{change + 1}")))
    stored = tables(url, "labels")["labels"]
    assert sorted(dict(row)["revision"] for row in stored) == [1, 1, 1, 2, 2, 3]
    assert _key_of_labels(url) == ["time_s", "event_key", "row", "revision"]
    downgrade(url, "0009")
    assert tables(url, "labels")["labels"] == stored
    assert _key_of_labels(url) == ["event_key", "row", "revision", "time_s"]
    migrate(url)
    assert tables(url, "labels")["labels"] == stored
    assert _key_of_labels(url) == ["time_s", "event_key", "row", "revision"]


def test_results_of_before_say_in_their_field_what_their_sentence_said(parts: Parts, url: str) -> None:
    drain(parts.collector(records([event(0)])))
    key = WindowKey(StreamKey("default", "flights", "3", "stable"), "", START_S, START_S + HOUR_S)
    plain = Result(key, "", "mae", "performance", 0.5, "larger_is_worse", Verdict.OK, "mae 0.5", 100)
    heavy = replace(plain, detector="rmse", reason=f"rmse 0.7; {HEAVY_TAILS}", heavy_tails=True)
    parts.store.save_results(DueWindow(key, 1), [plain, heavy], [], 5.0)
    stored = parts.store.results(key.stream, 0.0, math.inf)
    assert [one.heavy_tails for one in stored] == [False, True]
    downgrade(url, "0010")
    migrate(url)
    assert parts.store.results(key.stream, 0.0, math.inf) == stored


@pytest.mark.real
def test_pages_of_counts_have_as_much_room_as_the_schema_says(postgres: str) -> None:
    said = [
        f"{name}={value}" for name, value in metadata.tables["window_counts"].dialect_kwargs["postgresql_with"].items()
    ]
    migrate(postgres)
    assert _options_of_counts(postgres) == said
    downgrade(postgres, "0011")
    assert _options_of_counts(postgres) is None
    migrate(postgres)
    assert _options_of_counts(postgres) == said


def _options_of_counts(url: str) -> list[str] | None:
    engine = connect(url)
    with engine.connect() as connection:
        statement = text("SELECT reloptions FROM pg_class WHERE oid = 'window_counts'::regclass")
        found: list[str] | None = connection.execute(statement).scalar_one()
    engine.dispose()
    return found


def _key_of_labels(url: str) -> list[str]:
    engine = connect(url)
    key = inspect(engine).get_pk_constraint("labels")["constrained_columns"]
    engine.dispose()
    return key
