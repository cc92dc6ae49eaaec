"""Messages that say what one before them said: recognised by comparing bytes, so that they need not be read.

Clients and servers repeat themselves. What differs between two of their messages mostly stands in a few places: the
request id, the trace context, the body's length, the date. The *stretches* of a head are what stands before, between
and behind those.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

#: What a place holds: ``x-request-id`` or a header like it, ``Content-Length``, ``Date``, trace context and its state.
ID, LENGTH, DATE, TRACE, STATE = range(5)
#: Longest id, and longest ``tracestate``, that is taken for one.
ID_LIMIT_BYTES = 512
#: Trace context of version 00, the only one of known length; ``traces`` has the rest of the grammar.
PLAIN_TRACE = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
#: What another value than the first may be.
_PLAIN = {
    ID: re.compile(rb"[!-~]{1,%d}" % ID_LIMIT_BYTES),
    LENGTH: re.compile(rb"[0-9]{1,18}"),
    TRACE: PLAIN_TRACE,
    STATE: re.compile(rb"[!-~](?:[ -~]{0,%d}[!-~])?" % (ID_LIMIT_BYTES - 2)),
}


class Place(NamedTuple):
    """Where in a head something stands that other messages say otherwise."""

    start: int
    end: int
    kind: int


class Said(Protocol):
    """What is asked of a head: ``places`` has one byte for each, its kind; ``stretches`` one text more, or none."""

    @property
    def stretches(self) -> Sequence[bytes]:
        """What stands around the places."""

    @property
    def places(self) -> bytes:
        """What each place holds."""

    @property
    def request_id(self) -> str:
        """The request id, where it is no place."""

    @property
    def traceparent(self) -> str | None:
        """The trace context, where it is no place; None: there is none."""

    @property
    def content_length(self) -> int:
        """Bytes of the body, where that is no place; negative: there is none."""

    @property
    def date(self) -> bytes:
        """When it was said, as it is written there."""


class Found(NamedTuple):
    """What a message says in its places, or else what the one that it repeats says. ``head_bytes``: of its head."""

    request_id: str
    traceparent: str | None
    head_bytes: int


def is_plain(kind: int, value: bytes) -> bool:
    """Whether a place of this kind, but for a date's, may hold this value."""
    return _PLAIN[kind].fullmatch(value) is not None


def around(raw: bytes, places: Collection[Place]) -> tuple[tuple[bytes, ...], bytes]:
    r"""The stretches of a head, and the kinds of its places; without any place there are no stretches.

    >>> around(b"GET / HTTP/1.1\r\nx-id: 7\r\n\r\n", [Place(22, 23, ID)])
    ((b'GET / HTTP/1.1\r\nx-id: ', b'\r\n\r\n'), b'\x00')
    """
    if not places:
        return (), b""
    in_order = sorted(places)
    starts = [0, *(place.end for place in in_order)]
    ends = [*(place.start for place in in_order), len(raw)]
    stretches = tuple(raw[start:end] for start, end in zip(starts, ends, strict=True))
    return stretches, bytes(place.kind for place in in_order)


def same_but(head: Said, data: bytes) -> Found | None:
    """What a whole message says in its places that else says what ``head`` says; None where it is not one.

    Only values count that no reader could take for anything else: an id of visible characters, a length of digits, a
    ``tracestate`` of one line.
    Another date does not: its head is read, once a second, so that those behind it say exactly the same again. (The
    fast lane, where leaving costs more than looking, lets the date be.) ``head`` has stretches.
    """
    before, *others = head.stretches
    if not data.startswith(before):
        return None
    request_id, traceparent = head.request_id, head.traceparent
    body_bytes, end = max(0, head.content_length), len(before)
    for kind, behind in zip(head.places, others, strict=True):
        start, end = end, data.find(b"\r\n", end, end + ID_LIMIT_BYTES + 2)
        value = data[start:end]
        if end < 0 or not data.startswith(behind, end):
            return None
        end += len(behind)
        if (value != head.date) if kind == DATE else not is_plain(kind, value):
            return None
        if kind == ID:
            request_id = value.decode("ascii")
        elif kind == LENGTH:
            body_bytes = int(value)
        elif kind == TRACE:
            traceparent = value.decode("ascii")
    return Found(request_id, traceparent, end) if len(data) == end + body_bytes else None
