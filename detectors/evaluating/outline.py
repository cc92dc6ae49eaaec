"""A first monitor drawn from reference data, for a person to correct."""

import math

import numpy as np
import pandas as pd
from pandas.api import types

from detectors.counts.binning import category
from driftline.errors import ReferenceDataError
from driftline.monitor_detectors import ReferenceSpec
from driftline.monitors import ColumnSpec, Monitor, PredictionSpec, Task
from driftline.objectives import (
    AvailabilitySlo,
    CaptureSlo,
    CorrectnessSlo,
    DriftSlo,
    LatencySlo,
    QualitySlo,
    Slo,
    SloSet,
)

#: Whole-number columns with at most this many values, named like codes, are categories.
_MAXIMUM_CLASSES = 30
#: Categories are listed as the only allowed ones when there are at most this many.
_LISTED_CATEGORIES = 10
_PREDICTION_NAMES = ("prediction", "predicted", "pred", "y_pred", "output")
_SCORE_NAMES = ("score", "probability", "proba", "y_score", "prediction_score")


def draft_monitor(
    frame: pd.DataFrame,
    *,
    model: str,
    reference_path: str,
    target: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    namespace: str = "default",
) -> Monitor:
    """A monitor whose columns, types and valid ranges are those of ``frame``.

    ``target``: column with the true value; ``prediction`` and ``score``: the model's outputs (usual names are found by
    themselves). The task follows from the target, or else from the prediction. Raises ReferenceDataError when a named
    column is missing or nothing is left to watch.
    """
    prediction = prediction or _find(frame, _PREDICTION_NAMES)
    score = score or _find(frame, _SCORE_NAMES)
    for role, name in (("target", target), ("prediction", prediction), ("score", score)):
        if name is not None and name not in frame.columns:
            known = ", ".join(str(column) for column in frame.columns)
            raise ReferenceDataError(f"{reference_path}: the {role} column '{name}' is missing; it has {known}")
    outputs = {target, prediction, score}
    inputs = [name for name in frame.columns if name not in outputs and frame[name].notna().any()]
    columns = tuple(_column(str(name), frame[name]) for name in inputs if _watchable(frame[name]))
    if not columns:
        raise ReferenceDataError(f"{reference_path}: no column is left to watch beside target and outputs")
    answer = target or prediction
    task = "binary" if answer is None else _task(frame[answer], has_score=score is not None)
    return Monitor(
        model=model,
        namespace=namespace,
        task=task,
        columns=columns,
        prediction=PredictionSpec(
            column=prediction or "prediction",
            score=score if task == "binary" else None,
            positive=_positive(frame[answer]) if answer is not None and task == "binary" else "1",
        ),
        reference=ReferenceSpec(path=reference_path, label=target),
        slos=SloSet(objectives=_objectives(frame, task, target, prediction)),
    )


def _find(frame: pd.DataFrame, usual: tuple[str, ...]) -> str | None:
    known = {str(name).lower(): str(name) for name in frame.columns}
    return next((known[name] for name in usual if name in known), None)


def _watchable(series: pd.Series) -> bool:
    if types.is_datetime64_any_dtype(series) or types.is_timedelta64_dtype(series):
        return False
    distinct = series.nunique()
    if types.is_integer_dtype(series):
        # Whole numbers that are counted up row by row name the row and measure nothing.
        return not (distinct == len(series) > _MAXIMUM_CLASSES and series.max() - series.min() == len(series) - 1)
    # Text that differs in nearly every row is an identifier, not a category.
    return types.is_numeric_dtype(series) or distinct <= max(50, len(series) // 2)


def _column(name: str, series: pd.Series) -> ColumnSpec:
    required = not bool(series.isna().any())
    if types.is_numeric_dtype(series) and not types.is_bool_dtype(series):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if not (math.isfinite(low) and math.isfinite(high)):
            return ColumnSpec(name=name, type="numeric", required=required)
        margin = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
        floor = 0.0 if low >= 0 and low - margin < 0 else _rounded(low - margin, down=True)
        return ColumnSpec(
            name=name, type="numeric", required=required, minimum=floor, maximum=_rounded(high + margin, down=False)
        )
    allowed = None
    if series.nunique() <= _LISTED_CATEGORIES and not types.is_bool_dtype(series):
        allowed = tuple(sorted(category(value) or "" for value in series.dropna().unique()))
    return ColumnSpec(name=name, type="categorical", required=required, allowed=allowed)


def _rounded(value: float, *, down: bool) -> float:
    """Two significant digits, outwards."""
    if value == 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    whole = math.floor(value / step) if down else math.ceil(value / step)
    return float(f"{whole * step:.12g}")


def _task(series: pd.Series, *, has_score: bool) -> Task:
    distinct = series.nunique()
    if distinct <= 2 or has_score:
        return "binary"
    whole = types.is_integer_dtype(series) and distinct <= _MAXIMUM_CLASSES
    return "multiclass" if whole or not types.is_numeric_dtype(series) else "regression"


def _positive(series: pd.Series) -> str:
    from_data = sorted(category(value) or "" for value in series.dropna().unique())
    return "1" if "1" in from_data or not from_data else from_data[-1]


def _objectives(frame: pd.DataFrame, task: Task, target: str | None, prediction: str | None) -> tuple[Slo, ...]:
    objectives: tuple[Slo, ...] = (
        AvailabilitySlo(kind="availability", target=0.999),
        LatencySlo(kind="latency", target=0.99, threshold=0.5),
        CaptureSlo(kind="capture", target=0.999),
        QualitySlo(kind="data_quality", target=0.99),
        DriftSlo(kind="drift", target=0.9),
    )
    if target is None or prediction is None or prediction not in frame.columns:
        return objectives
    return (*objectives, _correctness(frame[target], frame[prediction], task))


def _correctness(truth: pd.Series, said: pd.Series, task: Task) -> CorrectnessSlo:
    known = truth.notna() & said.notna()
    if task == "regression":
        errors = (said[known].astype(float) - truth[known].astype(float)).abs()
        tolerance = float(errors.quantile(0.9)) if len(errors) else 1.0
        return CorrectnessSlo(kind="correctness", target=0.8, tolerance=_rounded(tolerance, down=False) or 1.0)
    right = float((truth[known].map(category) == said[known].map(category)).mean()) if known.any() else 0.9
    # A twentieth below what the model does on its reference, in whole percents that people can remember.
    return CorrectnessSlo(kind="correctness", target=min(0.99, max(0.5, math.floor((right - 0.05) * 100) / 100)))
