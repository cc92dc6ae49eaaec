"""Accuracy while labels come, where labels that say "wrong" come later: the plain share is off, the adjusted is not."""

import numpy as np
import pytest

from detectors.accuracy.delay_bias import adjusted, adjusted_accuracy
from driftline.maturity import label_states
from driftline.monitors import Monitor
from driftline.results import LabelState, OutcomeMaturity, Result, StreamKey, Verdict, WindowLabels

DAY_S = 86400.0
STREAM = StreamKey("default", "m", "1", "stable")
MONITOR = Monitor.model_validate(
    {
        "model": "m",
        "task": "binary",
        "columns": [{"name": "x", "type": "numeric"}],
        "labels": {"maturity": "25d", "expected_delay": "2d"},
    }
)
NOW_S = 60 * DAY_S
ROWS, WRONG = 1500, 0.1


def window(day: float, rng: np.random.Generator, late_days: tuple[float, float]) -> WindowLabels:
    """A day's labels that have come by now: a tenth says "wrong"; ``late_days``: mean delays of right and of wrong."""
    times_s = day * DAY_S + rng.random(ROWS) * DAY_S
    wrong = rng.random(ROWS) < WRONG
    delays_s = rng.exponential(np.where(wrong, late_days[1], late_days[0]) * DAY_S)
    here = times_s + delays_s <= NOW_S

    def counted(chosen: np.ndarray) -> dict[int, int]:
        classes = np.ceil(2.0 * np.log2(np.maximum(delays_s[chosen], 1.0))).astype(int)
        numbers, counts = np.unique(classes, return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    return WindowLabels(
        STREAM, day * DAY_S, (day + 1) * DAY_S, ROWS, int(here.sum()), counted(here), "", counted(here & wrong)
    )


def accuracy_of(labels: WindowLabels) -> Result:
    wrong = sum(labels.wrong_delays.values())
    return Result(
        labels.key,
        "",
        "accuracy",
        "performance",
        1.0 - wrong / labels.labelled,
        "smaller_is_worse",
        Verdict.OK,
        "",
        labels.labelled,
        reference_value=0.9,
    )


def states(seed: int, late_days: tuple[float, float], age_days: float = 2.0) -> tuple[WindowLabels, LabelState]:
    rng = np.random.default_rng(seed)
    days = [*range(int(NOW_S / DAY_S) - int(age_days) - 1), NOW_S / DAY_S - age_days - 1.0]
    windows = [window(day, rng, late_days) for day in days]
    return windows[-1], label_states(MONITOR, windows, NOW_S)[-1]


@pytest.mark.parametrize("share", [0.6, 0.98, 0.999, 1.0])
@pytest.mark.parametrize(("right", "wrong"), [(0.9, 0.25), (0.25, 0.9), (0.99, 0.03)])
def test_what_is_told_holds_where_hardly_anything_is_wrong(share: float, right: float, wrong: float) -> None:
    rng = np.random.default_rng(1)
    rows, runs, known = 300, 500, 4000
    rights = rng.binomial(rows, share, runs)
    here = rng.binomial(rights, right), rng.binomial(rows - rights, wrong)
    found = [adjusted(*each, OutcomeMaturity(right, wrong, known, known)) for each in zip(*here, strict=True)]
    held = [each.lower <= truth / rows <= each.upper for each, truth in zip(found, rights, strict=True)]
    assert np.mean(held) >= 0.95 - 4.0 * np.sqrt(0.05 * 0.95 / runs)
    assert all(each.lower <= each.value <= each.upper for each in found)


@pytest.mark.slow
def test_early_labels_flatter_and_what_is_told_of_the_end_holds() -> None:
    late = (0.5, 5.0)
    runs, covered, naive = 60, 0, 0
    for seed in range(runs):
        labels, state = states(seed, late)
        plain = accuracy_of(labels)
        found = adjusted_accuracy(plain, state)
        assert found is not None
        assert found.effect is not None
        half = 1.96 * np.sqrt(plain.statistic * (1.0 - plain.statistic) / plain.sample_size)
        naive += abs(plain.statistic - (1.0 - WRONG)) <= half
        covered += found.effect.lower <= 1.0 - WRONG <= found.effect.upper
    assert naive <= 3  # the plain interval is wrong nearly always
    assert covered / runs >= 0.95 - 4.0 * np.sqrt(0.05 * 0.95 / runs)


def test_labels_of_one_speed_are_taken_as_they_are() -> None:
    labels, state = states(1, (2.0, 2.0))
    assert state.by_outcome is not None
    assert adjusted_accuracy(accuracy_of(labels), state) is None


def test_a_window_is_not_final_while_wrong_ones_are_still_to_come() -> None:
    _, state = states(2, (0.05, 8.0), age_days=4.0)
    assert state.coverage > 0.9
    assert state.by_outcome is not None
    assert state.by_outcome.right > 0.99
    assert state.by_outcome.wrong < 0.6
    assert not state.mature


def test_the_reason_says_what_is_late_and_what_it_may_be_at_worst() -> None:
    labels, state = states(3, (0.5, 5.0))
    found = adjusted_accuracy(accuracy_of(labels), state)
    assert found is not None
    assert found.detector == "delay_adjusted_accuracy"
    assert "labels that say 'wrong' come later" in found.reason
    assert "whatever the" in found.reason
    assert adjusted_accuracy(accuracy_of(labels), None) is None


def test_without_delays_it_is_the_share_of_right_labels() -> None:
    found = adjusted(80, 20, OutcomeMaturity(1.0, 1.0, 10**9, 10**9))
    assert found.value == pytest.approx(0.8, abs=0.01)
    all_right = adjusted(50, 0, OutcomeMaturity(0.9, 0.1, 1000, 1000))
    assert all_right.lower < 0.9 < all_right.value < all_right.upper == 1.0
