"""Frames: what is written is found again, and damage costs only itself."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.spool.frames import HEADER, MARKER, pack_frame, pack_pieces, scan_frames, whole_payload


def payloads(data: bytes, *, sealed: bool = False) -> list[bytes | None]:
    return [found.payload for found in scan_frames(data, sealed=sealed)]


@given(st.lists(st.binary(max_size=200)))
def test_what_is_packed_is_found(bodies: list[bytes]) -> None:
    assert payloads(b"".join(map(pack_frame, bodies))) == bodies


def test_the_checksum_is_the_crc32_of_zlib() -> None:
    assert HEADER.unpack_from(pack_frame(b"abc"))[2] == zlib.crc32(b"abc")


@given(st.binary(min_size=1, max_size=100), st.data())
def test_a_half_written_frame_is_left_alone_until_it_is_whole(body: bytes, data: st.DataObject) -> None:
    whole = pack_frame(b"first") + pack_frame(body)
    cut = data.draw(st.integers(len(pack_frame(b"first")), len(whole) - 1))
    assert payloads(whole[:cut]) == [b"first"]


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=3, max_size=6), st.data())
def test_a_damaged_byte_costs_one_frame_and_no_other(bodies: list[bytes], data: st.DataObject) -> None:
    frames = list(map(pack_frame, bodies))
    hit = data.draw(st.integers(0, len(frames) - 2))
    place = data.draw(st.integers(0, len(frames[hit]) - 1))
    damaged = bytearray(frames[hit])
    damaged[place] ^= 0xFF
    frames[hit] = bytes(damaged)
    found = payloads(b"".join(frames), sealed=True)
    assert [body for body in found if body is not None] == bodies[:hit] + bodies[hit + 1 :]
    assert None in found


def test_a_body_that_looks_like_a_frame_is_never_read_as_one() -> None:
    inner = pack_frame(b"forged event")
    outer = bytearray(pack_frame(b"x" * 50 + inner + b"y" * 50))
    outer[20] ^= 1  # the outer frame is damaged, the forged one inside it is whole
    assert payloads(bytes(outer) + pack_frame(b"next")) == [None, b"next"]
    torn = pack_frame(b"x" * 50 + inner + b"y" * 50)[:-10]
    assert payloads(torn) == []


@given(st.lists(st.binary(max_size=40) | st.integers(0, 3000).map(lambda size: bytes(range(256)) * (size // 100))))
def test_a_header_says_length_and_checksum_of_all_pieces(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    header, *rest = pack_pieces((*pieces[:1], *map(memoryview, pieces[1:])))
    checked = HEADER.pack(MARKER, len(whole), zlib.crc32(whole), 0)[:-4]
    assert header == checked + zlib.crc32(checked).to_bytes(4, "big") == pack_frame(whole)[: HEADER.size]
    assert b"".join(rest) == whole


def test_a_payload_that_is_longer_than_asked_for_is_none() -> None:
    packed = pack_frame(b"12345")
    assert (whole_payload(packed, 0, 5), whole_payload(packed, 0, 4)) == (b"12345", None)
