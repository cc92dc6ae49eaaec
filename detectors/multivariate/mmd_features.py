"""Maximum mean discrepancy from sums of random features: all columns at once, from counts that merge.

The statistic is the squared distance of the mean rows in the space of features (``counts/random_features.py``), less
what chance gives: an estimate of the squared maximum mean discrepancy with a Gaussian kernel, whose width is the median
distance of reference rows. Under no change the distance, unreduced, is ``sum_k lambda_k Z_k^2 (1/n + 1/m)`` with
independent normal ``Z``, the ``lambda`` being the eigenvalues of the covariance of one row's features, which the
reference knows; so the p-value needs no permutations and costs the same for a hundred rows and for a billion.

The effect: as no kernel value is above 1, the discrepancy is at most the root of 2 times the total variation distance.
Its interval follows from the triangle inequality: the distance found is off by at most the length of the error.

Sources: A. Gretton and others, A kernel two-sample test, 2012 (the law: theorem 12); A. Rahimi, B. Recht, 2007;
J. Zhao, D. Meng, FastMMD, 2015.

>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(2000, 2))
>>> turned = x @ np.array([[1.0, 0.8], [0.0, 0.6]])  # each column as before, but no longer independent
>>> found = mmd_features(TableSample(("a", "b"), x[:1000], turned[1000:]), rng)
>>> quiet = mmd_features(TableSample(("a", "b"), x[:1000], x[1000:]), rng)
>>> found.evidence.p_value < 1e-6, quiet.evidence.p_value > 0.05
(True, True)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.counts.feature_reference import ExpectedFeatures, fit_features
from detectors.counts.random_features import ROWS, count_features, feature_means
from detectors.multivariate.prepared import in_order
from detectors.statistics.evidence import Evidence
from detectors.statistics.quadratic_form import tail
from detectors.statistics.table_sample import NOTHING, TableEvidence, TableSample
from driftline.columns import ColumnBatch
from driftline.results import Interval

#: A discrepancy over this is at most the total variation distance.
KERNEL_BOUND = math.sqrt(2.0)
_SMALLEST = 2
_SURE, _HALVINGS = 0.05, 40
# Of how well a figure is known, so many chances alike.
_CHANCES = 31
_WHOLE = "rows"


@dataclass(frozen=True, slots=True)
class Along:
    """Directions of ``ExpectedFeatures.parts``: ``as_one`` neighbouring rows say as much as one along each, which is
    known from ``freedom`` independent squares, shape (directions,) each.
    """

    as_one: NDArray[np.float64]
    freedom: NDArray[np.float64]


def compare(
    expected: ExpectedFeatures, sums: NDArray[np.int64], furthest: float, as_one: float = 1, along: Along | None = None
) -> TableEvidence:
    """A window's ``sums`` beside the expected ones; ``furthest`` from :func:`chance_square` of the expected spread.

    ``as_one``: so many neighbouring rows say as much as one, on both sides. ``along``: other numbers of some
    directions; ``furthest`` is then no matter.
    """
    n, m = int(expected.sums[ROWS]), int(sums[ROWS])
    if min(n, m) < _SMALLEST or not expected.spread.any():
        return NOTHING
    size = 1.0 / n + 1.0 / m
    gap = feature_means(sums) - feature_means(expected.sums)
    square = float(gap @ gap)
    if along is None:
        size *= as_one
        chance, p_value = float(expected.spread.sum()) * size, tail(expected.spread * size, square)
    else:
        of_parts = np.concatenate(([as_one], along.as_one))[:, None] * expected.parts
        chance, furthest = float(of_parts.sum()) * size, chance_square(of_parts.ravel())
        p_value = _unsure_tail(of_parts * size, along.freedom, square)
    evidence = Evidence(square - chance, "larger_is_worse", p_value)
    return TableEvidence(evidence, kernel_effect(square, chance, furthest * size))


def _unsure_tail(parts: NDArray[np.float64], freedom: NDArray[np.float64], square: float) -> float:
    """The tail of the sum of all ``parts``, shape (1 + directions, parts), each direction's as large as it may be.

    That is by how much too small its figure may be, by chi-square's law: all of them by the same chance at once.
    """
    chances = (np.arange(_CHANCES) + 0.5) / _CHANCES
    times = freedom / special.chdtri(freedom, chances[:, None])
    return float(np.mean([tail(np.concatenate((parts[0], *(parts[1:] * each[:, None]))), square) for each in times]))


def kernel_effect(square: float, chance: float, furthest: float) -> Interval:
    """A squared discrepancy as a bound of the total variation distance.

    ``chance``: the mean of the square under no change. ``furthest``: its 95 % point.
    """
    value, error = math.sqrt(max(0.0, square - chance)), math.sqrt(furthest)
    lower, upper = max(0.0, math.sqrt(square) - error), math.sqrt(square) + error
    return Interval(*(min(1.0, length / KERNEL_BOUND) for length in (value, min(lower, value), upper)))


def chance_square(spread: NDArray[np.float64]) -> float:
    """The 95 % point of the sum of ``spread`` times squared standard normal variables; 0 where there is no spread."""
    if not spread.any():
        return 0.0
    low = float(spread.sum())
    high = low + 10.0 * math.sqrt(2.0 * float(spread @ spread))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if tail(spread, middle) > _SURE else (low, middle)
    return high


def mmd_features(sample: TableSample, _rng: np.random.Generator, _permutations: int = 0, /) -> TableEvidence:
    """The same from rows. The features are fitted on the reference with a seed of their own."""
    if min(sample.reference_rows, sample.current_rows) < _SMALLEST:
        return NOTHING
    reference, current = (_batch(sample, in_order(rows)) for rows in (sample.reference, sample.current))
    everything = np.ones(reference.rows, dtype=bool)
    fitted = fit_features([(name, "numeric", ()) for name in reference.numeric], reference, {_WHOLE: everything})
    expected = fitted.expected[_WHOLE]
    apart = sample.inflation(reference.rows, current.rows)
    return compare(expected, count_features(fitted.map, current).values, chance_square(expected.spread), apart)


def _batch(sample: TableSample, rows: NDArray[np.float64]) -> ColumnBatch:
    # By place: names need not be distinct.
    return ColumnBatch(len(rows), {str(place): rows[:, place] for place in range(len(sample.columns))})
