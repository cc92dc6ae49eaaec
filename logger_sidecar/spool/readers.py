"""What sinks keep beside the spool: which of them have a position there, and where a batch under way ends.

A position that nobody moves any more would hold the spool for ever. The positions of sinks are therefore listed, and
those of sinks that are no longer configured are given up. Readers that are no sinks (a collector) are left alone.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from driftline.errors import UnavailableError
from logger_sidecar.spool.segments import FileLock, cursor_path, keep_text, read_cursors

_LIST = "sinks.readers"
#: What the only sink was called before there was a list.
_BEFORE_THE_LIST = "kafka"
#: The plan of no batch: no spool begins at 0.
_NOTHING = "0 0"


def forget_readers(directory: Path, configured: Iterable[str]) -> list[str]:
    """Give up the positions of sinks that are not ``configured`` any more; returns their names.

    A position that a running process holds is left, and is tried again the next time; so is everything on a disk that
    cannot be written.
    """
    if not directory.is_dir():
        return []
    wanted, path = set(configured), directory / _LIST
    try:
        listed = set(path.read_text().split())
    except (OSError, ValueError):  # it is not there, or damaged
        listed = {_BEFORE_THE_LIST}
    with_position = set(read_cursors(directory))
    stale = sorted(name for name in listed - wanted if name in with_position)
    gone = [name for name in stale if _forget(directory, name)]
    kept = wanted | (set(stale) - set(gone))
    if kept != listed:
        with contextlib.suppress(OSError):
            keep_text(path, "\n".join(sorted(kept)))
    return gone


def _forget(directory: Path, name: str) -> bool:
    try:
        lock = FileLock(directory / f"{name}.reader-lock")
    except (UnavailableError, OSError):
        return False
    cursor_path(directory, name).unlink(missing_ok=True)
    _plan_path(directory, name).unlink(missing_ok=True)
    (directory / f"{name}.reader-lock").unlink(missing_ok=True)
    lock.release()
    return True


class PlanFile:
    """Where the batch that a sink is delivering begins and ends, kept so that it outlives a crash."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = _plan_path(directory, name)
        if not self._path.exists():
            with contextlib.suppress(OSError):
                keep_text(self._path, _NOTHING)  # so that there is room for it when the disk has none

    def planned_end(self, first_offset: int) -> int | None:
        """Where the batch that begins here was to end; None when none was begun here."""
        with contextlib.suppress(OSError, ValueError):
            first, end = map(int, self._path.read_text().split())
            return end if first == first_offset else None
        return None

    def plan(self, first_offset: int, end_offset: int) -> None:
        """Remember that this batch is being delivered; raises OSError."""
        keep_text(self._path, f"{first_offset} {end_offset}")


def _plan_path(directory: Path, name: str) -> Path:
    return directory / f"{name}.batch"
