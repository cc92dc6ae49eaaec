"""alibi-detect's detectors, for monitors that name them; the only module that imports it.

From 0.11.5 on alibi-detect is under the Business Source Licence: production use needs a licence of its own. It is
therefore an extra, and nothing else here depends on it. It sees representative rows made from counts
(``expansion.py``).
"""

import numpy as np
from numpy.typing import NDArray

from detectors.adapters.expansion import category_codes, finite_rows
from detectors.statistics.evidence import ColumnSample, Evidence
from driftline.errors import MonitorError

try:
    from alibi_detect.cd import ChiSquareDrift, KSDrift
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

HINT = (
    "alibi-detect is not installed here; install driftline[alibi] (note: its licence, BSL 1.1, limits production use)"
)


def ks(sample: ColumnSample) -> Evidence:
    """``KSDrift``: D and p-value; larger D is worse."""
    _require()
    before, now = finite_rows(sample)
    if not len(before) or not len(now):
        return Evidence(0.0, "larger_is_worse", None)
    found = KSDrift(before[:, None]).predict(now[:, None], drift_type="feature")["data"]
    return _evidence(found["distance"], found["p_val"])


def chi_square(sample: ColumnSample) -> Evidence:
    """``ChiSquareDrift``: statistic and p-value; a larger statistic is worse.

    alibi-detect compares with the reference's shares as if they were certain and cannot take a category that the
    reference lacks; such cells are left out and stay the business of our own detectors.
    """
    _require()
    before, now = category_codes(sample)
    known = np.unique(before)
    now = now[np.isin(now, known)]
    if len(known) < 2 or not len(now):
        return Evidence(0.0, "larger_is_worse", None)
    detector = ChiSquareDrift(before[:, None], categories_per_feature={0: [int(code) for code in known]})
    found = detector.predict(now[:, None], drift_type="feature")["data"]
    return _evidence(found["distance"], found["p_val"])


def _evidence(distances: NDArray[np.float32], p_values: NDArray[np.float32]) -> Evidence:
    statistic, p_value = float(np.ravel(distances)[0]), float(np.ravel(p_values)[0])
    return Evidence(statistic, "larger_is_worse", None if np.isnan(p_value) else p_value)


def _require() -> None:
    if not AVAILABLE:
        raise MonitorError("detectors", [HINT])
