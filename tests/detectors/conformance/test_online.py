"""What every sequential test promises, over the list of them: a new entry is tested by standing there."""

import dataclasses

import numpy as np
import pytest

from detectors.online.contract import Counted, run
from detectors.online.entries import SHARE_TESTS, ShareEntry
from detectors.online.share_bounds import bounds, exactly
from detectors.online.share_test import REMEMBERED, ShareState
from tests.parts.state_bytes import from_bytes, to_bytes

SHARES = np.array([0.05, 0.3, 0.5])
THRESHOLD = 500.0
EVERY = pytest.mark.parametrize("entry", SHARE_TESTS, ids=lambda entry: entry.name)


def windows(shares: np.ndarray, count: int, rows: int, seed: int) -> list[Counted]:
    rng = np.random.default_rng(seed)
    return [Counted(rng.binomial(rows, shares).astype(float), rows) for _ in range(count)]


def made(entry: ShareEntry, threshold: float = THRESHOLD):
    return entry.make(exactly(SHARES), threshold, 1)


def parts(state: ShareState) -> list[object]:
    values = [getattr(state, field.name) for field in dataclasses.fields(state)]
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]


STREAM = [*windows(SHARES, 20, 200, 1), *windows(SHARES + 0.25, 30, 200, 2), *windows(SHARES, 150, 200, 3)]


@EVERY
def test_a_large_change_is_found_and_dated_and_the_alarm_ends_with_it(entry: ShareEntry) -> None:
    test, state = made(entry), made(entry).start()
    stood, onsets = [], []
    for number, seen in enumerate(STREAM):
        state = test.step(state, seen)
        if test.alarm(state):
            stood.append(number)
            onsets.append(test.onset(state))
    assert 20 <= stood[0] < 30
    assert onsets[0] is not None
    assert onsets[0].earliest <= 20 <= onsets[0].latest
    assert abs(onsets[0].at - 20) <= 6
    assert stood == list(range(stood[0], stood[-1] + 1))
    assert 49 <= stood[-1] < len(STREAM) - 1
    assert state.alarms == 1
    assert test.onset(state) is None


@EVERY
def test_a_step_changes_nothing_but_what_it_returns_and_says_the_same_again(entry: ShareEntry) -> None:
    test = made(entry)
    state = test.step(test.start(), STREAM[0])
    before = parts(state)
    once, twice = test.step(state, STREAM[30]), test.step(state, STREAM[30])
    assert parts(state) == before
    assert parts(once) == parts(twice)


@EVERY
def test_a_state_is_the_same_bytes_and_goes_on_from_them_exactly(entry: ShareEntry) -> None:
    test = made(entry)
    live = kept = test.start()
    for seen in STREAM:
        live = test.step(live, seen)
        kept = test.step(from_bytes(ShareState, to_bytes(kept)), seen)
        assert to_bytes(live) == to_bytes(kept)
    assert parts(live) == parts(kept)


@EVERY
def test_a_state_never_grows_beyond_what_it_remembers(entry: ShareEntry) -> None:
    test = entry.make(bounds(SHARES * 1000, 1000), THRESHOLD, 1)
    state, sizes = test.start(), []
    for seen in windows(SHARES, 2 * REMEMBERED, 50, 4):
        state = test.step(state, seen)
        sizes.append(len(to_bytes(state)))
    assert len(state.rows) == REMEMBERED
    assert max(sizes[REMEMBERED:]) - min(sizes[REMEMBERED:]) <= 16


@EVERY
def test_empty_odd_and_enormous_windows_are_answered(entry: ShareEntry) -> None:
    odd = [
        Counted(np.zeros(3), 0), Counted(np.array([np.nan, np.inf, -np.inf]), 10), Counted(np.ones(3), 1),
        Counted(np.full(3, 1e9), 10**9), Counted(np.zeros(3), 10**9), Counted(np.zeros(3), -5), Counted(SHARES, 1),
    ]  # fmt: skip
    for test in (made(entry), entry.make(bounds(np.zeros(3), 0), THRESHOLD, 1), entry.make(exactly(np.zeros(3)), 2, 5)):
        state = test.start()
        assert test.evidence(state) == 0.0
        for seen in odd:
            state = test.step(state, seen)
            assert np.isfinite(test.evidence(state))
            assert test.alarm(state) == (test.onset(state) is not None)
    assert entry.make(bounds(np.zeros(3), 0), THRESHOLD, 1).alarm(state) in (True, False)


@EVERY
def test_where_nothing_is_known_of_the_reference_nothing_is_an_alarm(entry: ShareEntry) -> None:
    assert run(entry.make(bounds(np.zeros(3), 0), 1.0, 1), STREAM) == []


@EVERY
def test_a_change_within_the_bounds_is_none(entry: ShareEntry) -> None:
    tolerant = entry.make(bounds(SHARES * 1e6, 10**6, margin=0.3), THRESHOLD, 1)
    assert run(tolerant, STREAM) == []


@EVERY
def test_single_events_are_windows_of_one_row(entry: ShareEntry) -> None:
    rng = np.random.default_rng(7)
    errors = np.concatenate((rng.random(400) < 0.1, rng.random(400) < 0.5)).astype(float)
    test = entry.make(exactly(np.array([0.1])), 10_000.0, 1)
    (at,) = run(test, [Counted(np.array([error]), 1) for error in errors])
    assert 400 <= at < 480


@EVERY
def test_evidence_before_the_alarm_is_worth_at_most_the_windows_seen(entry: ShareEntry) -> None:
    """E[M_t] <= t is the whole promise; the mean of 300 runs of 20 windows, at a bound 4 standard errors above."""
    test = made(entry, threshold=1e300)
    rng, found = np.random.default_rng(11), []
    for _ in range(300):
        state = test.start()
        for _ in range(20):
            state = test.step(state, Counted(rng.binomial(50, SHARES).astype(float), 50))
        found.append(min(test.evidence(state), 20_000.0))
    assert np.mean(found) - 4 * np.std(found) / np.sqrt(len(found)) <= 20
    assert np.mean(found) > 0.0
