"""The message of a frame is that of its event, however it is made, and a damaged frame is the same fault."""

import json
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import EventError
from driftline.events import InferenceEvent, InferenceMessage, Payload, decode_frame, encode_frame, encode_inference
from driftline.frame_messages import FrameMessages, beginnings_of, shared_headers
from driftline.native import native_module
from tests.logger_sidecar.test_event_frames import events, made_of_parts

#: Bytes that make another grammar of JSON, or none.
_TELLING = b'0123456789.-,eE+ []{}":\\\t\n\x01\xff/utfn'
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=60,
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,", ":"), (",  ", ":\n")])


def numbers(count: int, seed: int) -> str:
    """As many as a tensor has, of all spellings."""
    pick = random.Random(seed)
    spelt = (
        lambda: str(round(pick.gauss(0, 10 ** pick.randint(-3, 3)), pick.randint(0, 6))),
        lambda: str(pick.randint(-(10 ** pick.randint(0, 30)), 10 ** pick.randint(0, 30))),
        lambda: repr(pick.gauss(0, 1) * 10.0 ** pick.randint(-30, 30)),
    )
    comma = pick.choice([",", ", ", ",  ", " ,"])
    return f"[{comma.join(pick.choices(spelt, [8, 1, pick.choice([0, 1])])[0]() for _ in range(count))}]"


@st.composite
def nearly_json(draw: st.DrawFn) -> bytes:
    """A document with some bytes of it changed, put in, taken out or doubled."""
    if draw(st.booleans()):
        text = json.dumps(draw(documents), separators=draw(separators), ensure_ascii=draw(st.booleans()))
    else:
        tensor = numbers(draw(st.integers(0, 200)), draw(st.integers(0, 2**32)))
        text = '{"data": ' + tensor + ', "texts": ["\\ud83d\\ude00", "\u00e9"]}'
    body = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        place, size = draw(st.integers(0, len(body))), draw(st.integers(0, 4))
        piece = draw(st.binary(max_size=2) | st.lists(st.sampled_from(_TELLING), max_size=3).map(bytes))
        body[place : place + size] = body[place - size : place] if draw(st.booleans()) else piece
    return bytes(body)


def is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        return body == body.strip(b" \t\n\r") and bool(body.decode())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def long_way(frame: bytes) -> InferenceMessage | str:
    try:
        event = decode_frame(frame)
    except EventError as error:
        return str(error)
    return InferenceMessage(*encode_inference(event), event.time_ns)


def made(messages: FrameMessages, frame: bytes) -> InferenceMessage | str:
    try:
        return messages.message(frame)
    except EventError as error:
        return str(error)


#: One for all examples, as one serves all events of a process.
_messages = FrameMessages()


@given(events)
def test_a_frame_becomes_the_message_of_its_event(event: InferenceEvent) -> None:
    for frame in (made_of_parts(event), encode_frame(event)):
        message = _messages.message(frame)
        assert message == (*encode_inference(event), event.time_ns)
        assert (type(message), message.time_s) == (InferenceMessage, event.time_s)


@given(events, st.data())
def test_a_damaged_frame_is_what_it_is_the_long_way(event: InferenceEvent, data: st.DataObject) -> None:
    frame = bytearray(made_of_parts(event)[:2000])
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(frame) - 1))
        frame[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    damaged = bytes(frame)
    assert made(_messages, damaged) == long_way(damaged)


@given(nearly_json())
def test_a_body_stands_as_it_is_exactly_where_it_is_json(body: bytes) -> None:
    event = msgspec.structs.replace(AN_EVENT, request=Payload(content_type="application/json", body=body))
    for message in (_messages.message(made_of_parts(event)), encode_inference(event)):
        half = json.loads(message.value.decode("utf-8", "surrogatepass"))["request"]
        assert ("body" in half, "bodybase64" in half) == (
            bool(body) and is_json(body),
            bool(body) and not is_json(body),
        )


AN_EVENT = InferenceEvent(
    id="0193-0001",
    source="/ns/app/pod",
    model="iris",
    time_ns=1_700_000_000_123_456_789,
    request_id="r-1",
    protocol="v2",
    status_code=200,
    duration_ms=3.25,
    request=Payload(content_type="application/json", headers={"user-agent": "curl"}, body=b'{"a": [1, 2.5]}'),
    response=Payload(content_type="image/png", body=b"\x89PNG"),
)
_KERNEL = native_module("driftline.message_kernel")


@pytest.mark.skipif(_KERNEL is None, reason="this build has no kernel")
@pytest.mark.parametrize("traceparent", [None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
@pytest.mark.parametrize("truncated", [False, True])
def test_what_the_recorder_writes_takes_the_short_way(traceparent: str | None, truncated: bool) -> None:
    assert _KERNEL is not None
    usual = _KERNEL.UsualFrames(InferenceMessage, shared_headers, beginnings_of)
    event = msgspec.structs.replace(AN_EVENT, traceparent=traceparent, truncated=truncated)
    assert usual.message(made_of_parts(event)) == (*encode_inference(event), event.time_ns)
    assert usual.message(encode_frame(event)) is None
