"""Maximum mean discrepancy, exact, with permutations.

The squared distance of the mean rows of two samples, as a Gaussian kernel sees them: ``mean k(x, x') + mean k(y, y') -
2 mean k(x, y)``, pairs of different rows. The kernel's width is the median distance of two rows. Any change of the
joint distribution moves it. Source: A. Gretton and others, A kernel two-sample test, JMLR 2012, equation 3.

The effect is a lower bound of the total variation distance (see ``mmd_features.py``).

>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(400, 2))
>>> mixed = np.column_stack((x[:200, 0], 0.9 * x[:200, 0] + 0.4 * x[:200, 1]))
>>> mmd(TableSample(("a", "b"), x[200:], mixed), rng, 199).evidence.p_value
0.005
"""

import numpy as np
from numpy.typing import NDArray

from detectors.counts.feature_reference import median_width
from detectors.multivariate.arrays import HOST, Arrays
from detectors.multivariate.hanging_deals import stretch
from detectors.multivariate.kernels import gaussian
from detectors.multivariate.mmd_features import kernel_effect
from detectors.multivariate.permutations import permutation_test, squared_distances
from detectors.multivariate.prepared import MAXIMUM_ROWS, prepare
from detectors.statistics.evidence import Evidence
from detectors.statistics.table_sample import NOTHING, TableEvidence, TableSample

_WIDTH_ROWS = 1000


def mmd(
    sample: TableSample,
    rng: np.random.Generator,
    permutations: int,
    /,
    arrays: Arrays = HOST,
    most_rows: int = MAXIMUM_ROWS,
) -> TableEvidence:
    """The unbiased squared discrepancy; larger is worse. Of either side ``most_rows`` are looked at."""
    prepared = prepare(sample, rng, most_rows)
    if prepared is None:
        return NOTHING
    rows = prepared.values.astype(np.float32)
    apart, along = sample.inflation(prepared.n, prepared.m), stretch(sample, prepared, permutations, rng)
    kernel = gaussian(kernel_width(rows, rng))
    found = permutation_test(rows, prepared.n, kernel, permutations, rng, arrays, apart, along)
    effect = kernel_effect(max(0.0, found.square), found.chance, max(0.0, found.furthest))
    evidence = Evidence(found.unbiased - found.more, "larger_is_worse", found.p_value)
    return TableEvidence(evidence, effect, device=found.device)


def kernel_width(rows: NDArray[np.float32], rng: np.random.Generator) -> float:
    """The median heuristic over both samples, on a thousand rows."""
    some = rows if len(rows) <= _WIDTH_ROWS else rows[rng.choice(len(rows), _WIDTH_ROWS, replace=False)]
    return median_width(squared_distances(some)[np.triu_indices(len(some), 1)].astype(np.float64))
