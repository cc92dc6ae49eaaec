"""What comes again every week, taken out of rows: the mean of each part of the week.

A window that is compared with the same hours of other weeks shares these means with them.

Each mean is known from a few weeks only, and takes some of what rows differ by at random along: of W weeks alike, one
part in W. How much is left of sums of neighbours follows from where rows lie, and is counted.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftline.monitor_detectors import WEEK_S
from driftline.monitor_parts import UTC_ZONE

#: Weeks that a part of the week must have rows of, to be told from chance.
FEWEST_WEEKS = 2
#: The first and the last row of two weeks are seldom quite as far apart.
_NEARLY = 0.99
#: Of the rows that are looked at, those at least in parts of the week that came again.
_MOST_OF_THEM = 0.5
_OF_A_WINDOW, _LONGEST_S, _QUARTER_S = 0.25, 3600.0, 900.0


@dataclass(frozen=True, slots=True)
class WeeklyRows:
    """Rows in order of time by their part of the week.

    ``part``: which part each row lies in, numbered from 0, shape (rows,). ``begins``, ``ends``: the rows from
    ``begins`` up to ``ends`` lie in the same part of the same week as this one, shape (rows,) each. ``window``: which
    of a week's windows it lies in, numbered likewise.
    """

    part: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    window: NDArray[np.int64]

    @classmethod
    def of(cls, times: "ClockTimes", window_s: float) -> "WeeklyRows":
        """Of windows that are so long."""
        week, part = times.parts(part_of(window_s))
        changes = np.flatnonzero((np.diff(week) != 0) | (np.diff(part) != 0)) + 1
        borders = np.concatenate(([0], changes, [len(part)]))
        lengths = np.diff(borders)
        begins, ends = (np.repeat(side, lengths) for side in (borders[:-1], borders[1:]))
        return cls(_numbered(part), begins, ends, _numbered(times.windows(window_s)))

    def without(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values, shape (rows,), without the mean of their part of the week.

        >>> times = ClockTimes.of(np.array([0.0, 1.0, WEEK_S, WEEK_S + 7200.0]), "UTC")
        >>> WeeklyRows.of(times, 3600.0).without(np.array([1.0, 2.0, 6.0, 9.0]))
        array([-2., -1.,  3.,  0.])
        """
        return values - _means(values, self.part)

    def around_windows(self, values: NDArray[np.float64]) -> float:
        """The variance of values, shape (rows,), around the mean of their window of the week."""
        rest = values - _means(values, self.window)
        kept = len(values) - len(np.unique(self.window))
        return float(rest @ rest) / max(kept, 1)

    def left(self, blocks: NDArray[np.int64], steps: int) -> NDArray[np.float64]:
        """Of sums of so many neighbours, shape (sizes,): how many independent rows' variance is left in them without
        the means, on average over blocks that begin the ``steps``-th part of their length behind each other.

        A sum of c rows of a part of N keeps c (1 - c / N). Blocks are taken to be no longer than a week.

        >>> twice = np.repeat(np.arange(4) * WEEK_S / 2, 2)  # in two weeks two parts, each of two rows
        >>> WeeklyRows.of(ClockTimes.of(twice, "UTC"), 3600.0).left(np.array([1, 2, 4]), 8).round(3).tolist()
        [0.75, 1.214, 2.2]
        """
        rows = len(self.part)
        sizes = np.bincount(self.part)
        first = np.flatnonzero(self.begins == np.arange(rows))
        whole = np.concatenate(([0.0], np.cumsum(_kept(self.ends[first] - first, sizes[self.part[first]]))))
        run = np.searchsorted(first, np.arange(rows), side="right") - 1
        found = []
        for block in blocks.tolist():
            start = np.arange(0, rows - block + 1, max(1, block // steps))
            last = start + block - 1
            head = _kept(np.minimum(self.ends[start], last + 1) - start, sizes[self.part[start]])
            tail = _kept(last + 1 - self.begins[last], sizes[self.part[last]])
            between = whole[run[last]] - whole[np.minimum(run[start] + 1, run[last])]
            found.append(float(np.where(run[start] == run[last], head, head + between + tail).mean()))
        return np.array(found)


@dataclass(frozen=True, slots=True)
class ClockTimes:
    """Times in order: in seconds since 1970, and how far clocks were ahead of UTC then; shape (rows,) each."""

    seconds: NDArray[np.float64]
    ahead_s: NDArray[np.float64]

    @classmethod
    def of(cls, seconds: NDArray[np.float64], zone: str) -> "ClockTimes":
        """By the clocks of a time zone, such as ``Europe/Berlin``.

        >>> ClockTimes.of(np.array([16e8, 1606e6]), "Europe/Berlin").ahead_s.tolist()  # a summer's and a winter's day
        [7200.0, 3600.0]
        """
        if zone == UTC_ZONE:
            return cls(seconds, np.zeros_like(seconds))
        # Whose clocks change does so at a whole quarter of an hour.
        quarters, place = np.unique(seconds // _QUARTER_S, return_inverse=True)
        moments = pd.to_datetime(quarters * _QUARTER_S, unit="s", utc=True)
        shown = moments.tz_convert(ZoneInfo(zone)).tz_localize(None) - moments.tz_localize(None)
        return cls(seconds, shown.total_seconds().to_numpy(dtype=np.float64)[place])

    def take(self, places: NDArray[np.intp]) -> "ClockTimes":
        """Some of them."""
        return ClockTimes(self.seconds[places], self.ahead_s[places])

    def parts(self, part_s: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """In which week each is, and in which part of it that is so long."""
        week, into_s = np.divmod(self.seconds + self.ahead_s, WEEK_S)
        return week.astype(np.int64), (into_s // part_s).astype(np.int64)

    def windows(self, window_s: float) -> NDArray[np.int64]:
        """In which of a week's windows each is, which keep to UTC, by what clocks showed when it began."""
        begun_s = self.seconds // window_s * window_s + self.ahead_s
        return (begun_s % WEEK_S // window_s).astype(np.int64)

    def recurring(self, window_s: float, *, enough: int, most: int) -> NDArray[np.intp] | None:
        """Which to look at, as places; None where they do not tell one week from the next.

        From the first on two weeks, and more until there are ``enough``; where two weeks have more than ``most``, the
        same stretch of both. What lies in parts of the week that are seen once is left out.

        >>> week = np.arange(0.0, WEEK_S, 3600.0)
        >>> once, twice = ClockTimes.of(week, "UTC"), ClockTimes.of(np.concatenate((week, week + WEEK_S)), "UTC")
        >>> once.recurring(3600.0, enough=10, most=1000)
        >>> [len(twice.recurring(3600.0, enough=10, most=most)) for most in (1000, 100)]
        [336, 100]
        """
        rows = len(self.seconds)
        if not rows or self.seconds[-1] - self.seconds[0] < _NEARLY * FEWEST_WEEKS * WEEK_S:
            return None
        since_s = self.seconds - self.seconds[0]
        places = np.arange(max(int(np.searchsorted(since_s, FEWEST_WEEKS * WEEK_S)), min(enough, rows)))
        if len(places) > most:
            places = np.sort(np.argsort(since_s[places] % WEEK_S, kind="stable")[:most])
        week, part = self.take(places).parts(part_of(window_s))
        weeks = np.bincount(np.unique(np.column_stack((part, week)), axis=0)[:, 0])
        found = places[weeks[part] >= FEWEST_WEEKS]
        return found if len(found) >= _MOST_OF_THEM * len(places) else None


def part_of(window_s: float) -> float:
    """How long the parts of a week are whose means are known apart, in seconds: a quarter of a window, so that blocks
    which lie across windows know what comes and goes within; an hour at most.
    """
    return min(window_s * _OF_A_WINDOW, _LONGEST_S)


def _kept(rows: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(rows * (1.0 - rows / of))


def _numbered(named: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(named, return_inverse=True)[1].astype(np.int64)


def _means(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each value's group, shape (rows,)."""
    return np.asarray((np.bincount(groups, values) / np.bincount(groups))[groups])
