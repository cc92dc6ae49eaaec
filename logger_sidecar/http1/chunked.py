r"""Finds the end of a chunked body in bytes that are forwarded as they are, and hands out the data inside.

>>> scanner = ChunkedScanner(limit_bytes=4096)
>>> scanner.feed(b"5\r\nhello\r\n0\r\n\r\nNEXT", 0, parts := [])
15
>>> parts
[b'hello']
"""

import re
from typing import Protocol

from logger_sidecar.http1.head_grammar import is_trailer

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n")
# What may still become such a line. A piece is passed on only while it may, so that no reader who is easier to please
# ever sees more than the beginning of a whole line.
_SIZE_BEGUN = re.compile(rb"(?:[0-9a-fA-F]{1,15}(?:[ \t]*(?:;[\t -~\x80-\xff]*)?)?\r?)?")
_TRAILER_BEGUN = re.compile(rb"[\t -~\x80-\xff]*\r?")
_END_BEGUN = re.compile(rb"\r?")
_MAX_LINE_BYTES = 1024
#: What comes next.
_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)


class ChunkError(Exception):
    """The body is not chunked as RFC 9112 says."""


class Parts(Protocol):
    """Where the data goes."""

    def append(self, data: bytes, /) -> None:
        """One more piece of the body."""


class ChunkedScanner:
    """State of one chunked body. ``limit_bytes``: longest trailer section."""

    __slots__ = ("_left", "_limit_bytes", "_line", "_step", "_trailer_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._left = 0
        self._line = b""
        self._trailer_bytes = 0
        self._step = _SIZE

    def feed(self, data: bytes, position: int, parts: Parts) -> int:
        """The position just behind the body's end, or -1 when it goes on; raises ChunkError."""
        while position < len(data):
            position = self._take(data, position, parts)
            if position < 0:  # the end is marked by its complement, which is below 0 for every position
                return ~position
        return -1

    # By a number and not by a bound method kept in an attribute: that would go round in a circle, and memory of such
    # things hardly ever comes back here.
    def _take(self, data: bytes, position: int, parts: Parts) -> int:
        step = self._step
        if step == _DATA:
            return self._data(data, position, parts)
        if step == _SIZE:
            return self._size_line(data, position)
        if step == _DATA_END:
            return self._data_end(data, position)
        return self._trailers(data, position)

    def _size_line(self, data: bytes, position: int) -> int:
        line, position = self._take_line(data, position, _SIZE_BEGUN)
        if not line:
            return position
        found = _SIZE_LINE.fullmatch(line)
        if found is None:
            raise ChunkError(f"{line[:40]!r} is not a chunk size")
        self._left = int(found[1], 16)
        self._step = _DATA if self._left else _TRAILERS
        return position

    def _data(self, data: bytes, position: int, parts: Parts) -> int:
        end = min(position + self._left, len(data))
        parts.append(data[position:end])
        self._left -= end - position
        if not self._left:
            self._step = _DATA_END
        return end

    def _data_end(self, data: bytes, position: int) -> int:
        line, position = self._take_line(data, position, _END_BEGUN)
        if line and line != b"\r\n":
            raise ChunkError(f"{line[:40]!r} stands where a chunk should end")
        if line:
            self._step = _SIZE
        return position

    def _trailers(self, data: bytes, position: int) -> int:
        line, position = self._take_line(data, position, _TRAILER_BEGUN)
        self._trailer_bytes += len(line)
        if self._trailer_bytes > self._limit_bytes:
            raise ChunkError("trailers are too long")
        if line == b"\r\n":
            return ~position
        if line and not is_trailer(line):
            raise ChunkError("a trailer is not NAME: VALUE, or names the framing")
        return position

    def _take_line(self, data: bytes, position: int, begun: re.Pattern[bytes]) -> tuple[bytes, int]:
        """The line that ends in ``data``, with its end; empty while it goes on. ``begun``: what it may begin with."""
        end = data.find(b"\n", position) + 1
        piece = data[position:end] if end else data[position:]
        line = self._line + piece
        if len(line) > (_MAX_LINE_BYTES if begun is not _TRAILER_BEGUN else self._limit_bytes):
            raise ChunkError("a line is too long")
        if not end:
            if begun.fullmatch(line) is None:
                raise ChunkError(f"{line[:40]!r} cannot become a line of the framing")
            self._line = line
            return b"", len(data)
        self._line = b""
        if not line.endswith(b"\r\n"):
            raise ChunkError(f"{line[:40]!r} does not end with CR LF")
        return line, end
