"""OpenAI's (older) completions: one row per prompt; of several choices for a prompt the first.

``prompt`` and ``answer`` are texts; a prompt of token numbers has no text, and its tokens are ``prompt_tokens`` of the
answer. Usage belongs to the whole request, so it is known only where there is one prompt.
"""

from collections.abc import Mapping
from typing import Any

from serving.codecs.openai import objects, one_row, usage_fields
from serving.tensors import Tensor


def is_answer(document: Mapping[str, Any]) -> bool:
    """Choices with texts."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        return False
    return "text" in next(iter(objects(choices)), {}) or document.get("object") == "text_completion"


def prompts(document: Mapping[str, Any]) -> list[str | None]:
    """The prompts, one per row; None for one that is token numbers."""
    prompt = document["prompt"]
    if not isinstance(prompt, list):
        return [prompt if isinstance(prompt, str) else None]
    if prompt and all(type(token) is int for token in prompt):
        return [None]
    return [item if isinstance(item, str) else None for item in prompt]


def request_tensors(document: Mapping[str, Any]) -> list[Tensor]:
    """The fields of a request."""
    rows = prompts(document)
    return [Tensor("prompt", "", (len(rows),), rows)]


def answer_tensors(document: Mapping[str, Any], rows: int) -> list[Tensor]:
    """The fields of an answer to ``rows`` prompts: choices come prompt by prompt, as many for each."""
    choices = objects(document["choices"])
    ordered = sorted(choices, key=lambda choice: choice["index"] if isinstance(choice.get("index"), int) else 0)
    each = max(len(ordered) // rows, 1) if rows else 1
    firsts = ordered[::each][:rows] if len(ordered) >= rows and len(ordered) % max(rows, 1) == 0 else ordered
    fields = {"answer": "text", "finish_reason": "finish_reason"}
    found = [Tensor(name, "", (len(firsts),), [choice.get(key) for choice in firsts]) for name, key in fields.items()]
    if rows == 1:
        found += one_row({"choices": len(ordered), **usage_fields(document.get("usage"))})
    return found
