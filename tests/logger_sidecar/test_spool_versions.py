"""Spools of other versions: an older one is read as what was written, a later one is stepped over and counted."""

import shutil
import zlib
from pathlib import Path

import msgspec
import pytest
from msgspec import msgpack

from driftline.events import decode_frame, encode_frame, encode_inference
from driftline.frame_messages import FrameMessages
from driftline.records import Malformed
from logger_sidecar.spool.frames import HEADER, MARKER, pack_frame
from logger_sidecar.spool.segments import segment_path
from logger_sidecar.spool.source import SpoolSource
from logger_sidecar.spool.writer import SpoolWriter
from tests.logger_sidecar.spools.write_spool import READER, events
from tests.logger_sidecar.test_spool import event, writer

SPOOLS = Path(__file__).parent / "spools"
OLDER = sorted(path.name for path in SPOOLS.iterdir() if path.name[0].isdigit())


@pytest.fixture(params=OLDER)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(SPOOLS / request.param, tmp_path / "spool"))


def test_an_older_spool_is_read_as_what_was_written(older: Path) -> None:
    source = SpoolSource(older, "new reader", lambda _partition: None)
    assert [record.content for record in source.poll(100, 0.0)] == list(events())
    source.close()


def test_a_sink_goes_on_in_an_older_spool_where_it_stood(older: Path) -> None:
    source = SpoolSource(older, READER, lambda _partition: None, decode=FrameMessages().message)
    wanted = [(*encode_inference(one), one.time_ns) for one in events()[1:]]
    assert [record.content for record in source.poll(100, 0.0)] == wanted
    source.close()


def test_an_older_spool_is_written_on(older: Path) -> None:
    spool = SpoolWriter(older, max_bytes=1 << 20, segment_bytes=4096, first_offset=1)
    assert spool.write([encode_frame(event(7))]) == {}
    spool.close()
    source = SpoolSource(older, "new reader", lambda _partition: None)
    assert [record.content for record in source.poll(100, 0.0)] == [*events(), event(7)]
    source.close()


def later_frame(payload: bytes, later: int) -> bytes:
    checked = HEADER.pack(MARKER + later, len(payload), 0, 0)[:-4]
    return checked + zlib.crc32(checked).to_bytes(4, "big") + payload


@pytest.mark.parametrize("later", [1, 15])
@pytest.mark.parametrize("size", [0, 100, 3 << 20])
def test_frames_of_a_later_format_are_stepped_over_and_counted_as_such(tmp_path: Path, later: int, size: int) -> None:
    frames = [
        pack_frame(encode_frame(event(1))),
        later_frame(b"\xd5" * size, later),
        pack_frame(encode_frame(event(2))),
    ]
    segment_path(tmp_path, 1000, 0).write_bytes(b"".join([*frames, later_frame(b"the last", later)]))
    spool = writer(tmp_path, max_bytes=1 << 24)  # what an older version takes over it leaves as it is
    spool.write([encode_frame(event(3))])
    spool.close()
    source = SpoolSource(tmp_path, "reader", lambda _partition: None)
    records = source.poll(100, 0.0)
    newer = Malformed("newer_frame", f"a frame of format {later}; this version reads format 0", b"")
    assert [record.content for record in records] == [event(1), newer, event(2), newer, event(3)]
    assert records[1].next_offset - records[1].offset == HEADER.size + size
    source.close()


def test_a_later_frame_that_is_not_whole_is_waited_for(tmp_path: Path) -> None:
    whole = later_frame(b"x" * 50, 1)
    path = segment_path(tmp_path, 1000, 0)
    path.write_bytes(whole[:-1])
    source = SpoolSource(tmp_path, "reader", lambda _partition: None)
    assert source.poll(100, 0.0) == []
    path.write_bytes(whole)
    assert len(source.poll(100, 0.0)) == 1
    source.close()


def test_what_a_later_event_says_beside_what_is_known_is_passed_over() -> None:
    [known, *_] = events()
    later = {**msgspec.to_builtins(known, builtin_types=(bytes,)), "of_tomorrow": {"a": [1, None]}}
    frame = msgpack.encode(later)
    assert decode_frame(frame) == known
    assert FrameMessages().message(frame).headers == encode_inference(known).headers
