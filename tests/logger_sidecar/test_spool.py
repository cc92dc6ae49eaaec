"""The spool: nothing written is lost, nothing half-written is read, every fault is counted."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import UnavailableError
from driftline.events import InferenceEvent, Payload, encode_frame
from driftline.records import Content, Malformed
from logger_sidecar.spool.frames import HEADER, pack_frame
from logger_sidecar.spool.segment_writer import Fsync, skip
from logger_sidecar.spool.segments import list_segments, segment_path
from logger_sidecar.spool.source import SpoolSource
from logger_sidecar.spool.writer import DropPolicy, SpoolWriter


class Tally:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def written(self) -> None:
        self.counts["written"] += 1

    def lost(self, reason: str) -> None:
        self.counts[reason] += 1


def event(number: int, body: bytes = b"{}") -> InferenceEvent:
    return InferenceEvent(
        id=str(number),
        source="/a/b/c",
        model="m",
        time_ns=number,
        request_id=f"r{number}",
        protocol="v2",
        status_code=200,
        request=Payload(body=body),
        response=Payload(),
    )


def writer(directory: Path, drop_policy: DropPolicy = "newest", **changes: int) -> SpoolWriter:
    given = {"max_bytes": 1 << 20, "segment_bytes": 4096, "first_offset": 1000, **changes}
    # A clock that runs: the writer looks at its readers each time it is asked to.
    return SpoolWriter(directory, drop_policy=drop_policy, monotonic=itertools.count().__next__, **given)


def put(spool: SpoolWriter, payload: bytes, tally: Tally) -> None:
    reason = spool.write([payload]).get(0, "written")
    tally.counts["refused" if reason == "spool_full" else reason] += 1


def fill(directory: Path, numbers: range, drop_policy: DropPolicy = "newest", **changes: int) -> Tally:
    """Write so many events, one by one, and see that the bound holds after each."""
    spool, tally = writer(directory, drop_policy, **changes), Tally()
    for number in numbers:
        put(spool, encode_frame(event(number)), tally)
        assert spool.bytes_held <= changes.get("max_bytes", 1 << 20)
    spool.close()
    return tally


def read(directory: Path, name: str = "reader") -> list[Content]:
    source = SpoolSource(directory, name, lambda _partition: None)
    found: list[Content] = []
    while records := source.poll(7, 0.0):
        found.extend(record.content for record in records)
    source.close()
    return found


def test_what_is_written_is_read_in_order_over_many_segments(tmp_path: Path) -> None:
    assert fill(tmp_path, range(500)).counts == {"written": 500}
    assert len(list_segments(tmp_path)) > 3
    assert read(tmp_path) == [event(number) for number in range(500)]


def test_a_record_says_where_reading_goes_on(tmp_path: Path) -> None:
    fill(tmp_path, range(50))
    first = SpoolSource(tmp_path, "a", lambda _partition: None)
    records = first.poll(20, 0.0)
    assert records[0].offset == 1000
    assert all(one.next_offset == two.offset for one, two in itertools.pairwise(records))
    first.close()
    second = SpoolSource(tmp_path, "a", {"spool:a": records[9].next_offset}.get)
    assert second.poll(100, 0.0)[0].content == event(10)
    second.close()


def test_the_cursor_is_where_a_reader_goes_on_after_a_restart(tmp_path: Path) -> None:
    fill(tmp_path, range(30))
    source = SpoolSource(tmp_path, "a", lambda _partition: None)
    records = source.poll(10, 0.0)
    source.acknowledge(source.partition, records[4].next_offset)
    assert source.lag()["spool:a"] > 0
    source.close()
    again = SpoolSource(tmp_path, "a", lambda _partition: None)
    assert again.poll(1, 0.0)[0].content == event(5)
    assert len(again.poll(100, 0.0)) == 24
    assert again.lag() == {"spool:a": 0}


def test_a_large_frame_is_read_whole(tmp_path: Path) -> None:
    spool, tally = writer(tmp_path, max_bytes=1 << 28), Tally()
    bodies = [b"x" * 3_000_000, b"y", b"z" * 1_100_000]
    for number, body in enumerate(bodies):
        put(spool, encode_frame(event(number, body)), tally)
    spool.close()
    assert [one.request.body for one in read(tmp_path) if isinstance(one, InferenceEvent)] == bodies


def test_a_full_spool_refuses_the_newest_and_keeps_the_oldest(tmp_path: Path) -> None:
    reader = SpoolSource(tmp_path, "reader", lambda _partition: None)
    reader.close()  # it is away, and keeps its position
    tally = fill(tmp_path, range(400), max_bytes=20_000, segment_bytes=4000)
    assert tally.counts["refused"] > 0
    assert sum(tally.counts.values()) == 400
    assert sum(segment.size_bytes for segment in list_segments(tmp_path)) <= 20_000
    found = read(tmp_path)
    assert found[:10] == [event(number) for number in range(10)]
    assert len(found) == tally.counts["written"]


def test_a_spool_that_nobody_reads_keeps_the_newest_and_refuses_nothing(tmp_path: Path) -> None:
    tally = fill(tmp_path, range(400), max_bytes=20_000, segment_bytes=4000)
    assert tally.counts == {"written": 400}
    assert sum(segment.size_bytes for segment in list_segments(tmp_path)) <= 20_000
    found = read(tmp_path)
    assert found == [event(number) for number in range(400 - len(found), 400)]  # nothing was lost by this reader


def test_under_the_other_policy_the_oldest_go_and_each_reader_counts_what_it_lost(tmp_path: Path) -> None:
    sizes = {"max_bytes": 20_000, "segment_bytes": 4000}
    ahead, behind = (SpoolSource(tmp_path, name, lambda _partition: None) for name in ("ahead", "behind"))
    fill(tmp_path, range(40), "oldest", **sizes)
    records = ahead.poll(30, 0.0)
    ahead.acknowledge(ahead.partition, records[-1].next_offset)
    kept = behind.poll(5, 0.0)  # read, and not acknowledged
    tally = fill(tmp_path, range(40, 500), "oldest", **sizes)
    assert tally.counts == {"written": 460}
    for source, known in ((ahead, 30), (behind, 5)):
        found = [record.content for record in source.poll(1000, 0.0)]
        [lost, *rest] = found
        assert isinstance(lost, Malformed)
        assert (lost.reason, known + lost.events + len(rest)) == ("spool_overwritten", 500)
        assert rest == [event(number) for number in range(500 - len(rest), 500)]
        source.close()
    # The one that had not acknowledged begins again where it had stood, and loses those five as well.
    again = SpoolSource(tmp_path, "behind", lambda _partition: None)
    first = again.poll(1000, 0.0)
    assert isinstance(first[0].content, Malformed)
    assert first[0].content.events + len(first) - 1 == 500
    assert len(kept) == 5
    again.close()


@given(sizes=st.lists(st.lists(st.integers(0, 3000), min_size=1, max_size=5), min_size=1, max_size=30))
def test_a_payload_in_pieces_is_written_as_if_it_were_whole(sizes: list[list[int]]) -> None:
    payloads = [tuple(memoryview(bytes([index]) * size) for index, size in enumerate(pieces)) for pieces in sizes]
    with tempfile.TemporaryDirectory() as place:
        spool = writer(Path(place), max_bytes=1 << 24, segment_bytes=1 << 24)
        assert spool.write([*payloads, b"whole"]) == {}
        spool.close()
        [segment] = list_segments(Path(place))
        assert segment.path.read_bytes() == b"".join(map(pack_frame, [*map(b"".join, payloads), b"whole"]))


def test_more_pieces_than_the_kernel_takes_at_once_are_all_written(tmp_path: Path) -> None:
    payloads = [(b"%d," % number, memoryview(b"x" * (number % 7)), b"") for number in range(3000)]
    spool = writer(tmp_path, max_bytes=1 << 24, segment_bytes=1 << 24)
    assert spool.write(payloads) == {}
    spool.close()
    [segment] = list_segments(tmp_path)
    assert segment.path.read_bytes() == b"".join(pack_frame(b"".join(payload)) for payload in payloads)


@pytest.mark.parametrize("fsync", ["segment", "batch", "never"])
def test_however_it_is_flushed_what_is_written_is_read(tmp_path: Path, fsync: Fsync) -> None:
    spool, tally = (
        SpoolWriter(tmp_path, max_bytes=1 << 20, segment_bytes=500, first_offset=0, fsync=fsync),
        Tally(),
    )
    for number in range(20):
        put(spool, encode_frame(event(number)), tally)
    spool.close()
    assert read(tmp_path) == [event(number) for number in range(20)]


def test_one_poll_reads_a_bounded_number_of_bytes(tmp_path: Path) -> None:
    fill_with(tmp_path, [b"x" * 10_000] * 30)
    source = SpoolSource(tmp_path, "a", lambda _partition: None, max_poll_bytes=35_000)
    sizes = []
    while records := source.poll(1000, 0.0):
        sizes.append(len(records))
    assert sizes == [4] * 7 + [2]


def fill_with(directory: Path, bodies: Sequence[bytes], segment_bytes: int = 50_000) -> None:
    spool, tally = writer(directory, segment_bytes=segment_bytes, max_bytes=1 << 24), Tally()
    for number, body in enumerate(bodies):
        put(spool, encode_frame(event(number, body)), tally)
    spool.close()


@given(st.data())
def test_damage_anywhere_costs_the_frames_it_touches_and_no_other(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    bodies = [bytes([number]) * data.draw(st.integers(0, 300)) for number in range(count)]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        fill_with(directory, bodies, data.draw(st.sampled_from([300, 1000, 100_000])))
        places, whole = frame_places(directory), read(directory, "before")
        segment = data.draw(st.sampled_from(list_segments(directory)))
        first = data.draw(st.integers(0, segment.size_bytes - 1))
        length = data.draw(st.integers(1, min(400, segment.size_bytes - first)))
        content = bytearray(segment.path.read_bytes())
        noise = data.draw(st.binary(min_size=length, max_size=length))
        content[first : first + length] = noise
        segment.path.write_bytes(content)
        touched = {
            number
            for number, (start, end) in enumerate(places)
            if start < segment.base + first + length and end > segment.base + first
        }
        if data.draw(st.booleans()):  # a writer that starts again leaves what is whole
            fill(directory, range(900, 901))
        found = [one for one in read(directory, "after") if isinstance(one, InferenceEvent)]
        expected = {str(number) for number in range(len(whole)) if number not in touched}
        assert expected <= {one.id for one in found}
        assert [one.id for one in found if one.id in expected] == sorted(expected, key=int)


@given(st.data())
def test_a_segment_cut_anywhere_costs_the_frames_behind_the_cut(data: st.DataObject) -> None:
    bodies = [b"x" * data.draw(st.integers(0, 300)) for _ in range(data.draw(st.integers(1, 8)))]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        fill_with(directory, bodies, 100_000)
        places = frame_places(directory)
        [segment] = list_segments(directory)
        size = data.draw(st.integers(0, segment.size_bytes))
        os.truncate(segment.path, size)
        fill(directory, range(900, 901))
        kept = sum(end <= segment.base + size for _, end in places)
        ids = [one.id for one in read(directory) if isinstance(one, InferenceEvent)]
        assert ids == [str(number) for number in range(kept)] + ["900"]


def frame_places(directory: Path) -> list[tuple[int, int]]:
    """Where each frame stands, by an arithmetic of its own: lengths as they were packed."""
    places = []
    for segment in list_segments(directory):
        data, place = segment.path.read_bytes(), 0
        while place < len(data):
            length = HEADER.size + int.from_bytes(data[place + 2 : place + 6], "big")
            places.append((segment.base + place, segment.base + place + length))
            place += length
    return places


def test_segments_go_when_every_named_reader_has_passed_them(tmp_path: Path) -> None:
    fill(tmp_path, range(300))
    sources = [SpoolSource(tmp_path, name, lambda _partition: None) for name in ("a", "b")]
    before = len(list_segments(tmp_path))
    for source, is_last in zip(sources, (False, True), strict=True):
        while records := source.poll(100, 0.0):
            source.acknowledge(source.partition, records[-1].next_offset)
        fill(tmp_path, range(1))
        assert (len(list_segments(tmp_path)) < before) is is_last
    assert sources[0].poll(10, 0.0)[-1].content == event(0)  # written after everything before it had been deleted


def test_a_torn_tail_is_cut_when_the_writer_starts_again(tmp_path: Path) -> None:
    fill(tmp_path, range(10))
    last = list_segments(tmp_path)[-1].path
    with last.open("ab") as file:
        file.write(pack_frame(b"never finished")[:-3])
    assert len(read(tmp_path, "before")) == 10
    fill(tmp_path, range(10, 20))
    assert read(tmp_path, "after") == [event(number) for number in range(20)]


def test_damage_costs_only_itself_and_is_reported(tmp_path: Path) -> None:
    fill(tmp_path, range(100), segment_bytes=1 << 17)
    [path] = [segment.path for segment in list_segments(tmp_path)]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    found = read(tmp_path)
    damaged = [one for one in found if isinstance(one, Malformed)]
    assert [one.reason for one in damaged] == ["corrupt_frame"]
    assert len(found) == 100


def test_a_frame_that_is_not_an_event_is_malformed_and_not_the_end(tmp_path: Path) -> None:
    spool, tally = writer(tmp_path), Tally()
    for payload in (encode_frame(event(1)), b"\xc1", encode_frame(event(2))):
        put(spool, payload, tally)
    spool.close()
    first, bad, last = read(tmp_path)
    assert (first, last) == (event(1), event(2))
    assert isinstance(bad, Malformed)
    assert (bad.reason, bad.raw) == ("bad_event", b"\xc1")


def test_a_position_beyond_the_spool_begins_at_the_oldest(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    source = SpoolSource(tmp_path, "a", lambda _partition: 10**18)
    assert source.poll(1, 0.0)[0].content == event(0)


def test_one_name_is_read_by_one_process(tmp_path: Path) -> None:
    source = SpoolSource(tmp_path, "a", lambda _partition: None)
    with pytest.raises(UnavailableError, match="held by another process"):
        SpoolSource(tmp_path, "a", lambda _partition: None)
    source.close()
    SpoolSource(tmp_path, "a", lambda _partition: None).close()


def test_a_directory_that_cannot_be_made_costs_events_and_recovers(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    place.write_text("a file stands where the directory should")
    spool, tally = writer(place), Tally()
    put(spool, encode_frame(event(0)), tally)
    assert tally.counts == {"disk_error": 1}
    assert "spool" in spool.last_error
    place.unlink()
    put(spool, encode_frame(event(1)), tally)
    assert (tally.counts["written"], spool.last_error) == (1, "")
    spool.close()
    assert read(place) == [event(1)]


@pytest.mark.parametrize("goes", [shutil.rmtree, lambda spool: spool.rename(spool.with_name("elsewhere"))])
def test_a_directory_that_goes_meanwhile_is_made_anew(tmp_path: Path, goes: Callable[[Path], object]) -> None:
    spool, tally = writer(tmp_path / "spool"), Tally()
    source = SpoolSource(tmp_path / "spool", "reader", lambda _partition: None)
    put(spool, encode_frame(event(0)), tally)
    put(spool, encode_frame(event(1)), tally)
    assert len(source.poll(1, 0.0)) == 1
    goes(tmp_path / "spool")
    held = spool.bytes_held
    put(spool, encode_frame(event(2)), tally)
    assert tally.counts == {"written": 3}
    assert 0 < spool.bytes_held < held
    (lost, found) = (record.content for record in source.poll(9, 0.0))
    assert isinstance(lost, Malformed)
    assert (lost.reason, lost.events) == ("spool_overwritten", 1)
    assert found == event(2)
    source.close()
    spool.close()


def test_a_directory_that_goes_before_anything_is_written_is_made_anew(tmp_path: Path) -> None:
    spool, tally = writer(tmp_path / "spool"), Tally()
    shutil.rmtree(tmp_path / "spool")
    put(spool, encode_frame(event(0)), tally)
    spool.close()
    assert (tally.counts, read(tmp_path / "spool")) == ({"written": 1}, [event(0)])


def test_a_second_writer_loses_its_events_and_not_the_firsts(tmp_path: Path) -> None:
    first, second, tally, other = writer(tmp_path), writer(tmp_path), Tally(), Tally()
    put(first, encode_frame(event(1)), tally)
    put(second, encode_frame(event(2)), other)
    second.close()
    first.close()
    assert other.counts == {"disk_error": 1}
    assert read(tmp_path) == [event(1)]


def test_a_disk_that_is_full_keeps_whole_frames_and_counts_the_rest(tmp_path: Path) -> None:
    # A limit on the size of files is the disk that says no, in a process of its own.
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from tests.logger_sidecar.test_spool import Tally, event, put, writer
        from driftline.events import encode_frame
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spool, tally = writer(Path(sys.argv[1]), segment_bytes=100_000), Tally()
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        for number in range(100):
            put(spool, encode_frame(event(number)), tally)
        assert sum(tally.counts.values()) == 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        put(spool, encode_frame(event(100)), tally)
        spool.close()
        print(tally.counts["written"], tally.counts["disk_error"])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    written, lost = map(int, done.stdout.split())
    assert written + lost == 101
    assert lost > 0
    found = read(tmp_path)
    assert len(found) == written
    assert all(isinstance(one, InferenceEvent) for one in found)
    assert found[-1] == event(100)


def test_a_disk_that_is_full_within_a_batch_of_pieces_keeps_its_first_frames_whole(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from tests.logger_sidecar.test_spool import event, writer
        from driftline.events import encode_frame
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spool = writer(Path(sys.argv[1]), segment_bytes=100_000)
        frames = [encode_frame(event(number)) for number in range(101)]
        pieces = [tuple(memoryview(frame)[at : at + 50] for at in range(0, len(frame), 50)) for frame in frames]
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        lost = spool.write(pieces[:100])
        assert list(lost) == list(range(100 - len(lost), 100)) and set(lost.values()) == {"disk_error"}
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert spool.write(pieces[100:]) == {}
        spool.close()
        print(100 - len(lost))
        """
    )
    for limit in (5000, 5001, 5177):
        place = tmp_path / str(limit)
        command = [sys.executable, "-c", script, str(place), str(limit)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert 0 < int(done.stdout) < 100
        assert read(place) == [event(number) for number in (*range(int(done.stdout)), 100)]


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=9), st.data())
def test_behind_what_was_written_is_the_rest(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    waiting: list[bytes | memoryview] = [*pieces, b"more"]
    count = data.draw(st.integers(0, len(whole) + 3))
    start = skip(waiting, 0, count)
    assert b"".join(waiting[start:]) == (whole + b"more")[count:]


@pytest.mark.slow
def test_a_reader_in_another_process_never_sees_half_a_frame_of_a_killed_writer(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tests.logger_sidecar.test_spool import event, writer
        from driftline.events import encode_frame
        spool, number = writer(Path(sys.argv[1]), max_bytes=1 << 26), 0
        while True:
            if not spool.write([encode_frame(event(number, b"x" * (number % 5000)))]):
                number += 1
        """
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    source = SpoolSource(tmp_path, "a", lambda _partition: None)
    found: list[Content] = []
    try:
        while len(found) < 2000:
            found.extend(record.content for record in source.poll(100, 5.0))
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    while records := source.poll(1000, 0.0):
        found.extend(record.content for record in records)
    assert [one.id for one in found if isinstance(one, InferenceEvent)] == [str(number) for number in range(len(found))]


def test_a_segment_that_vanishes_is_stepped_over(tmp_path: Path) -> None:
    fill(tmp_path, range(300))
    list_segments(tmp_path)[1].path.unlink()
    found = read(tmp_path)
    assert found[0] == event(0)
    assert found[-1] == event(299)
    assert segment_path(tmp_path, 7, 3).name == "00000000000000000007-3.segment"
