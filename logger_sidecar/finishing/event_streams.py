r"""Server-sent events, read from the bytes of a whole stream.

Source: the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream".

>>> [event.data for event in read_events(b": hello\ndata: one\ndata: two\n\ndata: torn\n").events]
['one\ntwo']
"""

import re
from typing import NamedTuple

_LINES = re.compile(rb"([^\r\n]*)(?:\r\n|\r|\n)")
_BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event. ``end``: bytes of the stream up to and including the blank line that completes it."""

    data: str
    type: str
    end: int


class EventStream(NamedTuple):
    """What a stream said. ``torn``: the data of a last event that no blank line completed."""

    events: list[ServerEvent]
    torn: str


def read_events(body: bytes) -> EventStream:
    """All events with data; those without are dropped, as a browser does. Bytes that are no UTF-8 are replaced."""
    events: list[ServerEvent] = []
    data: list[bytes] = []
    kind = b""
    start = position = len(_BOM) if body.startswith(_BOM) else 0
    for found in _LINES.finditer(body, start):
        line, position = found[1], found.end()
        if not line:
            if data:
                events.append(ServerEvent(_text(data), kind.decode("utf-8", "replace"), position))
            data, kind = [], b""
            continue
        name, value = _field(line)
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    name, value = _field(body[position:])
    return EventStream(events, _text([*data, value] if name == b"data" else data))


def _field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value; a comment has no name. ``id`` and ``retry`` mean something to who reconnects only."""
    name, _, value = line.partition(b":")
    return name, value[1:] if value[:1] == b" " else value


def _text(lines: list[bytes]) -> str:
    return b"\n".join(lines).decode("utf-8", "replace")
