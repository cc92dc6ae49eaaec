"""Accuracy corrected by few labels: early labels that are other labels, coverage."""

import numpy as np
import pytest

from detectors.accuracy.prediction_powered import Labelled, corrected_mean, corrected_share
from detectors.statistics.wilson import wilson


def drawn(rng: np.random.Generator, rows: int, share: float, haste: float, worse: float = 0.0) -> Labelled:
    """Rows that are easier the higher their stratum; ``haste``: labels of easier rows come sooner."""
    strata = 20
    place = rng.integers(0, strata, rows)
    right = rng.random(rows) < 0.55 + 0.02 * place - worse
    labelled = rng.random(rows) < share * (1.0 + haste * (place / (strata - 1.0) - 0.5) * 2.0)
    return Labelled(
        np.bincount(place, minlength=strata).astype(float),
        np.bincount(place[labelled], minlength=strata).astype(float),
        np.bincount(place[labelled], right[labelled], strata),
        np.bincount(place[labelled], right[labelled], strata),
        0.55 + 0.02 * np.arange(strata),
    )


@pytest.mark.parametrize(
    ("share", "haste", "worse"),
    [(0.04, 0.0, 0.0), (0.1, 0.0, 0.2), (0.5, 0.8, 0.0), (0.2, 0.8, 0.2), (1.0, 0.0, 0.0)],
)
def test_intervals_hold_at_every_coverage_though_easy_rows_are_labelled_first(
    share: float, haste: float, worse: float
) -> None:
    rng = np.random.default_rng(2)
    truth = 0.55 + 0.02 * 9.5 - worse
    held, values = 0, []
    for _ in range(300):
        found = corrected_share(drawn(rng, 1000, share, haste, worse))
        assert found is not None
        held += found.lower <= truth <= found.upper
        values.append(found.value)
    assert held >= 300 * 0.89  # 0.95 less five standard errors
    assert np.mean(values) == pytest.approx(truth, abs=5.0 * np.std(values) / np.sqrt(300) + 0.004)


def test_labels_alone_would_be_wrong_about_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(100):
        known = drawn(rng, 2000, 0.5, 0.8)
        alone = wilson(float(known.total.sum()), float(known.labels.sum()))
        missed += not alone.lower <= 0.74 <= alone.upper
    assert missed > 80


def test_with_every_label_it_is_the_share_of_right_ones() -> None:
    known = drawn(np.random.default_rng(4), 800, 1.0, 0.0)
    found = corrected_share(known)
    assert found is not None
    alone = wilson(float(known.total.sum()), 800)
    assert found.value == pytest.approx(alone.value)
    assert (found.lower, found.upper) == pytest.approx((alone.lower, alone.upper), abs=2e-3)


def test_a_guess_that_is_worth_nothing_is_not_used() -> None:
    rng = np.random.default_rng(5)
    known = drawn(rng, 5000, 0.2, 0.0)
    useless = Labelled(known.rows, known.labels, known.total, known.squares, rng.permutation(known.guess))
    found, best = corrected_mean(useless), corrected_mean(known)
    assert found is not None
    assert best is not None
    assert abs(found.tuning) < 1.0
    assert found.variance >= best.variance * 0.95


def test_odd_labels_have_an_answer_or_none() -> None:
    nothing = np.zeros(3)
    assert corrected_share(Labelled(np.ones(3), nothing, nothing, nothing, nothing)) is None
    one = np.array([1.0, 0.0, 0.0])
    found = corrected_share(Labelled(np.array([1e9, 1e9, 1e9]), one, one, one, np.ones(3)))
    assert found is not None
    assert found.lower < 0.4
    assert found.upper > 0.99
    many = np.full(3, 1e9)
    sure = corrected_share(Labelled(many, many, 0.9 * many, 0.9 * many, np.zeros(3)))
    assert sure is not None
    assert (sure.lower, sure.upper) == pytest.approx((0.9, 0.9), abs=1e-4)
