"""Writes frames to segment files: one thread's work, and every fault of the disk stays here.

Whatever happens, a frame is either whole in a segment, and counted as written, or it is not there, and counted as lost.
"""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from logger_sidecar.spool.frames import Pieces, scan_frames
from logger_sidecar.spool.segments import FileLock, is_there, list_segments, newest_number, read_cursors, segment_path

#: When written frames are put on the disk for good: with each full segment, with each write, or never.
Fsync = Literal["segment", "batch", "never"]
#: How many pieces the kernel takes at once (IOV_MAX).
_MAX_PIECES = 1024


class SegmentWriter:
    """Appends to the newest segment of a directory and begins a new one when it is full.

    Nothing is opened before the first write, and after a fault the next write opens everything anew: a disk that is
    full, read-only or gone costs the frames of that moment and nothing else.
    """

    def __init__(self, directory: Path, segment_bytes: int, first_offset: int, fsync: Fsync = "segment") -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        #: How many frames were written in the life of the spool.
        self.number = 0
        self._next_base = first_offset
        self._lock: FileLock | None = None
        self._descriptor = -1
        self._path = directory
        self._base = first_offset
        self._size = 0
        self.sealed_bytes = 0
        #: Why only the first frames of the newest write are on the disk; None where all are.
        self.fault: OSError | None = None

    @property
    def total_bytes(self) -> int:
        """Bytes of all segments."""
        return self.sealed_bytes + self._size

    @property
    def end(self) -> int:
        """The offset that the next frame gets."""
        return self._next_base if self._descriptor < 0 else self._base + self._size

    def write(self, frames: Sequence[Pieces]) -> int:
        """How many of the first frames are on the disk now, whole; raises OSError or UnavailableError when none is."""
        self._leave_what_is_gone()
        self.prepare()
        if self._descriptor >= 0 and self._size >= self._segment_bytes:
            self.seal()
        if self._descriptor < 0:
            self._begin_segment()
        written, fault = self._write_all(list(chain.from_iterable(frames)))
        self.fault = fault
        if fault is None:
            self._size += written
            self.number += len(frames)
            if self._fsync == "batch":
                self._flush_batch()
            return len(frames)
        kept = self._keep_whole_frames(frames, written)
        self.number += kept
        if kept == 0:
            raise fault
        return kept

    def delete_passed(self) -> int:
        """Delete the segments that every named reader has passed; returns the bytes freed."""
        cursors = read_cursors(self._directory)
        if not cursors:
            return 0
        passed, freed = min(cursors.values()), 0
        for segment in list_segments(self._directory):
            is_open = self._descriptor >= 0 and segment.base == self._base
            if segment.end > passed or is_open:
                continue
            segment.path.unlink(missing_ok=True)
            freed += segment.size_bytes
        self.sealed_bytes = max(0, self.sealed_bytes - freed)
        return freed

    def drop_oldest(self) -> int:
        """Delete the oldest segment, whoever has not read it; returns the bytes freed, 0 when there is nothing to drop.

        The open segment is sealed first when it is the only one.
        """
        self.prepare()
        segments = list_segments(self._directory)
        if not segments:
            return 0
        oldest = segments[0]
        if self._descriptor >= 0 and oldest.base == self._base:
            self.seal()
        oldest.path.unlink(missing_ok=True)
        self.sealed_bytes = max(0, self.sealed_bytes - oldest.size_bytes)
        return oldest.size_bytes

    def has_readers(self) -> bool:
        """Whether anybody keeps a position in the spool."""
        return bool(read_cursors(self._directory))

    def seal(self) -> None:
        """Put the open segment on the disk for good; the next write begins a new one."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        self._next_base = self._base + self._size
        self.sealed_bytes += self._size
        self._size = 0
        try:
            if self._fsync != "never":
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Seal the open segment and let the directory go."""
        try:
            self.seal()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def prepare(self) -> None:
        """Take the directory over: cut what a crash left half-written and go on behind it."""
        if self._lock is not None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._directory / "writer.lock")
        segments = list_segments(self._directory)
        if segments:
            count = _cut_torn_tail(segments[-1].path)
            segments = list_segments(self._directory)
            self._next_base = max(self._next_base, segments[-1].end)
            self.number = max(self.number, segments[-1].first_number + count)
        # A clock that went back must not put new frames before where a reader stands: they would count as read.
        self._next_base = max(self._next_base, *read_cursors(self._directory).values(), 0)
        self.number = max(self.number, newest_number(self._directory))
        self.sealed_bytes = sum(segment.size_bytes for segment in segments)
        self._lock = lock

    def _leave_what_is_gone(self) -> None:
        """Take the directory over anew where what is open is no longer in it: no reader would ever find it."""
        is_gone = self._descriptor >= 0 and not is_there(self._path, self._descriptor)
        if self._lock is None or (self._lock.holds() and not is_gone):
            return
        self._next_base = self.end
        if self._descriptor >= 0:
            descriptor, self._descriptor, self._size = self._descriptor, -1, 0
            os.close(descriptor)
        self._lock.release()
        self._lock = None

    def _begin_segment(self) -> None:
        path = self._path = segment_path(self._directory, self._next_base, self.number)
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._base, self._size = self._next_base, os.fstat(self._descriptor).st_size
        if self._fsync != "never":
            _flush_directory(self._directory)

    def _write_all(self, pieces: list[bytes | memoryview]) -> tuple[int, OSError | None]:
        written = start = 0
        while start < len(pieces):
            some = pieces[start : start + _MAX_PIECES]
            try:
                count = os.writev(self._descriptor, some)
            except OSError as error:
                return written, error
            written += count
            if count == sum(map(len, some)):
                start += len(some)
            else:
                start = skip(pieces, start, count)
        return written, None

    def _flush_batch(self) -> None:
        # What is written can be read already, so it counts as written; where flushing fails, a new segment begins.
        try:
            os.fdatasync(self._descriptor)
        except OSError:
            self.seal()

    def _keep_whole_frames(self, frames: Sequence[Pieces], written: int) -> int:
        # A reader may have read the whole frames already, so they stay; the torn one behind them is cut off.
        kept = kept_bytes = 0
        for frame in frames:
            size = sum(map(len, frame))
            if kept_bytes + size > written:
                break
            kept, kept_bytes = kept + 1, kept_bytes + size
        good = self._size + kept_bytes
        try:
            os.ftruncate(self._descriptor, good)
            self._size = good
        except OSError:  # then the torn bytes stay, behind them begins a new segment, and readers step over them
            self._size += written
        try:
            self.seal()
        except OSError:
            return kept  # not flushed, but written; the next segment begins behind it all the same
        return kept


def skip(pieces: list[bytes | memoryview], start: int, count: int) -> int:
    """Where to go on behind ``count`` bytes from ``start`` on; a piece that was cut becomes its rest."""
    while count >= len(pieces[start]):
        count -= len(pieces[start])
        start += 1
    pieces[start] = memoryview(pieces[start])[count:]
    return start


def _cut_torn_tail(path: Path) -> int:
    """Cut what stands behind the last whole frame, of whatever format.

    Returns how many pieces, whole or damaged, stand before it.
    """
    data = path.read_bytes()
    good = count = 0
    for number, found in enumerate(scan_frames(data, sealed=True), 1):
        if found.payload is not None or found.format:
            good, count = found.end, number
    if good < len(data):
        os.truncate(path, good)
    return count


def _flush_directory(directory: Path) -> None:
    """Put the names of new files on the disk, as far as the file system allows that."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
