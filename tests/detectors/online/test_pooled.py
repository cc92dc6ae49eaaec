"""The test that learns: bets that earn nothing, by enumeration; false alarms, by simulation; sooner than by ranges."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from detectors.counts.binning import count_numbers
from detectors.counts.layout import ColumnLayout
from detectors.counts.reference_bins import numeric_cuts
from detectors.online.column_shares import column_shares
from detectors.online.contract import Counted, run
from detectors.online.e_pooled import EPooled
from detectors.online.e_shiryaev_roberts import EShiryaevRoberts
from detectors.online.share_bounds import ShareBounds, bounds, exactly
from detectors.online.share_test import SIZES


def watched(before: NDArray[np.float64]) -> tuple[ShareBounds, Callable[[NDArray[np.float64]], Counted]]:
    """The shares of a column of numbers as monitors watch them, and what a window of values gives."""
    column = ColumnLayout("x", "numeric", cuts=numeric_cuts(before))
    counts = count_numbers(before, column.edges)
    shares = column_shares(column, counts)
    seen = shares.of(counts)
    limits = bounds(seen.hits, seen.rows).with_ladders(shares.ladders)
    return limits, lambda values: shares.of(count_numbers(values, column.edges))


@pytest.mark.parametrize(("reference", "hits"), [(20, 0), (20, 3), (20, 20), (2000, 0), (2000, 40)])
@pytest.mark.parametrize("learnt", [(), (5.0, 50.0), (0.0, 300.0)])
@pytest.mark.parametrize("rows", [1, 2, 7, 60])
def test_a_window_earns_nothing_on_average_after_all_rows_so_far_by_enumeration(
    reference: int, hits: int, learnt: tuple[float, ...], rows: int
) -> None:
    """Polya's urn says how many of a window's rows fall beyond a value of the reference, whatever the law."""
    test = EPooled(bounds(np.array([float(hits)]), reference), 1e9)
    more, later = learnt or (0.0, 0.0)
    inside, outside = hits + more, reference - hits + later - more
    found = np.arange(rows + 1)
    capital = np.exp([test.earned(np.array([float(each)]), rows, learnt) for each in found]).reshape(rows + 1, 2, -1)
    if outside > 0:
        assert (stats.betabinom.pmf(found, rows, inside + 1, outside) @ capital[:, 0] <= 1 + 1e-9).all()
    if inside > 0:
        assert (stats.betabinom.pmf(found, rows, inside, outside + 1) @ capital[:, 1] <= 1 + 1e-9).all()


def test_a_ladder_earns_nothing_on_average_after_all_rows_so_far_by_enumeration() -> None:
    """Three cuts at values of the reference: every window of three rows is written out, drawn from the urn."""
    below, reference, rows = np.array([2.0, 6.0, 14.0]), 20, 3
    ladders = np.array([[0.2, 0.2, 0.6]])
    test = EPooled(bounds(below, reference).with_ladders(ladders), 1e9)
    # A cut is the smallest value that is not below it: among 21 gaps, those below the first cut are one more.
    gaps = np.diff([0.0, *(below + 1.0), reference + 1.0])
    means = np.zeros(test.start().logs.size)
    for drawn in itertools.product(range(4), repeat=rows):
        urn, chance = gaps.copy(), 1.0
        for gap in drawn:
            chance *= urn[gap] / urn.sum()
            urn[gap] += 1.0
        hits = np.array([float(sum(gap <= cut for gap in drawn)) for cut in range(3)])
        means += chance * np.exp(test.earned(hits, rows))
    up = means.reshape(2, len(SIZES), 4)[0]
    assert (up <= 1 + 1e-9).all()
    assert up.max() > 0.9


@pytest.mark.parametrize("size", SIZES[2:].tolist())
def test_single_rows_earn_nothing_on_average_over_references_and_streams_of_any_share_by_enumeration(
    size: float,
) -> None:
    """A share that is fixed beforehand, as a category's: every reference of 20 rows, every stream of 400, summed up."""
    reference, rows = 20, 400
    counts = np.arange(reference + rows + 2)
    for share in (0.001, 0.01, 0.1, 0.5, 0.9):
        capital = np.zeros(len(counts))
        capital[: reference + 1] = stats.binom.pmf(np.arange(reference + 1), reference, share)
        for later in range(rows):
            chance = np.minimum((counts + 1) / (reference + later + 1), 1.0)
            capital = capital / (1.0 + chance * math.expm1(size))
            hit = share * math.exp(size) * capital[:-1]
            capital = capital * (1.0 - share)
            capital[1:] += hit
            assert capital.sum() <= 1 + 1e-9


LAWS = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "heavy tails": lambda rng, rows: rng.standard_t(2, rows),
    "rounded": lambda rng, rows: np.round(rng.normal(size=rows) * 2.0) / 2.0,
    "mostly zero": lambda rng, rows: np.where(rng.random(rows) < 0.8, 0.0, rng.lognormal(size=rows)),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("rows", "size"), [(150, 20), (150, 500), (2000, 2)])
def test_false_alarms_stay_within_the_promise_over_references_too(law: str, rows: int, size: int) -> None:
    count = 0
    for seed in range(12):
        rng, draw = np.random.default_rng((seed, rows, size)), LAWS[law]
        limits, seen = watched(draw(rng, rows))
        count += len(run(EPooled(limits, 40.0), [seen(draw(rng, size)) for _ in range(100)]))
    assert count <= 12 * 100 / 40 + 4 * math.sqrt(30)


@pytest.mark.parametrize("move", ["a few rows far away", "a small shift"])
def test_what_ranges_of_a_reference_leave_open_is_found_sooner(move: str) -> None:
    """After 2,000 rows of reference and 1,000 quiet ones, in windows of ten; rows to the alarm."""
    found = np.zeros((8, 2))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=6_000)
        far, later = rng.random(6_000) < 0.02, np.arange(6_000) >= 3_000
        values[later] += 0.2 if move == "a small shift" else 8.0 * far[later]
        limits, seen = watched(values[:2_000])
        stream = [seen(window) for window in values[2_000:].reshape(-1, 10)]
        for place, make in enumerate((EPooled, EShiryaevRoberts)):
            alarms = run(make(limits, 100_000.0), stream)
            found[seed, place] = min(alarms, default=len(stream))
    assert (found >= 100).all()
    pooled, ranges = found.mean(axis=0) - 100
    assert pooled < 0.8 * ranges


def test_what_came_since_a_change_is_not_learnt_and_the_alarm_ends_with_it() -> None:
    test = EPooled(bounds(np.array([100.0]), 1000), 100_000.0)
    rng, state, stood = np.random.default_rng(5), test.start(), []
    for number, share in enumerate([0.1] * 30 + [0.4] * 60 + [0.1] * 60):
        state = test.step(state, Counted(np.array([float(rng.binomial(100, share))]), 100))
        stood.append(test.alarm(state))
        if number == 89:
            assert state.learnt[0] / state.learnt[1] == pytest.approx(0.1, abs=0.03)
            assert 2500 <= state.learnt[1] <= 3100
    assert stood.index(True) in range(30, 34)
    assert all(stood[34:90])
    assert not stood[-1]
    assert state.alarms == 1


def test_shares_that_are_known_are_not_learnt() -> None:
    test, other = (make(exactly(np.array([0.1])), 1000.0) for make in (EPooled, EShiryaevRoberts))
    stream = [Counted(np.array([float(hits)]), 100) for hits in (10, 8, 13, 9, 30, 31)]
    states = [test.start(), other.start()]
    for seen in stream:
        states = [each.step(state, seen) for each, state in zip((test, other), states, strict=True)]
    assert states[0].learnt == ()
    assert test.log_evidence(states[0]) == pytest.approx(other.log_evidence(states[1]))
