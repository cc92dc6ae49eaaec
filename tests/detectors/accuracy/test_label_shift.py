"""Shares of labels from what a model says: largest likelihood, intervals."""

import numpy as np
import pytest
from scipy import optimize

from detectors.accuracy.label_shift import mlls
from tests.parts.scored_rows import cuts_of, rows_of, table_of


def test_mlls_is_the_largest_likelihood() -> None:
    rng = np.random.default_rng(0)
    for labels in (2, 4):
        per_label = rng.dirichlet(np.ones(12), labels).T
        reference = np.round(per_label * 5000) + 1.0
        rows = rng.multinomial(3000, per_label @ rng.dirichlet(np.ones(labels) * 3)).astype(float)
        found = mlls(reference, rows)
        assert found is not None
        # As the detector has them: half a row per label, spread over the strata.
        known = (reference + 0.5 / 12) / (reference.sum(axis=0) + 0.5)

        def loss(free: np.ndarray, known: np.ndarray = known, rows: np.ndarray = rows) -> float:
            shares = np.exp(np.append(free, 0.0))
            return -float(rows @ np.log(known @ (shares / shares.sum())))

        best = optimize.minimize(loss, np.zeros(labels - 1), method="BFGS").x
        shares = np.exp(np.append(best, 0.0))
        assert found.shares == pytest.approx(shares / shares.sum(), abs=1e-4)


def test_mlls_on_the_edge_says_that_a_label_is_gone() -> None:
    reference = np.array([[90.0, 10.0], [10.0, 90.0]])
    found = mlls(reference, np.array([990.0, 10.0]))
    assert found is not None
    assert found.shares == pytest.approx([1.0, 0.0], abs=1e-6)
    assert found.p_value < 0.05 or found.interval(1).lower == 0.0


@pytest.mark.parametrize(("before", "now", "prior"), [(1000, 200, 0.3), (3000, 1000, 0.6), (4000, 2000, 0.1)])
def test_intervals_hold_the_true_share(before: int, now: int, prior: float) -> None:
    rng = np.random.default_rng(1)
    held = fits = 0
    for _ in range(150):
        score, truth = rows_of(before, rng)
        cuts = cuts_of(score, max(2, before // 50))
        found = mlls(table_of(score, truth, cuts), table_of(*rows_of(now, rng, prior), cuts).sum(axis=1))
        assert found is not None
        held += found.interval(1).lower <= prior <= found.interval(1).upper
        fits += found.p_value > 0.01
    assert held >= 150 * 0.86
    assert fits >= 150 * 0.92


def test_rows_of_another_kind_are_told_from_other_labels() -> None:
    rng = np.random.default_rng(2)
    score, truth = rows_of(10_000, rng)
    cuts = cuts_of(score)
    found = mlls(table_of(score, truth, cuts), table_of(*rows_of(5000, rng, far=0.8), cuts).sum(axis=1))
    assert found is not None
    assert found.p_value < 1e-6


def test_labels_that_cannot_be_told_apart_have_no_answer() -> None:
    alike = np.array([[50.0, 100.0], [50.0, 100.0]])
    assert mlls(alike, np.array([10.0, 10.0])) is None
    assert mlls(np.array([[50.0, 0.0], [50.0, 0.0]]), np.array([10.0, 10.0])) is None
    assert mlls(np.array([[90.0, 10.0], [10.0, 90.0]]), np.zeros(2)) is None
