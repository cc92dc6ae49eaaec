"""Undoing the compression of a body, within a bound.

gzip is also recognised by its first two bytes, because loggers forward compressed bodies without saying so.

>>> import gzip
>>> plain_body(gzip.compress(b"{}"), None)
b'{}'
"""

import zlib

from driftline.errors import DecodeError
from serving import reasons

#: A body may not unpack to more than this, so that a few kilobytes cannot fill the memory.
MAX_PLAIN_BYTES = 64 * 1024 * 1024

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BITS = zlib.MAX_WBITS | 16
_ZLIB_BITS = zlib.MAX_WBITS
_RAW_DEFLATE_BITS = -zlib.MAX_WBITS


def plain_body(body: bytes, encoding: str | None, limit_bytes: int = MAX_PLAIN_BYTES) -> bytes:
    """The body without its compression.

    ``encoding``: the Content-Encoding header, as it was; several are undone from last to first. Raises DecodeError:
    ``unsupported_format`` names an unknown encoding, ``malformed`` a broken stream, ``too_large`` one beyond the limit.
    """
    if encoding is None:
        return _unpack(body, _GZIP_BITS, limit_bytes) if body[:2] == _GZIP_MAGIC else body
    for word in reversed(encoding.lower().split(",")):
        body = _undo(body, word.strip(), limit_bytes)
    return body


def _undo(body: bytes, word: str, limit_bytes: int) -> bytes:
    if word in {"gzip", "x-gzip"}:
        # A proxy that unpacked the body may have left the header on it.
        return _unpack(body, _GZIP_BITS, limit_bytes) if body[:2] == _GZIP_MAGIC else body
    if word == "deflate":
        # "deflate" means a zlib stream (RFC 9110, 8.4.1.2); some clients send the bare one.
        try:
            return _unpack(body, _ZLIB_BITS, limit_bytes)
        except DecodeError as error:
            if error.reason != reasons.MALFORMED:
                raise
            return _unpack(body, _RAW_DEFLATE_BITS, limit_bytes)
    if word in {"", "identity"}:
        return body
    raise DecodeError(reasons.UNSUPPORTED_FORMAT, f"content encoding '{word}' is not one of gzip, deflate, identity")


def _unpack(body: bytes, window_bits: int, limit_bytes: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    try:
        plain = stream.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise DecodeError(reasons.MALFORMED, f"the compressed body is broken: {error}") from error
    if len(plain) > limit_bytes:
        raise DecodeError(reasons.TOO_LARGE, f"the body unpacks to more than {limit_bytes} bytes")
    if not stream.eof:
        raise DecodeError(
            reasons.MALFORMED, f"the compressed body ends after {len(body)} bytes, before its stream does"
        )
    return plain
