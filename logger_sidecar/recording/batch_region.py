"""The batch that is on its way from the proxy to the recorder: it lies in a file of memory that both have open.

The proxy writes it there once, a thousand bodies with one system call, and says over the socket only how long it is.
The recorder reads it in place. It stays until it is answered: a recorder that is started meanwhile finds it there, and
where the proxy is killed, the recorder still has it. A body that the compiled build received into memory that both have
open (``shared_bytes``) is not written again: the batch says where it lies, and holds it until it is answered.

The same memory is used for each batch, for there is one at a time; fresh pages would cost more than all that is written
to them. What more than the usual was needed for is given back once nothing as large was written for a while.
"""

import mmap
import os
import tempfile
from collections.abc import Sequence

from msgspec import msgpack

from driftline.native import native_module
from logger_sidecar.recording.recorder_wire import (
    GENERATION,
    LARGE_BODY_BYTES,
    Announced,
    Body,
    ReceivedBody,
    ReceivedRecord,
    Record,
    body_bytes,
    decode_records,
)

#: So much memory is kept while nothing waits.
KEPT_BYTES = 1024 * 1024
#: How many pieces the kernel takes at once (IOV_MAX).
_MAX_PIECES = 1024
_NAME = "driftline-batch"
_SHARED = native_module("logger_sidecar.recording.shared_bytes")
_WRITER = native_module("logger_sidecar.recording.record_writer")
#: Whether large bodies mostly are in memory that the recorder has open, before there is a batch.
SHARES_BODIES: bool = _SHARED is not None and _SHARED.descriptor() >= 0
_encoder = msgpack.Encoder()


class BatchRegion:
    """The proxy's end; raises OSError where no such file is to be had.

    ``in_memory``: else it is a file without a name in the directory for temporary ones.

    >>> region, reader = BatchRegion(), None
    >>> announced = region.write([b"a frame"], [519])
    >>> reader = RegionReader(os.dup(region.descriptor))
    >>> reader.read(announced)
    [b'a frame']
    >>> region.close(), reader.close()
    (None, None)
    """

    def __init__(self, *, in_memory: bool = hasattr(os, "memfd_create")) -> None:
        self.descriptor: int = os.memfd_create(_NAME) if in_memory else _unnamed_file()
        #: Bodies of the batch that lie elsewhere.
        self._elsewhere: list[bytes] = []
        self._generation = 0
        #: Where the compiled build writes records, with as much room as the batches before needed.
        self._head = bytearray()
        #: Bytes of memory that it takes.
        self.size_bytes = 0
        self._batch_bytes = 0
        self._most_bytes = 0

    def write(self, records: Sequence[Record], sizes_bytes: Sequence[int]) -> Announced:
        """Write a batch in place of the one before, which nobody needs any more; returns what the recorder is told.

        ``sizes_bytes``: of each record, at least what its bodies have. Raises OSError where there is no room;
        nothing may be announced then.
        """
        self._generation += 1
        bodies: list[bytes | bytearray] = []
        self._elsewhere = []
        encoded: bytes | bytearray = self._head
        if _WRITER is not None:
            _WRITER.write_records(encoded, records, bodies, self._elsewhere)
        else:
            # Not ``encode_into``: it begins with no room each time. An array that was once so large that it has pages
            # of its own gives all of them back then, and asks for them again.
            encoded = _encoder.encode(_told(records, sizes_bytes, bodies))
        written = _write_all(self.descriptor, [GENERATION.pack(self._generation), encoded, *bodies])
        self._batch_bytes = written
        self._most_bytes = max(self._most_bytes, written)
        self.size_bytes = max(self.size_bytes, written)
        return Announced(self._generation, GENERATION.size + len(encoded), written)

    @property
    def descriptors(self) -> Sequence[int]:
        """What the recorder needs, in the order of ``RegionReader``'s arguments."""
        shared = -1 if _SHARED is None else _SHARED.descriptor()
        return (self.descriptor,) if shared < 0 else (self.descriptor, shared)

    def answered(self) -> None:
        """Nobody reads the batch any more."""
        self._elsewhere = []

    def rest(self, *, is_in_use: bool) -> None:
        """Called now and then: give back what none of the batches since the last call needed.

        ``is_in_use``: the last batch may still be read.
        """
        needed = max(self._most_bytes, KEPT_BYTES)
        self._most_bytes = self._batch_bytes if is_in_use else 0
        if self.size_bytes > needed:
            os.ftruncate(self.descriptor, needed)
            self.size_bytes = needed
            self._head = bytearray()
        if _SHARED is not None:
            _SHARED.rest()

    def close(self) -> None:
        """Let it go; a recorder may still read what was announced."""
        os.close(self.descriptor)


class RegionReader:
    """The recorder's end. ``descriptor``, and ``shared``, of the memory for bodies: become its own."""

    def __init__(self, descriptor: int, shared: int = -1) -> None:
        self._descriptor = descriptor
        self._view = memoryview(b"")
        self._bodies = memoryview(b"")
        if shared >= 0:
            self._bodies = memoryview(mmap.mmap(shared, 0, mmap.MAP_SHARED, mmap.PROT_READ))
            os.close(shared)

    def read(self, announced: Announced) -> list[ReceivedRecord | bytes]:
        """The batch. Its bodies are views of the region, and last until the batch is answered.

        Raises ValueError where another batch stands there, or a part of one.
        """
        size, there = announced.size_bytes, os.fstat(self._descriptor).st_size
        if size > there:
            raise ValueError(f"{size} bytes were announced, and {there} are there")
        if size > len(self._view):
            self._view = memoryview(mmap.mmap(self._descriptor, there, mmap.MAP_SHARED, mmap.PROT_READ))
        view = self._view
        found = GENERATION.unpack_from(view)[0]
        if found != announced.generation:
            raise ValueError(f"batch {announced.generation} was announced, and {found} is there")
        records = decode_records(view[GENERATION.size : announced.head_bytes])
        start = announced.head_bytes
        for record in records:
            if isinstance(record, ReceivedRecord):
                start = _find_bodies(record, view, start, self._bodies)
        if start != size:
            raise ValueError(f"{size} bytes were announced, and the records have {start}")
        return records

    def close(self) -> None:
        """Let it go."""
        self._view = self._bodies = memoryview(b"")
        os.close(self._descriptor)


def _told(records: Sequence[Record], sizes_bytes: Sequence[int], bodies: list[bytes | bytearray]) -> Sequence[object]:
    """What is written of the records themselves; their large bodies are appended to ``bodies``."""
    if max(sizes_bytes, default=0) < LARGE_BODY_BYTES:
        return records
    return [
        record if size < LARGE_BODY_BYTES else _without_large_bodies(record, bodies)
        for record, size in zip(records, sizes_bytes, strict=True)
    ]


def _without_large_bodies(record: Record, bodies: list[bytes | bytearray]) -> object:
    """The record with lengths in place of its large bodies, which are appended to ``bodies``."""
    if isinstance(record, bytes) or len(record) == 1:
        return record
    asked: Body
    answered: Body
    stream, event_id, request_id, time_ns, duration_ms, ttfb_ms, truncated, request, asked, response, answered = record
    asked_bytes = answered_bytes = 0
    if type(asked) is not bytes or len(asked) >= LARGE_BODY_BYTES:
        asked, asked_bytes = _left_out(asked, bodies)
    if type(answered) is not bytes or len(answered) >= LARGE_BODY_BYTES:
        answered, answered_bytes = _left_out(answered, bodies)
    return (
        stream,
        event_id,
        request_id,
        time_ns,
        duration_ms,
        ttfb_ms,
        truncated,
        request,
        asked,
        response,
        answered,
        asked_bytes,
        answered_bytes,
    )


def _left_out(body: Body, bodies: list[bytes | bytearray]) -> tuple[bytes, int]:
    """What stands in place of a large body in its record, and how much stands behind all records."""
    if isinstance(body, bytes):
        bodies.append(body)
        return b"", len(body)
    bodies.extend(body)
    return b"", body_bytes(body)


def _find_bodies(record: ReceivedRecord, view: memoryview, start: int, shared: memoryview) -> int:
    """Put the bodies into the record that stand from ``start`` on, or in shared memory; returns where the next ones do.

    Raises ValueError where one would lie beyond that memory.
    """
    if record.request_places:
        record.request_body = _pieces(shared, record.request_places)
    elif record.request_bytes:
        end = start + record.request_bytes
        record.request_body = view[start:end]
        start = end
    if record.response_places:
        record.response_body = _pieces(shared, record.response_places)
    elif record.response_bytes:
        end = start + record.response_bytes
        record.response_body = view[start:end]
        start = end
    return start


def _pieces(shared: memoryview, places: Sequence[int]) -> ReceivedBody:
    pairs = list(zip(places[::2], places[1::2], strict=True))
    for place, size in pairs:
        if place + size > len(shared):
            raise ValueError(f"{size} bytes were announced at {place} of shared memory, which has {len(shared)}")
    pieces = tuple(shared[place : place + size] for place, size in pairs)
    return pieces[0] if len(pieces) == 1 else pieces


def _write_all(descriptor: int, pieces: Sequence[bytes | bytearray]) -> int:
    """Write all pieces from the file's beginning on; returns how many bytes they have."""
    written = 0
    for start in range(0, len(pieces), _MAX_PIECES):
        some = pieces[start : start + _MAX_PIECES]
        count = os.pwritev(descriptor, some, written)
        wanted = sum(map(len, some))
        if count < wanted:  # a signal, or two gigabytes at once
            rest = b"".join(some)
            while count < wanted:
                count += os.pwrite(descriptor, memoryview(rest)[count:], written + count)
        written += wanted
    return written


def _unnamed_file() -> int:
    with tempfile.TemporaryFile(prefix=_NAME) as file:
        return os.dup(file.fileno())
