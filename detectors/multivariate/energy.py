"""Energy distance of rows, with permutations.

``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` over Euclidean distances, divided by ``2 E|X - Y|``: the coefficient of
inhomogeneity, 0 for equal distributions and at most 1. Needs no width of a kernel, and is surer of differences far out
than ``mmd``. Source: G. Szekely, M. Rizzo, Energy statistics: a class of statistics based on distances, 2013.

The effect is the coefficient with chance taken off. It is a lower bound of the total variation distance t: with
``P = (1-t) C + t A`` and ``Q = (1-t) C + t B`` the numerator is t squared times that of A and B, so at most ``2 t^2
E|A - B|``, and by the triangle inequality ``E|X - Y|`` is at least ``t E|A - B|``.

>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(400, 3))
>>> found = energy(TableSample(("a", "b", "c"), x[:200], x[200:] + 1.0), rng, 199)
>>> found.evidence.p_value, 0.1 < found.effect.value < 0.3
(0.005, True)
"""

import math

import numpy as np

from detectors.multivariate.arrays import HOST, Arrays
from detectors.multivariate.hanging_deals import stretch
from detectors.multivariate.kernels import nearness
from detectors.multivariate.permutations import permutation_test
from detectors.multivariate.prepared import MAXIMUM_ROWS, prepare
from detectors.statistics.evidence import Evidence
from detectors.statistics.table_sample import NOTHING, TableEvidence, TableSample
from driftline.results import Interval


def energy(
    sample: TableSample,
    rng: np.random.Generator,
    permutations: int,
    /,
    arrays: Arrays = HOST,
    most_rows: int = MAXIMUM_ROWS,
) -> TableEvidence:
    """The coefficient of inhomogeneity, every pair of ``most_rows`` of either side counted; larger is worse."""
    prepared = prepare(sample, rng, most_rows)
    if prepared is None:
        return NOTHING
    rows = prepared.values.astype(np.float32)
    apart, along = sample.inflation(prepared.n, prepared.m), stretch(sample, prepared, permutations, rng)
    found = permutation_test(rows, prepared.n, nearness(), permutations, rng, arrays, apart, along)
    between = -2.0 * found.between
    if between <= 0.0:
        return NOTHING
    length, error = math.sqrt(max(0.0, found.square)), math.sqrt(max(0.0, found.furthest))
    value = max(0.0, found.square - found.chance)
    ends = max(0.0, length - error) ** 2, (length + error) ** 2
    effect = Interval(*(min(1.0, square / between) for square in (value, min(ends[0], value), ends[1])))
    evidence = Evidence(max(0.0, found.square) / between, "larger_is_worse", found.p_value)
    return TableEvidence(evidence, effect, device=found.device)
