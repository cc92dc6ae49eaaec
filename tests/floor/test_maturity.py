"""Maturity of labels: delays that are still to come do not make the known ones look long or short."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.maturity import (
    LAST_CLASS,
    MINIMUM_LABELS,
    DelayCurve,
    LabelledWindow,
    class_of,
    delay_curves,
    label_states,
    longest_s,
    quantile_s,
)
from driftline.monitors import Monitor
from driftline.results import StreamKey, WindowLabels

DAY_S = 86400.0
STREAM = StreamKey("default", "m", "1", "stable")
MONITOR = Monitor.model_validate(
    {
        "model": "m",
        "task": "binary",
        "columns": [{"name": "x", "type": "numeric"}],
        "labels": {"maturity": "10d", "mature_share": 0.9, "expected_share": 0.5},
    }
)


@given(st.floats(0.0, 1e9))
def test_a_delay_is_within_its_class(delay_s: float) -> None:
    number = class_of(delay_s)
    assert delay_s <= longest_s(number) * (1 + 1e-9) or number == LAST_CLASS
    assert number == 0 or delay_s > longest_s(number - 1) * (1 - 1e-9)


@given(st.lists(st.floats(0.0, 1e7), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_is_the_end_of_the_class_that_numpy_finds(delays_s: list[float], share: float) -> None:
    delays: dict[int, int] = {}
    for delay_s in delays_s:
        delays[class_of(delay_s)] = delays.get(class_of(delay_s), 0) + 1
    expected = longest_s(class_of(float(np.quantile(delays_s, share, method="inverted_cdf"))))
    found = quantile_s(delays, share)
    assert found is not None
    assert math.isclose(found, expected) or abs(share * len(delays_s) - round(share * len(delays_s))) < 1e-6


def seen(age_s: float, delays_s: np.ndarray) -> LabelledWindow:
    """A window whose labels have come as far as its age lets them."""
    delays: dict[int, int] = {}
    for delay_s in delays_s[delays_s <= age_s]:
        delays[class_of(float(delay_s))] = delays.get(class_of(float(delay_s)), 0) + 1
    return LabelledWindow(age_s, delays)


@pytest.mark.parametrize("age_days", [0.5, 2.0, 5.0])
def test_windows_of_all_ages_show_the_share_that_really_has_come(age_days: float) -> None:
    """Against the distribution that the delays were drawn from; the plain share of the labels seen would say more."""
    rng = np.random.default_rng(3)
    draws = [rng.exponential(3 * DAY_S, 4000) for _ in range(30)]
    windows = [seen((day + 0.01) * DAY_S, draw) for day, draw in enumerate(draws)]
    expected = 1 - math.exp(-age_days / 3.0)
    assert DelayCurve.of(windows).expected_by(age_days * DAY_S) == pytest.approx(expected, abs=0.03)
    young = windows[: int(age_days) + 2]
    plain = sum(sum(n for c, n in w.delays.items() if longest_s(c) <= age_days * DAY_S) for w in young) / sum(
        sum(w.delays.values()) for w in young
    )
    assert plain > expected + 0.1


def test_over_a_window_the_share_is_the_mean_of_its_predictions() -> None:
    rng = np.random.default_rng(4)
    curve = DelayCurve.of([seen(90 * DAY_S, rng.exponential(DAY_S, 50_000))])
    ages = np.linspace(0.5, 1.5, 2001)
    assert curve.expected_in_window(0.5 * DAY_S, DAY_S) == pytest.approx(np.mean(1 - np.exp(-ages)), abs=0.02)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e8), st.dictionaries(st.integers(0, LAST_CLASS), st.integers(0, 50), max_size=8)),
        max_size=6,
    ),
    st.floats(0, 1e8),
    st.floats(0, 1e8),
)
def test_the_share_is_between_none_and_all_and_never_falls(
    windows: list[tuple[float, dict[int, int]]], first_s: float, second_s: float
) -> None:
    curve = DelayCurve.of([LabelledWindow(age_s, delays) for age_s, delays in windows])
    before, after = (curve.expected_by(age_s) for age_s in sorted((first_s, second_s)))
    assert 0.0 <= before <= after + 1e-12
    assert after <= 1.0


def window(end_s: float, rows: int, labelled: int, delay_s: float = DAY_S) -> WindowLabels:
    return WindowLabels(STREAM, end_s - DAY_S, end_s, rows, labelled, {class_of(delay_s): labelled})


def test_nothing_is_said_of_maturity_while_no_window_is_as_old_as_it_takes() -> None:
    (state,) = label_states(MONITOR, [window(0.0, 100, 20)], 2 * DAY_S)
    assert (state.maturity, state.mature) == (None, False)
    assert (state.expected, state.coverage) == (50.0, 0.4)


def test_a_window_is_mature_by_age_by_coverage_or_by_the_delays_of_others() -> None:
    old = window(0.0, 100, 30)
    full = window(10.5 * DAY_S, 100, 46)
    young = window(11.9 * DAY_S, 100, 1)
    due = window(9.0 * DAY_S, 100, 20)
    states = label_states(MONITOR, [old, full, young, due], 12 * DAY_S)
    assert [state.mature for state in states] == [True, True, False, True]
    assert states[0].maturity == 1.0
    assert states[2].maturity is not None
    assert states[2].maturity < 0.5
    assert states[3].maturity is not None
    assert states[3].maturity > 0.9


def test_an_open_window_is_never_mature_and_an_empty_one_has_no_coverage() -> None:
    states = label_states(MONITOR, [window(DAY_S, 2, 1), window(-50 * DAY_S, 0, 0)], 0.5 * DAY_S)
    assert [(state.mature, state.coverage) for state in states] == [(False, 1.0), (True, 0.0)]


def test_a_segment_that_hears_later_than_others_is_less_mature_once_it_has_shown_so() -> None:
    """Of all rows labels come within an hour, of one segment after four days; another has too few labels to say."""
    now_s, per_window = 30 * DAY_S, MINIMUM_LABELS // 10
    windows = []
    for day in range(25):
        windows.append(window((day + 1) * DAY_S, 10_000, 5000, 3600.0))
        windows.append(replace(window((day + 1) * DAY_S, 1000, per_window, 4 * DAY_S), segment="slow"))
        windows.append(replace(window((day + 1) * DAY_S, 10, 1, 4 * DAY_S), segment="rare"))
    young = window(29.5 * DAY_S, 10_000, 100, 3600.0)
    windows += [young, replace(young, segment="slow"), replace(young, segment="rare")]
    states = {state.window.segment: state for state in label_states(MONITOR, windows, now_s)[-3:]}
    assert states[""].maturity == pytest.approx(1.0, abs=0.01)
    assert states["rare"].maturity == states[""].maturity
    assert states["slow"].maturity is not None
    assert states["slow"].maturity < 0.01
    assert (states["rare"].mature, states["slow"].mature) == (True, False)


def test_delays_of_a_segment_are_those_of_all_rows_until_enough_are_known() -> None:
    windows = [window(DAY_S, 1000, 500, 3600.0)]
    for count, expected_s in ((MINIMUM_LABELS - 1, 4096.0), (MINIMUM_LABELS, longest_s(class_of(DAY_S)))):
        few = replace(window(DAY_S, 1000, count, DAY_S), segment="s")
        assert delay_curves(MONITOR, [*windows, few], 20 * DAY_S)["s"].delay_s(0.5) == expected_s
    assert delay_curves(MONITOR, windows, 2 * DAY_S) == {}
