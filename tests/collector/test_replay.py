"""Dead letters are explained, and replayed once their cause is mended: exactly once, with their history."""

import ast
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi.testclient import TestClient

from collector.batches.replay import DUPLICATE, FAILED, LANE, NOT_REPLAYABLE, STORED, Replayer
from collector.store.letters import LetterFilter, attempts, find_letters
from driftline import access, names
from driftline.access import Access, AccessBook, Grant, TokenEntry, digest_of, new_token
from driftline.monitors import Monitor
from driftline.reasons import REASONS, explain
from driftline.records import Malformed
from serving import reasons as codec_reasons
from tests.collector.helpers import MONITOR, MONITORS, Parts, batched, decode, drain, event, merged, records, tables
from tests.collector.test_api import FixedHealth, make_app
from tests.house import modules

OTHER = Monitor.model_validate({**msgspec.json.decode(MONITOR.model_dump_json(exclude_none=True)), "model": "trains"})
EVERYTHING = LetterFilter(state="all")


def replayer(parts: Parts, monitors: Mapping[str, Monitor] = MONITORS) -> Replayer:
    return Replayer(parts.store, batched(decode), parts.statistics, monitors, parts.clock, parts.settings)


def letters(parts: Parts, wanted: LetterFilter = EVERYTHING) -> list[Any]:
    with parts.store.reading() as connection:
        return find_letters(connection, wanted, 1000)


def trains(parts: Parts, count: int = 30, partition: str = "kafka:t:0") -> None:
    """Events of a model without a monitor, which become dead letters, among others."""
    mixed = [event(number, model="trains" if number % 3 == 0 else "flights") for number in range(count)]
    drain(parts.collector(records(mixed, partition)))


def replays(parts: Parts) -> dict[str, int]:
    found = {}
    for key, value in parts.store.totals().items():
        if key.metric == names.DEAD_LETTER_REPLAYS.name:
            found[key.labels[2]] = value
    return found


def test_after_its_monitor_is_written_everything_is_stored_as_if_it_had_been_there_from_the_start(
    parts: Parts, url: str
) -> None:
    trains(parts)
    mended = {**MONITORS, OTHER.name: OTHER}
    report = replayer(parts, mended).replay(LetterFilter(reason="unknown_model"), 1000, dry_run=False)
    assert (report.found, dict(report.outcomes)) == (10, {STORED: 10})
    found = tables(url)
    stored = [row for row in found["predictions"] if ("stream_id", ("default", "trains", "3", "stable")) in row]
    assert len(stored) == 10
    states = [dict(row) for row in found["window_states"] if ("segment", "") in row and "trains" in str(row)]
    assert {state["partition"] for state in states} == {LANE}
    assert merged([msgspec.json.encode(state["state"]) for state in states])["rows"] == 10
    assert replays(parts) == {STORED: 10}


def test_replaying_again_or_reading_the_stream_again_changes_nothing(parts: Parts, url: str) -> None:
    trains(parts)
    mended = {**MONITORS, OTHER.name: OTHER}
    replayer(parts, mended).replay(EVERYTHING, 1000, dry_run=False)
    before = tables(url)["predictions"]
    report = replayer(parts, mended).replay(LetterFilter(), 1000, dry_run=False)
    assert (report.found, dict(report.outcomes)) == (0, {})
    trains(parts, partition="kafka:other:0")  # the same events, sent again
    assert tables(url)["predictions"] == before


def test_a_trial_says_what_would_be_and_writes_nothing(parts: Parts, url: str) -> None:
    trains(parts)
    before = tables(url)
    mended = {**MONITORS, OTHER.name: OTHER}
    report = replayer(parts, mended).replay(LetterFilter(), 1000, dry_run=True)
    assert dict(report.outcomes) == {STORED: 10}
    assert dict(replayer(parts).replay(LetterFilter(), 1000, dry_run=True).outcomes) == {FAILED: 10}
    assert tables(url) == before


def test_what_fails_again_stays_open_with_the_new_reason_and_its_history(parts: Parts) -> None:
    drain(parts.collector(records([event(1, model="trains", body=b"{broken")])))
    (before,) = letters(parts)
    parts.clock.advance(60.0)
    assert dict(replayer(parts).replay(LetterFilter(), 10, dry_run=False).outcomes) == {FAILED: 1}
    mended = {**MONITORS, OTHER.name: OTHER}
    report = replayer(parts, mended).replay(LetterFilter(), 10, dry_run=False)
    assert dict(report.outcomes) == {FAILED: 1}
    assert report.faults[0].reason == "not_json"
    (after,) = letters(parts, LetterFilter())
    assert (before.letter.reason, after.letter.reason, after.replayed_at_s) == ("unknown_model", "not_json", None)
    with parts.store.reading() as connection:
        tried = attempts(connection, *after.place)
    assert [(each.attempt, each.outcome, each.reason) for each in tried] == [
        (0, "failed", "unknown_model"),
        (1, "failed", "unknown_model"),
        (2, "failed", "not_json"),
    ]
    assert replays(parts) == {FAILED: 2}


def test_an_event_that_was_stored_meanwhile_is_not_stored_twice(parts: Parts, url: str) -> None:
    trains(parts, 3)
    with parts.store.transaction() as transaction:  # the same letter, found in another partition
        (stored,) = letters(parts)
        twin = stored.letter
        transaction.insert_dead_letters([type(twin)(**{**_slots(twin), "partition": "kafka:t:9"})])
    mended = {**MONITORS, OTHER.name: OTHER}
    report = replayer(parts, mended).replay(LetterFilter(), 1, dry_run=False)
    assert dict(report.outcomes) == {STORED: 1}
    assert dict(replayer(parts, mended).replay(LetterFilter(), 10, dry_run=False).outcomes) == {DUPLICATE: 1}
    assert len([row for row in tables(url)["predictions"] if "trains" in str(row)]) == 1


def test_copies_among_the_letters_of_one_batch_are_stored_once(parts: Parts, url: str) -> None:
    trains(parts, 3)
    (stored,) = letters(parts)
    with parts.store.transaction() as transaction:
        twin = type(stored.letter)(**{**_slots(stored.letter), "partition": "kafka:t:9"})
        transaction.insert_dead_letters([twin])
    report = replayer(parts, {**MONITORS, OTHER.name: OTHER}).replay(LetterFilter(), 10, dry_run=False)
    assert dict(report.outcomes) == {STORED: 1, DUPLICATE: 1}
    assert len([row for row in tables(url)["predictions"] if "trains" in str(row)]) == 1
    assert replays(parts) == {STORED: 1, DUPLICATE: 1}


def _slots(letter: Any) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in type(letter).__slots__}


def test_two_replays_at_once_store_every_event_once(parts: Parts, url: str) -> None:
    trains(parts, 90)
    mended = {**MONITORS, OTHER.name: OTHER}
    reports: list[Any] = []

    def run() -> None:
        reports.append(replayer(parts, mended).replay(LetterFilter(), 1000, dry_run=False))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(reports) == 3
    assert sum(report.outcomes[STORED] for report in reports) == 30
    assert len([row for row in tables(url)["predictions"] if "trains" in str(row)]) == 30
    assert replays(parts)[STORED] == 30
    assert letters(parts, LetterFilter()) == []


def test_what_was_never_an_event_says_that_it_cannot_be_replayed(parts: Parts) -> None:
    drain(parts.collector(records([Malformed("corrupt_frame", "7 damaged bytes", b"\xff\x00")])))
    report = replayer(parts).replay(LetterFilter(), 10, dry_run=False)
    assert dict(report.outcomes) == {NOT_REPLAYABLE: 1}
    assert "never read as an event" in report.faults[0].detail


def test_letters_are_found_by_every_filter(parts: Parts) -> None:
    trains(parts, 9)
    parts.clock.advance(100.0)
    now_s = parts.clock()
    drain(parts.collector(records([Malformed("malformed", "why", b"x", 1, "shop", "cart")], "spool:a_b")))

    def places(**wanted: Any) -> int:
        return len(letters(parts, LetterFilter(**{"state": "all", **wanted})))

    assert places() == 4
    assert places(model="default/trains") == places(model="trains") == 3
    assert places(model="shop/trains") == 0
    assert places(reason="malformed") == 1
    assert places(since_s=now_s) == 1
    assert places(until_s=now_s) == 3
    assert places(partition="kafka:") == 3
    assert places(partition="spool:a%") == 0
    assert places(state="replayed") == 0


# --- over HTTP ------------------------------------------------------------------------------------------------------
def test_over_http_a_letter_is_shown_explained_and_replayed(parts: Parts) -> None:
    trains(parts, 6)
    client = TestClient(make_app(parts, parts.store, FixedHealth()))
    listed = client.get("/v1/deadletters", params={"model": "default/trains"}).json()
    assert len(listed) == 2
    assert listed[0]["meaning"] == REASONS["unknown_model"].meaning
    place = f"{listed[0]['partition']}/{listed[0]['offset']}"
    shown = client.get(f"/v1/deadletters/{place}").json()
    assert shown["not_replayable"] is None
    assert shown["request"]
    trial = client.post("/v1/deadletters/replay", json={}).json()
    assert (trial["dry_run"], trial["outcomes"]) == (True, {FAILED: 2})
    parts.monitors = {**MONITORS, OTHER.name: OTHER}
    mended = TestClient(make_app(parts, parts.store, FixedHealth()))
    one = {"partition": listed[0]["partition"], "offset": listed[0]["offset"], "dry_run": False}
    assert mended.post("/v1/deadletters/replay", json=one).json()["outcomes"] == {STORED: 1}
    assert mended.get(f"/v1/deadletters/{place}").json()["state"] == "replayed"
    assert len(mended.get("/v1/deadletters").json()) == 1


def test_a_token_for_one_model_sees_and_replays_its_letters_only(parts: Parts) -> None:
    trains(parts, 6)
    token = new_token()
    scopes = frozenset({access.DEAD_LETTERS_READ, access.DEAD_LETTERS_REPLAY})
    book = AccessBook((TokenEntry(Grant("flights", scopes, ("default/flights",)), digest_of(token)),))
    client = TestClient(make_app(parts, parts.store, FixedHealth(), Access(lambda: book)))
    client.headers["authorization"] = f"Bearer {token}"
    assert client.get("/v1/deadletters").json() == []
    assert client.get("/v1/deadletters", params={"model": "default/trains"}).status_code == 403
    stored = letters(parts)[0]
    assert client.get(f"/v1/deadletters/{stored.letter.partition}/{stored.letter.offset}").status_code == 404
    assert client.post("/v1/deadletters/replay", json={"dry_run": False}).json()["found"] == 0


# --- explained ------------------------------------------------------------------------------------------------------
def used_reasons() -> set[str]:
    """Every word that a room gives as the reason of a dead letter, read from its source."""
    trees = [ast.parse(module.text) for module in modules("collector", "logger_sidecar", "serving")]
    constants = {
        target.id: line.value.value
        for tree in trees
        for line in tree.body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
        for target in line.targets
        if isinstance(target, ast.Name)
    }
    found = set(codec_reasons.ALL)
    for call in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        place = {"Malformed": 0, "DecodeError": 0, "reject": 1}.get(name)
        if place is not None and len(call.args) > place:
            word = call.args[place]
            value = word.value if isinstance(word, ast.Constant) else constants.get(getattr(word, "id", ""))
            found |= {value} if isinstance(value, str) else set()
    return found


def test_every_reason_has_a_sentence_and_what_to_do() -> None:
    used = used_reasons()
    assert {"unknown_model", "bad_time", "unstorable", "bad_event", "response_without_request", "truncated"} <= used
    assert used - REASONS.keys() == set()
    for reason in REASONS.values():
        assert reason.meaning.endswith(".")
        assert reason.advice.endswith(".")


def test_a_reason_of_another_version_is_explained_too() -> None:
    assert explain("from_the_future").advice
