"""OpenAI's protocols and Triton's generate: the same fields from whole answers, folded streams and raw ones."""

import base64
import json
import struct
from typing import Any

import openai.types
import openai.types.chat
import openai.types.responses
import pytest

from driftline.events import Payload
from driftline.monitors import Monitor
from logger_sidecar.finishing.stream_folding import fold_stream
from tests.serving.codecs.reading_examples import columns, monitor_of

FIELDS = ("answer", "refusal", "reasoning", "finish_reason")
COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "tool_calls",
    "choices",
)
ASKED = ("prompt", "system", "conversation")
ASKED_COUNTS = ("messages", "images", "tools")


def watch(request: tuple[str, ...] = (), response: tuple[str, ...] = ()) -> Monitor:
    """A monitor that shows these fields as they are."""
    numbers = {*COUNTS, *ASKED_COUNTS}
    return monitor_of(
        [
            {
                "name": f"{half}_{name}",
                "type": "numeric" if name in numbers else "categorical",
                "from": name if half == "request" else f"response.{name}",
            }
            for half, names in (("request", request), ("response", response))
            for name in names
        ]
    )


def shown(request: Any, response: Any, monitor: Monitor, **changes: Any) -> dict[str, Any]:
    """The only row, without what is missing."""
    found = columns(request, response, monitor, **changes)
    assert all(len(values) == 1 for values in found.values())
    return {name: values[0] for name, values in found.items() if values[0] is not None}


CHAT_REQUEST = {
    "model": "gpt",
    "temperature": 0.5,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "First."},
        {"role": "assistant", "content": "Ok."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example/i.png"}},
            ],
        },
    ],
}
CHAT_ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": "A cat — 猫.",
                "refusal": None,
                "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}
CHAT_EXPECTED = {
    "response_answer": "A cat — 猫.",
    "response_finish_reason": "tool_calls",
    "response_prompt_tokens": 11.0,
    "response_completion_tokens": 7.0,
    "response_total_tokens": 18.0,
    "response_cached_tokens": 4.0,
    "response_reasoning_tokens": 3.0,
    "response_tool_calls": 1.0,
    "response_choices": 1.0,
}
ANSWER = watch(response=(*FIELDS, *COUNTS))


def test_a_chat_request_shows_its_texts_and_counts() -> None:
    found = shown(CHAT_REQUEST, CHAT_ANSWER, watch(request=(*ASKED, *ASKED_COUNTS)))
    assert found == {
        "request_prompt": "What is this?",
        "request_system": "Be kind.",
        "request_conversation": "Be kind.\nFirst.\nOk.\nWhat is this?",
        "request_messages": 4.0,
        "request_images": 1.0,
        "request_tools": 1.0,
    }


def test_a_chat_answer_shows_what_openais_own_model_of_it_says() -> None:
    typed = openai.types.chat.ChatCompletion.model_validate(CHAT_ANSWER, strict=True)
    found = shown(CHAT_REQUEST, CHAT_ANSWER, ANSWER)
    assert found == CHAT_EXPECTED
    assert found["response_answer"] == typed.choices[0].message.content
    assert typed.usage is not None
    assert found["response_total_tokens"] == typed.usage.total_tokens


def stream(*items: Any, done: bool = True, end: str = "\n") -> bytes:
    lines = [f"data: {json.dumps(item) if not isinstance(item, str) else item}{end}{end}" for item in items]
    return "".join([*lines, f"data: [DONE]{end}{end}" if done else ""]).encode()


def chunk(**choice: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt",
        "choices": [{"index": 0, **choice}],
    }


CHAT_CHUNKS = [
    chunk(delta={"role": "assistant", "content": ""}),
    chunk(delta={"content": "A cat "}),
    chunk(delta={"content": "— 猫."}),
    chunk(
        delta={"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}]}
    ),
    chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    chunk(delta={}, finish_reason="tool_calls"),
    {**chunk(), "choices": [], "usage": CHAT_ANSWER["usage"]},
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_raw_stream_of_a_chat_shows_what_the_whole_answer_does(end: str) -> None:
    raw = b": keep-alive" + end.encode() * 2 + stream(*CHAT_CHUNKS, end=end)
    assert shown(CHAT_REQUEST, raw, ANSWER) == CHAT_EXPECTED


def test_a_stream_folded_by_the_sidecar_shows_the_same() -> None:
    folded = fold_stream(stream(*CHAT_CHUNKS), [], ends_early=False)
    assert shown(CHAT_REQUEST, folded.body, ANSWER, chunk_count=folded.chunk_count) == CHAT_EXPECTED


def test_a_stream_that_broke_off_shows_what_was_said() -> None:
    raw = stream(*CHAT_CHUNKS[:3], done=False)[:-1]
    assert shown(CHAT_REQUEST, raw, ANSWER) == {
        "response_answer": "A cat — 猫.",
        "response_tool_calls": 0.0,
        "response_choices": 1.0,
    }


COMPLETION_REQUEST = {"model": "m", "prompt": ["One", "Two"], "max_tokens": 5}
COMPLETION_ANSWER = {
    "id": "x",
    "object": "text_completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 1, "text": " b", "finish_reason": "length", "logprobs": None},
        {"index": 0, "text": " a", "finish_reason": "stop", "logprobs": None},
    ],
    "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
}


def test_completions_have_a_row_for_each_prompt() -> None:
    openai.types.Completion.model_validate(COMPLETION_ANSWER, strict=True)
    monitor = watch(request=("prompt",), response=("answer", "finish_reason", "total_tokens"))
    assert columns(COMPLETION_REQUEST, COMPLETION_ANSWER, monitor) == {
        "request_prompt": ["One", "Two"],
        "response_answer": [" a", " b"],
        "response_finish_reason": ["stop", "length"],
    }


def test_of_several_completions_of_a_prompt_the_first_counts() -> None:
    choices = [{"index": index, "text": str(index), "finish_reason": "stop"} for index in range(6)]
    monitor = watch(request=("prompt",), response=("answer",))
    found = columns({**COMPLETION_REQUEST, "n": 3}, {"object": "text_completion", "choices": choices}, monitor)
    assert found["response_answer"] == ["0", "3"]
    single = columns(
        {"model": "m", "prompt": "One", "n": 6}, {"choices": choices}, watch(response=("answer", "choices"))
    )
    assert single == {"response_answer": ["0"], "response_choices": [6.0]}


def test_a_stream_of_a_completion_shows_its_text() -> None:
    parts = [{"object": "text_completion", "choices": [{"index": 0, "text": text}]} for text in ("He", "llo")]
    last = {"object": "text_completion", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    monitor = watch(request=("prompt",), response=("answer", "finish_reason"))
    found = shown({"model": "m", "prompt": "Say"}, stream(*parts, last), monitor)
    assert found == {"request_prompt": "Say", "response_answer": "Hello", "response_finish_reason": "stop"}


EMBEDDINGS = {
    "object": "list",
    "model": "e",
    "data": [
        {"object": "embedding", "index": 1, "embedding": [0.0, -2.0]},
        {"object": "embedding", "index": 0, "embedding": [3.0, 4.0]},
    ],
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}
EMBEDDING_MONITOR = monitor_of(
    [
        {"name": "length", "type": "numeric", "from": "prompt", "as": "characters"},
        *(
            {"name": name, "type": "numeric", "from": "response.embedding", "as": name}
            for name in ("dimension", "norm", "mean", "deviation", "smallest", "largest")
        ),
        {"name": "first", "type": "numeric", "from": "response.embedding[0]"},
    ]
)


def test_embeddings_have_a_row_for_each_input_and_become_numbers() -> None:
    openai.types.CreateEmbeddingResponse.model_validate(EMBEDDINGS, strict=True)
    expected = {
        "length": [3.0, 5.0],
        "dimension": [2.0, 2.0],
        "norm": [5.0, 2.0],
        "mean": [3.5, -1.0],
        "deviation": [0.5, 1.0],
        "smallest": [3.0, -2.0],
        "largest": [4.0, 0.0],
        "first": [3.0, 0.0],
    }
    request = {"model": "e", "input": ["one", "three"]}
    assert columns(request, EMBEDDINGS, EMBEDDING_MONITOR) == expected
    data: Any = EMBEDDINGS["data"]
    packed = [{**item, "embedding": base64.b64encode(struct.pack("<2f", *item["embedding"])).decode()} for item in data]
    assert columns(request, {**EMBEDDINGS, "data": packed}, EMBEDDING_MONITOR) == expected


RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1.0,
    "model": "m",
    "status": "completed",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {"id": "th", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"id": "f", "type": "function_call", "call_id": "k", "name": "f", "arguments": "{}", "status": "completed"},
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        },
    ],
    "usage": {
        "input_tokens": 9,
        "output_tokens": 4,
        "total_tokens": 13,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 2},
    },
}
RESPONSE_EXPECTED = {
    "response_answer": "Hello",
    "response_reasoning": "Hm.",
    "response_finish_reason": "completed",
    "response_prompt_tokens": 9.0,
    "response_completion_tokens": 4.0,
    "response_total_tokens": 13.0,
    "response_cached_tokens": 1.0,
    "response_reasoning_tokens": 2.0,
    "response_tool_calls": 1.0,
    "response_choices": 1.0,
}


def test_the_responses_api_shows_the_same_fields() -> None:
    typed = openai.types.responses.Response.model_validate(RESPONSE)
    found = shown({"model": "m", "input": "Hi"}, RESPONSE, ANSWER)
    assert found == RESPONSE_EXPECTED
    assert found["response_answer"] == typed.output_text


def test_a_raw_stream_of_the_responses_api_shows_the_same() -> None:
    events = [
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", "output_index": 2, "content_index": 0, "delta": "Hel"},
        {"type": "response.output_text.delta", "output_index": 2, "content_index": 0, "delta": "lo"},
    ]
    whole = stream(*events, {"type": "response.completed", "response": RESPONSE}, done=False)
    assert shown({"model": "m", "input": "Hi"}, whole, ANSWER) == RESPONSE_EXPECTED
    torn = shown({"model": "m", "input": "Hi"}, stream(*events, done=False), ANSWER)
    assert (torn["response_answer"], torn["response_finish_reason"]) == ("Hello", "in_progress")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Hi", {"request_prompt": "Hi", "request_system": "Be kind."}),
        (
            [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, {"type": "reasoning", "summary": []}],
            {
                "request_prompt": "Hi",
                "request_system": "Be kind.",
                "request_conversation": "Hi",
                "request_messages": 2.0,
                "request_images": 0.0,
                "request_tools": 0.0,
            },
        ),
    ],
)
def test_the_input_of_the_responses_api_is_a_text_or_a_conversation(given: Any, expected: dict[str, Any]) -> None:
    request = {"model": "m", "instructions": "Be kind.", "input": given}
    assert shown(request, RESPONSE, watch(request=(*ASKED, *ASKED_COUNTS))) == expected


GENERATE = monitor_of(
    [
        {"name": "length", "type": "numeric", "from": "prompt", "as": "characters"},
        {"name": "text", "type": "categorical", "from": "response.answer"},
        {"name": "temperature", "type": "numeric", "from": "parameters.temperature"},
        {"name": "version", "type": "categorical", "from": "response.model_version"},
    ]
)


def test_generate_whole_streamed_and_folded_shows_the_same() -> None:
    request = {"id": "g", "text_input": "Say hi", "parameters": {"temperature": 0.25}}
    parts = [{"model_name": "m", "model_version": "1", "text_output": text} for text in ("Hel", "lo")]
    expected = {"length": [6.0], "text": ["Hello"], "temperature": [0.25], "version": ["1"]}
    whole = {**parts[0], "text_output": "Hello"}
    raw = stream(*parts, done=False)
    folded = fold_stream(raw, [], ends_early=False)
    for answer in (whole, raw, folded.body):
        assert columns(request, answer, GENERATE) == expected


def test_a_stream_of_v2_answers_has_the_rows_of_all() -> None:
    def answer(values: list[int]) -> dict[str, Any]:
        return {"outputs": [{"name": "y", "datatype": "INT64", "shape": [len(values)], "data": values}]}

    monitor = monitor_of([{"name": "a", "type": "numeric"}], {"column": "y"})
    request = {"inputs": [{"name": "a", "datatype": "FP64", "shape": [3], "data": [1, 2, 3]}]}
    raw = stream(answer([4]), answer([5, 6]), done=False)
    folded = fold_stream(raw, [], ends_early=False)
    for body in (raw, folded.body):
        assert columns(request, body, monitor) == {"a": [1.0, 2.0, 3.0], "y": ["4", "5", "6"]}


def test_pieces_of_a_streamed_answer_to_one_row_are_one_text() -> None:
    def piece(text: str) -> dict[str, Any]:
        return {"outputs": [{"name": "text_output", "datatype": "BYTES", "shape": [1], "data": [text]}]}

    monitor = monitor_of(
        [
            {"name": "text_input", "type": "categorical"},
            {"name": "said", "type": "categorical", "from": "response.text_output"},
        ]
    )
    request = {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1], "data": ["Say"]}]}
    raw = stream(piece("He"), piece("llo"), done=False)
    folded = fold_stream(raw, [], ends_early=False)
    for body, count in ((raw, 0), (folded.body, folded.chunk_count)):
        assert columns(request, body, monitor, chunk_count=count) == {
            "text_input": ["Say"],
            "said": ["Hello"],
            "prediction": ["Hello"],
        }


def test_what_the_sidecar_measured_may_be_a_column() -> None:
    monitor = monitor_of(
        [{"name": name, "type": "numeric", "from": f"event.{name}"} for name in ("ttft_ms", "request_bytes")]
    )
    found = columns(CHAT_REQUEST, CHAT_ANSWER, monitor, ttft_ms=12.5)
    assert found == {"ttft_ms": [12.5], "request_bytes": [float(len(json.dumps(CHAT_REQUEST)))]}


def test_the_image_of_a_chat_that_is_an_address_is_not_observable() -> None:
    monitor = monitor_of([{"name": "width", "type": "numeric", "from": "image", "as": "width"}])
    with pytest.raises(Exception, match="not followed"):
        columns(CHAT_REQUEST, CHAT_ANSWER, monitor)


def test_a_prompt_of_token_numbers_has_no_text() -> None:
    monitor = watch(request=("prompt",), response=("answer",))
    answer = Payload(body=json.dumps({"choices": [{"index": 0, "text": "x"}]}).encode())
    assert columns({"model": "m", "prompt": [1, 2, 3]}, answer, monitor) == {
        "request_prompt": [None],
        "response_answer": ["x"],
    }
