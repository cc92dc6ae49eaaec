"""Content codings against the libraries that make them, and bombs against the bound."""

import gzip
import tracemalloc
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from driftline.content_coding import CodingError, decode, is_coded

ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda body: brotli.compress(body, quality=4),
    "zstd": zstandard.compress,
}
encodings = pytest.mark.parametrize("encoding", ENCODERS)


@encodings
@given(body=st.binary(max_size=2000))
def test_what_was_encoded_comes_back(encoding: str, body: bytes) -> None:
    assert decode(ENCODERS[encoding](body), encoding, 2000) == (body, True, "")


@encodings
@given(body=st.binary(min_size=10, max_size=500), limit=st.integers(0, 9))
def test_no_more_than_the_bound_comes_back(encoding: str, body: bytes, limit: int) -> None:
    assert decode(ENCODERS[encoding](body), encoding, limit) == (body[:limit], False, "too_large")


@encodings
def test_a_cut_body_gives_its_beginning_and_is_not_whole(encoding: str) -> None:
    body = bytes(range(256)) * 400
    decoded = decode(ENCODERS[encoding](body)[:-5], encoding, 10**6)
    assert body.startswith(decoded.body)
    assert (decoded.is_whole, decoded.reason) == (False, "truncated")


@encodings
def test_a_bomb_costs_no_more_than_its_bound(encoding: str) -> None:
    bomb = ENCODERS[encoding](bytes(16 * 1024 * 1024))
    tracemalloc.start()
    decoded = decode(bomb, encoding, 1024 * 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(decoded.body), decoded.reason) == (1024 * 1024, "too_large")
    assert peak < 8 * 1024 * 1024


@encodings
@given(junk=st.binary(min_size=1, max_size=200))
def test_junk_is_told_and_nothing_else_happens(encoding: str, junk: bytes) -> None:
    try:
        outcome = decode(b"\x1f\x8b" + junk if "gzip" in encoding else junk, encoding, 1000).body
    except CodingError as error:
        outcome = error.reason.encode()
    assert outcome == b"broken_encoding" or len(outcome) <= 1000


def test_several_codings_are_undone_from_last_to_first() -> None:
    assert decode(brotli.compress(gzip.compress(b"plain")), "gzip, br", 100).body == b"plain"


def test_members_and_frames_one_after_another_are_one_body() -> None:
    assert decode(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", 10).body == b"ab"
    assert decode(zstandard.compress(b"a") + zstandard.compress(b"b"), "zstd", 10).body == b"ab"


def test_deflate_is_taken_with_and_without_its_wrapper() -> None:
    bare = zlib.compressobj(wbits=-15)
    assert decode(bare.compress(b"plain" * 9) + bare.flush(), "deflate", 100).body == b"plain" * 9


def test_gzip_is_known_by_its_first_bytes_and_missed_by_none() -> None:
    assert decode(gzip.compress(b"plain"), None, 100).body == b"plain"
    assert decode(b"plain already", "gzip", 100).body == b"plain already"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_what_was_compressed_without_saying_so_is_known_by_its_first_bytes(coding: str) -> None:
    body = ENCODERS[coding](b"plain" * 9)
    assert is_coded(body, None)
    assert decode(body, None, 100) == (b"plain" * 9, True, "")
    assert decode(body, None, 7) == (b"plainpl", False, "too_large")


def test_a_body_that_only_begins_like_a_zlib_stream_is_left_as_it_is() -> None:
    body = b"\x78\x01 marks the spot"
    assert decode(body, None, 100) == (body, True, "")


def test_an_unknown_coding_is_named() -> None:
    with pytest.raises(CodingError, match="'compress'") as caught:
        decode(b"x", "compress", 100)
    assert caught.value.reason == "unknown_encoding"
