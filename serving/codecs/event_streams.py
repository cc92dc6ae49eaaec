r"""Streams of server-sent events, as loggers keep them whole (KServe's agent does), folded into one document.

The document has the form that the same request without streaming would have had; of it only what monitors look at:
texts joined, the last of what is said once, usage. What the data of the events look like decides which protocol it is.
Source: the WHATWG HTML standard, section 9.2.6, and the references of OpenAI's and Triton's APIs.

>>> fold(b'data: {"text_output": "Hel"}\n\ndata: {"text_output": "lo"}\n\n')
{'text_output': 'Hello'}
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from serving.codecs.openai import objects

Json = dict[str, Any]

_START = re.compile(rb"(?:\xef\xbb\xbf)?(?:[\r\n]*)(?:data|event|id|retry|):")
_LINE_ENDS = re.compile(rb"\r\n|\r|\n")
_DONE = b"[DONE]"
_ENDS = ("response.completed", "response.incomplete", "response.failed")


def is_stream(body: bytes) -> bool:
    """Whether a body begins as a stream of events does: with a field of an event, or a comment."""
    return _START.match(body) is not None


def fold(body: bytes) -> Any:
    """One document of a stream: an object of its protocol, or the list of what the events said."""
    said = [_json(data) for data in _events(body) if data.strip() != _DONE]
    found = [item for item in said if isinstance(item, dict)]
    if any("choices" in item for item in found):
        return _fold_choices(found)
    if any(str(item.get("type", "")).startswith("response.") for item in found):
        return _fold_response(found)
    if any("text_output" in item for item in found):
        return _fold_generate(found)
    if found and all(isinstance(item.get("outputs"), list) for item in found):
        return _fold_v2(found)
    return said


def _events(body: bytes) -> Iterator[bytes]:
    data: list[bytes] = []
    for line in _LINE_ENDS.split(body.removeprefix(b"\xef\xbb\xbf")):
        if not line:
            if data:
                yield b"\n".join(data)
            data = []
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
    if data:  # a stream that broke off before its blank line
        yield b"\n".join(data)


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return data.decode("utf-8", "replace")


def _fold_choices(chunks: Sequence[Json]) -> Json:
    """A ``chat.completion`` or ``text_completion`` of its chunks."""
    whole: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        whole.update({name: value for name, value in chunk.items() if name != "choices" and value is not None})
        for choice in objects(chunk.get("choices")):
            index = choice.get("index")
            place = index if isinstance(index, int) else 0
            _add_choice(choices.setdefault(place, {"index": place, "finish_reason": None}), choice)
    is_chat = any("message" in choice for choice in choices.values())
    is_chat = is_chat or whole.get("object") in ("chat.completion.chunk", "chat.completion")
    if is_chat:
        for choice in choices.values():
            choice.setdefault("message", {"role": "assistant", "content": None})
    ordered = [choices[place] for place in sorted(choices)]
    return {**whole, "object": "chat.completion" if is_chat else "text_completion", "choices": ordered}


def _add_choice(known: Json, choice: Mapping[str, Any]) -> None:
    if choice.get("finish_reason") is not None:
        known["finish_reason"] = choice["finish_reason"]
    if isinstance(text := choice.get("text"), str):
        known["text"] = known.get("text", "") + text
    delta = choice.get("delta", choice.get("message"))
    if not isinstance(delta, dict):
        return
    message = known.setdefault("message", {"role": "assistant", "content": None})
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        if isinstance(piece := delta.get(name), str):
            message[name] = (message.get(name) or "") + piece
    for call in objects(delta.get("tool_calls")):
        calls: dict[Any, Json] = known.setdefault("calls", {})
        index = call.get("index")
        calls.setdefault(index if isinstance(index, int) else len(calls), {"type": "function"})
        message["tool_calls"] = list(calls.values())


def _fold_response(events: Sequence[Json]) -> Json:
    """The ``response`` object: as the last event has it, or put together from what came before it broke off."""
    response: Json = {"object": "response", "status": "incomplete"}
    texts: dict[tuple[int, int], str] = {}
    for event in events:
        if isinstance(snapshot := event.get("response"), dict):
            response = dict(snapshot)
        if event.get("type") in _ENDS and response.get("output"):
            return response
        place, piece = (event.get("output_index"), event.get("content_index")), event.get("delta")
        is_text = event.get("type") == "response.output_text.delta" and isinstance(piece, str)
        if is_text and isinstance(place[0], int) and isinstance(place[1], int):
            key = (place[0], place[1])
            texts[key] = texts.get(key, "") + str(piece)
    parts = [{"type": "output_text", "text": texts[key]} for key in sorted(texts)]
    output = [{"type": "message", "role": "assistant", "content": parts}] if parts else []
    return {**response, "output": response.get("output") or output}


def _fold_generate(events: Sequence[Json]) -> Json:
    whole: Json = {}
    for event in events:
        whole.update(event)
    texts = [event.get("text_output") for event in events]
    return {**whole, "text_output": "".join(text for text in texts if isinstance(text, str))}


def _fold_v2(events: Sequence[Json]) -> Any:
    """One V2 answer whose tensors have the rows of all; the events as they are where the tensors do not fit."""
    whole: Json = {}
    outputs: dict[Any, Json] = {}
    for event in events:
        whole.update(event)
        for tensor in event["outputs"]:
            if not _is_flat(tensor):
                return list(events)
            blank = {**tensor, "shape": [0, *tensor["shape"][1:]], "data": []}
            known = outputs.setdefault(tensor["name"], blank)
            if known["shape"][1:] != tensor["shape"][1:] or known.get("datatype") != tensor.get("datatype"):
                return list(events)
            known["shape"][0] += tensor["shape"][0]
            known["data"] += tensor["data"]
    return {**whole, "outputs": list(outputs.values())}


def _is_flat(tensor: object) -> bool:
    if not isinstance(tensor, dict):
        return False
    shape = tensor.get("shape")
    is_shape = isinstance(shape, list) and bool(shape) and all(type(length) is int for length in shape)
    return is_shape and isinstance(tensor.get("data"), list) and isinstance(tensor.get("name"), str)
