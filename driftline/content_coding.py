"""Undoing the content codings of a body, within a bound of bytes: RFC 9110 section 8.4.

Never on the request path: the sidecar's finishing process does it, and whoever reads events later, both by this one
reading, so that nothing is kept unredacted because it was not unpacked. gzip, zstd and zlib streams are also recognised
by their first bytes, because some clients and loggers forward compressed bodies without saying so; brotli has no such
mark and is undone where the header names it.

>>> import gzip
>>> decode(gzip.compress(b"plain"), "gzip", 1000)
Decoded(body=b'plain', is_whole=True, reason='')
>>> decode(gzip.compress(b"plain"), "gzip", 3)
Decoded(body=b'pla', is_whole=False, reason='too_large')
"""

import contextlib
import zlib
from typing import Final, NamedTuple

import brotli
import zstandard

REASON_UNKNOWN_ENCODING: Final = "unknown_encoding"
REASON_BROKEN_ENCODING: Final = "broken_encoding"
REASON_TOO_LARGE: Final = "too_large"
REASON_TRUNCATED: Final = "truncated"

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: First two bytes of zlib streams as the usual levels write them; the second is no letter of any text.
_ZLIB_MAGICS = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_GZIP_BITS = zlib.MAX_WBITS | 16
#: What a decoder of this coding must accept (RFC 9659); a larger one would only cost memory.
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
#: A block of zstd takes four bytes and gives up to 128 KiB, so this many bytes go past the bound by 2 MiB at most.
_ZSTD_STEP_BYTES = 64
_BROTLI_STEP_BYTES = 65536


class CodingError(Exception):
    """A body whose coding cannot be undone. ``reason``: a bounded word for counters."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class Decoded(NamedTuple):
    """What a body is without its coding.

    ``is_whole`` False: it is cut; ``reason`` then says whether the bound was reached ("too_large") or the coded body
    itself ends too early ("truncated").
    """

    body: bytes
    is_whole: bool = True
    reason: str = ""


def decode(body: bytes, encoding: str | None, limit_bytes: int) -> Decoded:
    """The body without its codings, undone from last to first, at most ``limit_bytes`` of it.

    ``encoding``: the Content-Encoding header as it was, or None. Raises CodingError for an unknown coding and for a
    broken stream.
    """
    if encoding is None:
        return _undo_unmarked(body, limit_bytes)
    decoded = Decoded(body)
    for word in reversed(encoding.lower().split(",")):
        inner = _undo(decoded.body, word.strip(), limit_bytes)
        decoded = inner if decoded.is_whole else Decoded(inner.body, False, decoded.reason)
    return decoded


def is_coded(body: bytes, encoding: str | None) -> bool:
    """Whether there is a coding to undo."""
    return encoding is not None or body[:4] == _ZSTD_MAGIC or body[:2] in (_GZIP_MAGIC, *_ZLIB_MAGICS)


def _undo_unmarked(body: bytes, limit_bytes: int) -> Decoded:
    if body[:2] == _GZIP_MAGIC:
        return _unzip(body, _GZIP_BITS, limit_bytes)
    if body[:4] == _ZSTD_MAGIC:
        return _unzstd(body, limit_bytes)
    if body[:2] in _ZLIB_MAGICS:
        # Two bytes are a weak mark: what is no such stream is a body that begins like one.
        with contextlib.suppress(CodingError):
            return _unzip(body, zlib.MAX_WBITS, limit_bytes)
    return Decoded(body)


def _undo(body: bytes, word: str, limit_bytes: int) -> Decoded:
    if word in ("", "identity") or not body:
        return Decoded(body)
    if word in ("gzip", "x-gzip"):
        # A proxy that unpacked the body may have left the header on it.
        return _unzip(body, _GZIP_BITS, limit_bytes) if body[:2] == _GZIP_MAGIC else Decoded(body)
    if word == "deflate":
        return _unzip(body, _deflate_bits(body), limit_bytes)
    if word == "br":
        return _unbrotli(body, limit_bytes)
    if word == "zstd":
        return _unzstd(body, limit_bytes)
    raise CodingError(REASON_UNKNOWN_ENCODING, f"content encoding '{word[:40]}' is none of gzip, deflate, br, zstd")


def _deflate_bits(body: bytes) -> int:
    # "deflate" means a zlib stream (RFC 9110, 8.4.1.2); some send the bare one. RFC 1950 section 2.2 tells them apart.
    is_zlib = len(body) > 1 and body[0] & 15 == zlib.DEFLATED and (body[0] << 8 | body[1]) % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def _unzip(body: bytes, window_bits: int, limit_bytes: int) -> Decoded:
    parts: list[bytes] = []
    room = limit_bytes
    try:
        while body:
            stream = zlib.decompressobj(window_bits)
            # One byte more than there is room for tells a body that fits from one that does not.
            piece = stream.decompress(body, room + 1)
            parts.append(piece[:room])
            if len(piece) > room:
                return Decoded(b"".join(parts), False, REASON_TOO_LARGE)
            room -= len(piece)
            if not stream.eof:
                return Decoded(b"".join(parts), False, REASON_TRUNCATED)
            # A gzip stream may have several members (RFC 1952, 2.2); anything else behind the end is padding.
            is_member = window_bits == _GZIP_BITS and stream.unused_data[:2] == _GZIP_MAGIC
            body = stream.unused_data if is_member else b""
    except zlib.error as error:
        raise CodingError(REASON_BROKEN_ENCODING, f"the compressed body is broken: {error}") from error
    return Decoded(b"".join(parts))


def _unbrotli(body: bytes, limit_bytes: int) -> Decoded:
    stream = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    given: bytes = body
    try:
        while not stream.is_finished():
            piece = stream.process(given, output_buffer_limit=_BROTLI_STEP_BYTES)
            given = b""
            parts.append(piece)
            size += len(piece)
            if size > limit_bytes:
                return Decoded(b"".join(parts)[:limit_bytes], False, REASON_TOO_LARGE)
            if not piece and stream.can_accept_more_data():
                break
    except brotli.error as error:
        raise CodingError(REASON_BROKEN_ENCODING, f"the compressed body is broken: {error}") from error
    plain = b"".join(parts)
    return Decoded(plain) if stream.is_finished() else Decoded(plain, False, REASON_TRUNCATED)


def _unzstd(body: bytes, limit_bytes: int) -> Decoded:
    parts: list[bytes] = []
    size = position = 0
    try:
        while position < len(body):
            # A body may be several frames one after another (RFC 8878, 3.1).
            stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
            while not stream.eof and position < len(body):
                piece = stream.decompress(body[position : position + _ZSTD_STEP_BYTES])
                position = min(position + _ZSTD_STEP_BYTES, len(body))
                parts.append(piece)
                size += len(piece)
                if size > limit_bytes:
                    return Decoded(b"".join(parts)[:limit_bytes], False, REASON_TOO_LARGE)
            if not stream.eof:
                return Decoded(b"".join(parts), False, REASON_TRUNCATED)
            position -= len(stream.unused_data)
    except zstandard.ZstdError as error:
        raise CodingError(REASON_BROKEN_ENCODING, f"the compressed body is broken: {error}") from error
    return Decoded(b"".join(parts))
