"""Labels: what is sent is what is read, and what makes no sense is named."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage as OracleMessage
from cloudevents.core.bindings.kafka import from_binary_event
from hypothesis import given
from hypothesis import strategies as st

from driftline import names
from driftline.errors import EventError
from driftline.events import Label, decode_label, encode_label, label_faults, label_from_json

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
labels = st.builds(
    Label,
    request_id=words,
    value=st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words | st.just("") | st.floats(-1e12, 1e12),
    observed_at_s=st.floats(0, 253_402_300_799.0),
    model=words,
    namespace=words,
    row=st.integers(0, 10**6),
)
keyed = st.builds(
    Label, key=words, value=st.integers(0, 9), observed_at_s=st.floats(0, 1e9), model=words, reward=st.booleans()
)


@given(labels | keyed)
def test_a_kafka_message_gives_back_the_label(label: Label) -> None:
    message = encode_label(label, "event-1")
    assert decode_label(message.headers, message.value) == label
    assert message.key == (label.request_id or label.key).encode()


def test_the_cloudevents_package_reads_our_label() -> None:
    label = Label(request_id="r1", value="late", observed_at_s=10.0, model="flights", namespace="air", row=2)
    message = encode_label(label, "event-1")
    seen = from_binary_event(OracleMessage(headers=dict(message.headers), key=message.key, value=message.value))
    assert (seen.get_type(), seen.get_id(), seen.get_source()) == (names.CE_TYPE_LABEL, "event-1", "/air/flights")
    assert seen.get_extension("requestid") == "r1"


def test_a_plain_json_label_is_read_with_its_defaults() -> None:
    label = label_from_json(b'{"request_id": "r1", "value": 1, "observed_at_s": 5, "model": "m"}')
    assert label == Label(request_id="r1", value=1, observed_at_s=5.0, model="m", namespace="default", row=0)


def test_a_label_that_says_no_time_was_observed_when_its_message_was_made() -> None:
    message = encode_label(Label(request_id="r1", value=1, model="m"), "event-1")
    headers = [*message.headers, ("ce_time", b"2013-12-17T12:00:00.5Z")]
    assert decode_label(message.headers, message.value).observed_at_s is None
    assert decode_label(headers, message.value).observed_at_s == 1387281600.5
    told = encode_label(Label(request_id="r1", value=1, model="m", observed_at_s=5.0), "event-1")
    assert decode_label([*told.headers, ("ce_time", b"noon")], told.value).observed_at_s == 5.0
    with pytest.raises(EventError, match="ce_time 'noon' is not an RFC 3339 time"):
        decode_label([*message.headers, ("ce_time", b"noon")], message.value)


def test_a_null_value_withdraws() -> None:
    assert label_from_json(b'{"request_id": "r", "value": null, "observed_at_s": 5, "model": "m"}').value is None


def test_a_missing_value_is_a_fault_not_a_withdrawal() -> None:
    with pytest.raises(EventError, match="value"):
        label_from_json(b'{"request_id": "r", "observed_at_s": 5, "model": "m"}')


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"request_id": ""}, "request_id is empty"),
        ({"key": "order-1"}, "request_id 'r' and key 'order-1' are both given"),
        ({"reward": True, "value": "late"}, "value 'late' is not a number, which a reward must be"),
        ({"reward": True, "value": None}, "value None is not a number, which a reward must be"),
        ({"model": ""}, "model is empty"),
        ({"row": -1}, "row -1 is below 0"),
        ({"row": 2**31}, "row 2147483648 is above 2147483647"),
        ({"request_id": "a\0"}, r"request_id 'a\x00' holds a NUL"),
        ({"value": "\0"}, r"value '\x00' holds a NUL"),
        ({"value": float("inf")}, "value inf is not a finite number"),
        ({"value": float("nan")}, "value nan is not a finite number"),
        ({"observed_at_s": -1.0}, "observed_at_s -1.0 is not a time"),
        ({"observed_at_s": float("nan")}, "observed_at_s nan is not a time"),
        ({"observed_at_s": 1e15}, "observed_at_s 1000000000000000.0 is not a time"),
    ],
)
def test_a_value_without_sense_is_named(change: dict[str, Any], told: str) -> None:
    given_fields: dict[str, Any] = {"request_id": "r", "value": 1, "observed_at_s": 5.0, "model": "m"}
    faults = label_faults(Label(**(given_fields | change)))
    assert len(faults) == 1
    assert faults[0].startswith(told)


def test_all_faults_of_a_label_come_together() -> None:
    with pytest.raises(EventError) as caught:
        label_from_json(b'{"request_id": "", "value": 1, "observed_at_s": -5, "model": "", "row": -3}')
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize("field", ["request_id", "value", "observed_at_s", "model", "row", "namespace"])
def test_a_wrong_type_is_named_with_its_field(field: str) -> None:
    sent: dict[str, Any] = {"request_id": "r", "value": 1, "observed_at_s": 5, "model": "m"}
    with pytest.raises(EventError, match=rf"\$\.{field}"):
        label_from_json(json.dumps(sent | {field: [1]}).encode())


@given(st.binary(max_size=100))
def test_bytes_that_are_no_label_are_an_event_error(data: bytes) -> None:
    with pytest.raises(EventError):
        label_from_json(data)


def test_a_label_message_of_another_type_is_refused() -> None:
    with pytest.raises(EventError, match="ce_type is None"):
        decode_label([], b"{}")
