"""A clock that several processes share and one conducts, so that a story never outruns its traffic.

A scaled clock alone is fair only to a machine that keeps up: on a slow one the flights of the morning would pass in the
afternoon, and the hour of the day would drift because the machine was busy. So the one who replays the traffic says how
far the clock may go (``allow``), and everybody else reads the same few bytes of a file that all of them map.
"""

import mmap
import struct
import time
from pathlib import Path

from driftline.clock import Clock, parse_clock
from driftline.errors import SettingsError

PREFIX = "shared:"
#: Wall time and story time at the last beat (seconds since the epoch), speed, and how far the story may go.
_BEAT = struct.Struct("<dddd")


class FollowedClock:
    """The story's time as the conductor's file says; a ``Clock`` with a ``speed``."""

    def __init__(self, path: Path, wall: Clock = time.time) -> None:
        self._wall = wall
        self._path = path
        try:
            with path.open("r+b") as file:
                self._beat = mmap.mmap(file.fileno(), _BEAT.size)
        except (OSError, ValueError) as error:
            raise SettingsError("clock", [f"'{PREFIX}{path}' cannot be followed: {error}"]) from error

    def __call__(self) -> float:
        """The story time now, in seconds since the epoch; it never goes back."""
        wall_s, story_s, speed, limit_s = self._read()
        return min(story_s + (self._wall() - wall_s) * speed, limit_s)

    @property
    def speed(self) -> float:
        """Story seconds in one real second, while the clock is not held."""
        return self._read()[2]

    def spec(self) -> str:
        """The text that :func:`follow` reads back, to hand the same clock to another process."""
        return f"{PREFIX}{self._path}"

    def _read(self) -> tuple[float, float, float, float]:
        # The conductor may write between two bytes: a beat counts when it was read twice the same.
        seen = self._beat[:]
        while (again := self._beat[:]) != seen:
            seen = again
        wall_s, story_s, speed, limit_s = _BEAT.unpack(seen)
        return wall_s, story_s, speed, limit_s


class Conductor(FollowedClock):
    """The same clock in the hand of the one process that may move its limit; it stands still until ``allow``.

    >>> from tempfile import TemporaryDirectory
    >>> now = [0.0]
    >>> with TemporaryDirectory() as directory:
    ...     conductor = Conductor(Path(directory) / "clock", story_s=1000.0, speed=10.0, wall=lambda: now[0])
    ...     now[0] = 5.0
    ...     held = conductor()
    ...     conductor.allow(1020.0)
    ...     now[0] = 6.0
    ...     running = conductor()
    ...     now[0] = 99.0
    ...     (held, running, conductor())
    (1000.0, 1010.0, 1020.0)
    """

    def __init__(self, path: Path, story_s: float, speed: float, wall: Clock = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_BEAT.pack(wall(), story_s, speed, story_s))
        super().__init__(path, wall)

    def allow(self, limit_s: float) -> None:
        """Let the story run on from where it is, up to ``limit_s``."""
        now_s = self()
        self._beat[:] = _BEAT.pack(self._wall(), now_s, self.speed, max(now_s, limit_s))


def follow(spec: str) -> Clock:
    """Read ``shared:PATH``, or whatever :func:`driftline.clock.parse_clock` reads."""
    return FollowedClock(Path(spec.removeprefix(PREFIX))) if spec.startswith(PREFIX) else parse_clock(spec)
