"""What other loggers send is read as what they meant, quirks included."""

import contextlib
import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.labels.from_seldon import read_feedback
from collector.sources.http_modes import read_modelmesh, read_request
from collector.sources.interpreting import Interpreter
from driftline import names
from driftline.errors import EventError
from driftline.events import InferenceEvent, Label, encode_inference, encode_label
from driftline.halves import Half, join_halves
from driftline.records import Ignored, Several
from tests.collector.helpers import event, label
from tests.collector.sources.messages import (
    ANSWER,
    MODELMESH_ANSWER,
    MODELMESH_REQUEST,
    REQUEST,
    kserve,
    seldon,
)

NOW_NS = 1_700_000_000_000_000_000
LIMIT = 1 << 20
INTERPRETER = Interpreter({"default/flights", "default/graph.second"}, read_feedback)


def read(headers: list[tuple[str, str]], body: bytes = REQUEST, **query: str) -> Any:
    events = read_request(headers, query, body, NOW_NS, LIMIT)
    assert len(events) == 1
    return INTERPRETER.read(events[0])


def read_all(headers: list[tuple[str, str]], body: bytes) -> list[Any]:
    return [INTERPRETER.read(found) for found in read_request(headers, {}, body, NOW_NS, LIMIT)]


def half(headers: list[tuple[str, str]], body: bytes = REQUEST, **query: str) -> Half:
    found = read(headers, body, **query)
    assert isinstance(found, Half)
    return found


def test_kserves_events_become_both_halves_of_one_inference() -> None:
    request, response = half(kserve("request")), half(kserve("response"), ANSWER)
    assert request.pair == response.pair
    assert request.identity != response.identity  # though id and source are the same
    made = join_halves(request, response)
    assert (made.model, made.namespace, made.variant, made.request_id) == ("flights", "default", "stable", "4c1b")
    assert (made.duration_ms, made.status_code) == (100.0, 200)
    assert made.time_ns == 1795255200123456789
    assert (made.request.body, made.response.body) == (REQUEST, ANSWER)
    assert made.metadata == {"x-tenant": "a, b"}


@pytest.mark.parametrize(
    "metadata",
    [
        '{"X-Tenant":["a","b"]}',
        "%7B%22X-Tenant%22:%5B%22a%22,%22b%22%5D%7D",
        "{%22X-Tenant%22:[%22a%22%2C%22b%22]}",
        '{"X-Tenant":["a", "b"]}',
    ],
)
def test_metadata_is_read_raw_and_percent_encoded(metadata: str) -> None:
    assert half(kserve("request", ce_metadata=metadata)).metadata == {"x-tenant": "a, b"}


def test_what_is_no_json_in_metadata_costs_no_inference() -> None:
    assert half(kserve("request", ce_metadata="{broken")).metadata == {"metadata": "{broken"}


def test_names_in_quotes_come_from_older_agents() -> None:
    old = kserve("request", ce_inferenceservicename=None, ce_inferenceservice='"flights"', ce_namespace='"shop"')
    found = half(old)
    assert (found.model, found.namespace) == ("flights", "shop")


def test_bodies_are_carried_as_they_were_with_what_the_headers_said() -> None:
    packed = gzip.compress(REQUEST)
    plain = half(kserve("request", content_type=None), packed)
    assert (plain.payload.body, plain.payload.content_type, plain.payload.content_encoding) == (packed, None, None)
    marked = half(kserve("request", content_encoding="gzip", inference_header_content_length="17"), packed)
    assert marked.payload.content_encoding == "gzip"
    assert marked.payload.headers == {names.HEADER_BINARY_LENGTH: "17"}
    kept = half(kserve("request", ce_metadata='{"Inference-Header-Content-Length":["17"],"Content-Encoding":["gzip"]}'))
    assert kept.payload.headers == {names.HEADER_BINARY_LENGTH: "17"}
    assert kept.payload.content_encoding == "gzip"


def test_a_grpc_frame_is_said_to_be_one() -> None:
    frame = b"\0\0\0\0\x02\n\0"
    found = half(kserve("request", content_type="application/grpc+proto"), frame)
    assert (found.protocol, found.payload.body) == ("grpc", frame)


def test_the_request_itself_may_have_been_a_cloud_event() -> None:
    found = half(kserve("request", content_type="application/cloudevents+json"))
    assert found.payload.body == REQUEST


def test_components_have_models_of_their_own_and_pair_among_themselves() -> None:
    transformer, predictor = half(kserve("request", ce_component="transformer")), half(kserve("request"))
    assert (transformer.model, predictor.model) == ("flights.transformer", "flights")
    assert transformer.pair != predictor.pair


@pytest.mark.parametrize("prefix", ["io.seldon.serving", "org.kubeflow.serving"])
def test_seldons_events_share_the_request_id(prefix: str) -> None:
    request, response = half(seldon("inference.request", prefix)), half(seldon("inference.response", prefix), ANSWER)
    assert request.pair == response.pair
    assert (request.model, request.variant, request.protocol, request.request_id) == (
        "flights",
        "canary",
        "v1",
        "puid-1",
    )


def test_a_node_of_a_graph_has_a_model_where_a_monitor_is_called_so() -> None:
    fields = dict(seldon("inference.request"))
    one = half(list({**fields, "ce-inferenceservicename": "graph", "ce-modelid": "first"}.items()))
    two = half(list({**fields, "ce-inferenceservicename": "graph", "ce-modelid": "second"}.items()))
    assert (one.model, two.model) == ("graph", "graph.second")
    assert one.pair != two.pair


@pytest.mark.parametrize("prefix", ["io.seldon.serving", "org.kubeflow.serving"])
def test_feedback_is_labels_and_a_reward_of_0_is_one(prefix: str) -> None:
    headers = seldon("feedback", prefix)
    expected: dict[str, Any] = {"request_id": "puid-1", "model": "flights", "observed_at_s": 1795255200.0}
    assert read(headers, b'{"reward": 0}') == Several((Label(value=0, reward=True, **expected),))
    assert read(headers, b'{"reward": 0.0, "truth": {}}') == Several((Label(value=0.0, reward=True, **expected),))
    rows = read(headers, b'{"truth": {"data": {"ndarray": [[1], ["b"], true]}}, "reward": 0.5}')
    assert [(one.row, one.value) for one in rows.contents] == [(0, 1), (1, "b"), (2, True)]
    tensor = read(headers, b'{"truth": {"data": {"tensor": {"shape": [2, 1], "values": [3, 4]}}}}')
    assert [one.value for one in tensor.contents] == [3, 4]
    assert [one.value for one in read(headers, b'{"truth": {"strData": "late"}}').contents] == ["late"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{}", "neither a truth nor a reward"),
        (b"[]", "not a JSON object"),
        (b'{"truth": {"data": {"ndarray": [[0, 1]]}}}', r"truth row 0 is '\[0, 1\]': neither one value"),
        (
            b'{"truth": {"data": {"tensor": {"shape": [1, 2], "values": [0, 1]}}}}',
            r"truth row 0 is '\[0, 1\]': neither",
        ),
    ],
)
def test_feedback_that_says_nothing_is_refused_by_name(body: bytes, fault: str) -> None:
    with pytest.raises(EventError, match=fault):
        read(seldon("feedback"), body)


@pytest.mark.parametrize(
    "kind", ["inference.outlier", "inference.drift", "reference.request", "feedback.metrics", "anything"]
)
def test_other_types_are_none_of_ours(kind: str) -> None:
    assert read(seldon(kind)) == Ignored(f"io.seldon.serving.{kind}")


def mesh(body: bytes, after_ns: int = 0, sender: str = "10.0.0.1", **query: str) -> Half:
    event = read_modelmesh(body, query, NOW_NS + after_ns, event_id=f"event-{after_ns}", sender=sender)
    found = INTERPRETER.read(event)
    assert isinstance(found, Half)
    return found


def test_modelmesh_names_the_inference_service_or_what_stands_before_its_marks() -> None:
    request, response = mesh(MODELMESH_REQUEST), mesh(MODELMESH_ANSWER, 5_000_000)
    assert request.pair == response.pair
    assert (request.model, request.protocol, request.payload.body) == ("flights", "grpc", b"\n\x07flights")
    assert join_halves(request, response).duration_ms == 5.0
    broken = mesh(MODELMESH_ANSWER.replace(b'"OK"', b'"UNAVAILABLE"'), namespace="shop")
    assert (broken.grpc_status, broken.namespace) == (14, "shop")


def test_modelmeshs_ids_begin_anew_in_every_pod_and_after_every_restart() -> None:
    first, again = mesh(MODELMESH_REQUEST), mesh(MODELMESH_REQUEST, 1_000_000)
    assert first.identity != again.identity
    assert first.pair != mesh(MODELMESH_REQUEST, sender="10.0.0.2").pair


def test_older_modelmeshes_spell_the_kind_as_java_does() -> None:
    assert mesh(b'{"id":"45-1","modelid":"flights__isvc-1","kind":"RESPONSE","data":""}').kind == "response"
    with pytest.raises(EventError, match="kind 'reply' is neither"):
        mesh(b'{"id":"1","modelid":"m","kind":"reply"}')


def test_what_has_the_same_ids_and_another_time_is_no_copy() -> None:
    one, copy = half(kserve("request")), half(kserve("request"))
    assert one.identity == copy.identity
    assert one.identity != half(kserve("request", ce_time="2026-11-21T10:00:07Z")).identity


def test_an_event_without_a_time_happened_when_knatives_broker_took_it_however_often_it_is_tried() -> None:
    arrived = "2026-11-21T10:00:03.5Z"
    fields = kserve(
        "request", ce_time=None, ce_recordedtime=None, ce_knativearrivaltime=arrived, ce_knativebrokerttl="7"
    )
    one, again = half(fields), half(fields)
    assert one.time_ns == again.time_ns == 1_795_255_203_500_000_000
    assert one.identity == again.identity
    assert half([*fields, ("ce-time", "2026-11-21T10:00:00Z")]).time_ns == 1_795_255_200_000_000_000
    with pytest.raises(EventError, match="ce-knativearrivaltime 'soon' is not an RFC 3339 time"):
        half(kserve("request", ce_time=None, ce_recordedtime=None, ce_knativearrivaltime="soon"))


def test_trustyais_senders_leave_type_and_model_out() -> None:
    fields = [("ce-id", "7"), ("content-type", "application/json")]
    request = half(fields, b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}')
    packed = gzip.compress(b'{"model_name": "flights", "outputs": []}')
    response = half(fields, packed)
    assert (request.kind, response.kind, request.pair == response.pair) == ("request", "response", True)
    assert join_halves(request, response).model == "flights"
    named = half(fields, b'{"instances": []}', model="flights", namespace="shop")
    assert (named.model, named.namespace) == ("flights", "shop")


@pytest.mark.parametrize(
    ("headers", "body", "fault"),
    [
        ([], b"{}", "ce-id is missing"),
        (kserve("request", ce_id=None), b"{}", "ce-id is missing"),
        (kserve("request", ce_time="yesterday", ce_recordedtime=None), b"{}", "ce-time 'yesterday' is not an RFC 3339"),
        (kserve("response", ce_statuscode="OK"), b"{}", "ce-statuscode 'OK' is not a status"),
        ([("ce-id", "1")], b"\x00\x01", "ce-type is missing, and the body is no JSON object"),
        ([("ce-id", "1")], b"{}", "neither inputs nor outputs"),
        ([("content-type", "application/cloudevents+json")], b"[]", "is not a JSON object"),
        ([("content-type", "application/cloudevents-batch+json")], b"{}", "is not a JSON list"),
        ([("content-type", "application/cloudevents+json")], b'{"id": "1", "data_base64": "%"}', "data_base64 is not"),
        ([("content-type", "application/cloudevents-batch+json")], b'[{"id": "1"}, 3]', "event 1: is not a JSON"),
    ],
)
def test_what_is_wrong_is_said_with_field_and_value(headers: list[tuple[str, str]], body: bytes, fault: str) -> None:
    with pytest.raises(EventError, match=fault):
        read_all(headers, body)


def test_events_of_our_own_may_come_as_cloud_events_too() -> None:
    for sent, message in (
        (event(3), encode_inference(event(3))),
        (label(3, 1), encode_label(label(3, 1), "id")),
    ):
        headers = [(name.replace("ce_", "ce-"), value.decode()) for name, value in message.headers]
        assert read(headers, message.value) == sent


def test_structured_mode_keeps_the_bytes_of_the_body() -> None:
    envelope = {**{name[3:]: value for name, value in kserve("request") if name.startswith("ce-")}}
    document = (
        json.dumps(envelope)[:-1].encode() + b', "data": {"instances":  [[1.0,\t2]]}, "n": 5, "t": true, "z": null}'
    )
    events = read_request(
        [("content-type", "application/cloudevents+json; charset=utf-8")], {}, gzip.compress(document), NOW_NS, LIMIT
    )
    assert events[0].body == b'{"instances":  [[1.0,\t2]]}'
    assert (events[0].text("n"), events[0].text("t"), "z" in events[0].attributes) == ("5", "true", False)
    with pytest.raises(EventError, match="unpacks to more than 10 bytes"):
        read_request([("content-type", "application/cloudevents+json")], {}, gzip.compress(document), NOW_NS, 10)


@pytest.mark.parametrize("content_type", ["application/json", "", "text/plain"])
def test_an_envelope_is_recognised_whatever_is_said_of_it(content_type: str) -> None:
    envelope: dict[str, Any] = {name[3:]: value for name, value in kserve("request") if name[:3] == "ce-"}
    envelope["data"] = {"instances": []}
    one, batch = json.dumps(envelope).encode(), json.dumps([envelope, envelope]).encode()
    headers = [("content-type", content_type)] if content_type else []
    assert [found.body for found in read_request(headers, {}, one, NOW_NS, LIMIT)] == [b'{"instances": []}']
    assert len(read_request(headers, {}, batch, NOW_NS, LIMIT)) == 2


PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
BODIES = st.sampled_from(
    [b"{}", b"[]", b"[{}]", b'{"id": "1", "data": "x"}', b'{"reward": 1}', b'{"id": 1, "type": {}}']
)
NAMES = ["ce-id", "ce-type", "ce-time", "ce-metadata", "ce-namespace", "ce-inferenceservice", "content-type", "ce-x"]
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["org.kubeflow.serving.inference.request", "io.seldon.serving.feedback", "2026-11-21T10:00:00Z"]),
    st.sampled_from(["application/cloudevents+json", "application/cloudevents-batch+json", "%zz", '"', '"a', "{}"]),
)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8), st.one_of(st.binary(max_size=60), BODIES))
def test_whatever_is_sent_is_read_or_refused_by_our_own_error(headers: list[tuple[str, str]], body: bytes) -> None:
    with contextlib.suppress(EventError):
        assert all(
            isinstance(one, Half | Ignored | Several | InferenceEvent | Label) for one in read_all(headers, body)
        )


@given(st.dictionaries(PLAIN, st.lists(st.text(max_size=5), min_size=1, max_size=2), max_size=3))
def test_metadata_of_any_text_is_read_the_same_in_both_spellings(metadata: dict[str, list[str]]) -> None:
    spelt = json.dumps(metadata, ensure_ascii=True)
    raw, encoded = half(kserve("request", ce_metadata=spelt)), half(kserve("request", ce_metadata=quote(spelt)))
    assert raw.metadata == encoded.metadata
    assert set(raw.metadata) == {name.lower() for name in metadata}
