"""One performance metric with its interval and the direction in which it gets worse."""

from dataclasses import dataclass

from driftline.results import Direction, Interval


@dataclass(frozen=True, slots=True)
class Measure:
    """``name`` as shown and exported, ``interval`` of 95 %."""

    name: str
    interval: Interval
    direction: Direction
