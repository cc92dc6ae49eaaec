"""Burn rates against closed forms, and the reachability rule over all targets."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alerts.burn import (
    HEADROOM,
    LARGEST_SHARE,
    TABLE,
    WILSON_Z,
    Row,
    fit,
    proven_ratio,
    time_to_fire_s,
    wilson_lower,
    windows,
)
from tests.alerts.examples import DAY_S, objective

HOUR_S = 3600.0
TARGETS = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.982, 0.99, 0.995, 0.999, 0.9995, 0.9999]


@pytest.mark.parametrize("target", [0.99, 0.999, 0.9999])
@pytest.mark.parametrize(
    ("days", "factors"),
    [(30, (14.4, 6.0, 3.0, 1.0)), (28, (13.44, 5.6, 2.8, 0.93333333)), (7, (13.44, 5.6, 2.8, 0.9333))],
)
def test_strict_targets_keep_the_factors_of_the_workbook(
    target: float, days: float, factors: tuple[float, ...]
) -> None:
    rows = windows(objective(target, period_days=days, resolution_s=1.0))
    assert [row.factor for row in rows] == pytest.approx(factors, rel=1e-4)


def test_thirty_days_have_the_windows_of_the_workbook() -> None:
    rows = windows(objective(0.999))
    spans = [(row.long_s / HOUR_S, row.short_s / 60.0, row.severity) for row in rows]
    assert spans == [(1, 5, "page"), (6, 30, "page"), (24, 120, "ticket"), (72, 360, "ticket")]
    assert [row.share for row in rows] == pytest.approx([0.02, 0.05, 0.10, 0.10])


def test_a_correctness_objective_of_80_percent_pages_at_40_percent_bad_within_a_day() -> None:
    pages = [row for row in windows(objective(0.8, resolution_s=2 * HOUR_S)) if row.severity == "page"]
    assert [(row.long_s, row.short_s, row.factor, row.threshold) for row in pages] == [
        (24 * HOUR_S, 2 * HOUR_S, 2.0, 0.4)
    ]


def test_a_lowered_row_still_stands_for_its_share_of_the_budget() -> None:
    lowered = fit(TABLE[0], objective(0.95))
    assert lowered.factor == pytest.approx(5.75)
    assert lowered.share == pytest.approx(0.02, rel=0.05)
    assert lowered.share == pytest.approx(lowered.factor * lowered.long_s / (30 * DAY_S))
    # Nobody hears later of a full outage than by the classic row: 2 % of the budget is spent either way.
    classic_s = 14.4 * 0.05 * HOUR_S
    assert classic_s == pytest.approx(43.2 * 60)
    assert time_to_fire_s(lowered, 1.0) == pytest.approx(classic_s, rel=0.05)


def test_time_to_fire_of_a_full_outage_at_three_nines_is_52_seconds() -> None:
    assert time_to_fire_s(windows(objective(0.999))[0], 1.0) == pytest.approx(51.84)


def test_a_ratio_at_the_threshold_never_fires() -> None:
    row = windows(objective(0.99))[0]
    assert time_to_fire_s(row, row.threshold) == math.inf


@pytest.mark.parametrize("days", [28, 30])
@pytest.mark.parametrize("resolution_s", [60.0, 2 * HOUR_S, DAY_S])
@pytest.mark.parametrize("target", TARGETS)
def test_every_row_can_fire_with_room_to_spare(target: float, resolution_s: float, days: float) -> None:
    rows = windows(objective(target, period_days=days, resolution_s=resolution_s))
    assert rows
    budget = 1 - target
    for row in rows:
        assert row.threshold <= budget + HEADROOM * (1 - budget) + 1e-9
        assert row.threshold == pytest.approx(row.factor * budget)
        assert row.short_s >= resolution_s
        assert row.long_s <= days * DAY_S
        assert row.severity == "ticket" or row.factor > 1
        assert row.factor <= 1 or row.share <= max(LARGEST_SHARE, 0.1) + 1e-9


@pytest.mark.parametrize("days", [28, 30])
@pytest.mark.parametrize("resolution_s", [60.0, 2 * HOUR_S, DAY_S])
@pytest.mark.parametrize("row", TABLE)
def test_a_looser_target_never_alerts_at_a_smaller_bad_ratio(row: Row, resolution_s: float, days: float) -> None:
    fitted = [fit(row, objective(t, period_days=days, resolution_s=resolution_s)) for t in sorted(TARGETS)]
    assert all(loose.threshold >= strict.threshold for loose, strict in pairwise(fitted))


@pytest.mark.parametrize("target", TARGETS)
def test_rows_go_from_fast_to_slow_and_no_two_say_the_same(target: float) -> None:
    rows = windows(objective(target))
    assert all(fast.factor > slow.factor and fast.long_s < slow.long_s for fast, slow in pairwise(rows))


def test_a_ticket_objective_never_pages() -> None:
    rows = windows(objective(0.999, severity="ticket"))
    assert {row.severity for row in rows} == {"ticket"}
    assert len(rows) == 4


def test_a_signal_that_moves_once_a_day_gives_a_ticket_and_no_page() -> None:
    rows = windows(objective(0.9, resolution_s=DAY_S))
    assert [(row.severity, row.long_s / DAY_S, row.short_s / DAY_S, row.factor) for row in rows] == [
        ("ticket", 12, 1, 1.0)
    ]


# --- the traffic guard --------------------------------------------------------------------------------------------
@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_lower_agrees_with_scipy(total: int, share: float) -> None:
    bad = round(share * total)
    level = 2 * stats.norm.cdf(WILSON_Z) - 1
    expected = stats.binomtest(bad, total).proportion_ci(level, method="wilson").low
    assert wilson_lower(bad, total) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_guard_never_claims_more_than_the_exact_binomial_bound(total: int, share: float) -> None:
    bad = round(share * total)
    exact = stats.beta.ppf(stats.norm.sf(WILSON_Z), bad, total - bad + 1) if bad else 0.0
    assert proven_ratio(bad, total) <= exact + 1e-9


def test_one_bad_event_proves_nothing_and_no_events_decide_nothing() -> None:
    assert all(proven_ratio(1, total) == pytest.approx(0, abs=1e-12) for total in (1, 2, 10, 1000))
    assert math.isnan(proven_ratio(0, 0))
    assert math.isnan(proven_ratio(0, math.nan))


def test_the_guard_approaches_the_ratio_with_traffic() -> None:
    assert proven_ratio(5_400_000, 10_000_000) == pytest.approx(0.54, abs=1e-3)
