"""Where a row belongs: its window by event time, and the segments it is watched in."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from collector.database import clean
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor


def window_of(time_s: float, size_s: float) -> tuple[float, float]:
    """Start and end of the window that holds ``time_s``; windows are aligned to the epoch, the end is excluded.

    >>> window_of(7300.0, 3600.0)
    (7200.0, 10800.0)
    """
    number = math.floor(time_s / size_s)
    start_s = number * size_s
    # Division rounds: near a boundary the quotient may be one window off.
    if time_s < start_s:
        number -= 1
    elif time_s >= (number + 1) * size_s:
        number += 1
    return number * size_s, (number + 1) * size_s


def segment_name(column: str, value: str) -> str:
    """The segment of the rows whose ``column`` is ``value``."""
    return f"{column}={value}"


def new_segment_values(monitor: Monitor, known: Mapping[str, set[str]], rows: ColumnBatch) -> list[tuple[str, str]]:
    """(column, value) pairs seen for the first time that are still to be watched apart, in the order of the rows."""
    found: list[tuple[str, str]] = []
    for column in monitor.segments:
        room = monitor.maximum_segments - len(known.get(column, ()))
        values = rows.text.get(column)
        if room <= 0 or values is None:
            continue
        seen = dict.fromkeys(_segment_value(value) for value in dict.fromkeys(values.tolist()) if value)
        unseen = [value for value in seen if value not in known.get(column, ())]
        found.extend((column, value) for value in unseen[:room])
    return found


def segments_of_rows(
    monitor: Monitor, watched: Mapping[str, set[str]], rows: ColumnBatch
) -> tuple[list[tuple[str, ...]], dict[str, NDArray[np.intp]]]:
    """Each row's segments, and each segment's rows (positions)."""
    each: list[tuple[str, ...]] = [()] * rows.rows
    places: dict[str, NDArray[np.intp]] = {}
    for column in monitor.segments:
        values = rows.text.get(column)
        if values is None:
            continue
        listed = values.tolist()
        spelt = {value: _segment_value(value) for value in set(listed) if value}
        by_value: dict[str, list[int]] = {}
        for place, value in enumerate(listed):
            if value:
                by_value.setdefault(spelt[value], []).append(place)
        for value, positions in by_value.items():
            if value in watched.get(column, ()):
                name = segment_name(column, value)
                places[name] = np.array(positions, dtype=np.intp)
                for place in positions:
                    each[place] = (*each[place], name)
    return each, places


def _segment_value(value: str) -> str:
    return clean(value)[:200]


def group_positions(keys: Sequence[int], owners: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Row positions by group: ``keys`` numbers each event's group from 0, ``owners`` is each row's event."""
    codes = np.asarray(keys, dtype=np.intp)[owners]
    groups = max(keys, default=-1) + 1
    if groups == 1:
        return [np.arange(len(owners), dtype=np.intp)]
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.searchsorted(codes[order], np.arange(1, groups)))
