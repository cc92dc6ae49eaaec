"""ADWIN: a window as long as its mean has not changed; at a change the older part goes.

Observations are kept as sums in buckets of 1, 2, 4, ... of them, at most five of each size. At every ``clock``-th one,
every border between buckets is tried: the older part goes while for some border

    |mean_old - mean_new| > sqrt(2 * m * v * d) + 2 / 3 * m * d,  d = log(2 * log(n) / delta)

with ``v`` the variance of the window, ``n`` its length and ``m = 1 / (n_old - 4) + 1 / (n_new - 4)``. ``delta`` is per
look: over a long stream false alarms add up, if slowly.
Source: A. Bifet, R. Gavalda, Learning from time-changing data with adaptive windowing, 2007.

>>> from detectors.online.contract import run
>>> run(Adwin(), ([0.0] * 9 + [1.0]) * 40 + [0.0, 1.0] * 100)
[447, 479, 511]
"""

import math
from dataclasses import dataclass, replace

from detectors.online.contract import Onset

# Its square, times the length of any window, is still a number.
_LARGEST = 1e140
#: Total and sum of squared differences from the mean, of one bucket.
Bucket = tuple[float, float]


@dataclass(frozen=True, slots=True)
class AdwinState:
    """Observations seen; the window's length, total and sum of squared differences; buckets by size, newest first."""

    seen: int = 0
    width: int = 0
    total: float = 0.0
    squares: float = 0.0
    rows: tuple[tuple[Bucket, ...], ...] = ()
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class Adwin:
    """See the module's docstring; no look is taken at fewer than ``warm_up`` observations."""

    delta: float = 0.002
    clock: int = 32
    buckets: int = 5
    shortest: int = 5
    warm_up: int = 10

    def start(self) -> AdwinState:
        """Nothing seen."""
        return AdwinState()

    def step(self, state: AdwinState, seen: float) -> AdwinState:
        """One observation further; what is no number, or too large to be squared, is passed over."""
        if not abs(seen) < _LARGEST:
            return state
        width = state.width + 1
        gained = state.width * (seen - state.total / state.width) ** 2 / width if state.width else 0.0
        rows = _compressed([((seen, 0.0), *(state.rows[0] if state.rows else ())), *state.rows[1:]], self.buckets)
        new = AdwinState(state.seen + 1, width, state.total + seen, state.squares + gained, rows)
        if new.seen % self.clock or width <= self.warm_up:
            return new
        drifted = False
        while new.width > self.warm_up and self._cuts(new):
            new, drifted = _without_oldest(new), True
        return replace(new, drifted=drifted)

    def alarm(self, state: AdwinState) -> bool:
        """Whether the newest observation made the window shorter."""
        return state.drifted

    def evidence(self, state: AdwinState) -> float:
        """The mean of the window; the bound it is held to is at its borders."""
        return state.total / state.width if state.width else 0.0

    def onset(self, state: AdwinState) -> Onset | None:
        """The oldest observation that is left."""
        at = state.seen - state.width
        return Onset(at, at, at) if state.drifted else None

    def _cuts(self, state: AdwinState) -> bool:
        spread = math.log(2.0 * math.log(state.width) / self.delta)
        variance = state.squares / state.width
        old, old_total = 0, 0.0
        for size, row in reversed(list(enumerate(state.rows))):
            for total, _ in reversed(row):
                old, old_total = old + (1 << size), old_total + total
                new = state.width - old
                if new < self.shortest + 1:
                    return False
                if old < self.shortest + 1:
                    continue
                mass = 1.0 / (old - self.shortest + 1) + 1.0 / (new - self.shortest + 1)
                bound = math.sqrt(2.0 * mass * variance * spread) + 2.0 / 3.0 * mass * spread
                if abs(old_total / old - (state.total - old_total) / new) > bound:
                    return True
        return False


def _compressed(rows: list[tuple[Bucket, ...]], most: int) -> tuple[tuple[Bucket, ...], ...]:
    """At most ``most`` buckets of each size: the two oldest of a size become one of the next."""
    for size, row in enumerate(rows):
        if len(row) <= most:
            break
        (newer, newer_squares), (older, older_squares) = row[-2:]
        count = 1 << size
        gap = newer / count - older / count
        merged = (newer + older, newer_squares + older_squares + count / 2.0 * gap * gap)
        rows[size] = row[:-2]
        if size + 1 == len(rows):
            rows.append(())
        rows[size + 1] = (merged, *rows[size + 1])
    return tuple(rows)


def _without_oldest(state: AdwinState) -> AdwinState:
    *younger, row = state.rows
    (total, squares), count = row[-1], 1 << len(younger)
    width, rest = state.width - count, state.total - total
    gap = total / count - rest / width
    left = max(0.0, state.squares - squares - count * width * gap * gap / (count + width))
    rows = (*younger, row[:-1]) if len(row) > 1 else tuple(younger)
    return AdwinState(state.seen, width, rest, left, rows)
