"""Reading the spool: a record source for whoever lives on the same machine, in whatever process.

A reader has a name; its position is kept under that name beside the segments, and segments go once every named reader
has passed them. Segments that had to go before that, to make room, come back as one record that says how many events
that cost this reader.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from driftline.errors import EventError
from driftline.events import decode_frame
from driftline.records import Content, Malformed, Reach, Record
from logger_sidecar.spool.frames import Found, frame_length_at, scan_frames
from logger_sidecar.spool.segments import (
    FileLock,
    Place,
    Segment,
    list_segments,
    newest_number,
    read_place,
    write_cursor,
)

REASON_OVERWRITTEN = "spool_overwritten"
REASON_CORRUPT = "corrupt_frame"
REASON_NEWER = "newer_frame"
#: How much one poll reads, besides its last record: bodies make records of any size.
MAX_POLL_BYTES = 16 * 1024 * 1024
_READ_BYTES = 1 << 20
LOOK_EVERY_S = 0.02
_RAW_LIMIT_BYTES = 65536


class SpoolSource:
    """The events of the spool in ``directory``, in order, from where ``name`` stopped.

    ``start`` looks the committed position of ``spool:NAME`` up; None means: from the reader's own cursor, else from the
    oldest segment. A position outside the spool (it was emptied, or deleted) begins at the oldest segment. ``decode``
    reads what a frame holds and raises EventError. ``look_every_s``: how often a poll that waits looks. Raises
    UnavailableError when another process reads under the same name.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        start: Callable[[str], int | None],
        max_poll_bytes: int = MAX_POLL_BYTES,
        decode: Callable[[bytes], Content] = decode_frame,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        if not name or "/" in name:
            raise ValueError(f"'{name}' is not a reader's name; use letters, digits, '-' and '_'")
        directory.mkdir(parents=True, exist_ok=True)
        self.partition = f"spool:{name}"
        self._directory = directory
        self._name = name
        self._max_poll_bytes = max_poll_bytes
        self._decode = decode
        self._look_every_s = look_every_s
        self._lock = FileLock(directory / f"{name}.reader-lock")
        self._start = start
        # Positions behind the records that were read and not acknowledged, with their numbers; as in ``Place``.
        self._read: deque[tuple[int, int | None]] = deque()
        self._position, self._number = self._begin()

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; waits up to ``timeout_s`` seconds for the first one."""
        deadline = time.monotonic() + timeout_s
        while True:
            records = self._read_records(max_records)
            remaining_s = deadline - time.monotonic()
            if records or remaining_s <= 0:
                return records
            time.sleep(min(self._look_every_s, remaining_s))

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Everything before ``next_offset`` is safe elsewhere; it need not be kept for this reader."""
        if partition != self.partition:
            raise ValueError(f"'{partition}' is not '{self.partition}'")
        number = None
        while self._read and self._read[0][0] <= next_offset:
            offset, number_there = self._read.popleft()
            number = number_there if offset == next_offset else None
        write_cursor(self._directory, self._name, Place(next_offset, number))

    def go_back(self, partition: str) -> bool:
        """Read again from where a source that is opened now would begin."""
        if partition != self.partition:
            return False
        self._read.clear()
        self._position, self._number = self._begin()
        return True

    def held(self) -> Mapping[str, str]:
        """None: what was overwritten is stepped over."""
        return {}

    def lag(self) -> Mapping[str, int]:
        """Bytes in the spool behind the last record that was read."""
        return {self.partition: _bytes_behind(self._directory, self._position)}

    def elsewhere(self) -> Mapping[str, Reach]:
        """None: nobody shares it."""
        return {}

    def close(self) -> None:
        """Let another process read under this name."""
        self._lock.release()

    def _begin(self) -> Place:
        kept = read_place(self._directory, self._name)
        place = _begin(self._directory, self._start(self.partition), kept)
        # A cursor from the start on: the writer must not delete what this reader has not seen.
        if kept is None or kept.offset > place.offset:
            write_cursor(self._directory, self._name, place)
        return place

    def _read_records(self, max_records: int) -> list[Record]:
        segments = list_segments(self._directory)
        if segments and self._position > segments[-1].end:
            self._position, self._number = segments[0].base, segments[0].first_number
        records: list[Record] = []
        bound = self._position + self._max_poll_bytes
        for index, segment in enumerate(segments):
            if segment.end <= self._position:
                continue
            if self._position <= segment.base:
                bound += self._enter(segment, records)
            # Looked at before the bytes are read: what was sealed then is whole now.
            sealed = index + 1 < len(segments)
            self._read_segment(segment, sealed, max_records, bound, records)
            if len(records) >= max_records or self._position < min(segment.end, bound):
                break
            if self._position >= bound:
                break
        return records

    def _enter(self, segment: Segment, records: list[Record]) -> int:
        """Go to where the segment begins; returns how far that was. What is missing in between becomes a record."""
        skipped = segment.base - self._position
        lost = segment.first_number - self._number if self._number is not None else 0
        if skipped and lost > 0:
            detail = f"{lost} events were overwritten by newer ones before they were read"
            content = Malformed(REASON_OVERWRITTEN, detail, b"", lost)
            records.append(Record(self.partition, self._position, segment.base, content))
            self._read.append((segment.base, segment.first_number))
        self._position, self._number = segment.base, segment.first_number
        return skipped

    def _read_segment(
        self, segment: Segment, sealed: bool, max_records: int, bound: int, records: list[Record]
    ) -> None:
        while len(records) < max_records and self._position < bound:
            data = _read_at(segment, self._position, _READ_BYTES)
            if not data:
                return
            at_end = self._position + len(data) >= segment.end
            before = self._position
            for found in scan_frames(data, sealed=sealed and at_end):
                records.append(self._taken(before + found.start, before + found.end, found))
                if len(records) >= max_records or self._position >= bound:
                    return
            if self._position == before and not self._take_large(segment, data, sealed, records):
                return

    def _take_large(self, segment: Segment, data: bytes, sealed: bool, records: list[Record]) -> bool:
        """A frame longer than one read, or damage of that length: look at the rest of the segment at once."""
        length = frame_length_at(data, 0)
        if len(data) < _READ_BYTES or (length is not None and self._position + length > segment.end and not sealed):
            return False
        data = _read_at(segment, self._position, length or segment.end - self._position)
        for found in scan_frames(data, sealed=sealed):
            records.append(self._taken(self._position, self._position + found.end, found))
            return True
        return False

    def _taken(self, start: int, end: int, found: Found) -> Record:
        """What lies between two offsets; reading goes on behind it."""
        self._position = end
        if self._number is not None:
            self._number += 1
        self._read.append((end, self._number))
        return Record(self.partition, start, end, self._content(end - start, found))

    def _content(self, size_bytes: int, found: Found) -> Content:
        payload = found.payload
        if payload is None and found.format:
            return Malformed(REASON_NEWER, f"a frame of format {found.format}; this version reads format 0", b"")
        if payload is None:
            return Malformed(REASON_CORRUPT, f"{size_bytes} damaged bytes in the spool", b"")
        try:
            return self._decode(payload)
        except EventError as error:
            return Malformed("bad_event", str(error), payload[:_RAW_LIMIT_BYTES])


def hold_place(directory: Path, name: str) -> None:
    """Give a reader that cannot read yet its place, at the oldest segment where it has none, so that the spool waits.

    Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if read_place(directory, name) is None:
        write_cursor(directory, name, _begin(directory, None, None))


def unacknowledged_bytes(directory: Path, name: str) -> int:
    """How much of the spool lies behind the place that a reader keeps; all of it where it keeps none."""
    place = read_place(directory, name)
    return _bytes_behind(directory, 0 if place is None else place.offset)


def _bytes_behind(directory: Path, position: int) -> int:
    return sum(max(0, one.end - max(one.base, position)) for one in list_segments(directory))


def _begin(directory: Path, committed: int | None, kept: Place | None) -> Place:
    """Where a reader begins, with its number as far as that can be known."""
    segments = list_segments(directory)
    if committed is None and kept is None:
        return Place(segments[0].base, segments[0].first_number) if segments else Place(0, newest_number(directory))
    offset = committed if committed is not None else kept.offset if kept is not None else 0
    if kept is not None and kept.offset == offset and kept.number is not None:
        return kept
    for segment in segments:
        if segment.base <= offset <= segment.end:
            data = _read_at(segment, segment.base, offset - segment.base)
            return Place(offset, segment.first_number + sum(1 for _ in scan_frames(data, sealed=True)))
    return Place(offset, None)


def _read_at(segment: Segment, position: int, size_bytes: int) -> bytes:
    try:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # deleted, or the spool was emptied, since the directory was listed
        return b""
    try:
        return _read_whole(descriptor, size_bytes, position - segment.base)
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int, size_bytes: int, at: int) -> bytes:
    """As many bytes as the file has from there on; the system may give them in several pieces."""
    data = os.pread(descriptor, size_bytes, at)
    while data and len(data) < size_bytes and (more := os.pread(descriptor, size_bytes - len(data), at + len(data))):
        data += more
    return data
