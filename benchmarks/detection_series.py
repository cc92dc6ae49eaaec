"""Our sequential tests on one series of numbers: where they say that it changed.

The tests with a promise compare with the series' first values, as a monitor compares with its reference; after an alarm
the values since the change are the new reference. The classics, at their authors' settings, compare with the past, on
the series in spreads of its own. A series is a stream of single events: windows of one row.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import bin_numbers, count_numbers
from detectors.counts.layout import ColumnLayout
from detectors.counts.reference_bins import numeric_cuts
from detectors.online.adwin import Adwin
from detectors.online.column_shares import ColumnShares, column_shares
from detectors.online.contract import Counted, OnlineTest
from detectors.online.entries import SHARE_TESTS, ShareEntry
from detectors.online.kswin import Kswin
from detectors.online.page_hinkley import PageHinkley
from detectors.online.share_bounds import ShareBounds, bounds

Rows = NDArray[np.float64]
#: Of one series: the rows at which an alarm began, and for each where the change is said to be.
Found = list[tuple[int, int]]
Detect = Callable[[Rows, int], Found]
#: False alarms that are promised of one series, at most, were its rows independent.
PER_SERIES = 0.05


def watched(before: Rows, confidence: float = 0.99) -> tuple[ColumnLayout, ColumnShares, ShareBounds]:
    """What a monitor watches of a column of numbers: its bins, its shares, and what these may be."""
    column = ColumnLayout("series", "numeric", numeric_cuts(before))
    reference = count_numbers(before, column.edges)
    shares = column_shares(column, reference)
    seen = shares.of(reference)
    limits = bounds(seen.hits, seen.rows, confidence=confidence)
    return column, shares, limits.with_ladders(shares.ladders)


def promising(entry: ShareEntry) -> Detect:
    """A test with a promise: it begins anew after each alarm, with the values since the change as its reference."""

    def detect(series: Rows, calibrated: int) -> Found:
        found: Found = []
        start = 0
        while start + calibrated < len(series):
            alarm = _first_alarm(entry, series[start : start + calibrated], series[start + calibrated :], len(series))
            if alarm is None:
                break
            at, onset = (start + calibrated + place for place in alarm)
            found.append((at, onset))
            start = max(onset, start + 1)
        return found

    return detect


def _first_alarm(entry: ShareEntry, before: Rows, after: Rows, length: int) -> tuple[int, int] | None:
    column, shares, limits = watched(before)
    test = entry.make(limits, length / PER_SERIES, 1)
    state = test.start()
    for place, hits in enumerate(shares.members.T[bin_numbers(after, column.edges)]):
        state = test.step(state, Counted(hits, 1))
        onset = test.onset(state)
        if onset is not None:
            return place, onset.at
    return None


def classic(make: Callable[[], OnlineTest[object, float]]) -> Detect:
    """A classic over the whole series; what it says before ``calibrated`` does not count."""

    def detect(series: Rows, calibrated: int) -> Found:
        spread = float(np.std(series[:calibrated]))
        scaled = (series - series[:calibrated].mean()) / (spread if spread > 0.0 else 1.0)
        test = make()
        state, found = test.start(), []
        for place, value in enumerate(scaled.tolist()):
            state = test.step(state, value)
            onset = test.onset(state)
            if onset is not None and place >= calibrated:
                found.append((place, onset.at))
        return found

    return detect


def dice(rate: float) -> Detect:
    """A dummy that alarms anywhere, so many times a row."""
    rng = np.random.default_rng(31)

    def detect(series: Rows, calibrated: int) -> Found:
        places = calibrated + np.flatnonzero(rng.random(len(series) - calibrated) < rate)
        return [(int(place), int(place)) for place in places]

    return detect


DETECTORS: Mapping[str, Detect] = {
    **{entry.name: promising(entry) for entry in SHARE_TESTS},
    "adwin": classic(Adwin),
    "page_hinkley": classic(PageHinkley),
    "kswin": classic(Kswin),
    "dummy: never": lambda _series, _calibrated: [],
    "dummy: dice": dice(0.01),
}
