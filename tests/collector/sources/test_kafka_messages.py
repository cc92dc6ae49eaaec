"""Messages of Kafka are read as what they are, whoever wrote them; the SDK and the inbox are among the writers."""

import json
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as ce_kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from collector.labels.from_seldon import read_feedback
from collector.sources.cloud_event import CloudEvent
from collector.sources.interpreting import Interpreter
from collector.sources.kafka_messages import Message, TopicKind, inbox_message, read_message, without_schema_id
from driftline import names
from driftline.events import encode_inference, encode_label
from driftline.halves import Half
from driftline.records import Ignored, Malformed, Several
from tests.collector.helpers import event, label
from tests.collector.sources.messages import ANSWER, REQUEST, kserve, seldon

NOW_NS = 1_700_000_000_000_000_000
INTERPRETER = Interpreter({"default/flights"}, read_feedback)


def read(
    headers: Any, value: bytes = REQUEST, *, topic: str = "events", key: bytes = b"", kind: TopicKind = "any"
) -> Any:
    spelt = [(name, text.encode() if isinstance(text, str) else text) for name, text in headers]
    return read_message(Message(topic, spelt, key, value, NOW_NS), INTERPRETER, kind)


def half(*arguments: Any, **named: Any) -> Half:
    found = read(*arguments, **named)
    assert isinstance(found, Half), found
    return found


def binary(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A broker's form of an event: attributes as ``ce_*``, undone of what HTTP asks for."""
    return [(name.replace("ce-", "ce_"), value) for name, value in headers if name != "user-agent"]


def test_binary_mode_as_a_broker_writes_what_kserve_sent() -> None:
    request, response = half(binary(kserve("request"))), half(binary(kserve("response")), ANSWER)
    assert request.pair == response.pair
    assert (request.model, request.time_ns, request.metadata) == (
        "flights",
        1795255200123456789,
        {"x-tenant": "a, b"},
    )


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_both_modes_of_the_sdk(mode: str) -> None:
    attributes: dict[str, Any] = {name[3:]: value for name, value in kserve("request") if name.startswith("ce-")}
    attributes["time"] = datetime(2026, 11, 21, 10, tzinfo=UTC)
    sent = SdkEvent(attributes={**attributes, "datacontenttype": "application/json"}, data={"instances": [[1.5]]})
    make = ce_kafka.to_binary if mode == "binary" else ce_kafka.to_structured
    message = make(sent, JSONFormat())
    found = half(list(message.headers.items()), message.value)
    assert (found.id, found.model, found.time_ns) == ("4c1b", "flights", 1795255200 * 10**9)
    assert json.loads(found.payload.body) == {"instances": [[1.5]]}
    assert found.payload.content_type == "application/json"


def test_a_batch_is_several_things_and_a_wrong_one_costs_itself_only() -> None:
    one: dict[str, Any] = {name[3:]: value for name, value in kserve("request") if name.startswith("ce-")} | {
        "data": {"instances": []}
    }
    reward = {name[3:]: value for name, value in seldon("feedback") if name.startswith("ce-")} | {"data": {"reward": 0}}
    other = {"id": "1", "type": "io.example.other", "source": "x", "specversion": "1.0"}
    batch = json.dumps([one, {**one, "time": "noon"}, reward, other]).encode()
    found = read([("content-type", "application/cloudevents-batch+json; charset=UTF-8")], batch)
    assert isinstance(found, Several)
    assert [type(content).__name__ for content in found.contents] == ["Half", "Malformed", "Label", "Ignored"]


@pytest.mark.parametrize("kind", ["any", "seldon-v1"])
def test_seldon_v1_writes_bare_headers_without_an_id_a_time_or_a_key(kind: TopicKind) -> None:
    bare = [
        (name.removeprefix("ce-"), value)
        for name, value in seldon("inference.request")
        if name not in {"ce-id", "ce-specversion", "ce-source", "ce-time"}
    ]
    answer = [(name, value.replace("request", "response") if name == "type" else value) for name, value in bare]
    request, response = half(bare, kind=kind), half(answer, ANSWER, kind=kind)
    assert request.pair == response.pair
    assert request.identity != response.identity
    assert (request.model, request.variant, request.protocol, request.time_ns) == ("flights", "canary", "v1", NOW_NS)


def test_our_own_events_and_labels_are_recognised() -> None:
    for sent, message in ((event(1), encode_inference(event(1))), (label(1, 1), encode_label(label(1, 1), "id"))):
        assert read(message.headers, message.value) == sent


def test_what_the_inbox_is_given_comes_back() -> None:
    sent = CloudEvent(
        attributes={name[3:]: value for name, value in kserve("request") if name.startswith("ce-")},
        body=b"\x1f\x8b\0",
        content_type="text/x",
        content_encoding="gzip",
        binary_length="12",
        received_ns=NOW_NS + 5,
    )
    headers, key = inbox_message(sent)
    assert key == b"4c1b"
    assert read(headers, sent.body) == INTERPRETER.read(sent)
    timeless = CloudEvent(attributes={"id": "1", "type": "x.inference.request"}, body=b"{}", received_ns=NOW_NS + 5)
    assert half(inbox_message(timeless)[0], b"{}").time_ns == NOW_NS + 5


# --- Seldon v2 ----------------------------------------------------------------------------------------------------
#: ModelInferRequest{model_name: "iris_1"}
PROTO = b"\n\x06iris_1"
FRAMED = struct.pack(">bI", 0, 7) + b"\0" + PROTO


@pytest.mark.parametrize(
    ("value", "body", "infer_type", "protocol", "content_type"),
    [
        (PROTO, PROTO, "proto/InferModelRequest", "grpc", "application/protobuf"),
        (FRAMED, PROTO, "proto/InferModelRequest", "grpc", "application/protobuf"),
        (b'{"inputs": []}', b'{"inputs": []}', "json/inferModelRequest", "v2", "application/json"),
    ],
)
def test_seldon_v2s_topics_say_model_and_namespace(
    value: bytes, body: bytes, infer_type: str, protocol: str, content_type: str
) -> None:
    headers = [("x-request-id", "abc"), ("pipeline", "shop"), ("seldon-infer-type", infer_type)]
    request = half(headers, value, topic="seldon.prod.model.iris.inputs")
    answered = [("x-request-id", "abc"), ("seldon-infer-type", infer_type.replace("Request", "Response"))]
    response = half(answered, value, topic="seldon.prod.model.iris.outputs", key=b"abc")
    assert request.pair == response.pair
    assert (request.namespace, request.model, request.protocol) == ("prod", "iris", protocol)
    assert (request.payload.body, request.payload.content_type) == (body, content_type)


def test_a_pipeline_has_a_model_of_its_own_and_an_error_answers_it_and_the_model_that_failed() -> None:
    of_pipeline = half([("x-request-id", "abc")], PROTO, topic="my.seldon.prod.pipeline.shop.inputs")
    of_model = half([("x-request-id", "abc")], PROTO, topic="my.seldon.prod.model.iris.inputs")
    failed = errors_of("shop", "iris")
    assert {one.model for one in failed} == {"shop.pipeline", "iris"} == {of_pipeline.model, of_model.model}
    assert {(one.kind, one.status_code) for one in failed} == {("response", 500)}
    assert {one.pair for one in failed} == {of_pipeline.pair, of_model.pair}
    assert len({(one.id, one.source, one.type) for one in failed}) == 2  # else one would be a copy of the other


def test_an_error_of_a_model_that_was_asked_by_itself_answers_the_model() -> None:
    assert [one.model for one in errors_of("iris", "iris")] == ["iris"]


def errors_of(pipeline: str, model: str) -> list[Half]:
    """What Seldon's gateway writes where a model fails."""
    headers = [("x-request-id", "abc"), ("pipeline", pipeline), ("seldon-pipeline-errors", model)]
    found = read(headers, b"boom", topic="my.seldon.prod.errors.errors")
    assert isinstance(found, Several)
    return [one for one in found.contents if isinstance(one, Half)]


def test_the_key_stands_in_for_a_lost_request_id() -> None:
    assert half([], PROTO, topic="seldon.prod.model.iris.inputs", key=b"k1").request_id == "k1"
    assert isinstance(read([], PROTO, topic="seldon.prod.model.iris.inputs"), Malformed)


@given(st.binary(max_size=40))
def test_any_bytes_lose_confluents_frame_or_are_refused(value: bytes) -> None:
    try:
        rest = without_schema_id(value)
    except ValueError:
        rest = b""
    assert value.endswith(rest)


# --- what is nothing ----------------------------------------------------------------------------------------------
def test_nothing_stops_at_what_cannot_be_read() -> None:
    assert read([], b"") == Ignored("empty message")
    unknown = read([("a", b"\xff")], b"raw bytes")
    assert isinstance(unknown, Malformed)
    assert (unknown.raw, "its headers are: a" in unknown.detail) == (b"raw bytes", True)
    assert isinstance(read([("content-type", "application/cloudevents+json")], b"{"), Malformed)


HEADER_NAMES = st.sampled_from(
    ["ce_id", "ce_type", "ce_time", "type", "requestid", "content-type", "seldon-infer-type", names.HEADER_REQUEST_ID]
)


@given(
    st.lists(st.tuples(HEADER_NAMES, st.binary(max_size=20)), max_size=6),
    st.binary(max_size=30),
    st.sampled_from(["t", "seldon.ns.model.m.inputs", "s.ns.errors.errors"]),
    st.sampled_from(["any", "cloudevents", "seldon-v1", "seldon-v2"]),
)
def test_whatever_a_message_holds_something_comes_of_it(
    headers: list[tuple[str, bytes]], value: bytes, topic: str, kind: TopicKind
) -> None:
    assert isinstance(read(headers, value, topic=topic, kind=kind), Half | Ignored | Malformed | Several)
