"""What was erased stays erased: whatever of it arrives later is counted and not kept."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine

from collector.batches.loop import Collector
from collector.batches.replay import Replayer
from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.keeping.retention import Retention
from collector.store.database import connect
from collector.store.erased import ErasedBook
from collector.store.letters import LetterFilter
from driftline import names
from driftline.errors import TransientError
from driftline.events import Payload
from driftline.halves import Half
from driftline.monitor_labels import KeySpec
from driftline.monitors import Monitor
from driftline.records import Record
from driftline.testing import ListSource
from tests.collector.helpers import Parts, batched, decode, drain, erasures, event, label, records, tables
from tests.collector.sources.parts import halves, list_collector, outcomes
from tests.collector.test_erasure import ANNA, BEN, CUSTOMER, customers

KEYED: Monitor = CUSTOMER.model_copy(
    update={"labels": CUSTOMER.labels.model_copy(update={"key": KeySpec(column="customer")})}
)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = connect(url)
    yield engine
    engine.dispose()


def eraser(parts: Parts) -> Eraser:
    return Eraser(parts.store, SubjectHasher(), parts.clock, None)


def erase(parts: Parts, kind: str, value: str, model: str = "flights") -> None:
    eraser(parts).erase(Selector("default", model, kind, value), "somebody")  # type: ignore[arg-type]


def requests(url: str) -> list[tuple[str, int]]:
    return [(row["request_id"], row["row"]) for row in map(dict, tables(url)["predictions"])]


def test_an_event_of_an_erased_request_is_counted_and_not_kept(parts: Parts, url: str) -> None:
    erase(parts, "request_id", "request-2")
    erase(parts, "request_id", "request-3", model="other")  # another model's
    drain(parts.collector(records([event(1), event(2), event(3)])))
    assert requests(url) == [("request-1", 0), ("request-3", 0)]
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 2, "erased": 1}
    assert outcomes(parts.store, names.COLLECTOR_ROWS) == {"pass": 2}
    # A replay of the stream, and a copy through another partition, count as what they are.
    before = tables(url)
    drain(parts.collector(records([event(1), event(2), event(3)])))
    assert tables(url) == before
    drain(parts.collector(records([event(2)], "spool:1")))
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 2, "erased": 1, "duplicate": 1}


def test_what_cannot_be_read_of_an_erased_request_is_no_dead_letter(parts: Parts, url: str) -> None:
    erase(parts, "request_id", "request-2")
    erase(parts, "request_id", "request-7", model="nobodys")
    broken = [event(2, body=b"broken"), event(7, model="nobodys"), event(3, body=b"broken")]
    drain(parts.collector(records(broken)))
    assert [dict(row)["event_id"] for row in tables(url)["dead_letters"]] == ["event-000003"]
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"dead_letter": 1, "erased": 2}


def test_rows_of_an_erased_subject_are_left_out_and_others_of_the_request_stay(parts: Parts, url: str) -> None:
    parts.monitors = {CUSTOMER.name: CUSTOMER}
    erase(parts, "subject", ANNA)
    came = [customers(1, ANNA), customers(2, ANNA, BEN), customers(3, BEN)]
    drain(parts.collector(records(came)))  # type: ignore[arg-type]
    assert requests(url) == [("request-2", 1), ("request-3", 0)]
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 2, "erased": 1}
    late = [value for (_, labels), value in parts.store.totals().items() if labels[-1:] == ("late_rows",)]
    assert late == [1]
    assert ANNA not in repr(tables(url))
    before = tables(url)
    drain(parts.collector(records(came, "spool:1")))  # type: ignore[arg-type]
    assert tables(url)["predictions"] == before["predictions"]
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 2, "erased": 1, "duplicate": 3}


@pytest.mark.parametrize(
    "key", [KeySpec(column="carrier"), KeySpec(path="carrier[*]")], ids=["key in a column", "key in the document"]
)
def test_who_stays_in_a_request_keeps_row_key_and_waiting_labels(parts: Parts, url: str, key: KeySpec) -> None:
    keyed = CUSTOMER.model_copy(update={"labels": CUSTOMER.labels.model_copy(update={"key": key})})
    parts.monitors = {keyed.name: keyed}
    desk = parts.desk()
    erase(parts, "subject", ANNA)
    assert desk.submit([label(2, "0", row=1)]).outcomes == {"pending": 1}
    came = customers(2, ANNA, BEN, carrier=["anna's", "ben's"])
    drain(parts.collector(records([came])))  # type: ignore[list-item]
    assert outcomes(parts.store, names.LABELS) == {"pending": 1, "joined": 1}
    assert desk.submit([label(2, "1", request_id="", key="ben's", after_s=9e3)]).outcomes == {"corrected": 1}
    assert [(row["key"], row["row"]) for row in map(dict, tables(url)["prediction_keys"])] == [("ben's", 1)]


def test_labels_of_what_was_erased_do_not_wait(parts: Parts, url: str) -> None:
    parts.monitors = {KEYED.name: KEYED}
    desk = parts.desk(erased=ErasedBook(SubjectHasher().hash))
    erase(parts, "request_id", "request-2")
    erase(parts, "subject", ANNA)
    sent = [label(2, "1"), label(3, "1"), label(0, "1", request_id="", key=ANNA), label(0, "1", request_id="", key=BEN)]
    assert desk.submit(sent).outcomes == {"erased": 2, "pending": 2}
    assert "request-2" not in repr(tables(url))
    drain(parts.collector(records([label(2, "0"), label(0, "0", request_id="", key=ANNA), label(4, "1")])))
    assert outcomes(parts.store, names.LABELS) == {"erased": 4, "pending": 3}
    assert ANNA not in repr(tables(url))


def test_halves_of_an_erased_request_do_not_wait(parts: Parts, url: str) -> None:
    erase(parts, "request_id", "request-2")
    drain(list_collector(parts, records([*halves(1), *halves(2)])))
    assert requests(url) == [("request-1", 0)]
    assert outcomes(parts.store) == {"received": 4, "paired": 2, "erased": 2}
    assert tables(url)["waiting_halves"] == []


def test_halves_that_wait_are_found_by_their_request_and_by_nothing_that_looks_like_it(parts: Parts, url: str) -> None:
    request, _ = halves(2)
    # Another request whose body speaks of the first one's id.
    speaks = Payload(body=b'{"distance": [1.0], "note": ["request-2"]}')
    other = msgspec.structs.replace(halves(3)[0], payload=speaks)
    drain(list_collector(parts, records([request, other])))
    answer = [Record("spool:9", 0, 10, _without_model(halves(4)[1]))]
    drain(list_collector(parts, answer))
    assert len(tables(url)["waiting_halves"]) == 3
    erased = eraser(parts).erase(Selector("default", "flights", "request_id", "request-2"), "somebody")
    assert erased.removed["halves"] == 1
    unnamed = eraser(parts).erase(Selector("default", "flights", "request_id", "request-4"), "somebody")
    assert unnamed.removed["halves"] == 1
    assert [dict(row)["request_id"] for row in tables(url)["waiting_halves"]] == ["request-3"]


def _without_model(half: Half) -> Half:
    return msgspec.structs.replace(half, model="", answered_model="flights")


def test_a_batch_that_was_read_before_an_erasure_is_read_again(parts: Parts, url: str) -> None:
    """The erasure comes between reading and writing: nothing of the request may be written."""
    once: list[int] = []

    def decoded(one, monitor):  # type: ignore[no-untyped-def]
        if not once:
            once.append(1)
            erase(parts, "request_id", "request-2")
        return decode(one, monitor)

    collector = Collector(
        ListSource(records([event(1), event(2)]), parts.store.position),
        parts.store,
        batched(decoded),
        parts.statistics,
        parts.monitors,
        parts.clock,
        parts.settings,
        None,
        parts.metrics,
    )
    with pytest.raises(TransientError, match="erased meanwhile"):
        collector.run_once()
    assert requests(url) == []
    drain(collector)
    assert requests(url) == [("request-1", 0)]
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 1, "erased": 1}


def test_a_letter_of_a_subject_that_was_erased_since_is_closed_and_emptied(parts: Parts, url: str) -> None:
    unable = CUSTOMER.model_copy(update={"model": "later"})
    drain(parts.collector(records([customers(5, ANNA, model="later")])))  # type: ignore[list-item]
    book = {unable.name: unable}
    # The letter is erased where the text names her; one that arrives by another way later is known by its hash.
    erase(parts, "subject", ANNA, model="later")
    assert tables(url)["dead_letters"] == []
    drain(parts.collector(records([customers(6, ANNA, model="later")], "spool:1")))  # type: ignore[list-item]
    replayer = Replayer(parts.store, batched(decode), parts.statistics, book, parts.clock, parts.settings)
    report = replayer.replay(LetterFilter(), 10, dry_run=False)
    assert report.outcomes == {"erased": 1}
    assert ANNA not in repr(tables(url))
    assert replayer.replay(LetterFilter(), 10, dry_run=False).found == 0


def test_an_erasure_is_remembered_for_as_long_as_rows_are_kept(parts: Parts, tmp_path: Path) -> None:
    drain(parts.collector(records([event(1)])))
    erase(parts, "request_id", "request-2")
    keep_s = parts.monitors["default/flights"].retention.predictions
    at_s = parts.clock()
    Retention(parts.store, parts.monitors).run(at_s + keep_s - 1.0)
    assert erasures(parts.store) == 1
    Retention(parts.store, parts.monitors).run(at_s + keep_s + 1.0)
    assert erasures(parts.store) == 0
    erase(parts, "request_id", "request-3")  # with a number that nobody has seen yet
    book = ErasedBook(SubjectHasher().hash)
    parts.store.read(book.follow)
    assert book.request("default", "flights", "request-3")
    assert not book.request("default", "flights", "request-2")


def test_a_book_lets_go_of_what_is_remembered_no_longer(parts: Parts) -> None:
    book = ErasedBook(SubjectHasher().hash, anew_every=3)
    erase(parts, "request_id", "request-2")
    assert parts.store.read(book.follow)
    Retention(parts.store, parts.monitors).run(
        parts.clock() + parts.monitors["default/flights"].retention.predictions + 1.0
    )
    assert not parts.store.read(book.follow)
    assert book.request("default", "flights", "request-2")
    assert not parts.store.read(book.follow)
    assert not book.anything()
    erase(parts, "request_id", "request-3")
    assert parts.store.read(book.follow)
    assert book.requests("default", "flights", ["request-2", "request-3"]).tolist() == [False, True]
