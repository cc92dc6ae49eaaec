"""Streams of OpenAI's protocol as the object that the same request without ``stream`` would have answered.

Chat completion chunks become a ``chat.completion``, completion chunks a ``text_completion``, the events of the
responses API the ``response`` object. What vLLM and others add to deltas (``reasoning_content``) is kept alike.
Sources: the objects of OpenAI's API reference, and its streaming events.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

#: Whole in each delta that has them, unlike texts, which are said piece by piece.
_SAID_ONCE = frozenset({"role", "id", "type", "index", "name", "finish_reason", "stop_reason"})
_CONTENT_KEYS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio", "text")
RESPONSE_END_TYPES = frozenset({"response.completed", "response.incomplete", "response.failed"})


def fold_chat(chunks: Sequence[Json]) -> Json:
    """The ``chat.completion`` object of its chunks.

    >>> fold_chat([{"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}}]},
    ...     {"id": "c", "choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}]}])["choices"]
    [{'index': 0, 'message': {'role': 'assistant', 'content': 'ab'}, 'finish_reason': 'stop'}]
    """
    blank = {"message": {"role": "assistant", "content": None}}
    return _fold_choices(chunks, "chat.completion", _add_chat_choice, blank)


def fold_completion(chunks: Sequence[Json]) -> Json:
    """The ``text_completion`` object of its chunks."""
    return _fold_choices(chunks, "text_completion", _add_text_choice, {"text": ""})


def has_generated(chunk: Json) -> bool:
    """Whether a chunk of a chat or a completion holds generated content that is not empty."""
    return any(
        said.get(key)
        for choice in dicts(chunk.get("choices"))
        for said in (choice.get("delta"), choice)
        if isinstance(said, dict)
        for key in _CONTENT_KEYS
    )


def _fold_choices(
    chunks: Sequence[Json], kind: str, add: Callable[[Json, Json], None], blank: Mapping[str, Any]
) -> Json:
    whole: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name != "choices" and (value is not None or name not in whole):
                whole[name] = value
        for choice in dicts(chunk.get("choices")):
            index = choice.get("index")
            index = index if isinstance(index, int) else 0
            known = choices.get(index)
            if known is None:
                fresh = {name: dict(value) if isinstance(value, dict) else value for name, value in blank.items()}
                known = choices[index] = {"index": index, **fresh, "finish_reason": None}
            add(known, choice)
    return {**whole, "object": kind, "choices": [choices[index] for index in sorted(choices)]}


def _add_chat_choice(known: Json, choice: Json) -> None:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        _add(known["message"], delta)
    _add(known, {name: value for name, value in choice.items() if name not in ("delta", "index")})


def _add_text_choice(known: Json, choice: Json) -> None:
    _add(known, {name: value for name, value in choice.items() if name != "index"})


def _add(known: Json, delta: Json) -> None:
    """Join a delta to what was said before: texts and lists grow, the rest is said anew."""
    for name, value in delta.items():
        before = known.get(name)
        if value is None:
            known.setdefault(name, None)
        elif before is None:
            known[name] = _fresh(value)
        elif isinstance(before, str) and isinstance(value, str):
            known[name] = _join(name, before, value)
        elif isinstance(before, list) and isinstance(value, list):
            _add_items(before, value)
        elif isinstance(before, dict) and isinstance(value, dict):
            _add(before, value)
        else:
            known[name] = value


def _join(name: str, before: str, value: str) -> str:
    if name not in _SAID_ONCE:
        return before + value
    # A name that comes in two pieces is rare, one that every delta repeats is not.
    if name == "name" and value and not value.startswith(before) and not before.endswith(value):
        return before + value
    return value or before


def _fresh(value: Any) -> Any:
    if isinstance(value, dict):
        made: Json = {}
        _add(made, value)
        return made
    if isinstance(value, list):
        items: list[Any] = []
        _add_items(items, value)
        return items
    return value


def _add_items(known: list[Any], items: list[Any]) -> None:
    """Items with an ``index`` (tool calls) are pieces of the one with the same index; all others are new."""
    by_index = {item["index"]: item for item in known if isinstance(item, dict) and "index" in item}
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        if not isinstance(index, int):
            known.append(_fresh(item) if isinstance(item, dict) else item)
        elif index in by_index:
            _add(by_index[index], item)
        else:
            by_index[index] = _fresh(item)
            known.append(by_index[index])


def plain_tool_calls(completion: Json) -> Json:
    """The same completion with its tool calls in order and without the ``index`` that only deltas have."""
    for choice in completion["choices"]:
        message = choice.get("message", {})
        calls = message.get("tool_calls")
        if isinstance(calls, list) and all(isinstance(call, dict) and "index" in call for call in calls):
            ordered = sorted(calls, key=lambda call: str(call["index"]).zfill(12))
            message["tool_calls"] = [{name: call[name] for name in call if name != "index"} for call in ordered]
    return completion


# --- responses API ------------------------------------------------------------------------------------------------
def fold_response(events: Sequence[Json]) -> Json:
    """The ``response`` object: as the last event has it, or put together from what came before it broke off."""
    response: Json = {"object": "response"}
    for event in events:
        snapshot = event.get("response")
        if isinstance(snapshot, dict):
            response = {**snapshot, "output": _longer(snapshot.get("output"), response.get("output"))}
        if event.get("type") in RESPONSE_END_TYPES:
            return response
        _add_event(response, event)
    return response


def is_generated_event(event: Json) -> bool:
    """Whether an event of the responses API holds generated content that is not empty."""
    return str(event.get("type", "")).endswith(".delta") and bool(event.get("delta"))


def _longer(new: Any, known: Any) -> list[Any]:
    return new if isinstance(new, list) and new else known if isinstance(known, list) else []


_TEXT_DELTAS = {
    "response.output_text.delta": ("output_text", "text"),
    "response.refusal.delta": ("refusal", "refusal"),
    "response.reasoning_text.delta": ("reasoning_text", "text"),
}
_ITEM_DELTAS = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}


def _add_event(response: Json, event: Json) -> None:
    kind, place = event.get("type"), event.get("output_index")
    if not isinstance(place, int) or not 0 <= place < 1024:
        return
    output = response.setdefault("output", [])
    while len(output) <= place:
        output.append({"type": "message", "role": "assistant", "status": "in_progress", "content": []})
    if kind in ("response.output_item.added", "response.output_item.done") and isinstance(event.get("item"), dict):
        output[place] = _fresh(event["item"])
    elif kind in _ITEM_DELTAS and isinstance(event.get("delta"), str):
        name = _ITEM_DELTAS[kind]
        output[place][name] = f"{output[place].get(name) or ''}{event['delta']}"
    elif kind in ("response.content_part.added", "response.content_part.done") and isinstance(event.get("part"), dict):
        _part(output[place], event, event["part"]).update(event["part"])
    elif kind in _TEXT_DELTAS and isinstance(event.get("delta"), str):
        part_type, name = _TEXT_DELTAS[kind]
        part = _part(output[place], event, {"type": part_type, name: ""})
        part[name] = f"{part.get(name) or ''}{event['delta']}"


def _part(item: Json, event: Json, blank: Json) -> Json:
    content, place = item.setdefault("content", []), event.get("content_index", 0)
    place = place if isinstance(place, int) and 0 <= place < 1024 else 0
    while len(content) <= place:
        content.append(dict(blank))
    part: Json = content[place]
    return part


def dicts(value: Any) -> list[Json]:
    """The objects of a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
