"""Which column of a file says when each row was."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.counts.frame_times import seconds_of
from detectors.offline.column_roles import column_role
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor

# Seconds since 1970 of the years 1971 and 2200: other numbers are no dates.
_FIRST_S, _LAST_S = 31_536_000.0, 7_258_118_400.0


@dataclass(frozen=True, slots=True)
class Times:
    """A column of times by its name, and what it says: seconds since 1970 of every row, shape (rows,)."""

    column: str
    seconds: NDArray[np.float64]

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last."""
        return float(self.seconds.max() - self.seconds.min())


def times_of(frame: pd.DataFrame, name: str) -> Times | None:
    """When every row was; None where the column does not say them, as with times of day."""
    try:
        times_s = seconds_of(frame, name)
    except (ReferenceDataError, TypeError, ValueError):
        return None
    return Times(name, times_s) if times_s.min() >= _FIRST_S and times_s.max() <= _LAST_S else None


def first_of_times(frame: pd.DataFrame, among: Iterable[str]) -> Times | None:
    """The first of these columns that says when each row was; None where none does."""
    found = (times_of(frame, name) for name in among)
    return next((times for times in found if times is not None), None)


def named_times(frame: pd.DataFrame, name: str) -> Times:
    """What a column says that somebody named; raises ReferenceDataError where it holds no times."""
    return Times(name, seconds_of(frame, name))


def time_column(frame: pd.DataFrame, monitor: Monitor) -> Times | None:
    """The column of times of a monitor's reference file, of those that the monitor does not watch.

    >>> columns = [{"name": "x", "type": "numeric"}]
    >>> monitor = Monitor.model_validate({"model": "m", "task": "binary", "columns": columns})
    >>> rows = pd.DataFrame({"x": [1.0, 2.0], "seen": pd.to_datetime(["2026-01-01", "2026-01-02"])})
    >>> time_column(rows, monitor)
    Times(column='seen', seconds=array([1.7672256e+09, 1.7673120e+09]))
    """
    watched = {column.name for column in monitor.columns if column.drift} | {name for name, _ in monitor.outputs()}
    left = [str(name) for name in frame.columns if name not in watched]
    return first_of_times(frame, [name for name in left if column_role(name, frame[name]).role == "time"])
