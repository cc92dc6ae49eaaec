"""Columns of several batches, one under the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from driftline.columns import ColumnBatch


def stack(batches: Sequence[ColumnBatch]) -> ColumnBatch:
    """The rows of all ``batches`` in order; a column absent from some of them is missing (NaN, None) there."""
    if len(batches) == 1:
        return batches[0]
    numeric = _stack([batch.numeric for batch in batches], batches, np.float64, np.nan)
    text = _stack([batch.text for batch in batches], batches, np.object_, None)
    return ColumnBatch(sum(batch.rows for batch in batches), numeric, text)


def _stack(parts: Sequence[Any], batches: Sequence[ColumnBatch], dtype: Any, absent: Any) -> dict[str, Any]:
    columns = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        columns[name] = np.concatenate(
            [
                part[name] if name in part else np.full(batch.rows, absent, dtype)
                for part, batch in zip(parts, batches, strict=True)
            ]
        )
    return columns
