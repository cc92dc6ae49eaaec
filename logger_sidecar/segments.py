"""The spool's directory: segment files named by the offset they begin at, cursor files of its readers, locks.

An offset is one integer for the whole life of a spool: where the segment begins plus the place in it. A new spool
begins at the current time in nanoseconds, so that a reader's position from an earlier spool is never ahead of it.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from driftline.errors import UnavailableError

SEGMENT_SUFFIX = ".segment"
CURSOR_SUFFIX = ".cursor"


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment file: it holds the offsets from ``base`` to ``base + size_bytes``."""

    base: int
    size_bytes: int
    path: Path

    @property
    def end(self) -> int:
        """The offset just behind it."""
        return self.base + self.size_bytes


def segment_path(directory: Path, base: int) -> Path:
    """Where the segment that begins at ``base`` stands."""
    return directory / f"{base:020d}{SEGMENT_SUFFIX}"


def list_segments(directory: Path) -> list[Segment]:
    """All segments, oldest first; empty when the directory is not there."""
    segments = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SEGMENT_SUFFIX) and entry.name[: -len(SEGMENT_SUFFIX)].isdigit():
                    base = int(entry.name[: -len(SEGMENT_SUFFIX)])
                    segments.append(Segment(base, entry.stat().st_size, Path(entry.path)))
    except FileNotFoundError:  # a segment, or all of them, went away while we looked
        return sorted(segments, key=lambda segment: segment.base)
    return sorted(segments, key=lambda segment: segment.base)


def cursor_path(directory: Path, name: str) -> Path:
    """Where the reader ``name`` keeps its position."""
    return directory / f"{name}{CURSOR_SUFFIX}"


def read_cursors(directory: Path) -> dict[str, int]:
    """The position of every named reader; one that cannot be read counts as 0, so that nothing is deleted for it."""
    cursors = {}
    for path in directory.glob(f"*{CURSOR_SUFFIX}"):
        cursors[path.name[: -len(CURSOR_SUFFIX)]] = read_cursor(directory, path.name[: -len(CURSOR_SUFFIX)]) or 0
    return cursors


def read_cursor(directory: Path, name: str) -> int | None:
    """The position of one reader; None when it never kept one or it cannot be read."""
    try:
        return int(cursor_path(directory, name).read_text())
    except (OSError, ValueError):
        return None


def write_cursor(directory: Path, name: str, position: int) -> None:
    """Keep a reader's position so that it outlives a crash of the machine."""
    path = cursor_path(directory, name)
    temporary = path.with_suffix(".cursor-new")
    with temporary.open("w") as file:
        file.write(str(position))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class FileLock:
    """A lock that ends with its process; raises UnavailableError when another process holds it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise UnavailableError("spool", f"'{path}' is held by another process") from error

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)
