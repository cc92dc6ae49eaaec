"""Energy distance of one column: how far two samples are apart, each row's distance to each other row counted.

The root of twice the area under the squared difference of the distribution functions of the finite values, in units of
the reference's standard deviation: 0 only for equal distributions. Beside Wasserstein it weighs large differences of
the distribution functions more. Missing and infinite values have no place on that axis; the p-value takes them in as
cells of their own (``tables.py``).

The p-value (``quadratic_form.py``) looks at the bulk of the thresholds, those beyond which the smaller sample expects
five rows: what lies further out is known by too few rows for any law. Without such thresholds it is that of the
Kolmogorov-Smirnov test.

Source: G. J. Szekely, M. L. Rizzo, Energy statistics, 2013.
"""

import math

import numpy as np
from scipy import special

from detectors.statistics.brownian_bridge import spread
from detectors.statistics.columns import alone
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.quadratic_form import steps
from detectors.statistics.tables import MINIMUM_EXPECTED, with_special


def energy_distance(sample: ColumnSample) -> Evidence:
    """The distance, at least 0, with its p-value; larger is worse."""
    reference, current, values = sample.reference[1:-2], sample.current[1:-2], sample.values[1:-2]
    if not reference.sum() or not current.sum():
        return Evidence(0.0, "larger_is_worse", _with_special(sample, None))
    seen = steps(reference, current)
    filled = np.flatnonzero(reference + current)
    weights = 2.0 * np.diff(values[filled]) / spread(reference, values)
    statistic = math.sqrt(seen.square(weights) / seen.size)
    trim = MINIMUM_EXPECTED / min(int(reference.sum()), int(current.sum()))
    bulk = (seen.pooled >= trim) & (seen.pooled <= 1.0 - trim) & (weights > 0)
    if bulk.any():
        p_value = seen.only(bulk).p_value(weights[bulk])
    else:
        largest = float(np.abs(seen.gaps).max(initial=0.0))
        p_value = float(special.kolmogorov(largest * math.sqrt(seen.size)))
    return Evidence(statistic, "larger_is_worse", _with_special(sample, p_value))


def _with_special(sample: ColumnSample, p_value: float | None) -> float:
    tested = np.array([p_value is not None])
    return float(with_special(alone(sample), np.array([p_value or 0.0]), tested)[0])
