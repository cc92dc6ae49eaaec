"""Redaction: whatever surrounds a secret, no byte of the frame holds it; and what is not named stays."""

import gzip
import json
import struct
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from driftline import names
from driftline.events import InferenceEvent, Payload, encode_frame
from logger_sidecar.finishing.redaction import Redacted
from tests.logger_sidecar.finishing.predict_messages import message_types
from tests.logger_sidecar.finishing.redacting import holds, redact

TYPES = message_types()
SECRET = "Zq7-ännchen"
PLAIN = "Zq7secretZq7"
JSON_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
anything = st.recursive(
    JSON_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
actions = st.sampled_from(["", " => hash"])


def request_of(redacted: Redacted) -> Any:
    return json.loads(redacted.event.request.body)


@pytest.mark.parametrize("document", [{"user": SECRET}, {SECRET: 1}])
def test_without_a_rule_that_names_it_the_secret_would_be_found(document: dict[str, Any]) -> None:
    assert holds(redact(json.dumps(document).encode(), "json:$.nobody"), SECRET)


# --- by path ------------------------------------------------------------------------------------------------------
@st.composite
def with_a_secret(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """An object that has a member of that name at some depth, behind which a secret is."""
    secrets: list[Any] = [SECRET, [SECRET, [SECRET, None]], {"deep": [SECRET]}, {SECRET: 1}]
    value = draw(st.sampled_from(secrets))
    for _ in range(draw(st.integers(0, 4))):
        holder = {**draw(st.dictionaries(st.text(max_size=4), anything, max_size=2)), name: value}
        value = [draw(anything), holder] if draw(st.booleans()) else holder
        name = draw(st.text("xy", min_size=1))
    return {**draw(st.dictionaries(st.text(max_size=4), anything, max_size=2)), name: value}


@given(with_a_secret("user"), actions)
def test_a_descent_finds_it_at_any_depth(document: dict[str, Any], action: str) -> None:
    redacted = redact(json.dumps(document).encode(), f"json:$..user{action}")
    assert not holds(redacted, SECRET)
    assert redacted.event.redacted
    assert redacted.left_out == []


@given(anything, actions)
def test_the_path_of_the_issue_takes_the_parameter_and_nothing_else(other: Any, action: str) -> None:
    tensor: dict[str, Any] = {
        "name": "a",
        "shape": [1],
        "datatype": "FP32",
        "data": [1.5],
        "parameters": {"user": SECRET, "o": other},
    }
    redacted = redact(json.dumps({"inputs": [tensor]}).encode(), f"json:$.inputs[*].parameters.user{action}")
    assert not holds(redacted, SECRET)
    tensor["parameters"]["user"] = request_of(redacted)["inputs"][0]["parameters"]["user"]
    assert request_of(redacted) == {"inputs": [tensor]}


def test_a_message_is_chosen_by_its_role() -> None:
    body = {"messages": [{"role": "system", "content": "kept"}, {"role": "user", "content": SECRET}]}
    redacted = redact(json.dumps(body).encode(), "json:$.messages[?@.role=='user'].content")
    assert [said["content"] for said in request_of(redacted)["messages"]] == ["kept", "[redacted]"]


def test_the_second_of_two_members_of_one_name_hides_nothing() -> None:
    assert not holds(redact(f'{{"user": "{PLAIN}", "user": null}}'.encode(), "json:$.user"), PLAIN)


@given(st.text(max_size=20) | st.integers(-(2**53), 2**53))
def test_equal_values_hash_alike_and_others_do_not(value: str | int) -> None:
    body = json.dumps({"a": value, "b": [str(value)], "c": f"{value}x"}).encode()
    redacted = redact(body, "json:$.* => hash")
    document = request_of(redacted)
    assert document["a"] == document["b"][0] != document["c"]


# --- by column ----------------------------------------------------------------------------------------------------
COLUMNS = {
    "v1 rows": {"instances": [{"age": 1, "email": SECRET}, {"email": [SECRET], "age": 2}]},
    "v1 columns": {"inputs": {"email": [SECRET, SECRET], "age": [1, 2]}},
    "v2 json": {"inputs": [{"name": "email", "shape": [1], "datatype": "BYTES", "data": [SECRET]}]},
    "v2 rows": {"inputs": [{"name": "rows", "shape": [1], "datatype": "BYTES", "data": [{"email": SECRET}]}]},
    "v2 output": {"outputs": [{"name": "age", "shape": [1], "datatype": "INT8", "data": [1]},
                              {"name": "email", "shape": [1, 1], "datatype": "BYTES", "data": [[SECRET]]}]},
    "seldon": {"data": {"names": ["age", "email"], "ndarray": [[1, SECRET], [2, SECRET]]}},
    "seldon tensor": {"data": {"names": ["age", "email"], "tensor": {"shape": [1, 2], "values": [1, SECRET]}}},
    "mlflow split": {"dataframe_split": {"columns": ["email", "age"], "index": [0], "data": [[SECRET, 1]]}},
    "mlflow records": {"dataframe_records": [{"email": SECRET, "age": 1}]},
    "old mlflow": {"columns": ["email", "age"], "data": [[SECRET, 1]]},
    "old mlflow records": [{"email": SECRET}],
    "one row of seldon": {"data": {"names": ["age", "email"], "ndarray": [1, SECRET]}},
}  # fmt: skip


@pytest.mark.parametrize("action", ["", " => hash"])
@pytest.mark.parametrize("document", COLUMNS.values(), ids=COLUMNS)
def test_a_column_is_found_in_every_protocol(document: Any, action: str) -> None:
    redacted = redact(json.dumps(document).encode(), f"column:email{action}")
    assert not holds(redacted, SECRET)
    assert redacted.left_out == []
    assert json.dumps(request_of(redacted)).count('"age"') == json.dumps(document).count('"age"')


def _binary(tensors: list[tuple[str, str, list[int], bytes]]) -> tuple[bytes, dict[str, str]]:
    described = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for name, datatype, shape, raw in tensors
    ]
    head = json.dumps({"inputs": described, "outputs": described}).encode()
    return head + b"".join(raw for *_, raw in tensors), {names.HEADER_BINARY_LENGTH: str(len(head))}


def _elements(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


@pytest.mark.parametrize("action", ["", " => hash"])
@pytest.mark.parametrize("keeps_header", [True, False])
def test_binary_tensors_keep_their_shape_and_sizes_that_fit(action: str, keeps_header: bool) -> None:
    numbers = struct.pack("<2f", 12345.678, 2.5)
    body, headers = _binary([
        ("age", "FP32", [2], struct.pack("<2f", 1, 2)), ("pay", "FP32", [2], numbers),
        ("email", "BYTES", [2], _elements(SECRET, "b")),
    ])  # fmt: skip
    event = InferenceEvent(
        id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol="v2", status_code=200,
        request=Payload(body=body, headers=headers if keeps_header else {}), response=Payload(),
    )  # fmt: skip
    redacted = redact(event, f"column:email{action}", f"column:pay{action}")
    assert not holds(redacted, SECRET)
    assert numbers not in encode_frame(redacted.event)
    written = redacted.event.request
    length = int(written.headers[names.HEADER_BINARY_LENGTH])
    tensors, tail = json.loads(written.body[:length])["inputs"], written.body[length:]
    sizes = [tensor["parameters"]["binary_data_size"] for tensor in tensors]
    assert sum(sizes) == len(tail)
    assert [tensor["shape"] for tensor in tensors] == [[2], [2], [2]]
    assert tail.startswith(struct.pack("<2f", 1, 2))
    if not action:
        assert tail == struct.pack("<4f", 1, 2, 0, 0) + _elements("[redacted]", "[redacted]")
        assert "data" not in tensors[1]
    else:
        assert [tensor["datatype"] for tensor in tensors] == ["FP32", "BYTES", "BYTES"]


@pytest.mark.parametrize(
    "rule", ["column:email", "column:email => hash", "json:$.inputs[*].data", f"pattern:{SECRET[:3]}\\S*"]
)
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip"])
def test_messages_of_grpc_hold_no_secret_and_stay_messages(rule: str, raw: bool, packed: str | None) -> None:
    message = TYPES["Request"](model_name="m")
    message.inputs.add(name="age", datatype="FP32", shape=[1])
    email = message.inputs.add(name="email", datatype="BYTES", shape=[1])
    if raw:
        message.raw_input_contents.extend([struct.pack("<f", 1), _elements(SECRET)])
    else:
        message.inputs[0].contents.fp32_contents.append(1)
        email.contents.bytes_contents.append(SECRET.encode())
    written = message.SerializeToString()
    written = gzip.compress(written) if packed else written
    body = struct.pack(">BI", packed is not None, len(written)) + written
    event = InferenceEvent(
        id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol="v2-grpc", status_code=200,
        request=Payload(content_type="application/grpc", body=body * 2, headers={"grpc-encoding": packed or ""}),
        response=Payload(),
    )  # fmt: skip
    redacted = redact(event, rule)
    assert not holds(redacted, SECRET)
    assert redacted.left_out == []
    size = struct.unpack(">BI", redacted.event.request.body[:5])[1]
    read = TYPES["Request"].FromString(redacted.event.request.body[5 : 5 + size])
    assert [tensor.name for tensor in read.inputs] == ["age", "email"]
    assert len(redacted.event.request.body) == 2 * (5 + size)


# --- by pattern ---------------------------------------------------------------------------------------------------
@given(with_a_secret("any"), actions)
def test_a_pattern_finds_it_wherever_it_is_in_json_keys_included(document: dict[str, Any], action: str) -> None:
    redacted = redact(json.dumps(document).encode(), f"pattern:Zq7-.nnchen{action}")
    assert not holds(redacted, SECRET)
    assert redacted.event.redacted


@given(
    st.binary(max_size=30), st.binary(max_size=30), st.sampled_from(["", "text/plain", "application/grpc", "image/png"])
)
def test_a_pattern_finds_it_in_bodies_of_any_kind(before: bytes, after: bytes, content_type: str) -> None:
    redacted = redact(before + PLAIN.encode() + after, f"pattern:{PLAIN}", content_type=content_type)
    assert not holds(redacted, PLAIN)


@given(st.sampled_from([gzip.compress, brotli.compress, zstandard.compress]), st.booleans())
def test_a_pattern_finds_it_behind_a_content_coding(compress: Any, is_json: bool) -> None:
    word = {gzip.compress: "gzip", brotli.compress: "br", zstandard.compress: "zstd"}[compress]
    body = json.dumps([PLAIN]).encode() if is_json else f"text {PLAIN}".encode()
    redacted = redact(compress(body), f"pattern:{PLAIN}", content_encoding=word)
    assert redacted.event.request.content_encoding is None
    assert redacted.event.request.body in (b'["[redacted]"]', b"text [redacted]")


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, zstandard.compress])
def test_a_pattern_finds_it_in_what_was_compressed_without_saying_so(compress: Any) -> None:
    redacted = redact(compress(f"text {PLAIN}".encode()), f"pattern:{PLAIN}")
    assert redacted.event.request.body == b"text [redacted]"


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_secret_that_the_capture_limit_cut_does_not_stay_in_part(cut: int) -> None:
    body = b'{"prompt": "' + b"x" * 500 + b' ann.secret@example.com"'
    redacted = redact(body[:-cut], "pattern:@email", truncated=True)
    assert not holds(redacted, "ann.")


@pytest.mark.parametrize("text", ["ann\\u0040example.com", "ann\\\\u0040example.com", "\\u0061nn@example.com"])
def test_an_escape_hides_nothing(text: str) -> None:
    for body in (f'{{"a": "{text}"}}', f'{{"broken": "{text}"'):
        redacted = redact(body.encode(), "pattern:@email")
        assert b"example" not in encode_frame(redacted.event)


def test_tokens_that_spell_a_redacted_text_go_with_it() -> None:
    tokens = [{"token": token, "logprob": -0.1, "bytes": list(token.encode())} for token in (PLAIN[:6], PLAIN[6:])]
    choice = {"index": 0, "message": {"role": "assistant", "content": PLAIN}, "logprobs": {"content": tokens}}
    redacted = redact(json.dumps({"choices": [choice]}).encode(), f"pattern:{PLAIN}", protocol="openai")
    assert request_of(redacted)["choices"][0]["logprobs"] is None


BUILT_IN = {
    "@email": ("mail ann.o'neil+x@mail.example.co.uk now", "mail [redacted] now"),
    "@credit-card": ("cards 4111 1111 1111 1111, 5500-0000-0000-0004 and 1 378282246310005.",
                     "cards [redacted], [redacted] and 1 [redacted]."),
    "@ip": ("from 10.1.2.3:80 and 2001:db8::8a2e:370:7334, ::ffff:10.1.2.3 at 12:30:45",
            "from [redacted]:80 and [redacted], [redacted] at 12:30:45"),
    "@phone": ("call +49 30 901820, (555) 123-4567 or 0044 20 7946 0958 on 2026-11-21",
               "call [redacted], [redacted] or [redacted] on 2026-11-21"),
    "@iban": ("to DE89 3704 0044 0532 0130 00 or GB82WEST12345698765432, not DE00 3704 0044 0532 0130 00",
              "to [redacted] or [redacted], not DE00 3704 0044 0532 0130 00"),
    "@us-ssn": ("ssn 078-05-1120, not 000-12-3456 or 987-65-4320", "ssn [redacted], not 000-12-3456 or 987-65-4320"),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_patterns_find_what_they_are_named_for(name: str) -> None:
    text, expected = BUILT_IN[name]
    redacted = redact(json.dumps({"text": text}).encode(), f"pattern:{name}")
    assert request_of(redacted) == {"text": expected}


def test_a_card_given_as_a_number_goes_and_a_fraction_stays() -> None:
    redacted = redact(
        b'{"card": 4111111111111111, "x": [0.4111111111111111, 4111111111111112]}', "pattern:@credit-card"
    )
    assert request_of(redacted) == {"card": None, "x": [0.4111111111111111, 4111111111111112]}


def test_a_pattern_that_makes_others_go_wild_takes_no_time() -> None:
    redacted = redact(json.dumps(["a" * 50_000]).encode(), "pattern:(a+)+b", "pattern:(a|aa)*c")
    assert not redacted.event.redacted


# --- headers and the rest of the event ----------------------------------------------------------------------------
@given(st.text(max_size=20), actions)
def test_a_header_goes_from_both_halves_in_any_case(value: str, action: str) -> None:
    secret = f"{PLAIN}{value}"
    redacted = redact(b"x", f"header:X-User-Id{action}", headers={"x-user-id": secret, "x-other": "kept"})
    assert not holds(redacted, PLAIN)
    assert redacted.event.response.headers["x-other"] == "kept"
    assert redacted.event.response.body == b"x"


def test_a_pattern_is_looked_for_in_headers_too() -> None:
    redacted = redact(
        b"", "pattern:@email", headers={"x-user": "ann@example.com", "grpc-message": "no ann@example.com"}
    )
    assert redacted.event.request.headers == {"x-user": "[redacted]", "grpc-message": "no [redacted]"}


@pytest.mark.parametrize("rule", ["json:$.error.message", "json:$.error", "pattern:Zq7-.*", "column:message"])
def test_an_error_of_a_stream_keeps_no_secret_that_its_body_lost(rule: str) -> None:
    event = InferenceEvent(
        id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol="openai", status_code=200,
        request=Payload(), response=Payload(body=json.dumps({"error": {"message": SECRET}}).encode()),
        stream_error=SECRET,
    )  # fmt: skip
    redacted = redact(event, rule)
    assert not holds(redacted, SECRET)
    assert redacted.event.stream_error == "[redacted]"


# --- closed where it fails ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", ["json:$.user", "column:user"])
@pytest.mark.parametrize(
    ("body", "half", "reason"),
    [
        (f'{{"user": "{PLAIN}"'.encode(), {}, "not_json"),
        (f"user={PLAIN}".encode(), {"content_type": "application/x-www-form-urlencoded"}, "not_json"),
        (PLAIN.encode(), {"content_encoding": "compress"}, "unknown_encoding"),
        (gzip.compress(PLAIN.encode())[:-20] + b"junkjunkjunk" * 3, {"content_encoding": "gzip"}, "broken_encoding"),
        (gzip.compress(f'{{"user": "{PLAIN}"}}'.encode())[:-9], {"content_encoding": "gzip"}, "truncated"),
        (gzip.compress(b" " * 2_000_000 + PLAIN.encode()), {"content_encoding": "gzip"}, "too_large"),
        (PLAIN.encode() + b"\x00\xff", {"headers": {names.HEADER_BINARY_LENGTH: "0"}}, "raw_tensor"),
        (b"[" * 5000 + PLAIN.encode() + b"]" * 5000, {}, "too_deep"),
        (PLAIN.encode(), {"content_type": "application/grpc"}, "not_json"),
    ],
    ids=["cut json", "form", "unknown coding", "broken coding", "cut coding", "bomb", "raw tensor", "deep", "grpc"],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_left_out_and_told(rule: str, body: bytes, half: dict, reason: str) -> None:
    redacted = redact(body, rule, **half)
    assert redacted.event.request.body == redacted.event.response.body == b""
    assert redacted.event.redacted
    assert redacted.left_out in ([reason] * 2, ["truncated"] * 2)


def test_a_cut_message_of_grpc_is_left_out() -> None:
    body = struct.pack(">BI", 0, 100) + b"\x0a\x04" + PLAIN.encode()
    assert redact(body, "column:x", protocol="v2-grpc", truncated=True).left_out == ["truncated"] * 2


@given(st.binary(max_size=80), st.sampled_from(["v1", "v2", "v2-grpc", "openai"]))
def test_nothing_that_is_sent_breaks_redaction(body: bytes, protocol: str) -> None:
    rules = ("json:$..a", "column:a", "pattern:a")
    for half in ({}, {"headers": {names.HEADER_BINARY_LENGTH: "9"}}, {"content_encoding": "gzip"}):
        redact(body, *rules, protocol=protocol, **half)


@given(anything)
def test_what_no_rule_names_stays_as_it_is(document: Any) -> None:
    redacted = redact(json.dumps({"a": document}).encode(), "json:$.nobody", "column:noone", "pattern:Zq7never")
    assert request_of(redacted) == {"a": document}
    assert not redacted.event.redacted
