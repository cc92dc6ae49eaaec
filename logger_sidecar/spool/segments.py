"""The spool's directory: segment files named by where they begin, cursor files of its readers, locks.

An offset is one integer for the whole life of a spool: where the segment begins plus the place in it. A new spool
begins at the current time in nanoseconds, so that a reader's position from an earlier spool is never ahead of it.

A segment's name also says how many frames were written before it. So a reader that finds the next segments gone,
because they were given up for newer ones, knows how many events that cost it.
"""

import contextlib
import errno
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from driftline.errors import UnavailableError

SEGMENT_SUFFIX = ".segment"
CURSOR_SUFFIX = ".cursor"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NAME = re.compile(r"(\d+)-(\d+)\.segment\Z")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment file: it holds the offsets from ``base`` to ``base + size_bytes``.

    ``first_number``: the number of its first frame, counted over the life of the spool.
    """

    base: int
    size_bytes: int
    path: Path
    first_number: int

    @property
    def end(self) -> int:
        """The offset just behind it."""
        return self.base + self.size_bytes


class Place(NamedTuple):
    """A reader's position, and how many frames were written before it; None where that is not known."""

    offset: int
    number: int | None


def segment_path(directory: Path, base: int, first_number: int) -> Path:
    """Where the segment that begins at ``base``, with the frame of this number, stands."""
    return directory / f"{base:020d}-{first_number}{SEGMENT_SUFFIX}"


def list_segments(directory: Path) -> list[Segment]:
    """All segments, oldest first; empty when the directory is not there."""
    segments = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                named = _NAME.match(entry.name)
                if named is None:
                    continue
                with contextlib.suppress(FileNotFoundError):  # it went away while we looked
                    size_bytes = entry.stat().st_size
                    segments.append(Segment(int(named[1]), size_bytes, Path(entry.path), int(named[2])))
    except FileNotFoundError:
        return []
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
    place = read_place(directory, name)
    return None if place is None else place.offset


def read_place(directory: Path, name: str) -> Place | None:
    """The position of one reader with its number; None when it never kept one or it cannot be read."""
    try:
        offset, _, number = cursor_path(directory, name).read_text().partition(" ")
        return Place(int(offset), int(number) if number else None)
    except (OSError, ValueError):
        return None


def newest_number(directory: Path) -> int:
    """The highest number that any reader has come to; 0 where there is none."""
    places = [read_place(directory, name) for name in read_cursors(directory)]
    return max((place.number for place in places if place is not None and place.number), default=0)


def write_cursor(directory: Path, name: str, place: Place) -> None:
    """Keep a reader's position so that it outlives a crash of the machine."""
    text = str(place.offset) if place.number is None else f"{place.offset} {place.number}"
    keep_text(cursor_path(directory, name), text)


def keep_text(path: Path, text: str) -> None:
    """Put a short text into a file for good, all of it or nothing; raises OSError.

    On a disk without room it is written over the text that is there: or no reader's position could move any more, and
    nothing would ever be deleted to make room.
    """
    temporary = path.with_name(path.name + "-new")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _NO_ROOM or not path.exists():
            raise
        temporary.unlink(missing_ok=True)
        _write_over(path, text.encode())


def _write_over(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        # So few bytes are one block, which is there already, and are written in one piece.
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_there(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one of this name; one that cannot be looked for counts as there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


class FileLock:
    """A lock that ends with its process; raises UnavailableError when another process holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise UnavailableError("spool", f"'{path}' is held by another process") from error

    def holds(self) -> bool:
        """Whether its file is still the one of that name: another process could take a new one."""
        return is_there(self._path, self._descriptor)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)
