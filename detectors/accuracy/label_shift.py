"""How often each label occurs in a window whose labels are not there yet, if that is all that changed.

Under label shift rows of one label look as they did, ``P(stratum | label)``; only the labels' shares changed. Then the
window's strata are a mixture of the reference's, and the shares are what mixes them.

:func:`mlls` finds the shares of largest likelihood (Newton's steps; expectation maximisation where they fail); with
strata of calibrated scores it uses what the scores say. Intervals come from the delta method: the window's strata
scatter, and so do the reference's per label.

Sources: M. Saerens, P. Latinne, C. Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities,
2002; A. Alexandari, A. Kundaje, A. Shrikumar, Maximum likelihood with bias-corrected calibration is hard-to-beat, 2020.

>>> table = np.array([[80.0, 10.0], [20.0, 90.0]])  # said no, said yes; of 100 rows each that are no, yes
>>> found = mlls(table, np.array([100 * (0.8 * 0.3 + 0.1 * 0.7), 100 * (0.2 * 0.3 + 0.9 * 0.7)]))
>>> found.shares.round(2).tolist()
[0.3, 0.7]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.statistics.wilson import Z_95
from driftline.results import Interval

_ROUNDS = 2000
_NEWTON_ROUNDS = 12
_DONE = 1e-9
# Labels whose strata are nearly mixtures of the others' cannot be told apart.
_LARGEST_CONDITION = 1e6


@dataclass(frozen=True, slots=True)
class LabelShift:
    """``shares`` of the labels in the window with their covariance; ``p_value`` of "nothing but labels shifted"."""

    shares: NDArray[np.float64]
    covariance: NDArray[np.float64]
    p_value: float

    def interval(self, label: int, z: float = Z_95) -> Interval:
        """The share of one label, in [0, 1]."""
        value = float(self.shares[label])
        half = z * float(np.sqrt(max(self.covariance[label, label], 0.0)))
        return Interval(value, max(0.0, value - half), min(1.0, value + half))


def mlls(reference: NDArray[np.float64], rows: NDArray[np.float64]) -> LabelShift | None:
    """Shares of labels of largest likelihood, from judged reference rows, shape (S, L), and window rows, shape (S,).

    None where they cannot be told: a label without reference rows, or labels whose rows look alike.
    """
    prepared = _prepare(reference, rows)
    if prepared is None:
        return None
    per_label, rows = prepared
    start, shares = reference.sum(axis=0) / reference.sum(), rows / rows.sum()
    theta = _newton(start, per_label, shares)
    if theta is None:
        theta = _expectation_maximisation(start, per_label, shares)
    return _with_covariance(theta, per_label, reference, rows)


def _newton(
    theta: NDArray[np.float64], per_label: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The likelihood's maximum inside the simplex; None where the steps leave it or do not end."""
    for _ in range(_NEWTON_ROUNDS):
        weighted = per_label / (per_label @ theta)[:, None]
        curvature = weighted.T @ (weighted * shares[:, None])
        if np.linalg.cond(curvature) > _LARGEST_CONDITION:
            return None
        # The gradient is curvature @ theta, and 1 for every label at the maximum.
        after = 2.0 * theta - np.linalg.solve(curvature, np.ones(len(theta)))
        if after.min() <= 0.0:
            return None
        moved = float(np.abs(after - theta).max())
        theta = after / after.sum()
        if moved < _DONE:
            return theta
    return None


def _expectation_maximisation(
    theta: NDArray[np.float64], per_label: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    for _ in range(_ROUNDS):
        after = theta * (per_label.T @ (shares / np.maximum(per_label @ theta, 1e-300)))
        moved = float(np.abs(after - theta).max())
        theta = after
        if moved < _DONE:
            break
    return theta


def _prepare(
    reference: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """P(stratum | label), and the rows of strata that the reference knows; None where labels cannot be told apart."""
    per = reference.sum(axis=0)
    if not len(per) or per.min() <= 0.0:
        return None
    # Half a row for all strata together: a stratum that a label never had may have it now.
    per_label = (reference + 0.5 / len(reference)) / (per + 0.5)
    known = np.where(reference.sum(axis=1) > 0.0, rows, 0.0)
    mixed = per_label @ (per / per.sum())
    information = per_label.T @ (per_label / mixed[:, None])
    if known.sum() <= 0.0 or np.linalg.cond(information) > _LARGEST_CONDITION:
        return None
    return per_label, known


def _with_covariance(
    theta: NDArray[np.float64],
    per_label: NDArray[np.float64],
    reference: NDArray[np.float64],
    rows: NDArray[np.float64],
) -> LabelShift | None:
    mixed = np.maximum(per_label @ theta, 1e-300)
    weighted = per_label / mixed[:, None]
    information = per_label.T @ weighted
    if np.linalg.cond(information) > _LARGEST_CONDITION:
        return None
    # The strata's scatter: the window's own, and each label's in the reference, times its share.
    total = rows.sum()
    scatter = (np.diag(mixed) - np.outer(mixed, mixed)) / total
    per = reference.sum(axis=0)
    for label, share in enumerate(theta):
        column = per_label[:, label]
        scatter += share**2 / per[label] * (np.diag(column) - np.outer(column, column))
    solve = np.linalg.solve(information, weighted.T)
    covariance = solve @ scatter @ solve.T
    return LabelShift(theta, covariance, _fit(rows, mixed, reference, theta))


def _fit(
    rows: NDArray[np.float64], mixed: NDArray[np.float64], reference: NDArray[np.float64], theta: NDArray[np.float64]
) -> float:
    """Chi-square test of the strata against the mixture, its scatter in the reference taken in."""
    total = float(rows.sum())
    expected = mixed * total
    per = reference.sum(axis=0)
    noise = expected + total**2 * ((reference / per) * (theta**2 / per)).sum(axis=1)
    dense = expected >= 5.0
    freedom = int(dense.sum()) - len(theta)
    if freedom < 1:
        return 1.0
    statistic = float((((rows - expected) ** 2 / noise)[dense]).sum())
    return float(special.chdtrc(freedom, statistic))
