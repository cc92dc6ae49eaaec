"""A reference built with its rows in the order of their times, where a column of the file says them."""

from collections.abc import Mapping

import pandas as pd

from detectors.baselines.reference import Reference, build_reference
from detectors.baselines.rows_in_order import TogetherRows
from detectors.offline.time_columns import Times, time_column
from driftline.monitors import Monitor


def reference_in_time(
    frame: pd.DataFrame,
    monitor: Monitor,
    exact_with: pd.DataFrame | None = None,
    times: Times | None = None,
    together: Mapping[str, TogetherRows] | None = None,
) -> Reference:
    """As :func:`build_reference`; ``times``: where somebody knows them, else those of a likely column."""
    times = times or time_column(frame, monitor)
    seconds = None if times is None else times.seconds
    return build_reference(frame, monitor, exact_with, seconds=seconds, together=together)
