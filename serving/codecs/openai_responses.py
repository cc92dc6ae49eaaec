"""OpenAI's responses API, and the ``input`` that it shares with embeddings. Fields: see ``codecs.openai``.

``finish_reason`` is the reason why an answer is incomplete where it has one, else its status.
"""

from collections.abc import Mapping
from typing import Any

from serving.codecs.openai import objects, one_row, request_fields, text_of, usage_fields
from serving.tensors import Tensor


def is_answer(document: Mapping[str, Any]) -> bool:
    """It says so, or has output items."""
    output = document.get("output")
    return isinstance(output, list) and (
        document.get("object") == "response" or "type" in next(iter(objects(output)), {})
    )


def request_tensors(document: Mapping[str, Any]) -> list[Tensor]:
    """A row for each text of ``input`` (embeddings), or one row for its items (a conversation)."""
    given = document["input"]
    items = objects(given)
    if items:
        instructions = document.get("instructions")
        system = instructions if isinstance(instructions, str) else None
        return one_row(request_fields(items, document, system))
    if isinstance(given, list) and not (given and all(type(token) is int for token in given)):
        rows = [item if isinstance(item, str) else None for item in given]
    else:
        rows = [given if isinstance(given, str) else None]
    found = [Tensor("prompt", "", (len(rows),), rows)]
    if isinstance(system := document.get("instructions"), str) and len(rows) == 1:
        found += one_row({"system": system})
    return found


def answer_tensors(document: Mapping[str, Any]) -> list[Tensor]:
    """The fields of an answer."""
    output = objects(document["output"])
    parts = [part for item in output if item.get("type") == "message" for part in objects(item.get("content"))]
    texts = [text for part in parts if (text := text_of([part])) is not None]
    refusals = [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
    thoughts = [text_of(item.get("summary")) for item in output if item.get("type") == "reasoning"]
    said = [text for text in thoughts if text]
    calls = sum(str(item.get("type", "")).endswith("_call") for item in output)
    return one_row(
        {
            "answer": "\n".join(texts) if texts else None,
            "refusal": refusals[0] if refusals else None,
            "reasoning": "\n".join(said) if said else None,
            "finish_reason": _finish_reason(document),
            "choices": 1,
            "tool_calls": calls,
            **usage_fields(document.get("usage")),
        }
    )


def _finish_reason(document: Mapping[str, Any]) -> str | None:
    details = document.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    found = reason or document.get("status")
    return found if isinstance(found, str) else None
