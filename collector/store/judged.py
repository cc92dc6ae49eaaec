"""Stored predictions beside their labels, as statistics count them: texts of classes, numbers of all else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftline.columns import JudgedBatch
from driftline.monitors import Monitor


def judged_batch(
    monitor: Monitor,
    predictions: Sequence[str | None],
    scores: Sequence[float | None],
    labels: Sequence[str | None],
    weight: NDArray[np.int64],
) -> JudgedBatch:
    """Rows in their order; what a number lacks is NaN.

    >>> columns = [{"name": "x", "type": "numeric"}]
    >>> monitor = Monitor.model_validate({"model": "m", "task": "regression", "columns": columns})
    >>> judged_batch(monitor, ["2.5"], [None], ["3"], np.ones(1, np.int64)).label
    array([3.])
    """
    score = _floats(scores)
    if monitor.predicts_numbers:
        return JudgedBatch(_floats(predictions), score, _floats(labels), weight)
    return JudgedBatch(np.array(predictions, dtype=np.object_), score, np.array(labels, dtype=np.object_), weight)


def _floats(values: Sequence[str | float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else float(value or "nan") for value in values], dtype=np.float64)
