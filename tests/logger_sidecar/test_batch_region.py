"""The region between proxy and recorder: batches come out as they were written, torn ones are refused, memory ends."""

import contextlib
import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logger_sidecar.recording.batch_region import KEPT_BYTES, BatchRegion, RegionReader
from logger_sidecar.recording.recorder_wire import (
    LARGE_BODY_BYTES,
    Announced,
    Body,
    ReceivedBody,
    ReceivedRecord,
    Record,
    ShortRecord,
    body_bytes,
)

_LONG_BYTES = 3_000_000


@contextlib.contextmanager
def region_and_reader(*, in_memory: bool = True) -> Iterator[tuple[BatchRegion, RegionReader]]:
    """Both ends of one region."""
    with contextlib.closing(BatchRegion(in_memory=in_memory)) as region:
        reader = RegionReader(os.dup(region.descriptor))
        with contextlib.closing(reader):
            yield region, reader


def handed_over(records: Sequence[Record]) -> list[ReceivedRecord | bytes]:
    """The records as the recorder gets them."""
    with region_and_reader() as (region, reader):
        return reader.read(region.write(records, [size_of(record) for record in records]))


def size_of(record: Record) -> int:
    """What capture reserves for it, but for the constant part."""
    if isinstance(record, bytes):
        return len(record)
    return len(record[0]) if len(record) == 1 else body_bytes(record[8]) + body_bytes(record[10])


def short(request: Body, response: Body, number: int = 7) -> ShortRecord:
    return (
        b"s",
        f"id-{number}",
        f"request-{number}",
        number,
        1.5,
        0.5,
        bool(number % 2),
        b"r",
        request,
        b"a",
        response,
    )


def whole(record: Record | ReceivedRecord) -> object:
    """What a record says, at either end, to be compared."""
    if isinstance(record, bytes):
        return record
    if isinstance(record, ReceivedRecord):
        said = msgspec.structs.astuple(record)[:11]
        return said[:1] if not record.response else (*said[:8], _joined(said[8]), said[9], _joined(said[10]))
    if len(record) == 1:
        return record
    return (*record[:8], _joined(record[8]), record[9], _joined(record[10]))


def _joined(body: Body | ReceivedBody) -> bytes:
    return b"".join(body) if isinstance(body, tuple) else bytes(body)


_sizes = st.integers(0, 40) | st.integers(LARGE_BODY_BYTES - 2, LARGE_BODY_BYTES + 2) | st.integers(0, 300_000)
_pieces = st.binary(min_size=LARGE_BODY_BYTES, max_size=2 * LARGE_BODY_BYTES)
_bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(lambda size, fill: bytes([fill]) * size, _sizes, st.integers(0, 255)),
    st.lists(_pieces, min_size=1, max_size=4).map(tuple),
)
_frames = st.binary(min_size=1, max_size=9000)
_batch = st.lists(
    st.builds(short, _bodies, _bodies, st.integers(0, 1 << 60)) | _frames | _frames.map(lambda one: (one,)), max_size=12
)


@settings(deadline=None, max_examples=60)
@given(batches=st.lists(_batch, max_size=5))
def test_records_of_every_kind_come_out_as_they_went_in_batch_after_batch(batches: list[list[Record]]) -> None:
    with region_and_reader() as (region, reader):
        for batch in batches:
            received = reader.read(region.write(batch, list(map(size_of, batch))))
            assert list(map(whole, received)) == list(map(whole, batch))


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(max_codepoint=0xFF), max_size=40) | st.integers(250, 70_000).map(lambda size: "é" * size),
    st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 300),
    st.floats(allow_nan=False),
    st.sampled_from([0, 255, 256, LARGE_BODY_BYTES]),
)
def test_ids_times_and_durations_come_out_whatever_they_are(
    request_id: str, time_ns: int, duration_ms: float, answer_bytes: int
) -> None:
    record = (b"s", "id", request_id, time_ns, duration_ms, -0.0, True, b"r" * 300, b"", b"a", b"x" * answer_bytes)
    assert list(map(whole, handed_over([record] * 20))) == [record] * 20


def test_a_batch_has_more_bodies_than_one_system_call_takes() -> None:
    records: list[Record] = [short(bytes([number % 251]) * LARGE_BODY_BYTES, b"", number) for number in range(1500)]
    assert list(map(whole, handed_over(records))) == list(map(whole, records))


def test_where_there_is_no_file_in_memory_one_without_a_name_does() -> None:
    before = set(Path(tempfile.gettempdir()).glob("driftline-batch*"))
    with region_and_reader(in_memory=False) as (region, reader):
        assert set(Path(tempfile.gettempdir()).glob("driftline-batch*")) <= before
        for number in range(3):
            records: list[Record] = [short(b"x" * 50_000, b"y" * 10, number), b"frame"]
            assert list(map(whole, reader.read(region.write(records, [50_010, 5])))) == list(map(whole, records))


def test_a_write_for_which_there_is_no_room_says_so_and_the_next_one_is_well() -> None:
    records: list[Record] = [short(b"x" * 50_000, b""), short(b"y" * 50_000, b"")]
    with region_and_reader() as (region, reader):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                region.write(records, [50_000, 50_000])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(map(whole, reader.read(region.write(records, [50_000, 50_000])))) == list(map(whole, records))


def test_a_batch_that_is_not_the_announced_one_is_refused() -> None:
    with region_and_reader() as (region, reader):
        first = region.write([short(b"x" * 50_000, b"")], [50_000])
        second = region.write([short(b"y" * 50_000, b"")], [50_000])
        assert reader.read(second)
        with pytest.raises(ValueError, match="batch 1 was announced, and 2 is there"):
            reader.read(first)


def test_a_batch_of_which_a_part_is_missing_is_refused() -> None:
    with region_and_reader() as (region, reader):
        told = region.write([short(b"x" * 50_000, b"")], [50_000])
        shorter = Announced(told.generation, told.head_bytes, told.size_bytes - 1)
        with pytest.raises(ValueError, match="announced, and the records have"):
            reader.read(shorter)
        os.ftruncate(region.descriptor, told.size_bytes - 1)
        with pytest.raises(ValueError, match="are there"):
            reader.read(told)


def test_another_reader_finds_the_batch_where_the_first_one_left_it() -> None:
    with region_and_reader() as (region, reader):
        told = region.write([short(b"x" * 50_000, b"")], [50_000])
        first = list(map(whole, reader.read(told)))
        with contextlib.closing(RegionReader(os.dup(region.descriptor))) as next_reader:
            assert list(map(whole, next_reader.read(told))) == first


def test_what_was_announced_can_be_read_when_the_writer_is_gone() -> None:
    region = BatchRegion()
    with contextlib.closing(RegionReader(os.dup(region.descriptor))) as reader:
        told = region.write([short(b"x" * 50_000, b"")], [50_000])
        region.close()
        [record] = reader.read(told)
        assert isinstance(record, ReceivedRecord)
        assert bytes(record.request_body) == b"x" * 50_000


def test_memory_of_a_long_batch_is_given_back_once_a_while_has_passed_without_one() -> None:
    with region_and_reader() as (region, reader):
        held = []
        for size in (10, _LONG_BYTES, 10):
            reader.read(region.write([short(b"x" * size, b"")], [size]))
            held.append(region.size_bytes)
        region.rest(is_in_use=False)  # there was a long one since the last call
        held.append(region.size_bytes)
        region.rest(is_in_use=False)
        held.append(region.size_bytes)
        small, grown, after, rested, rested_again = held
        assert small < 1000
        assert grown == after == rested > _LONG_BYTES
        assert rested_again == KEPT_BYTES == os.fstat(region.descriptor).st_size
        received = reader.read(region.write([short(b"z" * _LONG_BYTES, b"")], [_LONG_BYTES]))
        assert isinstance(received[0], ReceivedRecord)
        assert bytes(received[0].request_body) == b"z" * _LONG_BYTES


def test_a_batch_that_is_still_read_keeps_its_memory() -> None:
    with region_and_reader() as (region, reader):
        told = region.write([short(b"x" * _LONG_BYTES, b"")], [_LONG_BYTES])
        region.rest(is_in_use=True)
        region.rest(is_in_use=True)
        [record] = reader.read(told)
        assert isinstance(record, ReceivedRecord)
        assert bytes(record.request_body) == b"x" * _LONG_BYTES
