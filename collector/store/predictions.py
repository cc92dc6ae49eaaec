"""Prediction rows on their way into the store: as columns, because a batch of thousands is written at once."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Whole: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]
Numbers: TypeAlias = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """Rows of one batch, in the order of the stream; every field has one value per row and is a column of the table.

    ``segments``: a JSON list of the segments besides "all rows". ``columns``: the packed input columns
    (``collector.store.row_columns``), None where they are not kept. ``subject``: whom each row is about
    (``collector.batches.subjects``); empty where the monitor does not say.
    """

    event_id: Sequence[str]
    row: Whole
    stream_id: Whole
    request_id: Sequence[str]
    time_s: Numbers
    window_start_s: Numbers
    window_end_s: Numbers
    segments: Sequence[str]
    prediction: Sequence[str | None]
    score: Sequence[float | None]
    outlier_score: Sequence[float | None]
    valid: Whole
    traceparent: Sequence[str | None]
    columns: Sequence[bytes | None]
    subject: Sequence[str | None] = ()

    def __len__(self) -> int:
        return len(self.event_id)


#: The columns of a prediction row as the collector makes it.
PREDICTION_COLUMNS = tuple(field.name for field in fields(PredictionColumns) if field.name != "subject")
