"""What of the features' spread each direction explains along which reference rows hang together more than the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.rows_in_order import TogetherRows
from detectors.counts.feature_reference import ReferenceFeatures, parts_of_spread
from detectors.counts.layout import ColumnLayout
from detectors.counts.vectors import vectors
from detectors.statistics.hanging_directions import HangingDirections, functions_along
from driftline.columns import ColumnBatch


def told_apart(
    features: ReferenceFeatures,
    columns: Sequence[ColumnLayout],
    rows: ColumnBatch,
    segments: Mapping[str, NDArray[np.bool_]],
    together: Mapping[str, TogetherRows],
) -> ReferenceFeatures:
    """The features with the parts of their spread in those of ``segments``, masks of ``rows``, that have directions."""
    expected = dict(features.expected)
    for name, known in together.items():
        if len(known.directions):
            of_segment = rows.take(np.flatnonzero(segments[name]))
            parts = parts_of_spread(features.map, of_segment, partial(_explaining, columns, known.directions))
            expected[name] = replace(expected[name], parts=parts)
    return replace(features, expected=expected)


def _explaining(
    columns: Sequence[ColumnLayout], directions: HangingDirections, rows: ColumnBatch
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    return functions_along(directions.along(vectors(columns, rows)))
