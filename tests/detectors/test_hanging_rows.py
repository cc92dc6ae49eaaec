"""How many rows say as much as one: closed forms, and by simulation that independent rows are left alone."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal, stats

from detectors.statistics.hanging_rows import for_windows, rows_together, sizes

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (stats.rankdata(values) / len(values))[:, None]


def slow(rng: np.random.Generator, rows: int, correlation: float) -> NDArray[np.float64]:
    return np.asarray(signal.lfilter([1.0], [1.0, -correlation], rng.normal(size=rows + 1000))[1000:])


def days(rng: np.random.Generator, rows: int, share: float, day: int = 1000) -> NDArray[np.float64]:
    """``share`` of the variance is between days."""
    level = np.repeat(rng.normal(size=rows // day), day)
    return np.asarray(np.sqrt(share) * level + np.sqrt(1.0 - share) * rng.normal(size=rows))


@pytest.mark.parametrize(("correlation", "together"), [(0.3, 1.86), (0.6, 4.0), (0.9, 19.0)])
def test_of_a_signal_that_forgets_slowly_as_many_rows_are_one_as_its_closed_form_says(
    correlation: float, together: float
) -> None:
    rng = np.random.default_rng(11)
    said = [rows_together([slow(rng, 20_000, correlation)[:, None]])[-1] for _ in range(20)]
    assert together == pytest.approx((1 + correlation) / (1 - correlation), rel=0.01)
    assert np.median(said) == pytest.approx(together, abs=1.0 + 0.1 * together)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_of_days_with_levels_of_their_own_a_window_is_worth_less_the_larger_it_is(share: float) -> None:
    rng = np.random.default_rng(12)
    said = np.median([rows_together([days(rng, 60_000, share)[:, None]]) for _ in range(20)], axis=0)
    # Of rows of one day, the closed form is 1 + (rows - 1) * share, and the next size's is told; of several it stays.
    for rows in (64, 256):
        assert 0.9 * (1 + rows * share) < for_windows(said, rows) < 2.2 * (1 + rows * share)
    assert 0.6 * 1000 * share < for_windows(said, 1000) < 1.1 * 1000 * share
    assert 0.6 * 1000 * share < said[-1] < 1.6 * 1000 * share


def test_a_window_that_holds_a_whole_season_is_worth_what_it_seems() -> None:
    rng = np.random.default_rng(13)
    wave = 2.0 * np.sin(np.arange(32_768) % 1024 * (2 * np.pi / 1024))
    said = rows_together([ranks(wave + rng.normal(size=len(wave)))])
    assert for_windows(said, 1024) == 1
    assert for_windows(said, 64) > 10


def test_what_grows_to_the_end_is_believed_where_rows_lie_in_order_of_time() -> None:
    ordered = np.arange(5000.0)[:, None]
    assert not rows_together([ordered], in_time=False).any()
    assert rows_together([ordered])[-1] > 200
    assert for_windows(rows_together([ordered], in_time=False), 1000) == 1


def test_a_spread_that_comes_and_goes_hangs_together_where_the_level_does_not() -> None:
    rng = np.random.default_rng(14)
    values = rng.normal(size=20_000) * np.exp(0.2 * slow(rng, 20_000, 0.95))
    level = ranks(values)
    assert set(rows_together([level]).tolist()) == {1}
    assert rows_together([level, np.abs(level - 0.5)])[-1] > 4


def _coin(share: float) -> Draw:
    return lambda rng, rows: ranks((rng.random(rows) < share).astype(float))


def _categories(count: int) -> Draw:
    return lambda rng, rows: (rng.integers(0, count, rows)[:, None] == np.arange(min(count, 16))[None, :]).astype(float)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, rows: ranks(rng.normal(size=rows)),
        lambda rng, rows: ranks(rng.standard_t(1, rows)),
        lambda rng, rows: ranks(rng.poisson(1.0, rows).astype(float)),
        _coin(0.03),
        _coin(0.001),
        _categories(3),
        _categories(1000),
    ],
    ids=["normal", "heavy tail", "counts", "coin", "rare", "few categories", "many categories"],
)
def test_independent_rows_are_hardly_ever_said_to_hang_together(draw: Draw) -> None:
    rng = np.random.default_rng(15)
    said = [rows_together([draw(rng, rows)]).max() > 1 for rows in (100, 1000, 4000) for _ in range(200)]
    assert np.count_nonzero(said) <= 4  # one in a thousand is promised; more of 600 has a chance of 0.0004


def test_what_does_not_vary_or_is_not_there_is_independent() -> None:
    for rows in (0, 1, 2, 1000):
        assert set(rows_together([np.ones((rows, 1))]).tolist()) == {1}
        assert len(rows_together([np.ones((rows, 1))])) == len(sizes(rows))
    assert set(rows_together([np.random.default_rng(1).normal(size=(3, 1))]).tolist()) == {1}
