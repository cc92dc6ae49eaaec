"""What comes again every week is taken out of rows: beside matrices, closed forms, and clocks of the world."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal, stats

from detectors.statistics.hanging_rows import Blocks, for_windows, rows_together
from detectors.statistics.weekly_rows import ClockTimes, WeeklyRows
from driftline.monitor_detectors import WEEK_S

HOUR_S, DAY_S = 3600.0, 86400.0
Values = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Values]
EVERY = 10**9


def hours(seconds: Values) -> Values:
    """Of the week."""
    return np.asarray(seconds % WEEK_S / HOUR_S)


#: What comes again every week: each hour's mean and spread.
SEASONS: dict[str, Callable[[Values], tuple[Values, Values]]] = {
    "none": lambda at: (np.zeros(len(at)), np.ones(len(at))),
    "a wave a day": lambda at: (2.0 * np.sin(hours(at) * np.pi / 12.0), np.ones(len(at))),
    "hours of their own": lambda at: (
        np.random.default_rng(5).normal(0.0, 1.5, 168)[hours(at).astype(int)],
        np.ones(len(at)),
    ),
    "a spread by the hour": lambda at: (2.0 * np.sin(hours(at) * np.pi / 12.0), np.exp(0.5 * np.sin(hours(at)))),
}


def independent(rng: np.random.Generator, rows: int) -> Values:
    return rng.normal(size=rows)


def alike(rng: np.random.Generator, rows: int) -> Values:
    """Clients that send twenty alike."""
    return np.repeat(rng.normal(size=-(-rows // 20)), 20)[:rows]


def slow(rng: np.random.Generator, rows: int) -> Values:
    """Of which 19 are one."""
    return np.asarray(signal.lfilter([np.sqrt(1 - 0.9**2)], [1.0, -0.9], rng.normal(size=rows + 500))[500:])


def times(rng: np.random.Generator, weeks: int, rows_an_hour: int) -> Values:
    return np.sort(rng.uniform(0.0, weeks * WEEK_S, weeks * 168 * rows_an_hour))


def beside_same_hours(at: Values, values: Values, window_s: float, zone: str = "UTC") -> NDArray[np.int64]:
    """As one, by size of window."""
    clocks = ClockTimes.of(at, zone)
    places = clocks.recurring(window_s, enough=EVERY, most=EVERY)
    assert places is not None
    blocks = Blocks.of(len(places), WeeklyRows.of(clocks.take(places), window_s))
    ranks = (stats.rankdata(values[places]) - 0.5) / len(places)
    return rows_together([ranks[:, None], np.abs(ranks - 0.5)[:, None]], blocks=blocks)


@pytest.mark.parametrize("season", SEASONS)
@pytest.mark.parametrize(("noise", "together"), [(alike, 20), (slow, 19)])
def test_beside_the_same_hours_as_many_are_one_as_their_closed_form_says_whatever_the_season(
    season: str, noise: Noise, together: int
) -> None:
    said = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        at = times(rng, 4, 60)
        mean, spread = SEASONS[season](at)
        said.append(int(for_windows(beside_same_hours(at, mean + spread * noise(rng, len(at)), HOUR_S), 64)))
    assert np.median(said) == pytest.approx(together, rel=0.25)


@pytest.mark.parametrize("season", [name for name in SEASONS if name != "none"])
def test_beside_the_whole_file_the_same_rows_seem_to_hang_together_far_more(season: str) -> None:
    rng = np.random.default_rng(1)
    at = times(rng, 4, 100)
    mean, spread = SEASONS[season](at)
    ranks = stats.rankdata(mean + spread * independent(rng, len(at)))[:, None]
    assert for_windows(rows_together([ranks]), 100) > 40


@pytest.mark.parametrize("season", SEASONS)
@pytest.mark.parametrize("window_s", [0.25 * HOUR_S, HOUR_S, 6 * HOUR_S, DAY_S])
def test_independent_rows_are_hardly_ever_said_to_hang_together_in_windows_of_any_length(
    season: str, window_s: float
) -> None:
    said = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        at = times(rng, 2 + seed % 3, 20)
        mean, spread = SEASONS[season](at)
        windows = beside_same_hours(at, mean + spread * independent(rng, len(at)), window_s)
        said.append(int(for_windows(windows, round(20 * window_s / HOUR_S))))
    # One in a thousand is promised; where spreads differ by the hour, a few more. Two of 12 have a chance of 0.0001.
    assert np.count_nonzero(np.array(said) > 1) <= 1


def test_a_window_of_a_day_is_worth_more_than_its_hours_hang_together_as_these_differ_within_it() -> None:
    rng = np.random.default_rng(2)
    at = times(rng, 6, 60)
    wave = 2.0 * np.sin(hours(at) * np.pi / 12.0)
    normal = {}
    for name, mean in (("flat", np.zeros(len(at))), ("wave", wave)):
        clocks = ClockTimes.of(at, "UTC")
        blocks = Blocks.of(len(at), WeeklyRows.of(clocks, DAY_S))
        values = mean + alike(np.random.default_rng(3), len(at))
        normal[name] = int(for_windows(rows_together([values[:, None]], blocks=blocks), 24 * 60))
    # A test of a day knows a variance of 1 from rows, of 2 from hours; only the former hangs together.
    assert normal["flat"] == pytest.approx(20, rel=0.25)
    assert normal["wave"] == pytest.approx(20 / 3, rel=0.25)


@given(seed=st.integers(0, 1000), weeks=st.integers(2, 4), rows=st.integers(250, 400))
def test_what_is_left_of_sums_is_what_matrices_leave(seed: int, weeks: int, rows: int) -> None:
    at = np.sort(np.random.default_rng(seed).uniform(0.0, weeks * WEEK_S, rows))
    weekly = WeeklyRows.of(ClockTimes.of(at, "UTC"), DAY_S)
    part = hours(at).astype(int)  # of a day's windows an hour long
    left = np.eye(rows) - (part[:, None] == part[None, :]) / np.bincount(part)[part][:, None]
    np.testing.assert_allclose(weekly.without(at), left @ at, rtol=1e-9, atol=1e-3)
    covariance, sizes = left @ left.T, np.array([1, 2, 4, 8])
    for size, found in zip(sizes.tolist(), weekly.left(sizes, 8), strict=True):
        blocks = [slice(start, start + size) for start in range(rows - size + 1)]
        assert found == pytest.approx(np.mean([covariance[block, block].sum() for block in blocks]))


@given(
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    seconds=st.lists(st.floats(0.0, 2e9), min_size=1, max_size=8),
)
def test_clocks_show_what_the_zone_has_it(zone: str, seconds: list[float]) -> None:
    found = ClockTimes.of(np.array(seconds), zone).ahead_s.tolist()
    offsets = [datetime.fromtimestamp(each, ZoneInfo(zone)).utcoffset() for each in seconds]
    assert found == [None if each is None else each.total_seconds() for each in offsets]


def test_a_season_goes_by_clocks_that_changed_in_the_middle() -> None:
    """Six weeks around the last Sunday of March in Berlin, an hour of whose days is 1.5 higher."""
    rng = np.random.default_rng(6)
    begin_s = datetime(2026, 3, 9, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    at = begin_s + times(rng, 6, 40)
    shown = hours(at + ClockTimes.of(at, "Europe/Berlin").ahead_s) % 24.0
    values = np.where((shown >= 8.0) & (shown < 18.0), 3.0, 0.0) + independent(rng, len(at))
    said = {
        zone: int(for_windows(beside_same_hours(at, values, HOUR_S, zone), 40)) for zone in ("Europe/Berlin", "UTC")
    }
    assert said["Europe/Berlin"] == 1
    assert said["UTC"] > 2


def test_rows_of_less_than_two_weeks_or_of_hours_that_never_came_again_tell_nothing() -> None:
    rng = np.random.default_rng(7)
    at = times(rng, 3, 20)
    assert ClockTimes.of(at[at < 1.9 * WEEK_S], "UTC").recurring(HOUR_S, enough=EVERY, most=EVERY) is None
    odd = at[(at < 3 * DAY_S) | ((at > 13 * DAY_S) & (at < 14 * DAY_S))]
    assert ClockTimes.of(odd, "UTC").recurring(HOUR_S, enough=EVERY, most=EVERY) is None
    assert ClockTimes.of(at[:0], "UTC").recurring(HOUR_S, enough=EVERY, most=EVERY) is None


def test_of_many_rows_two_weeks_are_looked_at_and_of_very_many_the_same_stretch_of_both() -> None:
    at = times(np.random.default_rng(8), 4, 20)
    clocks = ClockTimes.of(at, "UTC")
    two = clocks.recurring(HOUR_S, enough=100, most=EVERY)
    three = clocks.recurring(HOUR_S, enough=int(np.searchsorted(at, 3 * WEEK_S)), most=EVERY)
    stretch = clocks.recurring(HOUR_S, enough=100, most=2000)
    assert two is not None
    assert three is not None
    assert stretch is not None
    assert [round(at[found[-1]] / WEEK_S) for found in (two, three, stretch)] == [2, 3, 1]
    assert len(stretch) <= 2000
    spans = [at[stretch][at[stretch] // WEEK_S == week] % WEEK_S for week in (0, 1)]
    assert max(spans[0]) == pytest.approx(max(spans[1]), abs=HOUR_S)
