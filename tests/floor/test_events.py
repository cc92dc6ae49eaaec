"""Events and labels: both wire forms give back what went in, and every fault of one event is named at once.

The oracle for the Kafka form is the ``cloudevents`` package, written by the makers of the standard.
"""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage as OracleMessage
from cloudevents.core.bindings.kafka import from_binary_event
from hypothesis import given
from hypothesis import strategies as st

from driftline import names
from driftline.errors import EventError
from driftline.events import (
    InferenceEvent,
    KafkaMessage,
    Payload,
    decode_frame,
    decode_inference,
    encode_frame,
    encode_inference,
)

json_bodies = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
).map(lambda value: json.dumps(value, separators=(",", ": ")).encode())
payloads = st.builds(
    Payload,
    content_type=st.none() | st.text(max_size=20),
    content_encoding=st.none() | st.sampled_from(["gzip", "zstd"]),
    headers=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    body=st.binary(max_size=200) | json_bodies,
)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
rates = st.floats(min_value=0.0, max_value=1.0, exclude_min=True)
milliseconds = st.floats(min_value=0.0, max_value=1e9)
events = st.builds(
    InferenceEvent,
    id=words,
    source=words,
    model=words.filter(lambda text: "/" not in text),
    model_version=st.just("") | words,
    time_ns=st.integers(0, 2**63 - 1),
    request_id=words,
    protocol=words,
    status_code=st.integers(100, 599),
    request=payloads,
    response=payloads,
    variant=words,
    namespace=words,
    grpc_status=st.none() | st.integers(0, 16),
    duration_ms=milliseconds,
    ttfb_ms=milliseconds,
    sample_rate=rates,
    truncated=st.booleans(),
    traceparent=st.none() | words,
    chunk_count=st.integers(0, 2**63 - 1),
    ttft_ms=milliseconds,
    stream_error=st.just("") | words,
    not_observable=st.just("") | words,
    redacted=st.booleans(),
    metadata=st.dictionaries(words, words, max_size=3),
)


def an_event(**changes: Any) -> InferenceEvent:
    """An ordinary event, with changes."""
    plain = InferenceEvent(
        id="0198a3b4-0000-7000-8000-000000000001",
        source="/shop/ranker/pod-1",
        model="ranker",
        model_version="3",
        time_ns=1_763_722_800_123_456_789,
        request_id="order-17",
        protocol="v2",
        status_code=200,
        duration_ms=12.5,
        ttfb_ms=11.25,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        request=Payload(content_type="application/json", body=b'{"a": [1, 2]}'),
        response=Payload(content_type="application/json", body=b'{"b": 2}'),
    )
    return msgspec.structs.replace(plain, **changes)


@given(events)
def test_a_frame_gives_back_the_event(event: InferenceEvent) -> None:
    assert decode_frame(encode_frame(event)) == event


@given(events)
def test_a_kafka_message_gives_back_the_event(event: InferenceEvent) -> None:
    message = encode_inference(event)
    assert decode_inference(message.headers, message.value) == event
    assert message.key == event.request_id.encode()


NEARLY_JSON = [
    b"1e999",
    b'"\xff"',
    b'{"\xff": 1}',
    b'"\\ud800"',
    b"01",
    b"[1,]",
    b"nul",
    b"NaN",
    b'"\x01"',
    b"[1] x",
    b"1.",
]


@pytest.mark.parametrize(
    "body", [*NEARLY_JSON, b"-0", b'"\\u00e9"', '"\u00e9"'.encode(), b'{"a": 1, "a": 2}', b"[" * 5000]
)
def test_whatever_a_body_holds_a_message_is_json_and_gives_it_back(body: bytes) -> None:
    message = encode_inference(an_event(request=Payload(body=body), response=Payload(headers={"a": "b"}, body=body)))
    halves = json.loads(message.value)  # by another parser than the one that looked at the body
    event = decode_inference(message.headers, message.value)
    assert (event.request.body, event.response.body) == (body, body)
    assert halves["response"]["headers"] == {"a": "b"}
    assert ("bodybase64" in halves["request"]) == ("body" not in halves["request"])


@given(st.binary(max_size=300))
def test_bytes_that_are_no_frame_are_an_event_error(data: bytes) -> None:
    with pytest.raises(EventError, match=r"^spool frame: "):
        decode_frame(data)


@given(
    st.lists(st.tuples(st.text(max_size=12).map("ce_".__add__), st.binary(max_size=12)), max_size=6),
    st.binary(max_size=60),
)
def test_a_message_that_is_no_event_is_an_event_error(headers: list[tuple[str, bytes]], value: bytes) -> None:
    with pytest.raises(EventError):
        decode_inference(headers, value)


def test_a_json_body_travels_byte_for_byte_inside_the_value() -> None:
    body = b'{"z":1,  "a" : [1.10, 1e5, "\\u00e9"], "a": 2}'
    message = encode_inference(an_event(request=Payload(body=body)))
    assert body in message.value
    assert decode_inference(message.headers, message.value).request.body == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"x": NaN}',
        b'{"x": Infinity}',
        b" 1",
        b"1\n",
        b"\xff\xfe",
        b'{"x": 1} trailing',
        b"[" * 2000,
        b'"\xc3"',
        b"\x00",
        b'{"x": 1e999}',
        b"-0",
    ],
)
def test_every_body_comes_back_byte_for_byte_and_leaves_the_value_valid_json(body: bytes) -> None:
    message = encode_inference(an_event(request=Payload(body=body)))
    json.loads(message.value)
    assert decode_inference(message.headers, message.value).request.body == body


def test_a_body_with_nan_travels_as_base64() -> None:
    value = json.loads(encode_inference(an_event(request=Payload(body=b'{"x": NaN}'))).value)
    assert base64.b64decode(value["request"]["bodybase64"]) == b'{"x": NaN}'
    assert "body" not in value["request"]


def test_a_compressed_body_travels_as_base64_even_if_it_looks_like_json() -> None:
    event = an_event(request=Payload(content_encoding="gzip", body=b"1"))
    value = json.loads(encode_inference(event).value)
    assert value["request"] == {"contentencoding": "gzip", "bodybase64": base64.b64encode(b"1").decode()}


def test_an_absent_body_is_absent_from_the_value() -> None:
    value = json.loads(encode_inference(an_event(response=Payload())).value)
    assert value["response"] == {}


def as_cloud_event(message: KafkaMessage) -> Any:
    """The message as the ``cloudevents`` package reads it."""
    return from_binary_event(OracleMessage(headers=dict(message.headers), key=message.key, value=message.value))


def test_the_cloudevents_package_reads_our_attributes() -> None:
    event = an_event(
        grpc_status=0,
        truncated=True,
        sample_rate=0.25,
        chunk_count=7,
        ttft_ms=3.5,
        stream_error="CUDA out of memory",
        not_observable="shared_memory",
        redacted=True,
        metadata={"team": "red", "node": "né"},
    )
    seen = as_cloud_event(encode_inference(event))
    assert seen.get_specversion() == "1.0"
    assert seen.get_type() == names.CE_TYPE_INFERENCE
    assert seen.get_id() == event.id
    assert seen.get_source() == event.source
    assert seen.get_subject() == "ranker/3"
    assert seen.get_time() == datetime(2025, 11, 21, 11, 0, 0, 123456, tzinfo=UTC)
    extensions = {
        "requestid": "order-17",
        "namespace": "default",
        "variant": "stable",
        "protocol": "v2",
        "statuscode": "200",
        "grpcstatus": "0",
        "durationms": "12.5",
        "ttfbms": "11.25",
        "samplerate": "0.25",
        "truncated": "true",
        "traceparent": event.traceparent,
        "chunkcount": "7",
        "ttftms": "3.5",
        "streamerror": "CUDA out of memory",
        "notobservable": "shared_memory",
        "redacted": "true",
        "metadata": '{"node":"né","team":"red"}',
    }
    assert {name: seen.get_extension(name) for name in extensions} == extensions


def test_the_cloudevents_package_reads_our_data_as_json() -> None:
    seen = as_cloud_event(encode_inference(an_event()))
    assert seen.get_datacontenttype() == "application/json"
    data = seen.get_data()
    assert (data if isinstance(data, dict) else json.loads(data))["request"]["body"] == {"a": [1, 2]}


@given(events)
def test_attribute_names_keep_to_the_standard(event: InferenceEvent) -> None:
    attributes = [name for name, _ in encode_inference(event).headers if name.startswith("ce_")]
    assert all(name[3:].isalnum() and name[3:].islower() and len(name[3:]) <= 20 for name in attributes)
    assert len(set(attributes)) == len(attributes)


def test_every_fault_of_one_event_is_named_at_once() -> None:
    message = encode_inference(an_event())
    headers = [
        (name, {"ce_time": b"yesterday", "ce_statuscode": b"fine", "ce_samplerate": b"1.5"}.get(name, value))
        for name, value in message.headers
        if name not in {"ce_source", "ce_subject"}
    ]
    with pytest.raises(EventError) as caught:
        decode_inference(headers, b'{"request": {}}')
    assert caught.value.subject == f"inference event '{an_event().id}'"
    told = " | ".join(caught.value.faults)
    for part in ("ce_source is missing", "ce_subject is missing", "ce_time 'yesterday'", "ce_statuscode 'fine'"):
        assert part in told
    assert "ce_samplerate '1.5' is outside (0, 1]" in told
    assert "value is not the JSON of an inference" in told
    assert len(caught.value.faults) == 6


@pytest.mark.parametrize("number", [b"nan", b"inf", b"-inf", b"", b"12 ms", b"0x10"])
def test_a_number_that_is_not_finite_is_a_fault(number: bytes) -> None:
    message = encode_inference(an_event())
    headers = [(name, number if name == "ce_durationms" else value) for name, value in message.headers]
    with pytest.raises(EventError, match=r"ce_durationms .* is not a finite number"):
        decode_inference(headers, message.value)


@pytest.mark.parametrize("code", [b"200.7", b"1e3", b"-200", b"1000", b"", b"9" * 5000])
def test_a_status_that_is_no_http_status_is_a_fault(code: bytes) -> None:
    message = encode_inference(an_event())
    headers = [(name, code if name == "ce_statuscode" else value) for name, value in message.headers]
    with pytest.raises(EventError, match="ce_statuscode"):
        decode_inference(headers, message.value)


def test_a_body_that_is_not_base64_is_named_with_its_half() -> None:
    message = encode_inference(an_event())
    with pytest.raises(EventError, match=r"response\.bodybase64 is not base64"):
        decode_inference(message.headers, b'{"request": {}, "response": {"bodybase64": "a"}}')


def test_a_message_of_another_type_is_refused() -> None:
    message = encode_inference(an_event())
    headers = [(name, b"other" if name == "ce_type" else value) for name, value in message.headers]
    with pytest.raises(EventError, match=r"ce_type is 'other', not 'io\.driftline\.inference\.v1'"):
        decode_inference(headers, message.value)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        (b"1970-01-01T00:00:00Z", 0),
        (b"1970-01-01T00:00:00.000000001Z", 1),
        (b"1970-01-01T01:00:00+01:00", 0),
        (b"2025-11-21T11:00:00.5Z", 1_763_722_800_500_000_000),
        (b"2025-11-21T11:00:00.123456789Z", 1_763_722_800_123_456_789),
        (b"1969-12-31T23:59:59.25Z", -750_000_000),
    ],
)
def test_times_are_read_to_the_nanosecond(text: bytes, time_ns: int) -> None:
    message = encode_inference(an_event())
    headers = [(name, text if name == "ce_time" else value) for name, value in message.headers]
    assert decode_inference(headers, message.value).time_ns == time_ns


@pytest.mark.parametrize(
    "text", [b"2025-11-21T11:00:00", b"1763722800", b"", b"2025-13-01T00:00:00Z", b"2500-01-01T00:00:00Z"]
)
def test_a_time_without_zone_or_sense_is_a_fault(text: bytes) -> None:
    message = encode_inference(an_event())
    headers = [(name, text if name == "ce_time" else value) for name, value in message.headers]
    with pytest.raises(EventError, match=r"ce_time .* is not an RFC 3339 time"):
        decode_inference(headers, message.value)


def test_unknown_headers_are_passed_over() -> None:
    message = encode_inference(an_event())
    headers = [*message.headers, ("ce_brandnew", b"1"), ("tenant", b"\xff")]
    assert decode_inference(headers, message.value) == an_event()


@pytest.mark.parametrize("field", ["id", "source", "model", "model_version", "request_id", "protocol", "variant"])
def test_a_nul_in_a_name_is_a_fault_in_both_forms(field: str) -> None:
    event = an_event(**{field: "a\0b"})
    with pytest.raises(EventError, match=f"{field} .* holds a NUL"):
        decode_frame(encode_frame(event))
    message = encode_inference(event)
    with pytest.raises(EventError, match=f"{field} .* holds a NUL"):
        decode_inference(message.headers, message.value)
