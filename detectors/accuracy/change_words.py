"""A change and its parts in words: of accuracy in percentage points, since accuracy itself is told in per cent."""

import math
from dataclasses import dataclass

from driftline.results import Interval


@dataclass(frozen=True, slots=True)
class Change:
    """The whole change, as exactly as whose third digit its parts are told: six millionths of a third are nothing.

    ``in_points``: it is one of a share, and told in percentage points; else in the unit of what changed.

    >>> change = Change(-0.1042, in_points=True)
    >>> change.spelt(Interval(-0.1042, -0.12, -0.0884)), change.part(-0.00004)
    ('-10.4 percentage points (-12 to -8.8)', '+0')
    >>> Change(4.2, in_points=False).spelt(Interval(4.2, 3.999, 4.5))
    '+4.2 (+4 to +4.5)'
    """

    value: float
    in_points: bool

    def part(self, value: float) -> str:
        """A part without its unit, which the whole tells."""
        scale = 100.0 if self.in_points else 1.0
        places = 2 - math.floor(math.log10(abs(self.value * scale))) if self.value else 3
        return f"{round(value * scale, places) + 0.0:+.3g}"

    def range(self, interval: Interval) -> str:
        """A part with the ends of its interval, without its unit."""
        return f"{self.part(interval.value)} {self._ends(interval)}"

    def spelt(self, interval: Interval) -> str:
        """A part, or the whole, with its unit and the ends of its interval."""
        unit = " percentage points" if self.in_points else ""
        return f"{self.part(interval.value)}{unit} {self._ends(interval)}"

    def _ends(self, interval: Interval) -> str:
        return f"({self.part(interval.lower)} to {self.part(interval.upper)})"
