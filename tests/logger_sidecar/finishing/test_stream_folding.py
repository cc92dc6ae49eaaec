"""Streams folded: a completion cut into chunks comes back; the openai package's own types are the oracle."""

import gzip
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from driftline.events import Payload
from logger_sidecar.finishing.captured import Captured
from logger_sidecar.finishing.steps import finish
from logger_sidecar.finishing.stream_folding import NO_DOCUMENT, NO_DONE, NO_RESPONSE_END, error_in, fold_stream

words = st.text(max_size=12)
finishes = st.sampled_from(["stop", "length", "tool_calls"])
HEAD = {"id": "c1", "created": 1_700_000_000, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | st.text(min_size=1))}
    if draw(st.booleans()):
        calls = draw(st.lists(st.tuples(st.text("abc", min_size=1), words), min_size=1, max_size=3))
        made["tool_calls"] = [
            {"id": f"call{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for place, (name, arguments) in enumerate(calls)
        ]
    if draw(st.booleans()):
        made["reasoning_content"] = draw(st.text(min_size=1))
    if draw(st.booleans()):
        made["refusal"] = draw(st.text(min_size=1))
    return made


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    choices = [
        {"index": index, "message": message, "finish_reason": draw(finishes)}
        for index, message in enumerate(draw(st.lists(messages(), min_size=1, max_size=3)))
    ]
    return {**HEAD, "object": "chat.completion", "choices": choices, "usage": USAGE}


def pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted({0, len(text), *draw(st.lists(st.integers(0, len(text)), max_size=4))})
    return [text[start:end] for start, end in pairwise(cuts)] or [""]


def _deltas(draw: st.DrawFn, message: dict[str, Any]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": message["role"]}]
    for name in ("content", "reasoning_content", "refusal"):
        if isinstance(message.get(name), str):
            deltas += [{name: piece} for piece in pieces(draw, message[name])]
    for place, call in enumerate(message.get("tool_calls", [])):
        first, *rest = pieces(draw, call["function"]["arguments"])
        function = {**call["function"], "arguments": first}
        deltas.append({"tool_calls": [{**call, "index": place, "function": function}]})
        deltas += [{"tool_calls": [{"index": place, "function": {"arguments": piece}}]} for piece in rest]
    return deltas


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    completion = draw(completions())
    head = {**HEAD, "object": "chat.completion.chunk"}
    queues = []
    for choice in completion["choices"]:
        said = [
            {"index": choice["index"], "delta": delta, "finish_reason": None}
            for delta in _deltas(draw, choice["message"])
        ]
        queues.append([*said, {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}])
    chunks = []
    while any(queues):  # choices come in turns, in any order
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        chunks.append({**head, "choices": [queue.pop(0)]})
    return completion, [*chunks, {**head, "choices": [], "usage": USAGE}]


def sse(payloads: list[Any], *, done: bool = True, end: str = "\n\n") -> bytes:
    lines = [f"data: {json.dumps(payload)}{end}" for payload in payloads]
    return "".join([*lines, f"data: [DONE]{end}" if done else ""]).encode()


def fold(body: bytes, *, cut: bool = False) -> tuple[Any, str]:
    folded = fold_stream(body, [], ends_early=cut)
    return json.loads(folded.body), folded.stream_error


@given(streams())
def test_a_completion_cut_into_chunks_comes_back(made: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    completion, chunks = made
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    folded = fold_stream(sse(chunks), [], ends_early=False)
    document = json.loads(folded.body)
    assert document == completion
    ChatCompletion.model_validate(document)
    assert (folded.chunk_count, folded.stream_error) == (len(chunks), "")


@given(streams(), st.data())
def test_how_the_stream_came_in_pieces_changes_nothing_but_the_times(
    made: tuple[dict[str, Any], list[dict[str, Any]]], data: st.DataObject
) -> None:
    body = sse(made[1])
    ends = sorted({*data.draw(st.lists(st.integers(1, len(body)), max_size=9)), len(body)})
    arrivals = [(end, float(end)) for end in ends]
    folded = fold_stream(body, arrivals, ends_early=False)
    assert folded._replace(ttft_ms=0) == fold_stream(body, [], ends_early=False)
    if folded.ttft_ms:
        # The piece that completed the first content, and no later one.
        first = fold_stream(body, [(end, float(end)) for end in range(1, len(body) + 1)], ends_early=False).ttft_ms
        assert folded.ttft_ms == min(end for end in ends if end >= first)


@given(streams(), st.integers(0, 4000))
def test_a_cut_stream_is_folded_as_far_as_it_goes(made: tuple[dict[str, Any], list[dict[str, Any]]], cut: int) -> None:
    completion, chunks = made
    document, error = fold(sse(chunks)[:cut], cut=True)
    assert error == ""
    for choice in document["choices"] if isinstance(document, dict) else []:
        whole = completion["choices"][choice["index"]]["message"]["content"]
        assert (whole or "").startswith(choice["message"]["content"] or "")


def test_a_completion_of_the_older_kind_is_one_text() -> None:
    head = {**HEAD, "object": "text_completion"}
    said = [("Hel", None), ("lo", None), ("", "stop")]
    chunks = [
        {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": end}]} for text, end in said
    ]
    document, error = fold(sse(chunks))
    assert (document["choices"][0]["text"], document["choices"][0]["finish_reason"], error) == ("Hello", "stop", "")
    Completion.model_validate(document)


def test_logprobs_of_chunks_are_joined() -> None:
    token = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [token], "refusal": None}}
    chunk = {**HEAD, "object": "chat.completion.chunk", "choices": [{**choice, "finish_reason": None}]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    document, _ = fold(sse([chunk, chunk, last]))
    ChatCompletion.model_validate(document)
    assert len(document["choices"][0]["logprobs"]["content"]) == 2


RESPONSE = {
    "id": "r1", "object": "response", "created_at": 1, "model": "m", "output": [], "parallel_tool_calls": True,
    "tool_choice": "auto", "tools": [],
}  # fmt: skip


def _response_events() -> list[dict[str, Any]]:
    item = {"type": "message", "id": "i", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    place = {"output_index": 0, "content_index": 0, "item_id": "i"}
    return [
        {"type": "response.created", "response": RESPONSE},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "Hel"},
        {"type": "response.output_text.delta", **place, "delta": "lo"},
    ]


def test_the_responses_api_ends_with_its_own_object() -> None:
    whole = {**RESPONSE, "status": "completed", "output": [{"type": "message", "content": "as the server says"}]}
    events = [*_response_events(), {"type": "response.completed", "response": whole}]
    assert fold(sse(events, done=False)) == (whole, "")


def test_a_response_that_breaks_off_is_put_together_from_its_deltas() -> None:
    document, error = fold(sse(_response_events(), done=False))
    assert document["output"][0]["content"][0]["text"] == "Hello"
    Response.model_validate(document)
    assert error == NO_RESPONSE_END


def test_a_failed_response_tells_its_error() -> None:
    failed = {**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "no GPU"}}
    assert fold(sse([{"type": "response.failed", "response": failed}], done=False))[1] == "no GPU"


def test_tritons_generate_stream_is_one_text() -> None:
    said = [{"model_name": "llm", "model_version": "1", "text_output": text} for text in ("Hel", "lo")]
    assert fold(sse(said, done=False)) == ({"model_name": "llm", "model_version": "1", "text_output": "Hello"}, "")


def test_the_rows_of_several_v2_answers_are_one_tensor() -> None:
    def answer(*rows: str) -> dict[str, Any]:
        return {
            "model_name": "m",
            "outputs": [{"name": "o", "shape": [len(rows), 1], "datatype": "BYTES", "data": [*rows]}],
        }

    document, _ = fold(sse([answer("a"), answer("b", "c")], done=False))
    assert document == answer("a", "b", "c")


def test_v2_answers_that_cannot_be_one_tensor_are_a_list() -> None:
    said = [{"outputs": [{"name": "o", "shape": [1, n], "datatype": "FP32", "data": [0.0] * n}]} for n in (1, 2)]
    assert fold(sse(said, done=False))[0] == said


def test_anything_else_is_a_list() -> None:
    assert fold(b'data: one\n\ndata: {"two": 2}\n\ndata: [DONE]\n\n') == (["one", {"two": 2}], "")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"error": "CUDA\nout of memory"}, "CUDA out of memory"),
        ({"error": {"message": "overloaded", "code": 503}}, "overloaded"),
        ({"error": {"code": 503}}, '{"code":503}'),
        ({"object": "error", "message": "overloaded", "type": "InternalServerError", "code": 500}, "overloaded"),
        ({"error": "x" * 1000}, "x" * 512),
    ],
)
def test_an_error_inside_a_stream_is_told(payload: dict[str, Any], expected: str) -> None:
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "so far"}}]}
    document, error = fold(sse([chunk, payload], done=False))
    assert error == expected == error_in(document)
    assert document["choices"][0]["message"]["content"] == "so far"
    assert fold(sse([payload], done=False)) == (payload, expected)


def test_an_event_of_the_type_error_is_one() -> None:
    assert fold(b"event: error\ndata: went away\n\n")[1] == "went away"


def test_a_chat_without_its_end_says_so_but_not_where_the_capture_was_cut() -> None:
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    assert fold(sse([chunk], done=False))[1] == NO_DONE
    assert fold(sse([chunk], done=False), cut=True)[1] == ""
    assert fold(sse([chunk])[:-1])[1] == ""  # [DONE] without its blank line is an end all the same


def test_an_event_that_is_no_document_leaves_a_word_that_it_lacks() -> None:
    chunks = [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]} for text in "ac"
    ]
    between = sse(chunks[:1], done=False) + b"data: {broken\n\n" + sse(chunks[1:])
    document, error = fold(between)
    assert document["choices"][0]["message"]["content"] == "ac"
    assert error == NO_DOCUMENT
    assert fold(b"data: plain words\n\ndata: more of them\n\n") == (["plain words", "more of them"], "")


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["choices", "delta", "text", "outputs", "name", "shape", "data", "type", "error", "text_output",
                     "index", "tool_calls", "object", "response"]) | st.text(), inner), max_leaves=20))  # fmt: skip
def test_whatever_a_server_says_becomes_json(payload: Any) -> None:
    folded = fold_stream(sse([payload, payload]), [(10, 1.0)], ends_early=False)
    json.loads(folded.body)
    assert folded.chunk_count == 2
    assert "\n" not in folded.stream_error
    assert len(folded.stream_error) <= 512


def _captured(body: bytes, encoding: str | None, arrivals: list[tuple[int, float]], *, truncated: bool) -> Captured:
    response = Payload(content_type="Text/Event-Stream; charset=utf-8", content_encoding=encoding, body=body)
    return Captured(
        id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol="openai", status_code=200,
        request=Payload(), response=response, arrivals=arrivals, truncated=truncated,
    )  # fmt: skip


def test_a_compressed_stream_is_folded_and_its_first_content_timed() -> None:
    chunks = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]} for delta in
              ({"role": "assistant"}, {"content": "a"})]  # fmt: skip
    first, rest = gzip.compress(sse(chunks[:1], done=False)), gzip.compress(sse(chunks[1:]))
    arrivals = [(len(first), 5.0), (len(first) + 9, 6.0), (len(first + rest), 7.0)]
    event = finish(_captured(first + rest, "gzip", arrivals, truncated=False), None, limit_bytes=10**6).event
    assert json.loads(event.response.body)["choices"][0]["message"]["content"] == "a"
    assert (event.ttft_ms, event.chunk_count, event.response.content_encoding) == (7.0, 2, None)


def test_a_bomb_of_a_stream_is_cut_and_marked() -> None:
    bomb = gzip.compress(b": nothing\n" * 500_000)
    event = finish(_captured(bomb, "gzip", [(len(bomb), 1.0)], truncated=False), None, limit_bytes=10**6).event
    assert event.truncated
    assert len(event.response.body) < 10


@pytest.mark.parametrize(("seen", "expected"), [(300, ""), (0, NO_DONE)])
def test_only_a_cut_answer_excuses_a_missing_end(seen: int, expected: str) -> None:
    body = sse([{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "a"}}]}], done=False)
    captured = _captured(body, None, [(max(seen, len(body)), 1.0)], truncated=True)
    assert finish(captured, None, limit_bytes=10**6).event.stream_error == expected


def test_a_stream_in_an_unknown_coding_stays_as_it_was() -> None:
    captured = _captured(b"\x00\x01", "compress", [(2, 1.0)], truncated=False)
    event = finish(captured, None, limit_bytes=100).event
    assert (event.response, event.chunk_count) == (captured.response, 0)
