"""The samples of one counter, and how much it rose within a window, as Prometheus's ``increase()`` answers it.

Prometheus does not simply subtract: it adds up what was lost at counter resets and extrapolates from the first and last
sample to the ends of the window, but not below zero, and not far beyond where the series begins or ends. Written from
the documented behaviour (https://prometheus.io/docs/prometheus/latest/querying/functions/#increase) and checked against
Prometheus 2.42. A window excludes its start, as from Prometheus 3 on.
"""

from array import array
from bisect import bisect_right

#: A gap to the window's end is bridged when it is at most this many times the usual distance between samples.
BRIDGED = 1.1
#: Old samples are let go when they are this share of all, so that letting go costs little per sample.
TRIMMED_SHARE = 0.25


class CounterHistory:
    """The samples of one counter over the last ``keep_s`` seconds; 24 bytes each.

    >>> history = CounterHistory(keep_s=3600.0)
    >>> for time_s, value in ((60, 0), (120, 10), (180, 20)):
    ...     history.add(time_s, value)
    >>> history.increase(until_s=180.0, window_s=180.0)
    20.0
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._times = array("d")
        self._values = array("d")
        # The counter as it would stand had it never been reset: a window's rise is one subtraction.
        self._risen = array("d")

    def add(self, time_s: float, value: float) -> None:
        """Take the next sample; one that is not newer than the last, or not a number, is passed over."""
        if value != value or (self._times and time_s <= self._times[-1]):  # noqa: PLR0124 - NaN differs from itself
            return
        rise = 0.0
        if self._values:
            last = self._values[-1]
            rise = value - last if value >= last else value
        self._risen.append((self._risen[-1] if self._risen else 0.0) + rise)
        self._times.append(time_s)
        self._values.append(value)
        self._let_go(time_s - self._keep_s)

    @property
    def newest_s(self) -> float:
        """Time of the newest sample; minus infinity without one."""
        return self._times[-1] if self._times else float("-inf")

    def __len__(self) -> int:
        return len(self._times)

    def increase(self, until_s: float, window_s: float) -> float | None:
        """The rise within the window that ends at ``until_s``; None where it holds fewer than two samples."""
        start_s = until_s - window_s
        first = bisect_right(self._times, start_s)
        last = bisect_right(self._times, until_s) - 1
        if last - first < 1:
            return None
        rise = self._risen[last] - self._risen[first]
        sampled_s = self._times[last] - self._times[first]
        between_s = sampled_s / (last - first)
        before_s = self._times[first] - start_s
        if rise > 0 and self._values[first] >= 0:
            # The counter began at zero, so the line drawn backwards ends where it would reach zero.
            before_s = min(before_s, sampled_s * self._values[first] / rise)
        bridged_s = sampled_s + _bridged(before_s, between_s) + _bridged(until_s - self._times[last], between_s)
        return rise * bridged_s / sampled_s

    def _let_go(self, before_s: float) -> None:
        stale = bisect_right(self._times, before_s)
        if stale > TRIMMED_SHARE * len(self._times):
            del self._times[:stale], self._values[:stale], self._risen[:stale]


def _bridged(gap_s: float, between_s: float) -> float:
    return gap_s if gap_s < BRIDGED * between_s else between_s / 2.0
