"""``increase()`` of one counter; the whole of it is held to Prometheus in test_equivalence."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.history import CounterHistory


def _history(*samples: tuple[float, float], keep_s: float = 1e9) -> CounterHistory:
    history = CounterHistory(keep_s)
    for time_s, value in samples:
        history.add(time_s, value)
    return history


def test_one_sample_answers_nothing() -> None:
    assert _history((10, 5)).increase(20, 20) is None
    assert _history().increase(20, 20) is None


def test_a_steady_counter_is_extrapolated_to_both_ends_of_the_window() -> None:
    history = _history(*((t, 100 + t) for t in range(5, 60, 10)))
    assert history.increase(60, 60) == pytest.approx(60)


def test_a_counter_is_not_extrapolated_below_zero() -> None:
    # It rose from 1 by 10 a second: a tenth of a second before the first sample it was zero.
    assert _history((5, 1), (6, 11), (7, 21)).increase(7, 3.05) == pytest.approx(21)


def test_far_from_the_ends_half_a_distance_is_added() -> None:
    history = _history((100, 50), (110, 60), (120, 70))
    assert history.increase(200, 200) == pytest.approx(20 * (20 + 5 + 5) / 20)


def test_what_was_lost_at_a_reset_is_added() -> None:
    history = _history((0, 100), (10, 110), (20, 5), (30, 15))
    # Window (-0.5, 30]: 10 to the reset, 5 after it, 10 more; half a second is bridged at the start.
    assert history.increase(30, 30.5) == pytest.approx(25 * 30.5 / 30)


def test_a_window_excludes_its_start() -> None:
    history = _history((0, 0), (10, 10), (20, 20))
    assert history.increase(20, 10) is None
    assert history.increase(20, 10.001) is not None


def test_samples_out_of_order_and_not_numbers_are_passed_over() -> None:
    history = _history((0, 0), (10, 10), (10, 99), (5, 99), (20, float("nan")), (30, 30))
    assert len(history) == 3
    assert history.increase(30, 30.1) == pytest.approx(30, rel=0.01)


@given(st.integers(0, 10_000))
def test_forgetting_old_samples_changes_no_answer_within_the_kept_time(seed: int) -> None:
    rng = random.Random(seed)
    short, long = CounterHistory(keep_s=100.0), CounterHistory(keep_s=1e9)
    time_s, value = 0.0, 0.0
    for _ in range(300):
        time_s += rng.uniform(0.5, 5)
        value = 0.0 if rng.random() < 0.03 else value + rng.randrange(5)
        short.add(time_s, value)
        long.add(time_s, value)
    for window_s in (10.0, 50.0, 100.0):
        assert short.increase(time_s, window_s) == pytest.approx(long.increase(time_s, window_s))
    assert len(short) < len(long) == 300


def test_memory_is_bounded_by_the_kept_time() -> None:
    history = CounterHistory(keep_s=100.0)
    for time_s in range(10_000):
        history.add(float(time_s), float(time_s))
        assert len(history) <= 100 / (1 - 0.25) + 2
