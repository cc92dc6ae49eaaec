"""Rows of a monitor's columns as one matrix of numbers, for what compares rows as wholes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import category
from detectors.counts.counting import numbers, texts
from detectors.counts.layout import ColumnLayout
from driftline.columns import ColumnBatch

#: Categories of a column that have a place of their own; the others share one.
MAXIMUM_CATEGORIES = 20
#: The place of categories that the reference lacks, or has seldom.
OTHERS = "others"


def vector_names(columns: Sequence[ColumnLayout]) -> tuple[str, ...]:
    """The name of each place: a numeric column's own, and ``column=category`` for each category."""
    return tuple(name for column in columns for name in _names(column))


def vectors(columns: Sequence[ColumnLayout], rows: ColumnBatch) -> NDArray[np.float64]:
    """One row per row, shape (rows, places): numbers as they are, 1 at a row's category, NaN where a value is missing.

    >>> columns = [ColumnLayout("x", "numeric"), ColumnLayout("c", "categorical", categories=("a",))]
    >>> rows = ColumnBatch(2, {"x": np.array([0.5, np.nan])}, {"c": np.array(["a", "z"], dtype=object)})
    >>> vector_names(columns), vectors(columns, rows).tolist()
    (('x', 'c=a', 'c=others'), [[0.5, 1.0, 0.0], [nan, 0.0, 1.0]])
    """
    parts = [
        numbers(rows, column.name)[:, None] if column.kind == "numeric" else _indicators(column, rows)
        for column in columns
    ]
    return np.hstack(parts) if parts else np.empty((rows.rows, 0))


def _names(column: ColumnLayout) -> list[str]:
    if column.kind == "numeric":
        return [column.name]
    return [f"{column.name}={name}" for name in (*column.categories[:MAXIMUM_CATEGORIES], OTHERS)]


def _indicators(column: ColumnLayout, rows: ColumnBatch) -> NDArray[np.float64]:
    known = column.categories[:MAXIMUM_CATEGORIES]
    codes = {name: code for code, name in enumerate(known)}
    placed = np.zeros((rows.rows, len(known) + 1))
    for place, value in enumerate(texts(rows, column.name)):
        name = category(value)
        if name is None:
            placed[place] = np.nan
        else:
            placed[place, codes.get(name, len(known))] = 1.0
    return placed
