"""Event ids made many at a time: UUIDs of version 7, never the same twice, in order within a millisecond."""

import random
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.native import native_module
from logger_sidecar.recording.event_ids import EventIds

_MS = 1_000_000
_LANE: Any = native_module("logger_sidecar.proxy.lane")


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**32), st.integers(1, 50))
def test_every_id_is_a_uuid_7_of_its_millisecond(millisecond: int, seed: int, count: int) -> None:
    ids = EventIds(random.Random(seed).getrandbits)
    for number in range(count):
        found = uuid.UUID(ids.new(millisecond * _MS + number))
        assert (found.version, found.variant, found.int >> 80) == (7, uuid.RFC_4122, millisecond)


def test_ids_differ_and_those_of_a_millisecond_sort_as_they_were_made() -> None:
    ids = EventIds(random.Random(1).getrandbits)
    made = [ids.new(number * _MS // 100) for number in range(20_000)]
    assert len(set(made)) == len(made)
    assert all(made[start : start + 100] == sorted(made[start : start + 100]) for start in range(0, 20_000, 100))


@given(st.integers(0, 2**48 - 4096), st.integers(0, 2**32), st.lists(st.integers(-5, 3000), min_size=2, max_size=60))
def test_no_id_comes_twice_however_the_clock_goes(first: int, seed: int, steps: list[int]) -> None:
    ids, millisecond, made = EventIds(random.Random(seed).getrandbits), first, []
    for step in steps:
        millisecond = max(0, min(millisecond + step, 2**48 - 1))
        made.append(ids.new(millisecond * _MS))
        assert uuid.UUID(made[-1]).int >> 80 == millisecond
    assert len(set(made)) == len(made)


@given(st.integers(0, 2**48 - 5000), st.integers(0, 2**32), st.integers(1, 2000))
def test_ids_of_different_milliseconds_sort_as_they_were_made(first: int, seed: int, step: int) -> None:
    ids = EventIds(random.Random(seed).getrandbits)
    made = [ids.new((first + number * step) * _MS) for number in range(3)]
    assert made == sorted(made)


def test_one_draw_serves_many_milliseconds() -> None:
    draws: list[int] = []

    def drawn(bits: int) -> int:
        draws.append(bits)
        return 0

    ids = EventIds(drawn)
    for number in range(1024):
        ids.new(number * _MS)
    assert draws == [12, 62]
    ids.new(1024 * _MS)
    assert draws == [12, 62, 12, 62]


def test_when_the_count_runs_out_a_new_one_is_drawn() -> None:
    draws = iter([0, (1 << 62) - 1, 5, 7])
    ids = EventIds(lambda _bits: next(draws))
    first, second = ids.new(0), ids.new(0)
    assert first.endswith("-ffffffffffff")
    assert second.endswith("-000000000007")
    assert first != second


def test_two_processes_that_draw_differently_make_no_id_twice() -> None:
    one, other = EventIds(random.Random(1).getrandbits), EventIds(random.Random(2).getrandbits)
    assert not {one.new(0) for _ in range(10_000)} & {other.new(0) for _ in range(10_000)}


@given(st.integers(0, 2**48 - 4096), st.lists(st.tuples(st.booleans(), st.integers(-2, 1500)), min_size=1, max_size=60))
def test_the_end_beside_an_id_says_that_id_however_ids_are_asked_for(first: int, steps: list[tuple[bool, int]]) -> None:
    ids, millisecond, made = EventIds(random.Random(3).getrandbits), first, []
    for with_end, step in steps:
        millisecond = max(0, min(millisecond + step, 2**48 - 1))
        if with_end:
            made_id, end = ids.new_with_end(millisecond * _MS)
            assert end == f"x-request-id: {made_id}\r\n\r\n".encode()
        else:
            made_id = ids.new(millisecond * _MS)
        assert uuid.UUID(made_id).int >> 80 == millisecond
        made.append(made_id)
    assert len(set(made)) == len(made)


@pytest.mark.skipif(_LANE is None, reason="only the compiled build on Linux has a lane")
@given(st.integers(0, 2**48 - 2**20), st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 1100)), max_size=60))
def test_the_lane_makes_the_ids_that_would_be_made_without_it(first: int, steps: list[tuple[int, int]]) -> None:
    ids, same = (EventIds(random.Random(5).getrandbits) for _ in range(2))
    millisecond = first
    assert ids.new(first * _MS) == same.new(first * _MS)
    ids._low = same._low = 4090  # so that the last three digits run out
    for way, step in steps:
        millisecond = max(first, millisecond + step)
        made = _LANE.new_id(ids, millisecond) if way else ids.new(millisecond * _MS)
        assert made == same.new(millisecond * _MS)
        assert (len(made), made.isascii()) == (36, True)
