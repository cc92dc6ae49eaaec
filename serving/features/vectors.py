"""Features of vectors: rows of as many numbers each, or lists of numbers, each as long as it is."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def _norm(rows: Matrix) -> Matrix:
    lengths: Matrix = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return lengths


#: What is made of a matrix with a vector per row; all but the dimension are missing for a vector without numbers.
OF_ROWS: Final[dict[str, Callable[[Matrix], Matrix]]] = {
    "dimension": lambda rows: np.full(len(rows), rows.shape[1], np.float64),
    "norm": _norm,
    "mean": lambda rows: rows.mean(axis=1),
    "deviation": lambda rows: rows.std(axis=1),
    "smallest": lambda rows: rows.min(axis=1),
    "largest": lambda rows: rows.max(axis=1),
}


def of_rows(feature: str, rows: Matrix) -> Matrix:
    """One number for each row of a matrix.

    >>> of_rows("norm", np.array([[3.0, 4.0], [0.0, 2.0]])).tolist()
    [5.0, 2.0]
    """
    if not rows.shape[1] and feature not in {"dimension", "norm"}:
        return np.full(len(rows), np.nan)
    return OF_ROWS[feature](rows)


def of_lists(feature: str, lists: Sequence[Sequence[float] | None]) -> Matrix:
    """One number for each list; missing where there is none. Raises ValueError or TypeError for what is no number."""
    lengths = {len(values) for values in lists if values is not None}
    if len(lengths) == 1 and None not in lists:
        return of_rows(feature, np.array(lists, np.float64).reshape(len(lists), -1))
    found = np.full(len(lists), np.nan)
    for place, values in enumerate(lists):
        if values is not None:
            found[place] = of_rows(feature, np.array([values], np.float64).reshape(1, -1))[0]
    return found
