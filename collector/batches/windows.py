"""Where a row belongs: the segments it is watched in, and rows that belong together."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from collector.store.database import clean
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor


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
    each: list[tuple[str, ...]] = [()] * rows.rows  # nearly always short: rows share their tuples
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


def group_positions(keys: Sequence[NDArray[np.generic]]) -> list[NDArray[np.intp]]:
    """Positions that are equal in all ``keys``, group by group, in the order of first appearance.

    >>> [group.tolist() for group in group_positions([np.array([7, 5, 7]), np.array([1, 1, 1])])]
    [[0, 2], [1]]
    """
    codes = np.zeros(len(keys[0]), dtype=np.intp)
    for key in keys:
        _, found = np.unique(key, return_inverse=True)
        codes = codes * (int(found.max(initial=0)) + 1) + found
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    if len(first) == 1:
        return [np.arange(len(codes), dtype=np.intp)]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.searchsorted(codes[order], np.arange(1, len(first))))
    return [groups[place] for place in np.argsort(first)]
