"""One batch of columns out of the columns of many events, so that arithmetic runs once per batch, not per event."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from driftline.columns import ColumnBatch
from driftline.errors import PermanentError


def concatenate(batches: Sequence[ColumnBatch]) -> ColumnBatch:
    """The rows of all ``batches`` in order; a column absent from some of them is missing (NaN, None) there.

    Raises PermanentError when a column's length is not its batch's number of rows.
    """
    if len(batches) == 1:
        rows = batches[0].rows
        merged = batches[0]
    else:
        rows = sum(batch.rows for batch in batches)
        merged = ColumnBatch(
            rows,
            _concatenate_columns([batch.numeric for batch in batches], batches, np.float64, np.nan),
            _concatenate_columns([batch.text for batch in batches], batches, np.object_, None),
        )
    for name, values in (*merged.numeric.items(), *merged.text.items()):
        if len(values) != rows:
            raise PermanentError(f"column '{name}' has {len(values)} values for {rows} rows")
    return merged


def _concatenate_columns(
    parts: Sequence[Any], batches: Sequence[ColumnBatch], dtype: Any, absent: Any
) -> dict[str, Any]:
    names = list(dict.fromkeys(name for part in {tuple(part) for part in parts} for name in part))
    columns = {}
    for name in sorted(names):
        try:
            values = [part[name] for part in parts]
        except KeyError:
            values = [
                part[name] if name in part else np.full(batch.rows, absent, dtype)
                for part, batch in zip(parts, batches, strict=True)
            ]
        columns[name] = np.concatenate(values)
    return columns
