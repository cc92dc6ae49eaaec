"""Clocks, passed in wherever time matters, so that tests move time by hand and a demo can run it faster.

Event times, windows, lateness and burn-rate windows all read one ``Clock``. Timeouts of sockets and processes do not:
they stay on the real, monotonic clock.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from driftline.errors import SettingsError

#: Returns the time in seconds since the epoch.
Clock = Callable[[], float]

system_clock: Clock = time.time


def moment(time_s: float) -> str:
    """A time as people read it, in UTC; one beyond the calendar stays a number of seconds.

    >>> moment(1387300000.5), moment(1e300)
    ('2013-12-17T17:06:40.500Z', '1e+300')
    """
    try:
        found = datetime.fromtimestamp(time_s, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_s:g}"
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """A clock that stood at ``story_s`` when the wall clock stood at ``wall_s`` and runs ``speed`` times as fast.

    >>> ScaledClock(wall_s=100.0, story_s=5000.0, speed=60.0, wall=lambda: 102.0)()
    5120.0
    """

    wall_s: float
    story_s: float
    speed: float
    wall: Clock = time.time

    def __call__(self) -> float:
        """The story time now, in seconds since the epoch."""
        return self.story_s + (self.wall() - self.wall_s) * self.speed

    def spec(self) -> str:
        """The text that :func:`parse_clock` reads back, to hand the same clock to another process."""
        return f"scaled:{self.wall_s!r}:{self.story_s!r}:{self.speed!r}"


def parse_clock(spec: str) -> Clock:
    """Read ``system`` or ``scaled:WALL_S:STORY_S:SPEED``.

    >>> parse_clock("scaled:0:0:2.5").speed
    2.5
    """
    if spec == "system":
        return system_clock
    kind, *numbers = spec.split(":")
    try:
        wall_s, story_s, speed = (float(number) for number in numbers)
    except ValueError:
        wall_s = story_s = speed = math.nan
    if kind != "scaled" or not (0 < speed < math.inf and math.isfinite(wall_s) and math.isfinite(story_s)):
        raise SettingsError(
            "clock", [f"'{spec}' is neither 'system' nor 'scaled:WALL_S:STORY_S:SPEED' with a speed above 0"]
        )
    return ScaledClock(wall_s, story_s, speed)


@runtime_checkable
class PacedClock(Protocol):
    """A clock that says how many of its seconds pass in one real second."""

    @property
    def speed(self) -> float:
        """Seconds of this clock in one real second."""
        ...

    def __call__(self) -> float:
        """The time in seconds since the epoch."""
        ...


def clock_speed(clock: Clock) -> float:
    """How many seconds pass on ``clock`` in one real second; 1 where it does not say."""
    return clock.speed if isinstance(clock, PacedClock) else 1.0
