"""W3C trace context (https://www.w3.org/TR/trace-context/): what a ``traceparent`` header says.

>>> parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").trace_id
'4bf92f3577b34da6a3ce929d0e0e4736'
>>> parse_traceparent("00-00000000000000000000000000000000-00f067aa0ba902b7-01") is None
True
>>> valid_traceparent(b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01") is None
True
"""

import re
from typing import NamedTuple

_TRACE_AND_SPAN = "-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
# Versions above 00 may go on behind the flags; 00 may not, and ff is forbidden.
_TRACEPARENT = re.compile(f"00{_TRACE_AND_SPAN}|(?!00|ff)[0-9a-f]{{2}}{_TRACE_AND_SPAN}(?:-[ -~]*)?")


class TraceParent(NamedTuple):
    """The caller's span. ``trace_id``, ``span_id``: lower-case hexadecimal."""

    trace_id: str
    span_id: str
    is_sampled: bool


def valid_traceparent(value: bytes) -> str | None:
    """The header's value where it is trace context; None where it is malformed, which is to be ignored."""
    text = value.decode("latin-1")
    return text if _TRACEPARENT.fullmatch(text) else None


def parse_traceparent(text: str | None) -> TraceParent | None:
    """What the header says; None where there is none or it is malformed."""
    if text is None or not _TRACEPARENT.fullmatch(text):
        return None
    _, trace_id, span_id, flags = text.split("-")[:4]
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & 1))
