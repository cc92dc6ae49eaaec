"""Redaction meets what would slip past it: secrets in pieces, as numbers, in other charsets, in forms few send."""

import encodings
import gzip
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline import names
from driftline.events import InferenceEvent, Payload
from logger_sidecar.finishing.captured import Captured
from logger_sidecar.finishing.redaction import Redactor
from logger_sidecar.finishing.redaction_patterns import TextPattern, compile_pattern
from logger_sidecar.finishing.redaction_pieces import scrub_pieces
from logger_sidecar.finishing.redaction_rules import parse_rules
from logger_sidecar.finishing.redaction_values import Replacement
from logger_sidecar.finishing.steps import finish
from tests.logger_sidecar.finishing.predict_messages import message_types
from tests.logger_sidecar.finishing.redacting import KEY, holds, redact

TYPES = message_types()
SECRET = "ann.secret@example.com"
SAID = f"mail {SECRET} now"
CARD = 4111111111111111


# --- in pieces ----------------------------------------------------------------------------------------------------
def _events(*documents: Any) -> bytes:
    lines = [document if isinstance(document, str) else json.dumps(document) for document in documents]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def _finished(stream: bytes, *rules: str) -> bytes:
    captured = Captured(
        id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol="http", status_code=200,
        request=Payload(), response=Payload(content_type="text/event-stream", body=stream), arrivals=[(1, 1.0)],
    )  # fmt: skip
    redactor = Redactor(parse_rules(rules)[0], KEY, limit_bytes=10**6)
    return finish(captured, redactor, limit_bytes=10**6).event.response.body


def _texts(document: Any) -> str:
    if isinstance(document, list | dict):
        return "".join(map(_texts, document if isinstance(document, list) else document.values()))
    return document if isinstance(document, str) else ""


FORMS = {
    "plain texts": lambda piece: piece,
    "tokens of a server of one's own": lambda piece: {"token": {"text": piece}, "n": [1]},
    "deltas in a list": lambda piece: {"deltas": [{"n": 1}, piece]},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(cuts=st.lists(st.integers(1, len(SAID) - 1), unique=True, min_size=1, max_size=9).map(sorted))
def test_a_stream_of_any_form_holds_no_part_of_a_secret_cut_anywhere(form: Any, cuts: list[int]) -> None:
    pieces = [SAID[start:end] for start, end in zip([0, *cuts], [*cuts, len(SAID)], strict=True)]
    stream = _events(*map(form, pieces))
    assert _texts(json.loads(_finished(stream, "pattern:@email"))) == "mail [redacted] now"


@given(cut=st.integers(1, len(SAID) - 1))
def test_rows_of_a_stream_s_tensors_are_pieces_too(cut: int) -> None:
    tensors = [
        {"outputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [piece]}]}
        for piece in (SAID[:cut], SAID[cut:])
    ]
    (output,) = json.loads(_finished(_events(*tensors), "pattern:@email"))["outputs"]
    assert "".join(output["data"]) == "mail [redacted] now"
    assert output["shape"] == [2]


@pytest.mark.parametrize("raw", [True, False])
@given(cut=st.integers(1, len(SAID) - 1))
def test_messages_of_a_streamed_call_are_pieces_too(raw: bool, cut: int) -> None:
    body = b""
    for piece in (SAID[:cut].encode(), SAID[cut:].encode()):
        message = TYPES["Response"](model_name="m")
        tensor = message.outputs.add(name="text_output", datatype="BYTES", shape=[1])
        if raw:
            message.raw_output_contents.append(struct.pack("<I", len(piece)) + piece)
        else:
            tensor.contents.bytes_contents.append(piece)
        written = TYPES["StreamResponse"](infer_response=message).SerializeToString()
        body += struct.pack(">BI", 0, len(written)) + written
    event = InferenceEvent(
        id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol="v2-grpc", status_code=200,
        request=Payload(), response=Payload(content_type="application/grpc", body=body), chunk_count=2,
    )  # fmt: skip
    redacted = redact(event, "pattern:@email")
    assert redacted.left_out == []
    assert redacted.event.response.body.count(b"[redacted]") == 1
    assert b"ann" not in redacted.event.response.body
    assert b"example" not in redacted.event.response.body


@given(cut=st.integers(1, len(SAID) - 1))
def test_json_lines_are_documents_and_their_texts_pieces(cut: int) -> None:
    body = b"".join(json.dumps({"user": "Ann", "said": piece}).encode() + b"\n" for piece in (SAID[:cut], SAID[cut:]))
    redacted = redact(body, "pattern:@email", "column:user")
    lines = [json.loads(line) for line in redacted.event.request.body.splitlines()]
    assert "".join(line["said"] for line in lines) == "mail [redacted] now"
    assert [line["user"] for line in lines] == ["[redacted]"] * 2


@given(
    st.lists(st.sampled_from(["ann@example.com", "b@example.org, c", "no", "", "4", f"{CARD}", "x@"]), max_size=6),
    st.sampled_from(["@email", "@credit-card", "[a-z]{2,}"]),
)
def test_what_goes_as_pieces_leaves_nothing_that_goes_from_each_alone(texts: list[str], name: str) -> None:
    pattern = compile_pattern(name)
    parts = list(texts)
    scrub_pieces(parts, [(pattern, Replacement(None))])
    assert len(parts) == len(texts)
    for text, part in zip(texts, parts, strict=True):
        alone = [found for found in _found(pattern, text) if found in part]
        assert alone == [found for found in _found(pattern, part) if found in alone]


def _found(pattern: TextPattern, text: str) -> list[str]:
    return [text[start:end] for start, end in pattern.spans(text.encode())]


def test_texts_that_are_said_again_and_again_are_no_pieces() -> None:
    events = [{"id": "r-4111", "token": "a"}, {"id": "r-4111", "token": "b"}]
    assert json.loads(_finished(_events(*events), "pattern:[0-9]r")) == events


# --- as numbers ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("datatype", ["INT64", "UINT64", "FP64"])
@pytest.mark.parametrize("is_binary", [True, False])
def test_a_number_that_a_pattern_finds_goes_from_tensors_as_from_json(datatype: str, is_binary: bool) -> None:
    values = [CARD, 7] if datatype != "FP64" else [float(CARD), 7.5]
    raw = struct.pack({"INT64": "<2q", "UINT64": "<2Q", "FP64": "<2d"}[datatype], *values)
    tensor: dict[str, Any] = {"name": "a", "datatype": datatype, "shape": [2]}
    tensor |= {"parameters": {"binary_data_size": len(raw)}} if is_binary else {"data": values}
    head = json.dumps({"inputs": [tensor], "outputs": [tensor]}).encode()
    headers = {names.HEADER_BINARY_LENGTH: str(len(head))} if is_binary else {}
    redacted = redact(head + raw if is_binary else head, "pattern:@credit-card", headers=headers, protocol="v2")
    body = redacted.event.request.body
    if is_binary:
        assert body.endswith(b"\0" * 8 + raw[8:])
    else:
        assert json.loads(body)["inputs"][0]["data"] == [None, values[1]]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_bits_of_half_precision_are_no_numbers(datatype: str) -> None:
    raw = struct.pack("<2H", 15360, 7)
    tensor = {"name": "a", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "outputs": [tensor]}).encode()
    redacted = redact(head + raw, "pattern:15360", headers={names.HEADER_BINARY_LENGTH: str(len(head))})
    assert redacted.event.request.body.endswith(raw)


@pytest.mark.parametrize("written", ["4111111111111111.0", "4.111111111111111e15", "-4111111111111111"])
def test_a_whole_number_is_one_however_it_is_written(written: str) -> None:
    redacted = redact(f'{{"a": [{written}], "b": {written}, "c": 0.5}}'.encode(), "pattern:@credit-card")
    assert json.loads(redacted.event.request.body) == {"a": [None], "b": None, "c": 0.5}


# --- in texts that are read in another way -----------------------------------------------------------------------
@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16-le", "UTF-32", "cp037", "utf-7"])
def test_a_text_is_looked_at_in_the_charset_that_it_names(charset: str) -> None:
    secret = "zoë.secret@example.com"
    redacted = redact(
        f"mail {secret} now".encode(charset), "pattern:@email", content_type=f'text/plain; Charset="{charset}"'
    )
    assert redacted.event.request.body.decode(charset) == "mail [redacted] now"


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [SAID, json.dumps({"a": SAID})])
def test_wide_characters_need_no_name(charset: str, text: str) -> None:
    redacted = redact(text.encode(charset), "pattern:@email", content_type="text/plain")
    body = redacted.event.request.body
    assert "mail [redacted] now" in body.decode("utf-8" if text[0] == "{" else charset)


def test_a_charset_that_nobody_knows_is_not_remembered() -> None:
    for number in range(3):
        redact(b"plain", "pattern:@email", content_type=f"text/plain; charset=none-{number}")
    assert not [name for name in encodings._cache if name.startswith("none")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("charset", ["iso-8859-1", "ascii", "no-such-charset", "hex", "idna", "undefined"])
def test_a_charset_that_is_not_the_body_s_hides_nothing(charset: str) -> None:
    redacted = redact("für ännchen".encode(), "pattern:ännchen", content_type=f"text/plain; charset={charset}")
    assert redacted.event.request.body.decode() == "für [redacted]"


@pytest.mark.parametrize("tail", [b"\0", b"\xff"])
def test_an_escape_in_what_is_no_text_hides_nothing(tail: bytes) -> None:
    redacted = redact(b'{"a": "ann\\u0040example.com"}' + tail, "pattern:@email")
    assert not holds(redacted, "ann")
    assert redacted.left_out == ["opaque"] * 2
    assert redact(b'{"a": "\\u00fc"}' + tail, "pattern:@email").event.request.body.endswith(tail)


def test_fields_of_a_form_are_looked_at_without_their_escapes() -> None:
    form = "application/x-www-form-urlencoded; charset=utf-8"
    redacted = redact(b"q=a+b&key=sk%2Dlive-123&n=", "pattern:sk-live-[0-9]+", content_type=form)
    assert redacted.event.request.body == b"q=a+b&key=%5Bredacted%5D&n="
    untouched = b"q=a+b%20c&key=%2d&&n"
    assert redact(untouched, "pattern:sk-live", content_type=form).event.request.body == untouched


def test_a_status_message_of_grpc_is_looked_at_without_its_escapes() -> None:
    redacted = redact(b"", "pattern:änne.*", headers={"grpc-message": "100%25 %C3%A4nne is not known"})
    assert redacted.event.response.headers["grpc-message"] == "100%25 [redacted]"
    kept = {"grpc-message": "50% %zz"}
    assert redact(b"", "pattern:änne", headers=kept).event.response.headers == kept


@pytest.mark.parametrize("rule", ["pattern:@email", "header:content-type"])
@pytest.mark.parametrize("body", [b"", b"text", b'{"a": 1}'])
def test_what_a_content_type_says_besides_is_a_header_s_value(rule: str, body: bytes) -> None:
    redacted = redact(body, rule, content_type=f'application/json; by="{SECRET}"')
    assert not holds(redacted, SECRET)
    assert redacted.event.redacted


@pytest.mark.parametrize("word", [None, "gzip", "identity"])
@pytest.mark.parametrize("rule", ["pattern:@email", "json:$.user"])
def test_what_was_packed_twice_is_unpacked_twice(word: str | None, rule: str) -> None:
    body = gzip.compress(gzip.compress(json.dumps({"user": SECRET}).encode()))
    redacted = redact(body, rule, content_encoding=word)
    assert json.loads(redacted.event.request.body) == {"user": "[redacted]"}


def test_what_is_packed_without_end_is_left_out() -> None:
    body = SECRET.encode()
    for _ in range(12):
        body = gzip.compress(body)
    redacted = redact(body, "pattern:@email")
    assert (redacted.event.request.body, redacted.left_out) == (b"", ["opaque"] * 2)


@pytest.mark.parametrize("count", range(1, len(SECRET)))
def test_json_without_an_end_is_taken_as_cut_though_nobody_says_so(count: int) -> None:
    body = b'[{"a": "' + b"x" * 400 + b'"}, "' + SECRET[:count].encode()
    redacted = redact(body, "pattern:@email")
    assert redacted.event.request.body == body[:-256]
    assert redacted.event.truncated


# --- in a form that a server would refuse -----------------------------------------------------------------------
TENSOR = {"name": "email", "datatype": "BYTES", "shape": [1], "data": [SECRET]}
ODD_COLUMNS = {
    "behind what is no tensor": {"inputs": [{}, None, TENSOR]},
    "a tensor without its type": {"inputs": [{"name": "email", "data": [SECRET]}]},
    "a tensor and no list": {"inputs": TENSOR},
    "a row with the members of a tensor": {"instances": [{"name": "x", "shape": "round", "email": SECRET}]},
    "values of TensorFlow": {"data": {"names": ["email"], "tftensor": {"dtype": "DT_STRING", "stringVal": [SECRET]}}},
    "names of several levels": {"dataframe_split": {"columns": [["user", "email"]], "data": [[SECRET]]}},
    "a row beside rows": {"data": {"names": ["email"], "ndarray": [SECRET, [SECRET], {"email": SECRET}]}},
}  # fmt: skip


@pytest.mark.parametrize("action", ["", " => hash"])
@pytest.mark.parametrize("document", ODD_COLUMNS.values(), ids=ODD_COLUMNS)
def test_a_column_is_found_where_a_server_would_not_look(document: Any, action: str) -> None:
    redacted = redact(json.dumps(document).encode(), f"column:email{action}")
    assert not holds(redacted, SECRET)
    assert redacted.event.redacted


def test_the_name_of_a_tensor_is_no_value_of_the_column_name() -> None:
    document = {"inputs": [{**TENSOR, "data": [{"name": SECRET}]}]}
    redacted = redact(json.dumps(document).encode(), "column:name", "column:shape", "column:datatype")
    assert json.loads(redacted.event.request.body) == {"inputs": [{**TENSOR, "data": [{"name": "[redacted]"}]}]}


# --- in what takes a clumsy reader hours -------------------------------------------------------------------------
def test_backslashes_without_end_take_no_longer_than_other_texts() -> None:
    body = "\\" * 10**6 + " mail ann.secret\\u0040example.com now"
    redacted = redact(body.encode(), "pattern:@email", content_type="text/plain")
    assert redacted.event.request.body.decode() == "\\" * 10**6 + " mail [redacted] now"


def test_names_of_members_that_become_alike_take_no_longer_the_more_there_are() -> None:
    document = {f"a{number}@example.com": number for number in range(50_000)}
    redacted = json.loads(redact(json.dumps(document).encode(), "pattern:@email").event.request.body)
    assert list(redacted)[:3] == ["[redacted]", "[redacted] 2", "[redacted] 3"]
    assert list(redacted.values()) == list(range(50_000))


def test_a_column_named_again_and_again_takes_no_longer_for_every_row() -> None:
    rows: list[list[str]] = [[], [SECRET], *([] for _ in range(100_000))]
    body = json.dumps({"data": {"names": ["user"] * 100_000, "ndarray": rows}}).encode()
    redacted = redact(body, "column:user")
    assert json.loads(redacted.event.request.body)["data"]["ndarray"][:3] == [[], ["[redacted]"], []]


def test_of_two_rules_for_the_levels_of_one_column_the_one_that_leaves_nothing_decides() -> None:
    body = json.dumps({"columns": [["a", "b"], ["b", "a"], "a"], "data": [["Ann", "Ann", "Ann"]]}).encode()
    [row] = json.loads(redact(body, "column:a => hash", "column:b").event.request.body)["data"]
    assert row[:2] == ["[redacted]"] * 2
    assert row[2].startswith("hmac:")


def test_texts_deep_in_a_document_are_pieces_too() -> None:
    def deep(texts: list[str]) -> Any:
        document: Any = texts
        for _ in range(200):
            document = [document]
        return document

    pieces = [SAID[:9], SAID[9:]]
    lines = [deep(["a"] * 50_000 + [piece]) for piece in pieces]
    redacted = redact("\n".join(map(json.dumps, lines)).encode(), "pattern:@email")
    assert "".join(_texts(json.loads(line)).strip("a") for line in redacted.event.request.body.splitlines()) == (
        "mail [redacted] now"
    )
