"""Whether a column gives the truth away: a number that orders the rows nearly as the truth does.

Such a column is mostly one that is known only afterwards, and that no request will have.

>>> import numpy as np
>>> delay = np.arange(100.0)
>>> gives_away(delay, delay > 40), gives_away(np.sin(delay), delay > 40)
(True, False)
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: From this share of rightly ordered pairs on (0.5: none) a column says what a model is asked for.
_ORDERED = 0.98
_FEWEST = 50
# So many rows, evenly spread, say it as surely as all.
_LOOKED_AT = 100_000


def gives_away(values: NDArray[np.float64], truth: NDArray[np.float64] | NDArray[np.bool_]) -> bool:
    """``values``, ``truth``: shape (rows,), NaN where one is missing; a truth of booleans or of numbers."""
    step = -(-len(values) // _LOOKED_AT)
    values, truth = values[::step], truth[::step]
    known = np.isfinite(values) & np.isfinite(truth)
    values, truth = values[known], truth[known]
    if len(values) < _FEWEST or np.ptp(values) == 0.0:
        return False
    if truth.dtype == np.bool_:
        return _ordered(values, truth.astype(np.bool_)) >= _ORDERED
    return bool(abs(stats.spearmanr(values, truth).statistic) >= 2 * _ORDERED - 1) if np.ptp(truth) else False


def _ordered(values: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """The share of pairs of either class that the values order alike (area under the ROC curve), 0.5 to 1."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if min(positives, negatives) == 0:
        return 0.5
    above = float(stats.rankdata(values)[truth].sum()) - positives * (positives + 1) / 2
    area = above / (positives * negatives)
    return max(area, 1.0 - area)
