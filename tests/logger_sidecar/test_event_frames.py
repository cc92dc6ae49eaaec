"""Frames put together from parts are read as the very same events that the encoder's frames are."""

import math

from hypothesis import given
from hypothesis import strategies as st

from driftline.events import InferenceEvent, Payload, decode_frame, encode_frame
from logger_sidecar.recording.event_frames import frame, request_part, response_part, stream_part, traced
from logger_sidecar.recording.recorder_wire import ReceivedRecord
from tests.logger_sidecar.test_batch_region import handed_over

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)
maybe = st.none() | texts
payloads = st.builds(
    Payload,
    content_type=maybe,
    content_encoding=maybe,
    headers=st.dictionaries(texts, texts, max_size=20),
    body=st.binary(max_size=70_000) | st.integers(0, 70_000).map(bytes),
)
numbers = st.floats(allow_nan=False, width=64)
events = st.builds(
    InferenceEvent,
    id=texts,
    source=texts,
    model=texts,
    time_ns=st.integers(0, 2**63 - 1),
    request_id=texts,
    protocol=texts,
    status_code=st.integers(0, 999),
    request=payloads,
    response=payloads,
    model_version=texts,
    variant=texts,
    namespace=texts,
    duration_ms=numbers,
    ttfb_ms=numbers,
    sample_rate=st.floats(0, 1),
    truncated=st.booleans(),
    traceparent=maybe,
)


def made_of_parts(event: InferenceEvent) -> bytes:
    stream = stream_part(
        source=event.source,
        model=event.model,
        protocol=event.protocol,
        status_code=event.status_code,
        model_version=event.model_version,
        variant=event.variant,
        namespace=event.namespace,
        sample_rate=event.sample_rate,
    )
    asked = request_part(without_body(event.request))
    record = (
        stream,
        event.id,
        event.request_id.encode().decode("latin-1"),  # as it is on the path: a character for each byte
        event.time_ns,
        event.duration_ms,
        event.ttfb_ms,
        event.truncated,
        asked if event.traceparent is None else traced(asked, event.traceparent),
        event.request.body,
        response_part(without_body(event.response)),
        event.response.body,
    )
    [arrived] = handed_over([record])
    assert isinstance(arrived, ReceivedRecord)
    made = frame(arrived)
    return made if isinstance(made, bytes) else b"".join(made)


def without_body(payload: Payload) -> Payload:
    return Payload(
        content_type=payload.content_type, content_encoding=payload.content_encoding, headers=payload.headers
    )


@given(events)
def test_a_frame_made_of_parts_is_read_as_the_encoders_own(event: InferenceEvent) -> None:
    assert decode_frame(made_of_parts(event)) == decode_frame(encode_frame(event)) == event


def test_numbers_keep_every_bit() -> None:
    plain = Payload()
    event = InferenceEvent(
        id="i",
        source="s",
        model="m",
        time_ns=1_763_724_000_123_456_789,
        request_id="r",
        protocol="v2",
        status_code=200,
        request=plain,
        response=plain,
        duration_ms=math.pi,
        ttfb_ms=5e-324,
    )
    found = decode_frame(made_of_parts(event))
    assert (found.time_ns, found.duration_ms, found.ttfb_ms) == (event.time_ns, math.pi, 5e-324)
