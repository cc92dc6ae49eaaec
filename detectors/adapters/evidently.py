"""Evidently's drift methods, for monitors that name them; the only module that imports it.

Evidently gives one number, a p-value for tests and a distance for the rest, and compares it with a fixed threshold.
Here the number keeps its direction, and a distance has no p-value: it is shown, and cannot decide (a fixed threshold
keeps to no false-alarm budget). It sees representative rows made from counts (``expansion.py``).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.adapters.expansion import category_codes, finite_rows
from detectors.statistics.evidence import ColumnSample, Evidence
from driftline.errors import MonitorError

try:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

HINT = "Evidently is not installed here; install driftline[evidently]"


def ks(sample: ColumnSample) -> Evidence:
    """Kolmogorov-Smirnov: Evidently's number is the p-value; a smaller one is worse."""
    return _test(sample, "ks")


def chisquare(sample: ColumnSample) -> Evidence:
    """Chi-square against the reference's shares: the number is the p-value; a smaller one is worse."""
    return _test(sample, "chisquare")


def psi(sample: ColumnSample) -> Evidence:
    """Population stability index with Evidently's own bins; larger is worse, no p-value."""
    return _distance(sample, "psi")


def wasserstein(sample: ColumnSample) -> Evidence:
    """Wasserstein distance in standard deviations of the reference; larger is worse, no p-value."""
    return _distance(sample, "wasserstein")


def jensenshannon(sample: ColumnSample) -> Evidence:
    """Jensen-Shannon distance with Evidently's own bins; larger is worse, no p-value."""
    return _distance(sample, "jensenshannon")


def save_report(
    reference: pd.DataFrame, current: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str], path: Path
) -> None:
    """Evidently's own report on drift of the named columns, with its defaults, as one HTML file.

    Its verdicts are its own: fixed thresholds per column, and no budget over columns. It holds all rows in memory, and
    takes minutes for a million. Raises MonitorError where Evidently is not installed.
    """
    if not AVAILABLE:
        raise MonitorError("analyze", [HINT])
    definition = DataDefinition(numerical_columns=[*numeric], categorical_columns=[*categorical])
    columns = [*numeric, *categorical]
    frames = [Dataset.from_pandas(frame[columns], data_definition=definition) for frame in (current, reference)]
    Report([DataDriftPreset(columns=columns)]).run(*frames).save_html(str(path))


def _test(sample: ColumnSample, method: str) -> Evidence:
    number = _number(sample, method)
    return Evidence(1.0 if number is None else number, "smaller_is_worse", number)


def _distance(sample: ColumnSample, method: str) -> Evidence:
    return Evidence(_number(sample, method) or 0.0, "larger_is_worse", None)


def _number(sample: ColumnSample, method: str) -> float | None:
    if not AVAILABLE:
        raise MonitorError("detectors", [HINT])
    numeric = sample.kind == "numeric"
    before, now = finite_rows(sample) if numeric else _words(sample)
    if not len(before) or not len(now):
        return None
    definition = DataDefinition(numerical_columns=["x"]) if numeric else DataDefinition(categorical_columns=["x"])
    frames = [Dataset.from_pandas(pd.DataFrame({"x": rows}), data_definition=definition) for rows in (now, before)]
    report = Report([ValueDrift(column="x", method=method)])
    number = float(report.run(*frames).dict()["metrics"][0]["value"])
    return None if math.isnan(number) else number


def _words(sample: ColumnSample) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    before, now = category_codes(sample)
    return before.astype(str).astype(object), now.astype(str).astype(object)
