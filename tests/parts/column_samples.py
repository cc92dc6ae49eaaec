"""Columns counted on a dozen bins, for the tests of detectors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.brownian_bridge import absolute_bridges, area_nulls
from detectors.statistics.evidence import ColumnSample

BRIDGE = absolute_bridges(np.random.default_rng(5))


def numeric(reference: NDArray[np.int64], current: NDArray[np.int64]) -> ColumnSample:
    """Counts on the values 0, 1, 2, ... between the bins of minus infinity, infinity and missing."""
    values = np.concatenate(([np.nan], np.arange(len(reference) - 3.0), [np.nan, np.nan]))
    return ColumnSample("x", "numeric", reference, current, values, nulls=area_nulls(reference, values, BRIDGE))


def categorical(reference: Sequence[int], current: Sequence[int]) -> ColumnSample:
    """Counts on the categories v0, v1, ... before the bins of unseen and missing."""
    names = tuple(f"v{place}" for place in range(len(reference) - 2))
    return ColumnSample("c", "categorical", np.array(reference), np.array(current), categories=names)


def build(before: NDArray[np.int64], now: NDArray[np.int64], kind: str) -> ColumnSample:
    """A sample of that kind of column."""
    return numeric(before, now) if kind == "numeric" else categorical(before.tolist(), now.tolist())


def rows(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bin of each row."""
    return np.repeat(np.arange(len(counts)), counts)
