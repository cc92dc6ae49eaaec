"""OpenAI's chat completions: one row per request; of several choices the first. Fields: see ``codecs.openai``."""

from collections.abc import Mapping
from typing import Any

from serving.codecs.openai import objects, one_row, request_fields, text_of, usage_fields
from serving.tensors import Tensor


def is_request(document: Mapping[str, Any]) -> bool:
    """Messages with roles make a chat."""
    messages = document.get("messages")
    return isinstance(messages, list) and all(isinstance(item, dict) and "role" in item for item in messages)


def is_answer(document: Mapping[str, Any]) -> bool:
    """Choices whose first has a message, or none at all of a chat."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        return False
    return "message" in next(iter(objects(choices)), {}) or document.get("object") == "chat.completion"


def request_tensors(document: Mapping[str, Any]) -> list[Tensor]:
    """The fields of a request."""
    return one_row(request_fields(document["messages"], document))


def answer_tensors(document: Mapping[str, Any]) -> list[Tensor]:
    """The fields of an answer."""
    choices = sorted(objects(document["choices"]), key=_index)
    first = choices[0] if choices else {}
    message = first.get("message")
    message = message if isinstance(message, Mapping) else {}
    calls = message.get("tool_calls")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return one_row(
        {
            "answer": text_of(message.get("content")),
            "refusal": _text(message.get("refusal")),
            "reasoning": _text(reasoning),
            "finish_reason": _text(first.get("finish_reason")),
            "choices": len(choices),
            "tool_calls": len(calls) if isinstance(calls, list) else 0,
            **usage_fields(document.get("usage")),
        }
    )


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
