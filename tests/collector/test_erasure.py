"""What is known of a request or a person goes, everywhere; counts stay, and who asked is kept for good."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from collector.batches.payloads import PayloadWriter
from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.server import open_subjects
from collector.settings import CollectorSettings
from collector.store.database import connect
from driftline.monitor_labels import KeySpec
from driftline.monitors import ColumnSpec, Monitor, SubjectSpec
from driftline.results import WindowKey
from tests.collector.helpers import MONITOR, START_S, Parts, drain, event, label, merged, records, tables
from tests.collector.payload_rows import read_payloads

CUSTOMER = MONITOR.model_copy(
    update={
        "columns": (*MONITOR.columns, ColumnSpec(name="customer", type="categorical", drift=False)),
        "subject": SubjectSpec(column="customer"),
    }
)
ANNA, BEN = "anna@example.org", "ben@example.org"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = connect(url)
    yield engine
    engine.dispose()


def customers(number: int, *names: str, **changes: object) -> object:
    count = len(names)
    columns = {
        "distance": [100.0] * count,
        "carrier": ["AA"] * count,
        "late": ["1"] * count,
        "score": [0.5] * count,
        "customer": list(names),
    }
    return event(number, **{**columns, **changes})  # type: ignore[arg-type]


def filled(parts: Parts, tmp_path: Path) -> Eraser:
    """Anna in three requests, of which one is Ben's too; labels of all, waiting ones, and letters that name her."""
    parts.monitors = {CUSTOMER.name: CUSTOMER}
    parts.payloads = PayloadWriter(tmp_path / "payloads")
    items = [
        customers(1, ANNA),
        customers(2, ANNA, BEN),
        customers(3, BEN),
        customers(4, ANNA, at_s=START_S + 90_000.0),
        event(5, event_id="letter-anna", body=b'{"customer": "' + ANNA.encode() + b'", broken'),
        event(6, event_id="letter-other", body=b'{"customer": "hanna@example.org", broken'),
        *[label(number, "0") for number in (1, 2, 3, 4)],
        label(2, "1", row=1),
        label(77, "1"),
    ]
    drain(parts.collector(records(items)))  # type: ignore[arg-type]
    return Eraser(parts.store, SubjectHasher(), parts.clock, parts.payloads.files)


def payload_rows(parts: Parts, tmp_path: Path, monitor: Monitor = CUSTOMER) -> list[tuple[str, str]]:
    table = read_payloads(tmp_path / "payloads", parts.store.payload_files(), monitor, 0.0, 2 * START_S)
    return list(zip(table["_request_id"].to_pylist(), table["customer"].to_pylist(), strict=True))


def text_of_everything(url: str, tmp_path: Path) -> str:
    """All that the store and its files hold, as text to search in; the tests' own statistics count every value."""
    parquet = b"".join(path.read_bytes() for path in sorted((tmp_path / "payloads").rglob("*.parquet")))
    found = {name: rows for name, rows in tables(url).items() if name != "window_states"}
    return repr(found) + repr(parquet)


def test_who_shares_a_request_with_somebody_erased_is_found_by_key_all_the_same(parts: Parts, url: str) -> None:
    keyed = CUSTOMER.model_copy(
        update={"labels": CUSTOMER.labels.model_copy(update={"key": KeySpec(column="carrier", several="newest")})}
    )
    parts.monitors = {keyed.name: keyed}
    came = [customers(2, ANNA, BEN, carrier=["anna's", "ben's"]), label(2, "1", row=7)]
    drain(parts.collector(records(came)))  # type: ignore[arg-type]
    erased = Eraser(parts.store, SubjectHasher(), parts.clock, None).erase(
        Selector("default", "flights", "subject", ANNA), "somebody"
    )
    assert (erased.removed["keys"], erased.removed["pending"]) == (1, 0)
    assert [(row["key"], row["row"]) for row in map(dict, tables(url)["prediction_keys"])] == [("ben's", 1)]
    assert [row["row"] for row in map(dict, tables(url)["labels_pending"])] == [7]


def test_a_subject_is_erased_everywhere_and_others_stay(parts: Parts, url: str, tmp_path: Path) -> None:
    eraser = filled(parts, tmp_path)
    before = tables(url)
    assert ANNA in text_of_everything(url, tmp_path)
    erased = eraser.erase(Selector("default", "flights", "subject", ANNA), "token:privacy")
    assert erased.removed == {
        "predictions": 3,
        "columns": 3,
        "labels": 3,
        "payload_rows": 3,
        "dead_letters": 1,
        "pending": 0,
        "keys": 0,
    }
    after = tables(url)
    left = [dict(row) for row in after["predictions"]]
    assert [(row["request_id"], row["row"]) for row in left] == [("request-2", 1), ("request-3", 0)]
    assert payload_rows(parts, tmp_path) == [("request-2", BEN), ("request-3", BEN)]
    assert [dict(row)["event_id"] for row in after["dead_letters"]] == ["letter-other"]
    assert ANNA not in text_of_everything(url, tmp_path).replace("hanna@example.org", "")
    for name in ("window_states", "window_counts", "stream_spans"):  # of nobody in particular
        assert after[name] == before[name]
    window = WindowKey(parts.store.streams()[0].stream, "", START_S, START_S + 3600.0)
    assert merged(parts.store.window_states(window))["rows"] == 4


def test_a_request_is_erased_with_all_its_rows_and_its_waiting_labels(parts: Parts, url: str, tmp_path: Path) -> None:
    eraser = filled(parts, tmp_path)
    assert eraser.erase(Selector("default", "flights", "request_id", "request-2"), "somebody").removed == {
        "predictions": 2,
        "columns": 2,
        "labels": 2,
        "payload_rows": 2,
        "pending": 0,
        "keys": 0,
    }
    waiting = eraser.erase(Selector("default", "flights", "request_id", "request-77"), "somebody")
    assert waiting.removed["pending"] == 1
    assert tables(url)["labels_pending"] == []
    assert [name for name, _ in payload_rows(parts, tmp_path)] == ["request-1", "request-3", "request-4"]
    other = eraser.erase(Selector("default", "other", "request_id", "request-1"), "somebody")
    assert not any(other.removed.values())
    letter = eraser.erase(Selector("default", "flights", "request_id", "request-5"), "somebody")
    assert letter.removed["dead_letters"] == 1


def test_a_replay_does_not_bring_back_what_was_erased(parts: Parts, url: str, tmp_path: Path) -> None:
    eraser = filled(parts, tmp_path)
    eraser.erase(Selector("default", "flights", "request_id", "request-1"), "somebody")
    eraser.erase(Selector("default", "flights", "subject", BEN), "somebody")
    kept = tables(url)["predictions"]
    drain(parts.collector(records([customers(1, ANNA), customers(3, BEN)], "spool:again")))  # type: ignore[list-item]
    assert tables(url)["predictions"] == kept


def test_every_erasure_is_audited_and_the_audit_only_grows(
    parts: Parts, url: str, tmp_path: Path, engine: Engine
) -> None:
    eraser = filled(parts, tmp_path)
    first = eraser.erase(Selector("default", "flights", "subject", ANNA), "token:privacy")
    second = eraser.erase(Selector("default", "flights", "request_id", "never-seen"), "token:other")
    newest, oldest = eraser.audited(10)
    assert (oldest["id"], newest["id"]) == (first.audit_id, second.audit_id)
    assert (oldest["actor"], oldest["selector"], oldest["at_s"]) == ("token:privacy", "subject", parts.clock.now_s)
    assert msgspec.json.decode(oldest["removed"])["predictions"] == 3
    assert ANNA not in repr((oldest, newest))
    assert "never-seen" not in repr((oldest, newest))
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with engine.connect() as connection, pytest.raises(DatabaseError, match="only grows"):
            connection.execute(text(statement))
    assert len(tables(url)["audit"]) == 2


def test_nothing_is_erased_when_a_file_cannot_be_written(parts: Parts, url: str, tmp_path: Path) -> None:
    eraser = filled(parts, tmp_path)
    before = tables(url)
    for file in parts.store.payload_files():  # a damaged one: nobody can say what it holds
        (tmp_path / "payloads" / file.path).write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(Exception, match="cannot read"):
        eraser.erase(Selector("default", "flights", "subject", ANNA), "somebody")
    after = tables(url)
    assert len(after.pop("erased")) == 1  # what comes from now on is not kept; asking again erases the rest
    assert after == {name: rows for name, rows in before.items() if name != "erased"}


def test_subjects_are_found_with_the_secret_only_and_differ_between_models() -> None:
    one, other = SubjectHasher("secret"), SubjectHasher("another")
    assert one.hash("n", "m", ANNA) == SubjectHasher("secret").hash("n", "m", ANNA)
    assert len({one.hash("n", "m", ANNA), other.hash("n", "m", ANNA), one.hash("n", "m2", ANNA)}) == 3
    assert one.hash("n", "mx", "y") != one.hash("n", "m", "xy")


def test_subjects_that_are_hashed_without_a_secret_are_told() -> None:
    monitors = {MONITOR.name: MONITOR, "default/people": CUSTOMER}
    assert open_subjects(CollectorSettings(), monitors) == ["default/people"]
    assert open_subjects(CollectorSettings(subject_secret="s"), monitors) == []
    assert "secret='s'" not in repr(CollectorSettings(subject_secret="s"))
