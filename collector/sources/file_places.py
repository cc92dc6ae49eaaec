"""Where files appear: a directory here, or whatever lists and reads like one."""

import time
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple, Protocol

from driftline.errors import UnavailableError


class FileSeen(NamedTuple):
    """A file in a listing: its path below the place, when it was last changed (nanoseconds), its size."""

    path: str
    time_ns: int
    size_bytes: int


class FilePlace(Protocol):
    """Where files appear."""

    def list(self) -> Sequence[FileSeen]:
        """All files; raises UnavailableError."""
        ...

    def read(self, path: str) -> bytes | None:
        """A file's content, None when it has gone; raises UnavailableError."""
        ...


class Directory:
    """Files in a directory and below; one counts once it has not changed for ``settle_s`` real seconds."""

    def __init__(self, root: Path, settle_s: float) -> None:
        self._root = root
        self._settle_s = settle_s

    def list(self) -> Sequence[FileSeen]:
        """As ``FilePlace.list``."""
        before_s = time.time() - self._settle_s
        found = []
        for path in self._root.rglob("*"):
            try:
                stat = path.stat()
            except OSError:  # it went while we looked
                continue
            if S_ISREG(stat.st_mode) and stat.st_mtime <= before_s:
                found.append(FileSeen(path.relative_to(self._root).as_posix(), stat.st_mtime_ns, stat.st_size))
        return found

    def read(self, path: str) -> bytes | None:
        """As ``FilePlace.read``."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError("files", f"'{path}': {error}") from error
