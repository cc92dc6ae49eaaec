"""Where the strata of judged predictions are cut: at quantiles of what a reference's model said.

Few enough that each holds labels to learn from, many enough that inside one of them it hardly matters which score a
row had.
"""

import math

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import tally
from detectors.counts.performance_counts import MAXIMUM_CLASSES, PerformanceLayout, performance_layout
from detectors.counts.reference_bins import most_frequent
from driftline.columns import JudgedBatch
from driftline.monitors import Monitor

MOST_STRATA = 40
#: Labelled reference rows that a stratum should hold, about: most scores belong to one prediction.
ROWS_PER_STRATUM = 50
# Numbers in the table of strata and labels; with thirty classes, two score bins are all that fits.
_MOST_CELLS = 4000
_LARGEST_EXPONENT = 200


def fitted_layout(monitor: Monitor, judged: JudgedBatch | None) -> PerformanceLayout:
    """The layout for a monitor whose reference has these labels; None: it has none, and nothing is cut."""
    if judged is None or monitor.task == "ranking":
        return performance_layout(monitor)
    known = judged.weight > 0
    if monitor.task == "regression":
        said = np.asarray(judged.prediction, dtype=np.float64)[known]
        labels = np.asarray(judged.label, dtype=np.float64)[known]
        centre, scale = _place(labels)
        return performance_layout(monitor, (), _cuts(said, _most(len(said), 1, 1)), centre, scale)
    classes: tuple[str, ...] = ()
    if monitor.task == "multiclass":
        classes = most_frequent(tally([*judged.label, *judged.prediction]), MAXIMUM_CLASSES)
    score = np.asarray(judged.score, dtype=np.float64)[known]
    if monitor.task == "binary":
        return performance_layout(monitor, classes, _cuts(score, _most(len(score), 1, 4)))
    return performance_layout(monitor, classes, _cuts(score, _most(len(score), len(classes), (len(classes) + 1) ** 2)))


def _most(rows: int, predictions: int, cells: int) -> int:
    return max(1, min(MOST_STRATA, rows // (ROWS_PER_STRATUM * predictions), _MOST_CELLS // cells))


def _cuts(values: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    finite = np.sort(values[np.isfinite(values)])
    if len(finite) == 0 or bins < 2:
        return ()
    places = np.arange(1, bins) * len(finite) // bins
    cuts = np.unique(finite[places])
    # Nothing lies below a cut at the smallest value.
    return tuple(cuts[cuts > finite[0]].tolist())


def _place(labels: NDArray[np.float64]) -> tuple[float, float]:
    """About the mean of labels, and about their deviation: powers of two, so that nothing is rounded by them."""
    finite = labels[np.isfinite(labels)]
    if len(finite) == 0:
        return 0.0, 1.0
    centre = float(np.median(finite))
    with np.errstate(over="ignore"):
        deviation = float(np.mean(np.abs(finite - centre)))
    if not 0.0 < deviation < math.inf:
        return centre, 1.0
    exponent = max(-_LARGEST_EXPONENT, min(_LARGEST_EXPONENT, math.floor(math.log2(deviation))))
    return centre, 2.0**exponent
