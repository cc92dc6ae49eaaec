"""What every classic that a monitor can name promises over windows: a new entry is tested by standing in the list."""

import math

import numpy as np
import pytest

from detectors.online.contract import Counted
from detectors.online.entries import NUMBER_TESTS, NumberEntry
from detectors.online.of_windows import ClassicState, OfWindows
from tests.parts.state_bytes import from_bytes, to_bytes

SHARES = np.array([0.05, 0.3, 0.5])
QUIET, MOVED = 120, 60
NAMEABLE = [entry for entry in NUMBER_TESTS if entry.of_windows is not None]
EVERY = pytest.mark.parametrize("entry", NAMEABLE, ids=lambda entry: entry.name)
Seen = tuple[Counted, float]


def made(entry: NumberEntry) -> OfWindows:
    assert entry.of_windows is not None
    return entry.of_windows(len(SHARES))


def windows(count: int, shift: float, seed: int, rows: int = 400) -> list[Seen]:
    """Each with the hits of its shares and the mean of its numbers, both moved by ``shift``."""
    rng = np.random.default_rng(seed)
    hits = rng.binomial(rows, SHARES + 0.46 * shift, (count, len(SHARES)))
    means = rng.normal(shift, rows**-0.5, count)
    return [(Counted(each.astype(float), rows), float(mean)) for each, mean in zip(hits, means, strict=True)]


STREAM = [*windows(QUIET, 0.0, 1), *windows(MOVED, 1.0, 2)]


def states(test: OfWindows, stream: list[Seen]) -> list[ClassicState]:
    found = [test.start()]
    for seen, mean in stream:
        found.append(test.step(found[-1], seen, mean))
    return found[1:]


@EVERY
def test_a_large_change_is_found_and_dated(entry: NumberEntry) -> None:
    test = made(entry)
    at, state = next((at, each) for at, each in enumerate(states(test, STREAM)) if at >= QUIET and test.alarm(each))
    assert at < QUIET + 50
    onset = test.onset(state)
    assert onset is not None
    # KSWIN cuts where its newest windows begin, whatever they show; ADWIN lets go of old ones a bucket at a time, and
    # the lowest rate, from which DDM counts, is a moment of luck.
    earliest = {"kswin": QUIET - 30, "adwin": 0, "ddm": 0}.get(entry.name, QUIET - 12)
    assert earliest <= onset.at <= QUIET + 12
    assert test.evidence(state) == state.alarms >= 1
    told = test.told(state)
    assert told == [(None, "")] if test.given == "mean" else all(way == "rose" for _, way in told)


@EVERY
def test_a_fall_is_found_as_a_rise_is(entry: NumberEntry) -> None:
    test, turned = made(entry), [*STREAM[QUIET:] * 2, *STREAM[:QUIET]]
    found = [each for at, each in enumerate(states(test, turned)) if at >= 2 * MOVED and test.alarm(each)]
    assert found
    assert test.given == "mean" or any(way == "fell" for _, way in test.told(found[0]))


@EVERY
def test_windows_without_rows_are_passed_over_and_an_alarm_is_told_once(entry: NumberEntry) -> None:
    test, empty = made(entry), (Counted(np.zeros(3), 0), math.nan)
    gaps = [each for seen in STREAM for each in (seen, empty)]
    plain, gapped = states(test, STREAM), states(test, gaps)
    assert [each.raised for each in gapped[::2]] == [each.raised for each in plain]
    assert not any(each.raised for each in gapped[1::2])
    for with_gaps, without in zip(gapped[::2], plain, strict=True):
        onsets = test.onset(with_gaps), test.onset(without)
        if onsets[0] is not None and onsets[1] is not None:
            assert onsets[0].at == 2 * onsets[1].at
    assert gapped[-1].alarms == plain[-1].alarms


@EVERY
def test_a_step_is_pure_and_a_state_goes_on_from_its_bytes(entry: NumberEntry) -> None:
    test = made(entry)
    live = kept = test.start()
    for seen, mean in STREAM:
        before = [to_bytes(member) for member in live.members]
        after = test.step(live, seen, mean)
        assert [to_bytes(member) for member in live.members] == before
        restored = tuple(from_bytes(type(member), to_bytes(member)) for member in kept.members)
        kept = test.step(ClassicState(kept.seen, kept.skipped, kept.alarms, restored, kept.raised), seen, mean)
        live = after
        assert [to_bytes(member) for member in live.members] == [to_bytes(member) for member in kept.members]
        assert (live.seen, live.alarms, live.raised) == (kept.seen, kept.alarms, kept.raised)


@EVERY
def test_odd_and_enormous_windows_are_answered(entry: NumberEntry) -> None:
    test = made(entry)
    odd = [
        (Counted(np.zeros(3), 0), 0.0), (Counted(np.array([np.nan, np.inf, -np.inf]), 10), math.nan),
        (Counted(np.ones(3), 1), math.inf), (Counted(np.full(3, 1e9), 10**9), 1e200), (Counted(np.zeros(3), -5), 0.0),
    ]  # fmt: skip
    for state in states(test, [*odd, *STREAM[:50], *odd]):
        assert math.isfinite(test.evidence(state))
        assert test.alarm(state) or test.onset(state) is None


@EVERY
def test_windows_that_are_all_the_same_never_alarm(entry: NumberEntry) -> None:
    test = made(entry)
    assert not any(test.alarm(state) for state in states(test, [STREAM[0]] * 200))


@pytest.mark.parametrize("name", ["ddm", "hddm_a"])
def test_rows_at_once_are_rows_one_by_one_where_they_are_alike(name: str) -> None:
    """What is added up does not depend on how; the looks do, and none of these would alarm in between."""
    (entry,) = (each for each in NAMEABLE if each.name == name)
    test = entry.make()
    one_by_one = test.start()
    for _ in range(40):
        one_by_one = test.step(one_by_one, 1.0)
    at_once = test.step_rows(test.start(), 1.0, 40)
    assert (at_once.count, at_once.seen) == (40, 1)
    assert one_by_one.count == 40
