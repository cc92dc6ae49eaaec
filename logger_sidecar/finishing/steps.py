"""What happens to a captured event before it may be written: its stream is folded, and what rules name is taken out.

Pure: the same event gives the same result. It runs in the finishing process, never on the request path.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from driftline.content_coding import REASON_TOO_LARGE, CodingError, decode, is_coded
from driftline.events import InferenceEvent, Payload
from logger_sidecar.finishing.captured import Captured
from logger_sidecar.finishing.redaction import Redactor
from logger_sidecar.finishing.stream_folding import CONTENT_TYPE, Arrivals, fold_stream

EVENT_STREAM = "text/event-stream"
#: Fewer arrivals than this are all there were (exchange.Half).
_MANY_ARRIVALS = 4096
_FIELDS = tuple(field.name for field in msgspec.structs.fields(InferenceEvent))


class Finished(NamedTuple):
    """An event as it may be written. ``left_out``: a reason for each body that could not be redacted."""

    event: InferenceEvent
    left_out: list[str]


def finish(captured: Captured, redactor: Redactor | None, *, limit_bytes: int) -> Finished:
    """The finished event. ``limit_bytes``: how much a body may become when its content coding is undone."""
    event = _folded(captured, limit_bytes) if _is_stream(captured.response) else _plain(captured)
    if redactor is None:
        return Finished(event, [])
    redacted = redactor.redact(event)
    return Finished(redacted.event, redacted.left_out)


def _is_stream(response: Payload) -> bool:
    return (response.content_type or "")[: len(EVENT_STREAM)].lower() == EVENT_STREAM


def _plain(captured: Captured, **changes: Any) -> InferenceEvent:
    """The event without what only finishing needs to know."""
    values = {name: getattr(captured, name) for name in _FIELDS}
    return InferenceEvent(**{**values, **changes})


def _folded(captured: Captured, limit_bytes: int) -> InferenceEvent:
    """The event with its stream as one body; as it was where the stream's coding cannot be undone."""
    response = captured.response
    try:
        decoded = decode(response.body, response.content_encoding, limit_bytes)
        arrivals: Arrivals = captured.arrivals
        if is_coded(response.body, response.content_encoding):
            arrivals = _DecodedArrivals(response, captured.arrivals, limit_bytes)
        ends_early = _is_cut(captured) or not decoded.is_whole
        folded = fold_stream(decoded.body, arrivals, ends_early=ends_early)
    except CodingError:
        return _plain(captured)
    return _plain(
        captured,
        response=Payload(content_type=CONTENT_TYPE, headers=response.headers, body=folded.body),
        truncated=captured.truncated or decoded.reason == REASON_TOO_LARGE,
        chunk_count=folded.chunk_count,
        ttft_ms=folded.ttft_ms,
        stream_error=captured.stream_error or folded.stream_error,
    )


def _is_cut(captured: Captured) -> bool:
    """Whether the capture limit cut the answer: it, or the request, is marked as cut."""
    if not captured.truncated:
        return False
    arrivals = captured.arrivals
    # Arrivals are bounded too; past their bound the last of them says nothing.
    return not arrivals or len(arrivals) >= _MANY_ARRIVALS or arrivals[-1][0] > len(captured.response.body)


class _DecodedArrivals(Sequence[tuple[int, float]]):
    """Arrivals of a coded body, in bytes of what it is without its coding; worked out where somebody looks."""

    def __init__(self, response: Payload, arrivals: Arrivals, limit_bytes: int) -> None:
        self._response = response
        self._arrivals = arrivals
        self._limit_bytes = limit_bytes

    def __len__(self) -> int:
        return len(self._arrivals)

    def __getitem__(self, index: Any) -> Any:
        end, at_ms = self._arrivals[index]
        response = self._response
        return len(decode(response.body[:end], response.content_encoding, self._limit_bytes).body), at_ms
