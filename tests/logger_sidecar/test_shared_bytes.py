"""Bodies in memory that the recorder has open: bytes in all that is asked of them, each in a place of its own."""

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, cast

import pytest

from driftline.native import native_module
from logger_sidecar.http1.exchange import Half
from logger_sidecar.recording.batch_region import BatchRegion, RegionReader
from logger_sidecar.recording.recorder_wire import PREFIX, Announced, ReceivedRecord, decode_message
from tests.logger_sidecar.test_batch_region import short, size_of, whole

shared: Any = native_module("logger_sidecar.recording.shared_bytes")
pytestmark = pytest.mark.skipif(
    shared is None or shared.descriptor() < 0, reason="only the compiled build on Linux has them"
)
_KEPT_BYTES = 1024 * 1024


@contextlib.contextmanager
def region_and_reader() -> Iterator[tuple[BatchRegion, RegionReader]]:
    """Both ends of one region, and of the memory for bodies."""
    with (
        contextlib.closing(BatchRegion()) as region,
        contextlib.closing(RegionReader(*map(os.dup, region.descriptors))) as reader,
    ):
        yield region, reader


def test_they_are_bytes_in_all_that_is_asked_of_them() -> None:
    there, usual = shared.made(b"abc" * 3000), b"abc" * 3000
    assert shared.place_of(there) >= 0
    assert shared.place_of(usual) == -1
    assert isinstance(there, bytes)
    assert (there, hash(there), len(there), there[7], there[5:9000]) == (usual, hash(usual), 9000, 98, usual[5:9000])
    assert (there + b"x", b"x" + there, b"".join([there])) == (usual + b"x", b"x" + usual, usual)
    assert memoryview(there).tobytes() == usual
    assert (there.find(b"ca"), there.startswith(b"abc"), {there: 1}[usual]) == (2, True, 1)
    with pytest.raises(TypeError, match="cannot create"):
        type(there)(b"x")


def test_of_what_was_made_too_long_the_rest_is_given_back() -> None:
    there = shared.made(b"abc" * 3000, room=100_000)
    assert shared.place_of(there) >= 0
    assert (there, len(there), there + b"x") == (b"abc" * 3000, 9000, b"abc" * 3000 + b"x")
    assert shared.made(b"abc" * 3000, room=900_000) == there  # there is no place so long


def test_what_leaves_an_exchange_is_of_the_usual_type() -> None:
    half = Half()
    half.begin(100_000)
    half.append(shared.made(b"x" * 9000))
    assert type(half.body) is bytes
    assert half.body == b"x" * 9000


def test_none_lies_where_another_does() -> None:
    rng = random.Random(7)
    held: dict[int, tuple[bytes, bytes]] = {}
    for number in range(6000):
        if held and rng.random() < 0.5:
            held.pop(rng.choice(list(held)))
        else:
            told = rng.randbytes(rng.choice((0, 1, 4063, 4064, 9000, 16384, 80_000)))
            held[number] = (shared.made(told), told)
        if number % 1000 == 0:
            shared.rest()
            assert all(there == told for there, told in held.values())
    ends = sorted((shared.place_of(there), len(told)) for there, told in held.values())
    assert all(start + size <= following for (start, size), (following, _) in itertools.pairwise(ends))
    assert all(there == told for there, told in held.values())


def test_a_place_that_is_free_is_the_next_ones() -> None:
    there = shared.made(b"a" * 5000)
    place = shared.place_of(there)
    del there
    assert shared.place_of(shared.made(b"b" * 6000)) == place


def test_where_no_place_is_left_they_are_usual_bytes() -> None:
    assert type(shared.made(bytes(600_000))) is bytes  # longer than any place
    # In a process of its own: a place keeps its size for ever, and the tests after this one need other sizes.
    takes_every_place = textwrap.dedent(
        """
        from logger_sidecar.recording import shared_bytes as shared
        held = [shared.made(b"%d" % number * 90_000) for number in range(9)]
        while shared.place_of(held[-1]) >= 0:
            held.append(shared.made(b"x" * 100_000))
        assert type(held[-1]) is bytes
        assert 0 < sum(map(len, held[:-1])) < shared.SHARED_BYTES
        assert [one[:1] for one in held[:9]] == [b"%d" % number for number in range(9)]
        """
    )
    subprocess.run([sys.executable, "-c", takes_every_place], check=True)


def test_memory_that_was_not_needed_for_a_while_is_given_back() -> None:
    kept = shared.made(b"k" * 16384)
    held = [shared.made(b"x" * 16384) for _ in range(400)]
    assert shared.held_bytes() > 400 * 16384
    del held
    shared.rest()
    shared.rest()
    assert shared.held_bytes() <= _KEPT_BYTES + 2**20
    again = [shared.made(bytes([number % 251]) * 16384) for number in range(400)]
    assert all(one == bytes([number % 251]) * 16384 for number, one in enumerate(again))
    assert kept == b"k" * 16384


def test_a_batch_says_where_they_lie_and_writes_only_the_others() -> None:
    records = [
        short(shared.made(b"a" * 16384), b"answer"),
        short(b"b" * 20_000, shared.made(b"c" * 9000)),
        short(shared.made(b"d" * 5000), shared.made(b"e" * 5000)),
        short((shared.made(b"f" * 5000), b"g" * 5000), b""),
        short((shared.made(b"h" * 5000), shared.made(b"i" * 9000, room=20_000)), b"answer"),
        short((shared.made(b"j" * 15000), shared.made(b"k" * 9000, room=20_000)), b"answer"),
    ]
    with region_and_reader() as (region, reader):
        told = region.write(records, list(map(size_of, records)))
        assert told.size_bytes - told.head_bytes == 20_000 + 10_000
        assert list(map(whole, reader.read(told))) == list(map(whole, records))


def test_their_places_are_kept_until_the_batch_is_answered() -> None:
    with region_and_reader() as (region, reader):
        body = shared.made(b"a" * 16384)
        place = shared.place_of(body)
        told = region.write([short(body, b"")], [16384])
        del body
        following = shared.made(b"b" * 16384)
        assert shared.place_of(following) != place
        [record] = reader.read(told)
        assert isinstance(record, ReceivedRecord)
        assert bytes(record.request_body) == b"a" * 16384
        region.answered()
        assert shared.place_of(shared.made(b"c" * 16384)) == place


def test_what_was_announced_can_be_read_when_the_proxy_was_killed() -> None:
    announces_and_dies = textwrap.dedent(
        """
        import os, signal, socket
        from logger_sidecar.recording import shared_bytes
        from logger_sidecar.recording.batch_region import BatchRegion
        from logger_sidecar.recording.recorder_wire import encode
        region = BatchRegion()
        record = (b"s", "id", "request", 7, 1.5, 0.5, False, b"r", shared_bytes.made(b"a" * 16384), b"a", b"answer")
        told = encode(region.write([record], [16390]))
        socket.send_fds(socket.socket(fileno=0), [told], region.descriptors)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended = subprocess.run(
            [sys.executable, "-c", announces_and_dies], stdin=theirs.fileno(), timeout=120, check=False
        )
        assert ended.returncode == -signal.SIGKILL
        data, descriptors, _, _ = socket.recv_fds(ours, 4096, 2)
    told = decode_message(data[PREFIX.size :])
    assert isinstance(told, Announced)
    assert told.size_bytes < 16384
    with contextlib.closing(RegionReader(*descriptors)) as reader:
        [record] = reader.read(told)
        assert isinstance(record, ReceivedRecord)
        assert bytes(cast("memoryview", record.request_body)) == b"a" * 16384


def test_a_batch_whose_bodies_lie_beyond_the_memory_is_refused() -> None:
    with region_and_reader() as (region, _), contextlib.closing(RegionReader(os.dup(region.descriptor))) as without:
        told = region.write([short(shared.made(b"a" * 16384), b"")], [16384])
        with pytest.raises(ValueError, match="of shared memory, which has 0"):
            without.read(told)
