"""A body without its compression, or why it cannot be read.

>>> import gzip
>>> plain_body(gzip.compress(b"{}"), None)
b'{}'
"""

from typing import Final

from driftline.content_coding import (
    REASON_BROKEN_ENCODING,
    REASON_TOO_LARGE,
    REASON_UNKNOWN_ENCODING,
    CodingError,
    decode,
)
from driftline.errors import DecodeError
from serving import reasons

#: A body may not unpack to more than this, so that a few kilobytes cannot fill the memory.
MAX_PLAIN_BYTES = 64 * 1024 * 1024

#: How nearly every body begins that is not compressed.
_PLAIN_STARTS: Final = (b"{", b"[", b"")
_REASONS: Final = {REASON_UNKNOWN_ENCODING: reasons.UNSUPPORTED_FORMAT, REASON_BROKEN_ENCODING: reasons.MALFORMED}


def plain_body(body: bytes, encoding: str | None, limit_bytes: int = MAX_PLAIN_BYTES) -> bytes:
    """The body without its compression.

    ``encoding``: the Content-Encoding header, as it was; several are undone from last to first. Raises DecodeError:
    ``unsupported_format`` names an unknown encoding, ``malformed`` a broken stream, ``too_large`` one beyond the limit.
    """
    if encoding is None and body[:1] in _PLAIN_STARTS:
        return body
    try:
        decoded = decode(body, encoding, limit_bytes)
    except CodingError as error:
        raise DecodeError(_REASONS[error.reason], str(error)) from error
    if decoded.is_whole:
        return decoded.body
    if decoded.reason == REASON_TOO_LARGE:
        raise DecodeError(reasons.TOO_LARGE, f"the body unpacks to more than {limit_bytes} bytes")
    raise DecodeError(reasons.MALFORMED, f"the compressed body ends after {len(body)} bytes, before its stream does")
