"""Undoing the compression of a body, within a bound.

Loggers forward compressed bodies without saying so; gzip, zstd and zlib streams are therefore also recognised by their
first bytes. Brotli has no such mark and is undone where the header names it.

>>> import gzip
>>> plain_body(gzip.compress(b"{}"), None)
b'{}'
"""

import zlib
from collections.abc import Callable
from typing import Final

import brotli
import zstandard

from driftline.errors import DecodeError
from serving import reasons

#: A body may not unpack to more than this, so that a few kilobytes cannot fill the memory.
MAX_PLAIN_BYTES = 64 * 1024 * 1024

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: First two bytes of zlib streams as the usual levels write them; the second is no letter of any text.
_ZLIB_MAGICS = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_GZIP_BITS = zlib.MAX_WBITS | 16
_ZLIB_BITS = zlib.MAX_WBITS
_RAW_DEFLATE_BITS = -zlib.MAX_WBITS
#: What a decoder of zstd must accept (RFC 9659); a larger window would only cost memory.
_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024
_STEP_BYTES: Final = 65536
#: A block of zstd takes four bytes and gives up to 128 KiB, so this many bytes go past the bound by 2 MiB at most.
_ZSTD_STEP_BYTES: Final = 64


def plain_body(body: bytes, encoding: str | None, limit_bytes: int = MAX_PLAIN_BYTES) -> bytes:
    """The body without its compression.

    ``encoding``: the Content-Encoding header, as it was; several are undone from last to first. Raises DecodeError:
    ``unsupported_format`` names an unknown encoding, ``malformed`` a broken stream, ``too_large`` one beyond the limit.
    """
    if encoding is None:
        return body if body[:1] in _PLAIN_STARTS else _unpack_unmarked(body, limit_bytes)
    for word in reversed(encoding.lower().split(",")):
        body = _undo(body, word.strip(), limit_bytes)
    return body


#: How nearly every body begins that is not compressed.
_PLAIN_STARTS: Final = (b"{", b"[", b"")


def _unpack_unmarked(body: bytes, limit_bytes: int) -> bytes:
    if body[:2] == _GZIP_MAGIC:
        return _inflate(body, _GZIP_BITS, limit_bytes)
    if body[:4] == _ZSTD_MAGIC:
        return _unzstd(body, limit_bytes)
    if body[:2] in _ZLIB_MAGICS:
        try:
            return _inflate(body, _ZLIB_BITS, limit_bytes)
        except DecodeError as error:
            if error.reason == reasons.TOO_LARGE:
                raise
    return body


def _undo(body: bytes, word: str, limit_bytes: int) -> bytes:
    if word in {"", "identity"} or not body:
        return body
    undo = _CODINGS.get(word)
    if undo is None:
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT, f"content encoding '{word[:40]}' is none of gzip, deflate, br, zstd, identity"
        )
    return undo(body, limit_bytes)


def _gunzip(body: bytes, limit_bytes: int) -> bytes:
    # A proxy that unpacked the body may have left the header on it.
    return _inflate(body, _GZIP_BITS, limit_bytes) if body[:2] == _GZIP_MAGIC else body


def _deflate(body: bytes, limit_bytes: int) -> bytes:
    # "deflate" means a zlib stream (RFC 9110, 8.4.1.2); some clients send the bare one.
    try:
        return _inflate(body, _ZLIB_BITS, limit_bytes)
    except DecodeError as error:
        if error.reason != reasons.MALFORMED:
            raise
        return _inflate(body, _RAW_DEFLATE_BITS, limit_bytes)


def _inflate(body: bytes, window_bits: int, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    room = limit_bytes
    given = body
    while given:
        stream = zlib.decompressobj(window_bits)
        try:
            parts.append(stream.decompress(given, room + 1))
        except zlib.error as error:
            raise _broken(error) from error
        room -= len(parts[-1])
        if room < 0:
            raise _too_large(limit_bytes)
        if not stream.eof:
            raise _cut(body)
        # A gzip stream may have several members (RFC 1952, 2.2); anything else behind the end is padding.
        given = stream.unused_data if stream.unused_data[:2] == _GZIP_MAGIC and window_bits == _GZIP_BITS else b""
    return b"".join(parts)


def _unbrotli(body: bytes, limit_bytes: int) -> bytes:
    stream = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    given = body
    try:
        while not stream.is_finished():
            parts.append(stream.process(given, output_buffer_limit=_STEP_BYTES))
            given = b""
            size += len(parts[-1])
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            if not parts[-1] and stream.can_accept_more_data():
                raise _cut(body)
    except brotli.error as error:
        raise _broken(error) from error
    return b"".join(parts)


def _unzstd(body: bytes, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = position = 0
    try:
        while position < len(body):
            # A body may be several frames one after another (RFC 8878, 3.1).
            stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
            while not stream.eof and position < len(body):
                parts.append(stream.decompress(body[position : position + _ZSTD_STEP_BYTES]))
                position = min(position + _ZSTD_STEP_BYTES, len(body))
                size += len(parts[-1])
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
            if not stream.eof:
                raise _cut(body)
            position -= len(stream.unused_data)
    except zstandard.ZstdError as error:
        raise _broken(error) from error
    return b"".join(parts)


_CODINGS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


def _broken(error: Exception) -> DecodeError:
    return DecodeError(reasons.MALFORMED, f"the compressed body is broken: {error}")


def _too_large(limit_bytes: int) -> DecodeError:
    return DecodeError(reasons.TOO_LARGE, f"the body unpacks to more than {limit_bytes} bytes")


def _cut(body: bytes) -> DecodeError:
    return DecodeError(reasons.MALFORMED, f"the compressed body ends after {len(body)} bytes, before its stream does")
