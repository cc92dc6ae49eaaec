"""Reading the spool: a record source for whoever lives on the same machine, in whatever process.

A reader has a name; its position is kept under that name beside the segments, and segments go once every named reader
has passed them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from driftline.errors import EventError
from driftline.events import InferenceEvent, decode_frame
from driftline.records import Malformed, Record
from logger_sidecar.frames import Found, frame_length_at, scan_frames
from logger_sidecar.segments import (
    FileLock,
    Segment,
    list_segments,
    read_cursor,
    write_cursor,
)

_READ_BYTES = 1 << 20
_WAIT_S = 0.02
_RAW_LIMIT_BYTES = 65536


class SpoolSource:
    """The events of the spool in ``directory``, in order, from where ``name`` stopped.

    ``start`` looks the committed position of ``spool:NAME`` up; None means: from the reader's own cursor, else from the
    oldest segment. A position outside the spool (it was emptied, or deleted) begins at the oldest segment.
    Raises UnavailableError when another process reads under the same name.
    """

    def __init__(self, directory: Path, name: str, start: Callable[[str], int | None]) -> None:
        if not name or "/" in name:
            raise ValueError(f"'{name}' is not a reader's name; use letters, digits, '-' and '_'")
        directory.mkdir(parents=True, exist_ok=True)
        self.partition = f"spool:{name}"
        self._directory = directory
        self._name = name
        self._lock = FileLock(directory / f"{name}.reader-lock")
        committed = start(self.partition)
        kept = read_cursor(directory, name)
        self._position = committed if committed is not None else kept if kept is not None else 0
        # A cursor from the start on: the writer must not delete what this reader has not seen.
        if kept is None or kept > self._position:
            write_cursor(directory, name, self._position)

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """Up to ``max_records`` records; waits up to ``timeout_s`` seconds for the first one."""
        deadline = time.monotonic() + timeout_s
        while True:
            records = self._read(max_records)
            remaining_s = deadline - time.monotonic()
            if records or remaining_s <= 0:
                return records
            time.sleep(min(_WAIT_S, remaining_s))

    def acknowledge(self, partition: str, next_offset: int) -> None:
        """Everything before ``next_offset`` is safe elsewhere; it need not be kept for this reader."""
        if partition != self.partition:
            raise ValueError(f"'{partition}' is not '{self.partition}'")
        write_cursor(self._directory, self._name, next_offset)

    def lag(self) -> Mapping[str, int]:
        """Bytes in the spool behind the last record that was read."""
        segments = list_segments(self._directory)
        return {self.partition: sum(max(0, one.end - max(one.base, self._position)) for one in segments)}

    def close(self) -> None:
        """Let another process read under this name."""
        self._lock.release()

    def _read(self, max_records: int) -> list[Record]:
        segments = list_segments(self._directory)
        if segments and self._position > segments[-1].end:
            self._position = segments[0].base
        records: list[Record] = []
        for index, segment in enumerate(segments):
            if segment.end <= self._position:
                continue
            self._position = max(self._position, segment.base)
            # Looked at before the bytes are read: what was sealed then is whole now.
            sealed = index + 1 < len(segments)
            self._read_segment(segment, sealed, max_records, records)
            if len(records) >= max_records or self._position < segment.end:
                break
        return records

    def _read_segment(self, segment: Segment, sealed: bool, max_records: int, records: list[Record]) -> None:
        while len(records) < max_records:
            data = _read_at(segment, self._position, _READ_BYTES)
            if not data:
                return
            at_end = self._position + len(data) >= segment.end
            before = self._position
            for found in scan_frames(data, sealed=sealed and at_end):
                records.append(self._record(before, found))
                self._position = before + found.end
                if len(records) >= max_records:
                    return
            if self._position == before and not self._take_large(segment, data, sealed, records):
                return

    def _take_large(self, segment: Segment, data: bytes, sealed: bool, records: list[Record]) -> bool:
        """A frame longer than one read, or one whose length is damaged: look at the rest of the segment at once."""
        length = frame_length_at(data, 0)
        if len(data) < _READ_BYTES or (length is not None and self._position + length > segment.end and not sealed):
            return False
        data = _read_at(segment, self._position, segment.end - self._position)
        for found in scan_frames(data, sealed=sealed):
            records.append(self._record(self._position, found))
            self._position += found.end
            return True
        return False

    def _record(self, origin: int, found: Found) -> Record:
        content: InferenceEvent | Malformed
        if found.payload is None:
            content = Malformed("corrupt_frame", f"{found.end - found.start} damaged bytes in the spool", b"")
        else:
            try:
                content = decode_frame(found.payload)
            except EventError as error:
                content = Malformed("bad_event", str(error), found.payload[:_RAW_LIMIT_BYTES])
        return Record(self.partition, origin + found.start, origin + found.end, content)


def _read_at(segment: Segment, position: int, size_bytes: int) -> bytes:
    try:
        with segment.path.open("rb") as file:
            file.seek(position - segment.base)
            return file.read(size_bytes)
    except FileNotFoundError:  # deleted, or the spool was emptied, since the directory was listed
        return b""
