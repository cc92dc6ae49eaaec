"""Requests and answers that came as events of their own become the same rows as whole events do, in any order."""

import random
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.sources.merging import MergedSource
from collector.sources.waiting_room import PARTITION, WaitingRoom
from collector.store.halves import LONE_ANSWER, Waiting, begin_waiting, room
from collector.store.store import Store
from driftline import names
from driftline.events import Payload
from driftline.halves import join_halves
from driftline.records import Ignored, Record, Several
from driftline.results import StreamKey
from driftline.testing import ListSource, OneWay
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, label, records, tables
from tests.collector.sources.parts import halves, list_collector, outcomes, pairing_collector, require_balance

#: What differs between pairs and whole events by nature: ids, and the counters of halves.
APART = ("positions", "settled_halves", "waiting_halves", "totals")


def rows(url: str) -> dict[str, list]:
    found = {name: rows for name, rows in tables(url).items() if name not in APART}
    for name in ("predictions", "prediction_columns", "labels"):
        apart = (tuple(pair for pair in row if pair[0] not in ("event_id", "event_key")) for row in found[name])
        found[name] = sorted(apart, key=repr)
    return found


def waiting(parts: Parts) -> int:
    with parts.store.reading() as connection:
        return room(connection).halves


def waiting_room(parts: Parts, **bounds: int) -> WaitingRoom:
    limits = {"maximum_halves": 1000, "maximum_bytes": 10**9, **bounds}
    return WaitingRoom(parts.store, parts.monitors, parts.clock, look_every_s=0.0, **limits)


def test_in_any_order_halves_give_the_rows_that_whole_events_give(parts: Parts, url: str, tmp_path: Path) -> None:
    every = MONITOR.model_copy(update={"maximum_segments": 20})  # otherwise those that come first are watched
    parts.monitors = {every.name: every}
    whole = Parts(Store(f"sqlite:///{tmp_path}/whole.db"), monitors=parts.monitors)
    drain(whole.collector(records([event(number) for number in range(60)])))
    mixed = [half for number in range(60) for half in halves(number)]
    random.Random(5).shuffle(mixed)
    assert drain(list_collector(parts, records(mixed))) == 120
    assert rows(url) == rows(f"sqlite:///{tmp_path}/whole.db")
    assert outcomes(parts.store) == {"received": 120, "paired": 120}
    assert waiting(parts) == 0


def test_a_new_process_after_every_record_and_a_replay_change_nothing(parts: Parts, url: str) -> None:
    mixed = [half for number in range(8) for half in halves(number)]
    random.Random(7).shuffle(mixed)
    items = records([*mixed, *[label(number, 1) for number in range(8)]])
    for end in range(1, len(items) + 1):
        list_collector(parts, items[:end]).run_once()
    before = tables(url)
    drain(list_collector(parts, items))
    assert tables(url) == before
    assert len(before["predictions"]) == 8
    require_balance(parts.store, 0)


def test_the_difference_of_the_times_is_the_latency_and_the_id_follows_from_both_halves() -> None:
    request, response = halves(3)
    made = join_halves(request, response)
    assert (made.duration_ms, made.time_ns, made.status_code) == (250.0, request.time_ns, 200)
    assert made == join_halves(*halves(3))
    assert made.id != join_halves(*halves(3, id="another")).id
    assert made.id[14] == "8"


def test_a_copy_is_known_while_its_half_waits_and_after_it_was_paired(parts: Parts) -> None:
    request, response = halves(1)
    items = [request, request, response, request, response, response]
    for number, half in enumerate(items):
        drain(list_collector(parts, records([half], f"kafka:t:{number}")))
    assert outcomes(parts.store) == {"received": 6, "paired": 2, "duplicate": 4}
    assert outcomes(parts.store, names.COLLECTOR_EVENTS) == {"stored": 1}


def test_copies_within_one_batch_are_known_too(parts: Parts) -> None:
    request, response = halves(1)
    drain(list_collector(parts, records([request, request, response, response, request])))
    assert outcomes(parts.store) == {"received": 5, "paired": 2, "duplicate": 3}


def test_requests_that_share_everything_but_their_own_id_are_answered_in_order(parts: Parts, url: str) -> None:
    first, second = halves(1, request_id="same"), halves(2, request_id="same")
    drain(list_collector(parts, records([first[0], second[0], first[1], second[1]])))
    assert outcomes(parts.store) == {"received": 4, "paired": 4}
    assert len(tables(url)["predictions"]) == 2


def test_a_request_past_its_time_keeps_its_inputs_and_has_no_prediction(parts: Parts) -> None:
    request, response = halves(1)
    drain(list_collector(parts, records([request])))
    source = waiting_room(parts)
    assert source.poll(10, 0) == []
    parts.clock.advance(MONITOR.pairing.timeout)
    late = pairing_collector(parts, source)
    assert drain(late) == 1
    assert outcomes(parts.store) == {"received": 1, "unpaired": 1}
    stored = parts.store.samples(StreamKey("default", "flights", "3", "stable"), START_S, START_S + HOUR_S, 5)
    assert [dict(sample.columns) for sample in stored] == [{"distance": 100.0, "carrier": "UA"}]
    assert stored[0].prediction == ""
    require_balance(parts.store, 0)
    # The answer that comes after all has nothing to belong to any more.
    drain(list_collector(parts, records([response], "kafka:t:9")))
    parts.clock.advance(MONITOR.pairing.timeout)
    drain(pairing_collector(parts, source))
    letter = parts.store.dead_letters(10)[0]
    assert (letter.reason, letter.model, letter.partition) == (LONE_ANSWER, "flights", PARTITION)
    assert "request-1" in letter.detail
    require_balance(parts.store, 0)


def test_after_an_outage_what_waits_in_the_streams_is_read_before_a_half_is_given_up(parts: Parts) -> None:
    alone, (request, response) = halves(2)[0], halves(1)
    drain(list_collector(parts, records([alone, response])))
    parts.clock.advance(2 * MONITOR.pairing.timeout)
    came = records([event(number) for number in range(10, 40)]) + records([request], "kafka:t:1")
    room = waiting_room(parts)
    collector = pairing_collector(parts, MergedSource(ListSource(came, parts.store.position), [room], print))
    room.follow(collector.activity.behind_s, collector.activity.is_away)
    drain(collector)
    assert outcomes(parts.store) == {"received": 3, "paired": 2, "unpaired": 1}


def test_no_time_passes_for_halves_while_a_source_is_away(parts: Parts) -> None:
    drain(list_collector(parts, records([halves(1)[0]])))
    limit_s, away = MONITOR.pairing.timeout, False
    room = waiting_room(parts)
    room.follow(lambda: 0.0, lambda: away)
    parts.clock.advance(limit_s / 2)
    assert room.poll(10, 0.0) == []
    away = True  # since some moment after the last look
    for _ in range(2):
        parts.clock.advance(2 * limit_s)
        assert room.poll(10, 0.0) == []
    away = False
    assert room.poll(10, 0.0) == []
    parts.clock.advance(limit_s / 2 - 1.0)
    assert room.poll(10, 0.0) == []
    parts.clock.advance(1.0)
    assert len(room.poll(10, 0.0)) == 1


def test_an_outage_is_forgotten_when_no_half_is_left_that_it_held_up(parts: Parts) -> None:
    limit_s, away = MONITOR.pairing.timeout, True
    room = waiting_room(parts)
    room.follow(lambda: 0.0, lambda: away)
    drain(list_collector(parts, records([halves(1)[0]])))
    room.poll(10, 0.0)
    parts.clock.advance(5 * limit_s)
    away = False
    room.poll(10, 0.0)
    parts.clock.advance(limit_s + 1.0)
    assert len(room.poll(10, 0.0)) == 1


def test_a_monitor_may_say_that_lone_requests_are_dropped(parts: Parts, url: str) -> None:
    strict = MONITOR.model_copy(update={"pairing": MONITOR.pairing.model_copy(update={"unpaired_requests": "drop"})})
    parts.monitors = {strict.name: strict}
    drain(list_collector(parts, records([halves(1)[0]])))
    parts.clock.advance(601)
    drain(pairing_collector(parts, waiting_room(parts)))
    assert outcomes(parts.store) == {"received": 1, "dropped": 1}
    assert tables(url)["predictions"] == []


def test_beyond_the_bound_the_oldest_go_before_their_time(parts: Parts) -> None:
    for number in range(12):
        drain(list_collector(parts, records([halves(number)[0]], f"kafka:t:{number}")))
        parts.clock.advance(1.0)
    source = waiting_room(parts, maximum_halves=5)
    assert drain(pairing_collector(parts, source)) == 7
    assert waiting(parts) == 5
    assert outcomes(parts.store) == {"received": 12, "unpaired": 7}
    one_byte = waiting_room(parts, maximum_bytes=1)
    drain(pairing_collector(parts, one_byte))
    assert waiting(parts) == 0


def test_halves_that_two_collectors_stored_at_once_find_each_other(parts: Parts, url: str) -> None:
    """What a race leaves behind is made here by storing the second half where no joiner saw the first."""
    request, response = halves(4)
    drain(list_collector(parts, records([request])))
    with parts.store.transaction() as transaction:
        begin_waiting(transaction, [Waiting(response, parts.clock())])
    assert drain(pairing_collector(parts, waiting_room(parts))) == 1
    assert waiting(parts) == 0
    assert len(tables(url)["predictions"]) == 1
    assert outcomes(parts.store)["paired"] == 2


def test_what_waits_is_offered_once_and_anew_where_the_store_went_back(parts: Parts) -> None:
    drain(list_collector(parts, records([halves(4)[0]])))
    parts.clock.advance(MONITOR.pairing.timeout)
    source = waiting_room(parts)
    offered = list(source.poll(10, 0))
    assert len(offered) == 1
    assert not source.poll(10, 0)
    assert source.go_back(PARTITION)
    assert list(source.poll(10, 0)) == offered


def test_of_two_collectors_that_pair_the_same_half_one_does(parts: Parts, url: str) -> None:
    request, response = halves(4)
    drain(list_collector(parts, records([request])))
    parts.clock.advance(MONITOR.pairing.timeout)
    sources = [waiting_room(parts), waiting_room(parts)]
    # Both have read that the request is due before either commits.
    held = [Collected(source) for source in sources]
    for source in held:
        drain(pairing_collector(parts, source))
    drain(list_collector(parts, records([response], "kafka:t:1")))
    assert outcomes(parts.store) == {"received": 2, "unpaired": 1}
    assert len(tables(url)["predictions"]) == 1


class Collected(OneWay):
    """A source that polled before it was asked."""

    def __init__(self, source: WaitingRoom) -> None:
        self._source = source
        self._found = list(source.poll(10, 0))

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        found, self._found = self._found, []
        return found

    def acknowledge(self, partition: str, next_offset: int) -> None:
        self._source.acknowledge(partition, next_offset)


def test_gets_of_health_are_logged_too_and_are_no_inferences(parts: Parts, url: str) -> None:
    request, response = halves(1)
    nothing = msgspec.structs.replace(request, payload=Payload())
    drain(list_collector(parts, records([nothing, response])))
    assert outcomes(parts.store) == {"received": 2, "not_inference": 2}
    assert tables(url)["predictions"] == tables(url)["dead_letters"] == []


def test_halves_of_a_model_without_a_monitor_are_refused_at_once(parts: Parts) -> None:
    drain(list_collector(parts, records([*halves(1, model="nobody")])))
    assert outcomes(parts.store) == {"received": 2, "refused": 2}
    letters = parts.store.dead_letters(10)
    assert [(letter.reason, letter.model) for letter in letters] == [("unknown_model", "nobody")] * 2


def test_several_things_in_one_record_are_committed_together_and_dead_ones_have_places_of_their_own(
    parts: Parts,
) -> None:
    bad = halves(2, model="nobody")
    several = Several((*halves(1), *bad, Ignored("io.example.other"), label(1, 1)))
    drain(list_collector(parts, [Record("kafka:t:0", 5, 6, several)]))
    assert outcomes(parts.store) == {"received": 4, "paired": 2, "refused": 2, "ignored": 1}
    places = {(letter.partition, letter.offset) for letter in parts.store.dead_letters(10)}
    assert places == {("kafka:t:0#2", 5), ("kafka:t:0#3", 5)}
    assert parts.store.position("kafka:t:0") == 6


def test_short_partitions_share_a_lane_for_their_states(parts: Parts, url: str) -> None:
    items = [
        Record(f"files:{number}.json", 0, 1, half, lane="files:all")
        for number, half in enumerate(half for number in range(10) for half in halves(number))
    ]
    drain(list_collector(parts, items))
    found = tables(url)
    assert {dict(row)["partition"] for row in found["window_states"]} == {"files:all"}
    assert {dict(row)["partition"] for row in found["totals"]} == {"files:all"}
    assert len(found["predictions"]) == 10
    assert len([row for row in found["positions"] if dict(row)["partition"].startswith("files:")]) == 21


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_however_batches_fall_and_copies_repeat_the_rows_are_the_same(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / "store.db"
    shutil.copy(migrated, path)
    parts = Parts(Store(f"sqlite:///{path}", prepare=False))
    every = [half for number in range(5) for half in halves(number)]
    copies = data.draw(st.lists(st.sampled_from(every), max_size=8))
    stream = data.draw(st.permutations([*every, *copies]))
    items = records(stream)
    ends = [*sorted(data.draw(st.sets(st.integers(1, len(items)), max_size=6))), len(items)]
    for end in ends:
        list_collector(parts, items[:end]).run_once()
    drain(list_collector(parts, items))
    found = outcomes(parts.store)
    assert (found["received"], found["paired"], found.get("duplicate", 0)) == (10 + len(copies), 10, len(copies))
    assert len(tables(f"sqlite:///{path}")["predictions"]) == 5
    parts.store.close()
