"""An answer whose request came too late becomes the inference that it is half of, once somebody replays it."""

import msgspec

from collector.batches.replay import FAILED, NOT_REPLAYABLE, STORED
from collector.store.letters import LetterFilter
from driftline.records import Malformed
from tests.collector.helpers import MONITOR, Parts, drain, event, label, records, tables
from tests.collector.sources.parts import halves, list_collector, outcomes, pairing_collector, require_balance
from tests.collector.sources.test_joining import waiting_room
from tests.collector.test_replay import replayer


def lone_answer(parts: Parts) -> None:
    """The answer to a request that is not there waits, and becomes a letter."""
    drain(list_collector(parts, records([halves(1)[1]])))
    parts.clock.advance(MONITOR.pairing.timeout)
    drain(pairing_collector(parts, waiting_room(parts)))
    assert [letter.reason for letter in parts.store.dead_letters(10)] == ["response_without_request"]


def test_an_answer_is_paired_with_the_request_that_came_after_all(parts: Parts, url: str) -> None:
    lone_answer(parts)
    drain(list_collector(parts, records([halves(1)[0]], "kafka:t:1")))
    trial = replayer(parts).replay(LetterFilter(), 10, dry_run=True)
    assert dict(trial.outcomes) == {STORED: 1}
    assert tables(url)["predictions"] == []
    report = replayer(parts).replay(LetterFilter(), 10, dry_run=False)
    assert dict(report.outcomes) == {STORED: 1}
    whole = {dict(row)["request_id"]: dict(row)["prediction"] for row in tables(url)["predictions"]}
    assert whole == {"request-1": "1"}
    assert tables(url)["waiting_halves"] == []
    assert outcomes(parts.store) == {"received": 2, "unpaired": 1, "paired": 1}
    require_balance(parts.store, 0)
    before = tables(url)
    assert replayer(parts).replay(LetterFilter(), 10, dry_run=False).found == 0
    drain(list_collector(parts, records(list(halves(1)), "kafka:t:2")))  # copies of both
    assert tables(url)["predictions"] == before["predictions"]


def test_an_answer_whose_request_never_came_says_so_and_stays_open(parts: Parts) -> None:
    lone_answer(parts)
    report = replayer(parts).replay(LetterFilter(), 10, dry_run=False)
    assert dict(report.outcomes) == {FAILED: 1}
    assert "no request waits for this answer" in report.faults[0].detail
    assert replayer(parts).replay(LetterFilter(), 10, dry_run=True).found == 1


def test_a_label_that_was_none_in_an_earlier_version_is_joined(parts: Parts, url: str) -> None:
    raw = msgspec.json.encode(label(1, "1"))
    drain(parts.collector(records([event(1), Malformed("malformed", "no label yet", raw)])))
    report = replayer(parts).replay(LetterFilter(), 10, dry_run=False)
    assert dict(report.outcomes) == {STORED: 1}
    assert [dict(row)["label"] for row in tables(url)["labels"]] == ["1"]


def test_what_was_cut_says_why_it_cannot_be_replayed(parts: Parts) -> None:
    long = b"x" * parts.settings.maximum_raw_bytes
    drain(parts.collector(records([Malformed("truncated", "cut", b"\x00\x01"), Malformed("malformed", "long", long)])))
    report = replayer(parts).replay(LetterFilter(), 10, dry_run=False)
    assert dict(report.outcomes) == {NOT_REPLAYABLE: 2}
    told = " ".join(fault.detail for fault in report.faults)
    assert "cut where it was logged" in told
    assert "(maximum_raw_bytes), not all" in told
