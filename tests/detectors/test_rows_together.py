"""Rows that hang together are counted as fewer, and then raise no more alarms than the budget allows."""

import numpy as np
import pytest

from detectors.statistics.evidence import ColumnSample
from detectors.univariate.chi_square import chi_square
from detectors.univariate.ks import ks


def test_so_many_rows_are_one_and_no_share_moves_by_more_than_half_a_row() -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(3001, rng.dirichlet(np.ones(40)))
    sample = ColumnSample("x", "numeric", counts * 10, counts)
    fewer = sample.together(7)
    assert (fewer.reference_rows, fewer.current_rows) == (round(30010 / 7), round(3001 / 7))
    assert np.abs(np.cumsum(fewer.current) * 7 - np.cumsum(counts)).max() <= 3.5
    assert sample.together(1) is sample


def test_a_window_keeps_at_least_one_row() -> None:
    few = ColumnSample("c", "categorical", np.array([5, 0, 1, 0, 0]), np.array([0, 1, 0, 0, 0]))
    assert few.together(1000).current_rows == 1


@pytest.mark.parametrize("detect", [ks, chi_square])
def test_repeated_rows_are_no_evidence_once_they_are_said_to_be(detect) -> None:
    """Each row of a sample is told twenty times: twenty rows are worth one, by construction."""
    rng = np.random.default_rng(2)
    shares = np.array([0, *[0.1] * 10, 0, 0])
    untold, told = [], []
    for _ in range(300):
        before, now = rng.multinomial(2000, shares) * 20, rng.multinomial(100, shares) * 20
        sample = ColumnSample("x", "numeric", before, now, values=np.arange(len(shares), dtype=np.float64))
        untold.append(detect(sample).p_value <= 0.05)
        told.append(detect(sample.together(20)).p_value <= 0.05)
    assert np.mean(untold) > 0.5
    # Four standard errors of 300 draws above 5 %.
    assert np.mean(told) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)
