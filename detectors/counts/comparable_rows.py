"""Rows as vectors of comparable numbers: what distances, planes and directions are taken of.

Each column is centred at its median and measured in its spread, up to eight of them, but for an embedding's and for
columns of zeros and ones. A missing value stands at the centre, with a mark at a place of its own.

>>> values, columns = comparable(np.array([[1.0, 0.0], [3.0, 1.0], [np.nan, 1.0], [5.0, 1.0]]))
>>> values.round(2).tolist(), columns.tolist()
([[-1.35, 0.0, -0.5], [0.0, 0.0, 0.5], [0.0, 1.0, 0.5], [1.35, 0.0, 0.5]], [0, 0, 1])
"""

import numpy as np
from numpy.typing import NDArray

from detectors.counts.feature_reference import robust_scale
from detectors.counts.random_features import FURTHEST


def comparable(rows: NDArray[np.float64], *, embedding: bool = False) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Rows as vectors of comparable numbers, shape (rows, places), and the column that each place tells of.

    A column that differs nowhere has no place.
    """
    places, columns = [], []
    for column in range(rows.shape[1]):
        for values in _places(rows[:, column], embedding=embedding):
            places.append(values)
            columns.append(column)
    values = np.column_stack(places) if places else np.empty((len(rows), 0))
    return values, np.array(columns, dtype=np.intp)


def _places(values: NDArray[np.float64], *, embedding: bool) -> list[NDArray[np.float64]]:
    missing = np.isnan(values)
    finite = values[np.isfinite(values)]
    centre, scale = robust_scale(values)
    if embedding:
        reach = float(np.abs(finite - centre).max()) if len(finite) else 0.0
        scaled = np.clip(values - centre, -reach, reach)
    elif bool(np.isin(finite, (0.0, 1.0)).all()) and not np.isinf(values).any():
        scaled = values - 0.5
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.clip((values - centre) / scale, -FURTHEST, FURTHEST)
    scaled = np.where(missing, 0.0, scaled)
    found = [scaled] if np.ptp(scaled) > 0.0 else []
    return [*found, missing.astype(np.float64)] if missing.any() and not missing.all() else found
