"""The plane in which rows mostly lie, by their principal components, and how far rows are from it."""

import numpy as np
from numpy.typing import NDArray

#: Share of the variance that the components hold.
VARIANCE_HELD = 0.65
_FLAT, _TINY = 1e-9, 1e-300


def residuals_of(fitted: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """What of ``rows`` is off the plane of the components of ``fitted``, shape as ``rows``.

    >>> line = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    >>> residuals_of(line, np.array([[3.0, 3.0], [1.0, 0.0]])).round(3).tolist()
    [[0.0, 0.0], [0.5, -0.5]]
    """
    centre = fitted.mean(axis=0)
    deviations = fitted - centre
    variances, directions = np.linalg.eigh(deviations.T @ deviations)
    variances, directions = variances[::-1], directions[:, ::-1]
    held = np.cumsum(variances) / max(float(variances.sum()), _TINY)
    kept = directions[:, : int(np.searchsorted(held, VARIANCE_HELD)) + 1]
    moved = rows - centre
    return np.asarray(moved - (moved @ kept) @ kept.T)


def directions_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far rows are from their mean along each principal direction in which they differ, shape (rows, directions).

    >>> directions_of(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])).shape
    (3, 1)
    """
    deviations = rows - rows.mean(axis=0) if len(rows) else rows
    variances, directions = np.linalg.eigh(deviations.T @ deviations)
    kept = variances > _FLAT * max(float(variances.max(initial=0.0)), _TINY)
    return np.asarray(deviations @ directions[:, kept])
