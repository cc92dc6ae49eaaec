"""Which column of a file says when each row was."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.counts.frames import seconds_of
from detectors.offline.column_roles import column_role
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor

# Seconds since 1970 of the years 1971 and 2200: other numbers are no dates.
_FIRST_S, _LAST_S = 31_536_000.0, 7_258_118_400.0


def times_of(frame: pd.DataFrame, name: str) -> NDArray[np.float64] | None:
    """Seconds since 1970 of every row; None where the column does not say them, as with times of day."""
    try:
        times_s = seconds_of(frame, name)
    except (ReferenceDataError, TypeError, ValueError):
        return None
    return times_s if times_s.min() >= _FIRST_S and times_s.max() <= _LAST_S else None


def first_of_times(frame: pd.DataFrame, among: Iterable[str]) -> str | None:
    """The first of these columns that says when each row was; None where none does."""
    return next((name for name in among if times_of(frame, name) is not None), None)


def time_column(frame: pd.DataFrame, monitor: Monitor) -> str | None:
    """The column of times of a monitor's reference file, of those that the monitor does not watch.

    >>> columns = [{"name": "x", "type": "numeric"}]
    >>> monitor = Monitor.model_validate({"model": "m", "task": "binary", "columns": columns})
    >>> time_column(pd.DataFrame({"x": [1.0, 2.0], "seen": pd.to_datetime(["2026-01-01", "2026-01-02"])}), monitor)
    'seen'
    """
    watched = {column.name for column in monitor.columns if column.drift} | {name for name, _ in monitor.outputs()}
    left = [str(name) for name in frame.columns if name not in watched]
    return first_of_times(frame, [name for name in left if column_role(name, frame[name]).role == "time"])
