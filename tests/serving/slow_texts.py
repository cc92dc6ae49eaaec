"""CSV, JSON lines and streams of events read a second time: a character, a line, an event at a time."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from tests.serving.slow_parts import RefusedError, Tensors, UnknownError, refuse

Json = dict[str, Any]
_ENDS = ("response.completed", "response.incomplete", "response.failed")


# --- CSV ----------------------------------------------------------------------------------------------------------
def table(body: bytes, names: list[str]) -> Tensors:
    """The table that RFC 4180 sees in a body: columns by name, or one field of all values."""
    try:
        text = body.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise RefusedError from error
    lines = [line for line in _lines(text) if line]
    if not lines:
        return []
    refuse(len({len(line) for line in lines}) != 1)
    known = [name for name in lines[0] if name in names]
    refuse(len(set(known)) != len(known))
    if known:
        heads, rows = lines[0], lines[1:]
        return [(name, [len(rows)], [row[heads.index(name)] or None for row in rows]) for name in known]
    return [("", [len(lines), len(lines[0])], [value or None for line in lines for value in line])]


def _lines(text: str) -> Iterator[list[str]]:
    line: list[str] = []
    place = 0
    while place < len(text):
        if text[place] in "\r\n" and not line:
            place += 1
            continue
        value, place = _value(text, place)
        line.append(value)
        if place < len(text) and text[place] == ",":
            place += 1
            if place == len(text) or text[place] in "\r\n":
                line.append("")
            else:
                continue
        yield line
        line = []
        place += 1
    if line:
        yield line


def _value(text: str, place: int) -> tuple[str, int]:
    """A value and where it ends: at a comma, at the end of its line, or of the text."""
    if text[place] != '"':
        end = place
        while end < len(text) and text[end] not in ",\r\n":
            end += 1
        return text[place:end], end
    found, place = "", place + 1
    while True:
        refuse(place >= len(text))
        if text[place] != '"':
            found += text[place]
            place += 1
        elif text[place + 1 : place + 2] == '"':
            found += '"'
            place += 2
        else:
            place += 1
            refuse(place < len(text) and text[place] not in ",\r\n")
            return found, place


# --- JSON lines ---------------------------------------------------------------------------------------------------
def json_lines(body: bytes) -> list[Any] | None:
    """The values of a body that has one on every line, and two at least; else None."""
    values = []
    for line in re.split(rb"\r\n|\r|\n", body):
        if line.strip():
            try:
                values.append(json.loads(line.decode("utf-8", "surrogateescape"), strict=False))
            except (ValueError, RecursionError):
                return None
    return values if len(values) > 1 else None


# --- streams of events --------------------------------------------------------------------------------------------
def stream(body: bytes) -> Json:
    """The document that the answer would have been without streaming."""
    said = [_strict(data) for data in _events(body) if data.strip() != b"[DONE]"]
    events = [one for one in said if isinstance(one, dict)]
    if any("choices" in event for event in events):
        return _choices(events)
    if any(str(event.get("type", "")).startswith("response.") for event in events):
        return _response(events)
    if any("text_output" in event for event in events):
        whole: Json = {}
        for event in events:
            whole.update(event)
        pieces = [event.get("text_output") for event in events]
        return {**whole, "text_output": "".join(piece for piece in pieces if isinstance(piece, str))}
    raise UnknownError


def _events(body: bytes) -> list[bytes]:
    found: list[list[bytes]] = [[]]
    for line in re.split(rb"\r\n|\r|\n", body.removeprefix(b"\xef\xbb\xbf")):
        if not line:
            found.append([])
        elif line.startswith(b"data:"):
            found[-1].append(line[5:].removeprefix(b" "))
        elif line == b"data":
            found[-1].append(b"")
    return [b"\n".join(lines) for lines in found if lines]


def _strict(data: bytes) -> Any:
    """JSON by the letter; text where it is none, and UnknownError where one may think otherwise."""

    def unsure(text: str) -> Any:
        raise UnknownError(text)

    def number(text: str) -> float:
        return float(text) if math.isfinite(float(text)) else unsure(text)

    if b"\\u" in data:
        raise UnknownError
    try:
        # As text, in which a byte-order mark before the value is no JSON (RFC 8259, section 8.1).
        return json.loads(data.decode(), parse_constant=unsure, parse_float=number)
    except (ValueError, RecursionError):
        return None


def _choices(events: list[Json]) -> Json:
    whole: Json = {}
    texts: dict[int, str | None] = {}
    contents: dict[int, str | None] = {}
    places: set[int] = set()
    for event in events:
        whole.update({name: value for name, value in event.items() if name != "choices" and value is not None})
        listed = event.get("choices")
        for choice in listed if isinstance(listed, list) else []:
            if not isinstance(choice, dict):
                continue
            place = choice["index"] if isinstance(choice.get("index"), int) else 0
            places.add(place)
            if isinstance(choice.get("text"), str):
                texts[place] = (texts.get(place) or "") + choice["text"]
            delta = choice.get("delta", choice.get("message"))
            if isinstance(delta, dict):
                contents.setdefault(place, None)
                if isinstance(delta.get("content"), str):
                    contents[place] = (contents[place] or "") + delta["content"]
    is_chat = bool(contents) or whole.get("object") in ("chat.completion.chunk", "chat.completion")
    choices: list[Json] = []
    for place in sorted(places):
        choice = {"index": place} | ({"text": texts[place]} if place in texts else {})
        choices.append(choice | ({"message": {"content": contents.get(place)}} if is_chat else {}))
    return {**whole, "object": "chat.completion" if is_chat else "text_completion", "choices": choices}


def _response(events: list[Json]) -> Json:
    response: Json = {"object": "response"}
    texts: dict[tuple[int, int], str] = {}
    for event in events:
        if isinstance(event.get("response"), dict):
            response = event["response"]
        if event.get("type") in _ENDS and response.get("output"):
            return response
        place = (event.get("output_index"), event.get("content_index"))
        is_piece = event.get("type") == "response.output_text.delta" and isinstance(event.get("delta"), str)
        if is_piece and all(isinstance(one, int) for one in place):
            texts[place] = texts.get(place, "") + event["delta"]  # type: ignore[index, arg-type]
    parts = [{"type": "output_text", "text": texts[place]} for place in sorted(texts)]
    said = [{"type": "message", "content": parts}] if parts else []
    return {**response, "output": response.get("output") or said}
