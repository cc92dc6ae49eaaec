"""What OpenAI's protocols have in common: texts in parts, usage, and the fields under which a monitor finds them.

Of a request: ``prompt`` (what the user said last), ``system``, ``conversation`` (all texts), ``messages``, ``images``,
``tools`` (how many of each), ``image`` (the first one). Of an answer: ``answer``, ``refusal``, ``reasoning``,
``finish_reason``, ``choices``, ``tool_calls`` (how many), ``prompt_tokens``, ``completion_tokens``, ``total_tokens``,
``cached_tokens``, ``reasoning_tokens``. A field that a request or an answer does not have is missing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from serving.tensors import Tensor

Json = Mapping[str, Any]

# Tuples: what stands in their place may be anything, and a list cannot be looked up in a set.
_TEXT_PARTS = ("text", "input_text", "output_text", "summary_text")
_IMAGE_PARTS = ("image_url", "input_image", "image")
_ORDERS = ("system", "developer")


def one_row(values: Mapping[str, Any]) -> list[Tensor]:
    """A tensor of one row for every field that has a value."""
    return [Tensor(name, "", (1,), [value]) for name, value in values.items() if value is not None]


def text_of(content: object) -> str | None:
    """A content's text: as it is, or its text parts one under the other; None where it has none.

    >>> text_of([{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "x"}}])
    'Look:'
    """
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in objects(content) if part.get("type", "text") in _TEXT_PARTS]
    said = [text for text in texts if isinstance(text, str)]
    return "\n".join(said) if said else None


def images_of(content: object) -> list[str]:
    """The addresses (or ``data:`` URLs) of a content's images."""
    found = []
    for part in objects(content):
        if part.get("type") in _IMAGE_PARTS:
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, Mapping) else url
            found.append(url if isinstance(url, str) else "")
    return found


def request_fields(messages: Iterable[Json], document: Json, system: str | None = None) -> dict[str, Any]:
    """The fields of a request, from its messages; ``system``: instructions that stand beside them."""
    said = [(message.get("role"), text_of(message.get("content"))) for message in messages]
    texts = [text for _, text in said if text is not None]
    orders = [text for role, text in said if role in _ORDERS and text is not None]
    asked = [text for role, text in said if role == "user" and text is not None]
    images = [url for message in messages for url in images_of(message.get("content"))]
    tools = document.get("tools")
    return {
        "prompt": asked[-1] if asked else None,
        "system": "\n".join([*([] if system is None else [system]), *orders]) if orders or system else None,
        "conversation": "\n".join(texts) if texts else None,
        "messages": len(said),
        "images": len(images),
        "image": images[0] if images else None,
        "tools": len(tools) if isinstance(tools, list) else 0,
    }


def usage_fields(usage: object) -> dict[str, Any]:
    """Tokens as the server counted them, by one name whatever the protocol calls them."""
    if not isinstance(usage, Mapping):
        return {}
    prompt = _first(usage, "prompt_tokens", "input_tokens")
    completion = _first(usage, "completion_tokens", "output_tokens")
    total = usage.get("total_tokens")
    asked = _details(usage, "prompt_tokens_details", "input_tokens_details")
    answered = _details(usage, "completion_tokens_details", "output_tokens_details")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "cached_tokens": asked.get("cached_tokens"),
        "reasoning_tokens": answered.get("reasoning_tokens"),
    }


def objects(value: object) -> list[Json]:
    """The objects of a list; none where it is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _first(usage: Json, *names: str) -> Any:
    return next((usage[name] for name in names if usage.get(name) is not None), None)


def _details(usage: Json, *names: str) -> Json:
    found = _first(usage, *names)
    return found if isinstance(found, Mapping) else {}
