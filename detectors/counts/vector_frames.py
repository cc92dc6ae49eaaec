"""Vectors out of a column of a frame: lists, arrays, or their spelling as JSON, as files hold them."""

import json

import numpy as np
import pandas as pd

from driftline.columns import VectorColumn
from driftline.monitors import VectorSpec


def vector_column(frame: pd.DataFrame, spec: VectorSpec) -> VectorColumn:
    """Each row's vector, shape (rows, dimension): NaN where there is none, or one of another length.

    >>> frame = pd.DataFrame({"e": [[1.0, 2.0], None, "[3, 4]", [5.0]]})
    >>> vector_column(frame, VectorSpec(name="e", dimension=2)).tolist()
    [[1.0, 2.0], [nan, nan], [3.0, 4.0], [nan, nan]]
    """
    found = np.full((len(frame), spec.dimension), np.nan)
    for row, value in enumerate(frame[spec.name]):
        numbers = numbers_of(value)
        if numbers is not None and numbers.shape == (spec.dimension,):
            found[row] = numbers
    return found


def vector_fault(frame: pd.DataFrame, spec: VectorSpec, *, needed: bool) -> str | None:
    """Why a column holds no vectors; None where it does. ``needed``: at least one must be there."""
    if spec.name not in frame.columns:
        return f"column '{spec.name}' is missing"
    for row, value in enumerate(frame[spec.name]):
        try:
            numbers_of(value)
        except (ValueError, TypeError):
            return f"column '{spec.name}' holds {str(value)[:40]!r} in row {frame.index[row]}, which is no vector"
    if needed and np.isnan(vector_column(frame, spec)).any(axis=1).all():
        return f"column '{spec.name}' has no vector of {spec.dimension} numbers"
    return None


def numbers_of(value: object) -> VectorColumn | None:
    """The numbers of one value; None where it is missing. Raises ValueError or TypeError where it is neither."""
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA:
        return None
    numbers = np.asarray(json.loads(value) if isinstance(value, str) else value, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError("a vector has one dimension")
    return numbers
