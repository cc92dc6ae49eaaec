"""Writes a spool as this version of the code does: two segments, and a reader that has passed the first of six events.

    git worktree add /tmp/then COMMIT
    cd /tmp/then && PYTHONPATH=. python PATH/OF/write_spool.py PATH/OF/tests/logger_sidecar/spools/NAME

``2026-11`` was written by commit eff34fe. Half of the events are as the recorder puts them together, half as the
encoder writes them. A new one is made when the spool's format changes; those that are there stay.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from driftline.events import InferenceEvent, Payload, encode_frame
from logger_sidecar.recording.event_frames import frame, request_part, response_part, stream_part, traced
from logger_sidecar.recording.recorder_wire import ReceivedRecord
from logger_sidecar.spool.segments import Place, write_cursor
from logger_sidecar.spool.writer import SpoolWriter

READER = "kafka"
_BODIES = (b'{"inputs": [1, 2.5]}', b"\x89PNG\xff\x00", b"", "é".encode(), b"[" + b"0.125," * 700 + b"1]", b"last")


def events() -> Sequence[InferenceEvent]:
    """What was written: every kind of field that there was."""
    return [_event(number, body) for number, body in enumerate(_BODIES)]


def _event(number: int, body: bytes) -> InferenceEvent:
    rare = {"chunk_count": 3, "ttft_ms": 1.5, "stream_error": "cut", "redacted": True, "metadata": {"team": "red"}}
    return InferenceEvent(
        id=f"01933f5a-7c31-7000-8000-{number:012x}",
        source="/ns/app/pod-1",
        model="iris",
        model_version="2",
        time_ns=1_700_000_000_000_000_000 + number,
        request_id=f"r-{number}",
        protocol="v2",
        status_code=200,
        variant="canary",
        namespace="ns",
        duration_ms=3.25,
        ttfb_ms=3.0,
        sample_rate=0.5,
        truncated=number == 4,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" if number % 3 else None,
        request=Payload(content_type="application/json", headers={"user-agent": "curl"}, body=body),
        response=Payload(content_type="text/plain", content_encoding="gzip" if number == 1 else None, body=body[::-1]),
        **(rare if number % 2 else {}),  # type: ignore[arg-type]
    )


def _of_parts(event: InferenceEvent) -> bytes:
    names = ("source", "model", "model_version", "protocol", "status_code", "variant", "namespace", "sample_rate")
    asked = request_part(Payload(content_type=event.request.content_type, headers=event.request.headers))
    made = frame(
        ReceivedRecord(
            stream_part(**{name: getattr(event, name) for name in names}),
            event.id,
            event.request_id,
            event.time_ns,
            event.duration_ms,
            event.ttfb_ms,
            event.truncated,
            asked if event.traceparent is None else traced(asked, event.traceparent),
            memoryview(event.request.body),
            response_part(Payload(content_type=event.response.content_type)),
            memoryview(event.response.body),
        )
    )
    return made if isinstance(made, bytes) else b"".join(made)


def write(directory: Path) -> None:
    """Write it."""
    spool = SpoolWriter(directory, max_bytes=1 << 20, segment_bytes=2000, first_offset=1_000)
    for number, event in enumerate(events()):
        assert not spool.write([encode_frame(event) if number % 2 else _of_parts(event)])
        if number == 0:
            write_cursor(directory, READER, Place(1_000 + spool.bytes_held, 1))
    spool.close()
    (directory / "writer.lock").unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
