"""W3C trace context (https://www.w3.org/TR/trace-context/): what a ``traceparent`` header says.

>>> parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").trace_id
'4bf92f3577b34da6a3ce929d0e0e4736'
>>> parse_traceparent("00-00000000000000000000000000000000-00f067aa0ba902b7-01") is None
True
"""

import re
from typing import NamedTuple

# Versions above 00 may go on behind the flags; 00 may not, and ff is forbidden.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class TraceParent(NamedTuple):
    """The caller's span. ``trace_id``, ``span_id``: lower-case hexadecimal."""

    trace_id: str
    span_id: str
    is_sampled: bool


def parse_traceparent(text: str | None) -> TraceParent | None:
    """What the header says; None where there is none or it is malformed, which is to be ignored."""
    found = _TRACEPARENT.fullmatch(text or "")
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    if set(found[2]) == {"0"} or set(found[3]) == {"0"}:
        return None
    return TraceParent(found[2], found[3], bool(int(found[4], 16) & 1))
