"""JSON documents of every protocol but V2 read a second time: slowly, by the protocols' documents, without the codecs.

``read`` takes a document that Python's ``json`` made, says which protocol it is of and what it holds.
"""

import base64
import binascii
import math
from typing import Any

from tests.serving.slow_parts import Found, RefusedError, Sought, Tensors, UnknownError, refuse

Json = dict[str, Any]


def read(document: Any, side: str, sought: Sought, rows: int | None) -> Found:
    """The fields of one half; ``side``: inputs or outputs. ``rows``: how many rows the request has."""
    names = sought.names(side)
    if not isinstance(document, dict):
        refuse(side == "inputs" and not isinstance(document, list))
        return Found(rows_of(document if isinstance(document, list) else [document], names))
    found = _table(document, side, names)
    if found is None:
        found = _request(document, names) if side == "inputs" else _answer(document, names, rows or 1)
    if found is None:
        found = _seldon(document, side, sought, rows)
    return _plain_object(document, side, names) if found is None else found


# --- tables -------------------------------------------------------------------------------------------------------
def _table(document: Json, side: str, names: list[str]) -> Found | None:
    lines, columns = ("instances", "inputs") if side == "inputs" else ("predictions", "outputs")
    if lines in document:
        content = document[lines]
        if side == "outputs" and isinstance(content, dict):
            return Found(_columns(content, names))
        return Found(rows_of(content, names))
    if columns in document:
        content = document[columns]
        return Found(_columns(content, names) if isinstance(content, dict) else rows_of(content, names))
    return None


def _columns(content: Json, names: list[str]) -> Tensors:
    found: Tensors = []
    for name in names:
        values = content.get(name)
        if values is not None:
            refuse(not isinstance(values, list))
            found.append((name, [len(values)], _unwrapped(values)))
    return found


def rows_of(content: Any, names: list[str], depth: int = 0) -> Tensors:
    """Rows that are values, lists of as many values each, or objects."""
    refuse(not isinstance(content, list))
    if not content:
        return []
    kinds = {dict if isinstance(row, dict) else list if isinstance(row, list) else None for row in content}
    refuse(len(kinds) != 1)
    kind: Any = kinds.pop()
    if kind is list:
        refuse(len({len(row) for row in content}) != 1)
        return [("", [len(content), len(content[0])], [value for row in content for value in row])]
    if kind is None:
        return [("", [len(content)], content)]
    present = {name for row in content for name in row}
    known = [name for name in names if name in present]
    if not known and len(present) == 1:
        return _inner(content, present.pop(), depth)
    return [(name, [len(content)], _unwrapped([row.get(name) for row in content])) for name in known]


def _inner(content: list[Json], name: str, depth: int) -> Tensors:
    if name == "b64":
        return [("", [len(content)], [_bytes(row) for row in content])]
    values = [row.get(name) for row in content]
    if depth < 8 and all(isinstance(value, list | dict) for value in values):
        return rows_of(values, [], depth + 1)
    return []


def _unwrapped(values: list[Any]) -> list[Any]:
    if values and isinstance(values[0], list):
        is_each_one = all(isinstance(value, list) and len(value) == 1 for value in values)
        return [value[0] for value in values] if is_each_one else values
    if values and isinstance(values[0], dict):
        return [_bytes(value) for value in values]
    return values


def _bytes(value: Any) -> Any:
    if isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str):
        return _base64(value["b64"])
    return value


def _base64(text: str) -> bytes:
    try:
        packed = text.split(",", 1)[-1] if text.startswith("data:") else text
        return base64.b64decode("".join(packed.split()).encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError from error


# --- requests -----------------------------------------------------------------------------------------------------
def _request(document: Json, names: list[str]) -> Found | None:
    if "dataframe_records" in document:
        return Found(rows_of(document["dataframe_records"], names))
    if "dataframe_split" in document:
        return Found(_split(document["dataframe_split"], names))
    if isinstance(document.get("columns"), list) and isinstance(document.get("data"), list):
        return Found(_split(document, names))
    if "examples" in document:
        return Found(rows_of(_with_context(document["examples"], document.get("context")), names))
    messages = document.get("messages")
    if isinstance(messages, list) and all(isinstance(one, dict) and "role" in one for one in messages):
        return Found(_conversation(messages, document, None), loose=False)
    if "text_input" in document or "text_output" in document:
        return Found(_generate(document, names), loose=False)
    if "model" in document and "prompt" in document:
        return Found(_field("prompt", _prompts(document["prompt"])), loose=False)
    if "model" in document and "input" in document:
        return Found(_input(document), loose=False)
    return None


def _split(frame: Any, names: list[str]) -> Tensors:
    refuse(not isinstance(frame, dict))
    heads, lines = frame.get("columns"), frame.get("data")
    refuse(not isinstance(heads, list) or not isinstance(lines, list))
    refuse(any(not isinstance(line, list) or len(line) != len(heads) for line in lines))
    refuse(len({str(head) for head in heads}) != len(heads))
    known = [name for name in names if name in heads]
    if known:
        return [
            (name, [len(lines)], [dict(zip(map(str, heads), line, strict=True))[name] for line in lines])
            for name in known
        ]
    return [("", [len(lines), len(heads)], [value for line in lines for value in line])]


def _with_context(examples: Any, context: Any) -> Any:
    if not isinstance(context, dict) or not isinstance(examples, list):
        return examples
    return [dict(context, **row) if isinstance(row, dict) else row for row in examples]


def _field(name: str, values: list[Any]) -> Tensors:
    return [(name, [len(values)], values)]


def _single(fields: Json) -> Tensors:
    return [(name, [1], [value]) for name, value in fields.items() if value is not None]


def _generate(document: Json, names: list[str]) -> Tensors:
    said = {"prompt": "text_input", "answer": "text_output"}
    found = {name: document[field] for name, field in said.items() if field in document}
    found |= {name: document[name] for name in names if name in document and name not in found}
    return [
        part for name, value in found.items() for part in _field(name, value if isinstance(value, list) else [value])
    ]


def _prompts(prompt: Any) -> list[str | None]:
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list) or (prompt and all(type(token) is int for token in prompt)):
        return [None]
    return [one if isinstance(one, str) else None for one in prompt]


def _input(document: Json) -> Tensors:
    given, told = document["input"], document.get("instructions")
    told = told if isinstance(told, str) else None
    if isinstance(given, list) and any(isinstance(one, dict) for one in given):
        return _conversation([one for one in given if isinstance(one, dict)], document, told)
    prompts = _prompts(given)
    return _field("prompt", prompts) + (_single({"system": told}) if len(prompts) == 1 else [])


def _conversation(messages: list[Json], document: Json, told: str | None) -> Tensors:
    asked: list[str] = []
    orders: list[str] = []
    everything: list[str] = []
    images = 0
    for message in messages:
        content, role = message.get("content"), message.get("role")
        images += sum(part.get("type") in ("image_url", "input_image", "image") for part in _objects(content))
        text = _text_of(content)
        if text is not None:
            everything.append(text)
            asked += [text] if role == "user" else []
            orders += [text] if role in ("system", "developer") else []
    tools = document.get("tools")
    if told is not None and (told or orders):
        orders.insert(0, told)
    fields = {"prompt": asked[-1] if asked else None, "system": "\n".join(orders) if orders else None}
    fields["conversation"] = "\n".join(everything) if everything else None
    counts = {"messages": len(messages), "images": images, "tools": len(tools) if isinstance(tools, list) else 0}
    return _single({**fields, **counts})


def _objects(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text_of(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    texts = []
    for part in _objects(content):
        is_text = "type" not in part or part["type"] in ("text", "input_text", "output_text", "summary_text")
        if is_text and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "\n".join(texts) if texts else None


# --- answers ------------------------------------------------------------------------------------------------------
def _answer(document: Json, names: list[str], rows: int) -> Found | None:
    choices, data, output = document.get("choices"), document.get("data"), document.get("output")
    kind, usage = document.get("object"), _usage(document)
    if isinstance(choices, list):
        first = (_objects(choices) or [{}])[0]
        if "message" in first or kind == "chat.completion":
            return Found(_single({"answer": _chat_text(_in_order(choices)), **usage}), loose=False)
        if "text" in first or kind == "text_completion":
            return Found(_completions(_in_order(choices), rows, usage), loose=False)
    if isinstance(data, list) and "embedding" in (_objects(data) or [{}])[0]:
        return Found(_single(usage) if len(_objects(data)) == 1 else [], loose=False)
    if isinstance(output, list) and (kind == "response" or "type" in (_objects(output) or [{}])[0]):
        parts = [
            part for one in _objects(output) if one.get("type") == "message" for part in _objects(one.get("content"))
        ]
        texts = [text for text in (_text_of([part]) for part in parts) if text is not None]
        return Found(_single({"answer": "\n".join(texts) if texts else None, **usage}), loose=False)
    if "text_input" in document or "text_output" in document:
        return Found(_generate(document, names), loose=False)
    if "results" in document:
        return Found(_results(document["results"], names))
    return None


def _usage(document: Json) -> Json:
    usage = document.get("usage")
    return {"total_tokens": usage.get("total_tokens")} if isinstance(usage, dict) else {}


def _in_order(choices: list[Any]) -> list[Json]:
    def place(choice: Json) -> int:
        index = choice.get("index")
        return index if isinstance(index, int) else 0

    return sorted(_objects(choices), key=place)


def _chat_text(choices: list[Json]) -> str | None:
    message = choices[0].get("message") if choices else None
    return _text_of(message.get("content")) if isinstance(message, dict) else None


def _completions(choices: list[Json], rows: int, usage: Json) -> Tensors:
    """As many choices for each prompt, one prompt's after another's; the first of each counts."""
    firsts = choices
    if choices and len(choices) % rows == 0:
        firsts = [choices[place * (len(choices) // rows)] for place in range(rows)]
    found = _field("answer", [choice.get("text") for choice in firsts])
    return found + (_single(usage) if rows == 1 else [])


def _results(results: Any, names: list[str]) -> Tensors:
    if not isinstance(results, list) or not results or not all(_is_classes(row) for row in results):
        return rows_of(results, names)
    best, shares = [], []
    for row in results:
        top = row[0]
        for pair in row[1:]:
            top = pair if pair[1] > top[1] else top
        best.append(top[0])
        shares.append(next((pair[1] for pair in row if pair[0] == "1"), None))
    return [("class", [len(best)], best), ("share", [len(best)], shares)]


def _is_classes(row: Any) -> bool:
    if not isinstance(row, list) or not row:
        return False
    for pair in row:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], int | float):
            return False
        if pair[1] != pair[1]:
            return False
    return True


# --- Seldon, and objects of no protocol ---------------------------------------------------------------------------
def _seldon(document: Json, side: str, sought: Sought, rows: int | None) -> Found | None:
    data = document.get("data")
    is_data = isinstance(data, dict) and any(name in data for name in ("ndarray", "tensor", "tftensor"))
    if not is_data and not any(name in document for name in ("strData", "binData", "jsonData")):
        return None
    if "jsonData" in document and "data" not in document:
        inner = document["jsonData"]
        refuse(isinstance(inner, dict) and "jsonData" in inner)
        if isinstance(inner, dict) and "datatype" in str(inner):
            raise UnknownError  # V2 within Seldon is not the reference's business
        return read(inner, side, sought, rows)
    if isinstance(data, dict):
        return Found(_seldon_data(data, sought.names(side)))
    if isinstance(document.get("strData"), str):
        return Found([("strData", [1], [document["strData"]])])
    refuse(not isinstance(document.get("binData"), str))
    return Found([("binData", [1], [_base64(document["binData"])])])


def _seldon_data(data: Json, names: list[str]) -> Tensors:
    found = rows_of(data["ndarray"], names) if "ndarray" in data else [_seldon_tensor(data.get("tensor"))]
    heads = data.get("names")
    if not heads or len(found) != 1 or found[0][0]:
        return found
    refuse(not isinstance(heads, list) or any(not isinstance(head, str) for head in heads))
    known = [head for head in heads if head in names]
    if not known:
        return found
    _, shape, values = found[0]
    width = shape[1] if len(shape) == 2 else 1
    refuse(len(shape) > 2 or width != len(heads) or len(set(known)) != len(known))
    lines = [values[start : start + width] for start in range(0, len(values), width)]
    return [(name, [shape[0]], [line[heads.index(name)] for line in lines]) for name in known]


def _seldon_tensor(tensor: Any) -> tuple[str, list[int], list[Any]]:
    if not isinstance(tensor, dict):
        raise RefusedError
    shape, values = tensor.get("shape"), tensor.get("values")
    if not isinstance(shape, list) or not isinstance(values, list):
        raise RefusedError
    refuse(any(type(length) is not int or length < 0 for length in shape) or math.prod(shape) != len(values))
    return "", shape or [1], values


def _plain_object(document: Json, side: str, names: list[str]) -> Found:
    if any(name in document for name in names):
        return Found(rows_of([document], names), loose=False)
    refuse(side == "inputs" or len(document) < 2)
    shares = list(document.values())
    refuse(any(isinstance(share, bool) or not isinstance(share, int | float) for share in shares))
    refuse(any(not 0 <= share <= 1 for share in shares) or sum(shares) > 1.005)
    best = next(name for name, share in document.items() if share == max(shares))
    found = [("class", [1], [best])]
    return Found(found + ([("share", [1], [document["1"]])] if "1" in document else []))
