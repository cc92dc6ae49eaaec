"""The 95 % intervals of effects hold the effects that samples were drawn with, of few rows as of many categories."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from detectors.statistics.columns import alongside
from detectors.statistics.effect_size import effect_sizes
from detectors.statistics.evidence import ColumnSample
from driftline.results import Interval

DRAWS = 400
# Of 400 intervals that hold nineteen times in twenty, fewer hold once in a thousand.
FEWEST_HOLD = stats.binom.ppf(0.001, DRAWS, 0.95) / DRAWS


def held(effects: list[Interval], truth: float) -> float:
    return float(np.mean([each.lower <= truth <= each.upper for each in effects]))


def told_too_small(effects: list[Interval], truth: float) -> float:
    return float(np.mean([each.upper < truth for each in effects]))


def of_categories(shares: tuple[NDArray[np.float64], NDArray[np.float64]], rows: tuple[int, int]) -> list[Interval]:
    rng = np.random.default_rng(1)
    sides = [rng.multinomial(size, share, DRAWS) for size, share in zip(rows, shares, strict=True)]
    before, now = (np.pad(side, ((0, 0), (0, 2))) for side in sides)
    names = tuple(map(str, range(len(shares[0]))))
    samples = [ColumnSample("x", "categorical", *each, categories=names) for each in zip(before, now, strict=True)]
    return effect_sizes(alongside(samples))


@pytest.mark.parametrize("rows", [(200, 200), (1000, 1000), (10_000, 1000), (1000, 10_000)])
@pytest.mark.parametrize("moved", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("categories", [2, 5, 20, 100])
def test_intervals_of_categories_hold_whether_all_moved_a_little_or_two_a_lot(
    categories: int, moved: float, rows: tuple[int, int]
) -> None:
    even = np.full(categories, 1.0 / categories)
    half = categories // 2
    everywhere = even + np.where(np.arange(categories) < half, moved / half, -moved / (categories - half))
    two_of_them = np.append(np.full(categories - 1, 0.5 / (categories - 1)), 0.5)
    elsewhere = two_of_them + np.where(np.arange(categories) == categories - 1, -moved, 0.0)
    elsewhere[0] += moved
    for before, now in ((even, everywhere), (two_of_them, elsewhere)):
        if (now >= 0.0).all():
            assert held(of_categories((before, now), rows), moved) >= FEWEST_HOLD


@pytest.mark.parametrize("rows", [(3, 1500), (20, 1000), (200, 200), (1000, 10_000)])
@pytest.mark.parametrize("shift", [0.1, 0.25])
def test_no_number_of_rows_makes_an_effect_seem_surely_smaller_than_it_is(shift: float, rows: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    truth = float(2.0 * stats.norm.cdf(shift / 2.0) - 1.0)
    samples = []
    for _ in range(DRAWS):
        values = rng.normal(size=rows[0]), rng.normal(shift, 1.0, rows[1])
        cuts = np.unique(np.quantile(values[0], np.linspace(0.0, 1.0, min(257, rows[0] + 1))))
        counts = (np.histogram(side, np.concatenate(([-np.inf], cuts, [np.inf])))[0] for side in values)
        samples.append(ColumnSample("x", "numeric", *(np.concatenate(([0], side, [0, 0])) for side in counts)))
    assert told_too_small(effect_sizes(alongside(samples)), truth) <= 1.0 - FEWEST_HOLD
