"""The sidecar's side of the spool: frames are handed over in memory and written by a thread of their own.

``append`` never waits. Bytes in memory and on disk together are bounded. Past the bound either the newest event is
refused (reason ``spool_full``), because what is already promised to a reader is never taken back; or the oldest
segment goes, and readers that had not passed it count what they lost. A spool that nobody reads always loses its
oldest: nothing was promised to anybody. Written means handed to the operating system: it outlives the death of the
process; when it is flushed to the disk is the ``fsync`` setting's choice.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from driftline.errors import UnavailableError
from logger_sidecar.frames import HEADER, pack_frame
from logger_sidecar.segment_writer import Fsync, SegmentWriter
from logger_sidecar.segments import list_segments

REASON_SPOOL_FULL = "spool_full"
REASON_DISK_ERROR = "disk_error"
DropPolicy = Literal["newest", "oldest"]
_BATCH_FRAMES = 4096


class Unfinished(bytes):
    """A frame with work left to do before it may be written: a stream to be folded, a body to be redacted."""

    __slots__ = ()


class Finisher(Protocol):
    """Does that work, away from the request path."""

    def finish(self, frames: Sequence[bytes]) -> Sequence[bytes | str]:
        """Each frame as it may be written, in order; a text instead is the reason why it may not."""

    def close(self) -> None:
        """No more will come."""


class Receipt(Protocol):
    """Is told what became of one appended payload, on the writer's thread."""

    def written(self) -> None:
        """It is in the spool."""

    def lost(self, reason: str) -> None:
        """It is not, and will not be."""


class SpoolWriter:
    """Appends payloads to the spool in ``directory`` without ever making the caller wait."""

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        segment_bytes: int,
        buffer_bytes: int,
        first_offset: int,
        finisher: Finisher | None = None,
        flush_interval_s: float = 0.02,
        drop_policy: DropPolicy = "newest",
        fsync: Fsync = "segment",
    ) -> None:
        self.max_bytes = max_bytes
        self._finisher = finisher
        self._directory = directory
        self._buffer_bytes = buffer_bytes
        self._segment_bytes = segment_bytes
        self._flush_interval_s = flush_interval_s
        self._segments = SegmentWriter(directory, segment_bytes, first_offset, fsync)
        self._drop_policy = drop_policy
        self._drops_oldest = drop_policy == "oldest"
        #: Bytes of segments that went, unread by somebody or by nobody, to make room.
        self.overwritten_bytes = 0
        # The caller appends a receipt, then its payload; the writer takes as many of both as there are payloads.
        self._payloads: list[bytes] = []
        self._receipts: list[Receipt] = []
        # One number per thread, so that neither needs a lock: appended by the caller, taken by the writer, who also
        # says up to which number the caller may append.
        self._appended_bytes = 0
        self._taken_bytes = 0
        self._limit_bytes = min(buffer_bytes, max_bytes)
        self._is_asleep = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self.last_error = ""
        #: Batches that the disk refused.
        self.write_errors = 0

    def start(self) -> None:
        """Take the directory over, as far as that is possible now, and begin writing."""
        with contextlib.suppress(OSError, UnavailableError):  # the first write tries again and says what is wrong
            self._segments.prepare()
        self._look()
        self._thread.start()

    @property
    def bytes_held(self) -> int:
        """Bytes on disk and in memory."""
        return self._segments.total_bytes + self.buffered_bytes

    @property
    def buffered_bytes(self) -> int:
        """Bytes not yet on disk."""
        return self._appended_bytes - self._taken_bytes

    @property
    def buffered_events(self) -> int:
        """Events not yet on disk."""
        return len(self._payloads)

    def oldest_age_s(self, now_s: float) -> float:
        """Age of the oldest segment, by the file's own time; 0 when there is none."""
        for segment in list_segments(self._directory):
            with contextlib.suppress(OSError):
                return max(0.0, now_s - segment.path.stat().st_mtime)
        return 0.0

    def append(self, payload: bytes, receipt: Receipt) -> bool:
        """Hand one payload over; False when the spool is full (the receipt is then not told anything)."""
        appended = self._appended_bytes + len(payload) + HEADER.size
        if appended > self._limit_bytes:
            self._wake.set()  # the writer looks whether readers have passed something
            return False
        self._appended_bytes = appended
        self._receipts.append(receipt)
        self._payloads.append(payload)
        if self._is_asleep:
            self._is_asleep = False
            self._wake.set()
        return True

    def close(self, timeout_s: float) -> bool:
        """Write what is left and end the thread; False when that took longer than ``timeout_s``."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        looked_at = 0.0
        while not self._closing.is_set():
            self._sleep()
            self._write_queue()
            if time.monotonic() - looked_at > 0.2:
                self._look()
                looked_at = time.monotonic()
        self._write_queue()
        self._delete_passed()
        if self._finisher is not None:
            self._finisher.close()
        with contextlib.suppress(OSError):
            self._segments.close()

    def _sleep(self) -> None:
        self._is_asleep = True
        if not self._payloads:
            self._wake.wait(1.0)
        self._is_asleep = False
        self._wake.clear()
        # Frames of a few milliseconds go out in one write: a thread that takes the interpreter from the proxy for each
        # would cost both of them more than the write.
        self._closing.wait(self._flush_interval_s)

    def _look(self) -> None:
        """See whether readers have passed something, and whether there are any."""
        self._delete_passed()
        if self._drop_policy == "newest":
            self._drops_oldest = not self._segments.has_readers()
        self._set_limit()

    def _set_limit(self) -> None:
        room = self.max_bytes - self._segments.total_bytes
        # What is dropped to make room is dropped when it is written; until then there is room for a buffer.
        self._limit_bytes = self._taken_bytes + (
            self._buffer_bytes if self._drops_oldest else min(self._buffer_bytes, room)
        )

    def _make_room(self, size: int) -> None:
        """Drop the oldest segments until so many bytes fit in, with a buffer beside them."""
        bound = self.max_bytes - self._buffer_bytes
        while self._segments.total_bytes and self._segments.total_bytes + size > bound:
            freed = self._segments.drop_oldest()
            if not freed:
                return
            self.overwritten_bytes += freed

    def _write_queue(self) -> None:
        while self._payloads:
            count, size = self._next_batch()
            payloads, receipts = self._payloads[:count], self._receipts[:count]
            del self._payloads[:count], self._receipts[:count]
            if self._finisher is not None:
                payloads, receipts = _finished(payloads, receipts, self._finisher)
            if payloads:
                self._write_batch([pack_frame(payload) for payload in payloads], receipts)
            self._taken_bytes += size
            self._set_limit()

    def _next_batch(self) -> tuple[int, int]:
        """How many payloads fit into one segment, at least one, and their bytes as frames."""
        count = size = 0
        for payload in self._payloads[:_BATCH_FRAMES]:
            length = len(payload) + HEADER.size
            if count and size + length > self._segment_bytes:
                break
            count, size = count + 1, size + length
        return count, size

    def _write_batch(self, frames: list[bytes], receipts: list[Receipt]) -> None:
        try:
            if self._drops_oldest:
                self._make_room(sum(map(len, frames)))
            kept = self._segments.write(frames)
            self.last_error = ""
        except (OSError, UnavailableError) as error:
            kept = 0
            self.write_errors += 1
            self.last_error = str(error)
        for receipt in receipts[:kept]:
            receipt.written()
        for receipt in receipts[kept:]:
            receipt.lost(REASON_DISK_ERROR)

    def _delete_passed(self) -> None:
        try:
            self._segments.delete_passed()
        except OSError as error:
            self.last_error = str(error)


def _finished(payloads: list[bytes], receipts: list[Receipt], finisher: Finisher) -> tuple[list[bytes], list[Receipt]]:
    """The payloads as they may be written, with their receipts; the receipts of all others are told why."""
    waiting = [index for index, payload in enumerate(payloads) if isinstance(payload, Unfinished)]
    if not waiting:
        return payloads, receipts
    outcome = dict(zip(waiting, finisher.finish([payloads[index] for index in waiting]), strict=True))
    kept: list[bytes] = []
    kept_receipts: list[Receipt] = []
    for index, (payload, receipt) in enumerate(zip(payloads, receipts, strict=True)):
        done = outcome.get(index, payload)
        if isinstance(done, str):
            receipt.lost(done)
        else:
            kept.append(done)
            kept_receipts.append(receipt)
    return kept, kept_receipts
