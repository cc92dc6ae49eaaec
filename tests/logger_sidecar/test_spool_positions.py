"""Positions in the spool: whose they are, and what they outlive."""

from pathlib import Path

import pytest

from driftline.events import encode_frame
from logger_sidecar.spool.readers import forget_readers
from logger_sidecar.spool.segments import Place, list_segments, read_cursors, read_place, write_cursor
from logger_sidecar.spool.source import SpoolSource
from tests.logger_sidecar.test_spool import event, fill, read, writer


def test_a_reader_that_is_not_configured_any_more_holds_nothing(tmp_path: Path) -> None:
    for name in ("kafka", "archive", "collector"):
        SpoolSource(tmp_path, name, lambda _partition: None).close()
    assert forget_readers(tmp_path, ["kafka", "archive"]) == []
    held = SpoolSource(tmp_path, "archive", lambda _partition: None)
    assert forget_readers(tmp_path, ["kafka"]) == []  # somebody still reads under this name
    held.close()
    assert forget_readers(tmp_path, ["kafka"]) == ["archive"]
    assert forget_readers(tmp_path, []) == ["kafka"]
    assert set(read_cursors(tmp_path)) == {"collector"}  # not a sink's


def test_the_cursor_of_the_only_sink_there_was_before_goes_as_well(tmp_path: Path) -> None:
    SpoolSource(tmp_path, "kafka", lambda _partition: None).close()
    assert forget_readers(tmp_path, ["archive"]) == ["kafka"]


def test_a_list_of_sinks_that_is_damaged_stops_nobody(tmp_path: Path) -> None:
    SpoolSource(tmp_path, "archive", lambda _partition: None).close()
    (tmp_path / "sinks.readers").write_bytes(b"\xff\xfe\x00")
    assert forget_readers(tmp_path, ["archive"]) == []
    assert forget_readers(tmp_path, []) == ["archive"]


def test_a_clock_that_went_back_puts_no_event_before_where_a_reader_stands(tmp_path: Path) -> None:
    fill(tmp_path, range(10), first_offset=10**6)
    source = SpoolSource(tmp_path, "reader", lambda _partition: None)
    records = source.poll(100, 0.0)
    source.acknowledge(source.partition, records[-1].next_offset)
    source.close()
    for segment in list_segments(tmp_path):
        segment.path.unlink()  # as they go when everything was read
    spool = writer(tmp_path, first_offset=1000)
    for number in range(100):
        assert spool.write([encode_frame(event(number, b"x" * 500))]) == {}
        spool.look()
    spool.close()
    assert [found.id for found in read(tmp_path)] == [str(number) for number in range(100)]  # type: ignore[union-attr]


def test_a_position_moves_on_a_disk_without_room_too(tmp_path: Path) -> None:
    place = Place(1000, 5)
    temporary = tmp_path / "reader.cursor-new"
    temporary.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_cursor(tmp_path, "reader", place)  # there is nothing yet that could be written over
    temporary.unlink()
    write_cursor(tmp_path, "reader", Place(12345678, 1234567))
    for offset, number in ((1000, 5), (10**19, 77), (4, None)):
        temporary.symlink_to("/dev/full")
        write_cursor(tmp_path, "reader", Place(offset, number))
        assert read_place(tmp_path, "reader") == Place(offset, number)
