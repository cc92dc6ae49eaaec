"""Chunked bodies: whatever the fragmentation, the same end and the same data; httptools is the oracle."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.http1.chunked import ChunkedScanner, ChunkError


def chunked(pieces: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces if piece)
    return body + b"0\r\n" + trailers + b"\r\n"


def scan(data: bytes, cuts: list[int]) -> tuple[int, bytes]:
    scanner, at = ChunkedScanner(4096), 0
    parts: list[bytes | memoryview] = []
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        found = scanner.feed(data[begin:end], 0, parts)
        if found >= 0:
            return begin + found, b"".join(parts)
        at = end
    assert at == len(data)
    return -1, b"".join(parts)


@given(
    st.lists(st.binary(max_size=300), max_size=6),
    st.sampled_from([b"", b";a=b", b" ;x"]),
    st.sampled_from([b"", b"X-Checksum: 1\r\n", b"A: 1\r\nB: 2\r\n"]),
    st.binary(max_size=30),
    st.data(),
)
def test_any_fragmentation_gives_the_same_end_and_data(
    pieces: list[bytes], extension: bytes, trailers: bytes, following: bytes, data: st.DataObject
) -> None:
    body = chunked(pieces, extension, trailers)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=12)))
    assert scan(body + following, cuts) == (len(body), b"".join(pieces))


class Oracle:
    def __init__(self) -> None:
        self.body = b""
        self.is_complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


@given(st.binary(max_size=60) | st.lists(st.binary(max_size=9), max_size=4).map(chunked), st.data())
def test_what_httptools_refuses_is_never_read_to_the_end(body: bytes, data: st.DataObject) -> None:
    if body and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(body) - 1))
        body = body[:place] + data.draw(st.binary(min_size=1, max_size=1)) + body[place + 1 :]
    oracle = Oracle()
    parser = httptools.HttpRequestParser(oracle)
    parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        end, found = scan(body, [])
    except ChunkError:
        return
    if end < 0:
        return
    try:
        parser.feed_data(body[:end])
    except httptools.HttpParserError:
        # The trailers are passed on unread; the model server judges them.
        assert b"\r\n0" in b"\r\n" + body
        return
    assert oracle.is_complete
    assert oracle.body == found


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\n",
        b"5\r\nhelloX\r\n",
        b"5\nhello\n",
        b"1" * 17 + b"\r\n",
        b"0x5\r\n",
        b"\r\n",
        b"5" + b" " * 2000,
    ],
)
def test_broken_framing_is_refused(body: bytes) -> None:
    with pytest.raises(ChunkError):
        ChunkedScanner(4096).feed(body, 0, [])


def test_endless_trailers_are_refused() -> None:
    with pytest.raises(ChunkError, match="trailers"):
        ChunkedScanner(100).feed(b"0\r\n" + b"A: b\r\n" * 50, 0, [])
