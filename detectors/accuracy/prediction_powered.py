"""Accuracy of all rows of a window from the few that have labels, with what the model was expected to get right.

Labels alone say how right the labelled rows were: with a wide interval where they are few, and wrongly where rows
whose labels come early are other rows. Both are mended by a guess ``f`` for every row, labelled or not (the reference's
share of right predictions in the row's stratum): the mean guess over all rows, plus how far labels were off the guess.

    estimate = sum_g N_g/N [ lambda mean_g(f) + mean_labelled_g(y - lambda f) ]

Groups ``g`` are neighbouring strata with enough labels each. Their weights undo the haste of labels: a row counts by
the inverse of its group's share of labelled rows. So the estimate is right whatever the guess is worth, where within a
group it does not depend on the label how soon it comes. ``lambda`` is chosen to make the variance small; a useless
guess gets 0. The variance has two parts: which rows got labels, and which rows there were.

Sources: A. Angelopoulos et al., Prediction-powered inference, Science 2023 (arXiv 2301.09633), and PPI++ (arXiv
2311.01453) for lambda; D. Horvitz, D. Thompson, A generalization of sampling without replacement from a finite
universe, 1952.

>>> rows, labels, right = np.array([200.0, 800.0]), np.array([40.0, 20.0]), np.array([36.0, 8.0])
>>> corrected = corrected_share(Labelled(rows, labels, right, right, np.array([0.9, 0.4])))
>>> round(44 / 60, 2), round(corrected.value, 2)  # right among the labelled rows; among all rows
(0.73, 0.5)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.wilson import wilson
from driftline.results import Interval

#: Labels that a group needs to speak for its rows.
LABELS_PER_GROUP = 15


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is known per stratum, each shape (S,).

    ``rows``: of the window; ``labels``: how many of them have one; ``total``, ``squares``: sums over these of what is
    to be averaged; ``guess``: what was expected of each row.
    Like strata stand together.
    """

    rows: NDArray[np.float64]
    labels: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    guess: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Corrected:
    """The mean over all rows and its variance; ``tuning``: how much the guess was worth; ``groups``: with labels."""

    value: float
    variance: float
    tuning: float
    groups: int


def corrected_mean(known: Labelled, smallest_variance: float = 0.0) -> Corrected | None:
    """The mean over all rows of the window; None without a label.

    ``smallest_variance``: of one row, where labels that all agree would claim none.
    """
    labels = float(known.labels.sum())
    if labels <= 0.0:
        return None
    group = _groups(known.labels)
    size = int(group.max()) + 1

    def by_group(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(group, values, size).astype(np.float64)

    n, rows = by_group(known.labels), by_group(known.rows)
    weight = rows / rows.sum()
    y, f = by_group(known.total) / n, by_group(known.labels * known.guess) / n
    overall = by_group(known.rows * known.guess) / np.maximum(rows, 1e-300)
    yy = by_group(known.squares) / n - y**2
    ff = by_group(known.labels * known.guess**2) / n - f**2
    yf = by_group(known.total * known.guess) / n - y * f
    # Which rows got labels: nothing is left to chance where all did.
    chance = weight**2 * np.maximum(1.0 - n / np.maximum(rows, n), 0.0) / n
    down = float(chance @ ff)
    tuning = min(1.0, max(0.0, float(chance @ yf) / down)) if down > 0.0 else 0.0
    value = float(weight @ (y + tuning * (overall - f)))
    spread = yy - 2.0 * tuning * yf + tuning**2 * ff
    pooled = max(float(n @ spread) / labels, smallest_variance)
    # Two rows of the pooled spread are added: few labels that happen to agree do not make a group certain.
    spread = (n * spread + 2.0 * pooled) / np.maximum(n + 1.0, 1.0)
    mean_square = float(weight @ (by_group(known.squares) / n))
    whole = max(mean_square - value**2, smallest_variance) / rows.sum()
    # Each group's mean and lambda were fitted to the labels, which are off them by less than others would be.
    fitted = labels / max(labels - size - 1.0, 1.0)
    return Corrected(value, float(chance @ spread) * fitted + whole, tuning, size)


def corrected_share(known: Labelled) -> Interval | None:
    """:func:`corrected_mean` of zeros and ones, in [0, 1]."""
    labels, hits = float(known.labels.sum()), float(known.total.sum())
    cautious = (hits + 1.0) / (labels + 2.0)
    found = corrected_mean(known, cautious * (1.0 - cautious))
    if found is None:
        return None
    value = min(1.0, max(0.0, found.value))
    inside = (value * labels + 1.0) / (labels + 2.0)
    effective = inside * (1.0 - inside) / found.variance
    return wilson(value * effective, effective)


def _groups(labels: NDArray[np.float64]) -> NDArray[np.intp]:
    """Each stratum's group: neighbours are joined until each has enough labels; the rest joins the last."""
    group = np.zeros(len(labels), dtype=np.intp)
    number, seen, left = 0, 0.0, float(labels.sum())
    for place, count in enumerate(labels.tolist()):
        group[place] = number
        seen += count
        left -= count
        if seen >= LABELS_PER_GROUP and left >= LABELS_PER_GROUP:
            number, seen = number + 1, 0.0
    return group
