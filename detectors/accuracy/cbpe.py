"""Metrics of a classification before its labels come, from what the model said (confidence-based estimation, CBPE).

A row's label is unknown, but rows like it had labels in the reference: per stratum of prediction and score, the share
of each label there is the calibrated probability. A metric is then a function of expected counts, ``rows * share``.
Holds while labels depend on score and prediction as they did (no concept drift); a window whose scores merely moved is
answered rightly.

Each metric has its gradient by the expected counts, so that its variance adds up over strata from two parts: the shares
come from ``n`` reference rows (the error of the calibration), and the window's ``N`` labels will scatter about them:
``sum N^2 (1/(n + 1) + 1/N) Var(gradient)``. The interval says where the metric will lie once the labels are there.

Source: the definition of CBPE by NannyML, whose bands leave the calibration's error out; J. Bialek et al., Estimating
model performance under covariate shift without labels, 2024.

>>> counts = np.array([[90.0, 10.0], [20.0, 80.0]])
>>> half = Strata(np.array([0, 1]), np.array([0, 0]), counts, np.array([50.0, 50.0]), 0 * counts)
>>> round(estimated(half)["accuracy"].value, 2)
0.85
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.strata import PRIOR_ROWS, Strata, label_shares
from detectors.statistics.wilson import wilson
from driftline.results import Interval

#: A metric and its gradient by the expected rows per stratum and label.
_Linear = tuple[float, NDArray[np.float64]]


def estimated(
    strata: Strata, auc_beyond: float = 0.0, shares: NDArray[np.float64] | None = None
) -> Mapping[str, Interval]:
    """Metrics that the window's labels will show, by name, all in [0, 1].

    ``auc_beyond``: how much larger the reference's AUC is on exact scores than on these strata's bins. ``shares``: of
    labels per stratum, shape (S, L), where they are not the reference's.
    """
    if shares is None:
        shares = label_shares(strata.said, strata.reference)
    table = strata.rows[:, None] * shares
    right = strata.right / strata.rows.sum()
    found: dict[str, _Linear] = {"accuracy": (float((right * table).sum()), right)}
    if shares.shape[1] == 2:
        found |= _binary(strata, table, auc_beyond)
    else:
        found["f1_macro"] = _f1_macro(strata, table)
    weights = strata.rows**2 / (strata.reference_rows + PRIOR_ROWS) + strata.rows
    return {name: _interval(value, _variance(gradient, shares, weights)) for name, (value, gradient) in found.items()}


def _variance(gradient: NDArray[np.float64], shares: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    mean = (shares * gradient).sum(axis=1)
    spread = (shares * gradient**2).sum(axis=1) - mean**2
    return float(weights @ np.maximum(spread, 0.0))


def _interval(value: float, variance: float) -> Interval:
    value = min(1.0, max(0.0, value))
    if variance <= 0.0:
        return Interval(value, value, value)
    # As many rows as a share would need to scatter as much: the interval keeps away from impossible values.
    rows = max(value * (1.0 - value), 1e-12) / variance
    return wilson(value * rows, rows)


def _binary(strata: Strata, table: NDArray[np.float64], auc_beyond: float) -> dict[str, _Linear]:
    said = strata.said == 1
    hits = float(table[said, 1].sum())
    alarms, positives = float(strata.rows[said].sum()), float(table[:, 1].sum())
    is_positive = np.array([0.0, 1.0])
    hit = said[:, None] * is_positive
    found: dict[str, _Linear] = {}
    if alarms:
        found["precision"] = hits / alarms, hit / alarms
    if positives > 0.0:
        recall = hits / positives
        found["recall"] = recall, (hit - recall * is_positive) / positives
        f1 = 2.0 * hits / (alarms + positives)
        found["f1"] = f1, (2.0 * hit - f1 * is_positive) / (alarms + positives)
    scored = strata.bins < strata.bins.max()
    if len(np.unique(strata.bins[scored])) > 1 and min(table[scored, 0].sum(), table[scored, 1].sum()) > 0.0:
        value, gradient = auc_of(strata.bins, np.where(scored[:, None], table, 0.0))
        found["auc"] = value + auc_beyond, gradient * scored[:, None]
    return found


def auc_of(bins: NDArray[np.intp], table: NDArray[np.float64]) -> _Linear:
    """Area under the ROC curve of rows per stratum and label, ties half, and its gradient, shape (S, 2)."""
    size = int(bins.max()) + 1
    negatives = np.bincount(bins, table[:, 0], size)
    positives = np.bincount(bins, table[:, 1], size)
    n, m = negatives.sum(), positives.sum()
    beaten = (np.cumsum(negatives) - negatives / 2.0) / n
    beating = 1.0 - (np.cumsum(positives) - positives / 2.0) / m
    value = float(beaten @ positives / m)
    return value, np.column_stack(((beating - value) / n, (beaten - value) / m))[bins]


def _f1_macro(strata: Strata, table: NDArray[np.float64]) -> _Linear:
    labels = table.shape[1]
    hits = np.bincount(strata.said, (strata.right * table).sum(axis=1), labels)
    below = np.bincount(strata.said, strata.rows, labels) + table.sum(axis=0)
    # A class of a fraction of an expected row does not occur.
    occurs = below > 0.5
    scores = np.divide(2.0 * hits, below, out=np.zeros(labels), where=occurs)
    inverse = np.divide(1.0, below, out=np.zeros(labels), where=occurs)
    gradient = 2.0 * strata.right * inverse[strata.said][:, None] - (scores * inverse)[None, :]
    count = max(int(occurs.sum()), 1)
    return float(scores.sum() / count), gradient / count


def auc_beyond_bins(strata: Strata, exact: float | None) -> float:
    """How much the reference's AUC on exact scores is above the one on the strata's bins; 0 where either is unknown."""
    scored = strata.bins < strata.bins.max()
    table = np.where(scored[:, None], strata.reference, 0.0)
    if exact is None or table.shape[1] != 2 or not table.sum(axis=0).all():
        return 0.0
    beyond = exact - auc_of(strata.bins, table)[0]
    return beyond if math.isfinite(beyond) else 0.0
