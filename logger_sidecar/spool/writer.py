"""The writing side of the spool: frames of events, appended to segments that together are bounded in bytes.

Past the bound either the newest event is refused (reason ``spool_full``), because what is already promised to a reader
is never taken back; or the oldest segment goes, and readers that had not passed it count what they lost. A spool that
nobody reads always loses its oldest: nothing was promised to anybody. Written means handed to the operating system: it
outlives the death of the process; when it is flushed to the disk is the ``fsync`` setting's choice.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from driftline.errors import UnavailableError
from logger_sidecar.spool.frames import Payload, Pieces, pack_pieces
from logger_sidecar.spool.segment_writer import Fsync, SegmentWriter
from logger_sidecar.spool.segments import list_segments

REASON_SPOOL_FULL = "spool_full"
REASON_DISK_ERROR = "disk_error"
DropPolicy = Literal["newest", "oldest"]
_BATCH_FRAMES = 4096
_LOOK_EVERY_S = 0.2


class SpoolWriter:
    """Appends to the spool in ``directory``. ``monotonic``: seconds of a clock that never jumps."""

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        segment_bytes: int,
        first_offset: int,
        drop_policy: DropPolicy = "newest",
        fsync: Fsync = "segment",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segments = SegmentWriter(directory, segment_bytes, first_offset, fsync)
        self._drop_policy = drop_policy
        self._drops_oldest = drop_policy == "oldest"
        self._monotonic = monotonic
        self._looked_s = self._dated_s = float("-inf")
        self._oldest_time_s = 0.0
        #: What the disk said to the last write that failed; empty when writing is well.
        self.last_error = ""
        #: Batches that the disk refused.
        self.write_errors = 0
        with contextlib.suppress(OSError, UnavailableError):  # the first write tries again and says what is wrong
            self._segments.prepare()
        self.look()

    @property
    def bytes_held(self) -> int:
        """Bytes of all segments."""
        return self._segments.total_bytes

    def oldest_time_s(self) -> float:
        """When the oldest segment was last written to, seconds since 1970; 0 when there is none.

        It is looked up now and then only: with many segments that takes longer than writing a small batch.
        """
        now_s = self._monotonic()
        if now_s - self._dated_s >= _LOOK_EVERY_S:
            self._dated_s, self._oldest_time_s = now_s, self._oldest_on_disk_s()
        return self._oldest_time_s

    def _oldest_on_disk_s(self) -> float:
        with contextlib.suppress(OSError):
            for segment in list_segments(self._directory):
                return segment.path.stat().st_mtime
        return 0.0

    def write(self, payloads: Sequence[Payload]) -> dict[int, str]:
        """Append each payload as a frame, in order; returns, by index, the reason for each that is not in the spool."""
        frames = [pack_pieces(payload) for payload in payloads]
        sizes = [sum(map(len, frame)) for frame in frames]
        lost: dict[int, str] = {}
        start = 0
        while start < len(frames):
            count = self._fitting(sizes, start)
            if not count:
                lost[start] = REASON_SPOOL_FULL
                start += 1
                continue
            kept = self._write_batch(frames[start : start + count])
            lost.update(dict.fromkeys(range(start + kept, start + count), REASON_DISK_ERROR))
            start += count
        return lost

    def look(self) -> None:
        """See, now and then, whether readers have passed something, and whether there are any. Call it regularly."""
        now_s = self._monotonic()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        self._delete_passed()
        if self._drop_policy == "newest":
            self._drops_oldest = not self._segments.has_readers()

    def close(self) -> None:
        """Seal the open segment and let the directory go."""
        self._delete_passed()
        with contextlib.suppress(OSError):
            self._segments.close()

    def _fitting(self, sizes: Sequence[int], start: int) -> int:
        """How many frames from ``start`` on can be written at once: into one segment, and within the bound."""
        room = self._room(sizes[start])
        count = size = 0
        for frame_bytes in sizes[start : start + _BATCH_FRAMES]:
            size += frame_bytes
            if size > room or (count and size > self._segment_bytes):
                break
            count += 1
        return count

    def _room(self, needed: int) -> int:
        """Bytes that may be written now; what can be done for the ``needed`` ones is done."""
        room = self._max_bytes - self._segments.total_bytes
        if room >= needed:
            return room
        self.look()
        if self._drops_oldest:
            self._make_room(needed)
        return self._max_bytes - self._segments.total_bytes

    def _make_room(self, needed: int) -> None:
        while self._segments.total_bytes and self._segments.total_bytes + needed > self._max_bytes:
            try:
                freed = self._segments.drop_oldest()
            except (OSError, UnavailableError) as error:
                self.last_error = str(error)
                return
            if not freed:
                return

    def _write_batch(self, frames: list[Pieces]) -> int:
        """How many of the first frames are in the spool now."""
        fault: Exception | None
        try:
            kept = self._segments.write(frames)
            fault = self._segments.fault
        except (OSError, UnavailableError) as error:
            kept, fault = 0, error
        self.write_errors += fault is not None
        self.last_error = "" if fault is None else str(fault)
        return kept

    def _delete_passed(self) -> None:
        try:
            self._segments.delete_passed()
        except OSError as error:
            self.last_error = str(error)
