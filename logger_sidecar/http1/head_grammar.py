r"""The grammar of heads, strict wherever two readers could understand the same bytes differently.

What does not fit is refused, never repaired: bare CR or LF, NUL and other control characters, folded lines, a space
before the colon, names that are not tokens, any other version. (RFC 9112 sections 2.2, 3, 4, 5 and 11.2.)

>>> split_request(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
(b'GET', b'/v2', b'1', b'Host: a\r\n')
"""

import re

#: How a client begins that speaks HTTP/2: the part of its preface that has the form of a head (RFC 9113 section 3.4).
HTTP2_PREFACE_HEAD = b"PRI * HTTP/2.0\r\n\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_FIELDS = rb"((?:" + _TOKEN + rb":[\t -~\x80-\xff]*+\r\n)*+)\r\n"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]++) HTTP/1\.([01])\r\n" + _FIELDS)
_ANSWER = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*+)?\r\n" + _FIELDS)
_OTHER_VERSION = re.compile(rb"[^\r\n]* HTTP/(?!1\.[01]\r\n)[0-9](?:\.[0-9])?\r\n")
_FIELD_LINE = re.compile(_TOKEN + rb":[\t -~\x80-\xff]*+")
_SPACED_NAME = re.compile(_TOKEN + rb"[ \t]+:")
#: One header of the fields that ``split_request`` or ``split_answer`` gave: name, and value with the space around it.
FIELD = re.compile(rb"([^:]++):([^\r]*+)\r\n")
#: What can never become a head, however it goes on. A CR may be the last byte for now.
_HOPELESS = re.compile(rb"(?<!\r)\n|\r[^\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EMPTY_LINES = re.compile(rb"(?:\r\n)++")
_TRAILER = re.compile(_TOKEN + rb":[\t -~\x80-\xff]*+\r\n")


class HeadError(Exception):
    """A head that cannot be forwarded. ``status``: what to answer the client with."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


def begins_http2(data: bytes) -> bool:
    r"""Whether the first bytes of a connection are HTTP/2's preface, or may become it.

    >>> [begins_http2(data) for data in (b"PRI * HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM", b"PRI /v2 HTTP/1.1")]
    [True, True, False]
    """
    return HTTP2_PREFACE_HEAD.startswith(data[: len(HTTP2_PREFACE_HEAD)])


def split_request(raw: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Method, target, minor version and header lines of a whole head, blank line included; raises HeadError."""
    found = _REQUEST.fullmatch(raw)
    if found is None:
        if _OTHER_VERSION.match(raw):
            raise HeadError(505, "only HTTP/1.0 and HTTP/1.1 are served here")
        raise HeadError(400, _fault(raw, "the first line is not METHOD TARGET HTTP/1.1"))
    return found[1], found[2], found[3], found[4]


def split_answer(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Minor version, status and header lines of a whole head, blank line included; raises HeadError."""
    found = _ANSWER.fullmatch(raw)
    if found is None:
        raise HeadError(502, _fault(raw, "the first line is not HTTP/1.1 STATUS REASON"))
    return found[1], found[2], found[3]


def without_empty_lines(data: bytes) -> bytes:
    """What stands behind the empty lines before a request, which are to be ignored (RFC 9112 section 2.2)."""
    found = _EMPTY_LINES.match(data)
    return data[found.end() :] if found else data


def is_hopeless(data: bytes, seen: int) -> bool:
    """Whether the beginning of a head can never become a whole one. The first ``seen`` bytes were looked at before."""
    return _HOPELESS.search(data, max(0, seen - 1)) is not None


def text_of(value: bytes) -> str:
    """What a header's value says: UTF-8, where it is, else Latin-1, which is what it was meant for once.

    >>> text_of("Zürich".encode()), text_of("Zürich".encode("latin-1"))
    ('Zürich', 'Zürich')
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def keep_header(headers: dict[str, str], name: str, text: str) -> None:
    """Keep what a header says; of one that comes again, all that it says (RFC 9110, section 5.3).

    >>> headers = {"accept": "text/html"}
    >>> keep_header(headers, "accept", "*/*"), headers
    (None, {'accept': 'text/html, */*'})
    """
    headers[name] = f"{headers[name]}, {text}" if name in headers else text


def is_trailer(line: bytes) -> bool:
    """Whether the line, with its end, is one of a trailer section, and not one that a reader could frame by."""
    return _TRAILER.fullmatch(line) is not None and line.partition(b":")[0].lower() not in _NEVER_TRAILERS


#: RFC 9110 section 6.5.1: framing and routing cannot be decided after the body.
_NEVER_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host"})


def _fault(raw: bytes, otherwise: str) -> str:
    """What is wrong with a head. It names places and header names, never values, which may be secrets."""
    if b"\x00" in raw:
        return "there is a NUL in the head"
    lines = raw[:-4].split(b"\r\n")
    for number, line in enumerate(lines, 1):
        if b"\r" in line or b"\n" in line:
            return f"line {number} of the head has a CR or LF by itself"
        if number > 1 and line[:1] in (b" ", b"\t"):
            return f"line {number} of the head is folded (obs-fold)"
        if number > 1 and _SPACED_NAME.match(line):
            return f"line {number} of the head has a space before its colon"
        if number > 1 and not _FIELD_LINE.fullmatch(line):
            return f"line {number} of the head is not NAME: VALUE"
    return otherwise
