"""V1, V2 JSON, V2 binary and V2 gRPC read a second time: slowly, row by row, and with none of the code that is tested.

Made of Python's ``json`` and ``struct`` and of protobuf's own library. What it does not claim to know is ``UNKNOWN``.
It follows the monitor of the fuzz tests: three columns, a prediction and a score.
"""

import json
import math
import struct
from collections.abc import Callable
from typing import Any

from driftline.events import Payload
from tests.logger_sidecar.finishing.predict_messages import message_types

Row = dict[str, Any]
Tensors = list[tuple[str, list[int], list[Any]]]

INPUTS = {"age": "numeric", "income": "numeric", "city": "categorical"}
PREDICTION, SCORE = "default", "probability"
# What nobody looks at need not be well-formed.
_TYPES = message_types(opaque=True)
_FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_TYPED = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


class RefusedError(Exception):
    """The reference sees no rows in these bytes."""


class UnknownError(Exception):
    """The reference does not know this format, or this corner of it."""


class Single(float):
    """A float32, which is spelt shorter than the float64 that it is equal to."""


def rows(request: Payload, response: Payload) -> list[Row]:
    """The rows of an event, or RefusedError, or UnknownError."""
    asked = _inputs(_tensors(request, "inputs", "instances"))
    answered = _outputs(_tensors(response, "outputs", "predictions"))
    if answered and len(answered) != len(asked):
        raise RefusedError
    return [{**first, **second} for first, second in zip(asked, answered or [{}] * len(asked), strict=True)]


# --- from tensors to rows -----------------------------------------------------------------------------------------
def _inputs(tensors: Tensors) -> list[Row]:
    found = _by_name(tensors, list(INPUTS))
    if found:
        return _rows({name: [_cell(INPUTS[name], value) for value in values] for name, values in found.items()})
    if len(tensors) != 1 or len(tensors[0][1]) != 2 or tensors[0][1][1] != len(INPUTS):
        raise RefusedError
    values = tensors[0][2]
    return _rows(
        {name: [_cell(kind, value) for value in values[place::3]] for place, (name, kind) in enumerate(INPUTS.items())}
    )


def _outputs(tensors: Tensors) -> list[Row]:
    kinds = {PREDICTION: "categorical", SCORE: "numeric"}
    pairs = [
        (name, shape, data[1::2] if name == SCORE and len(shape) == 2 and shape[1] == 2 else data)
        for name, shape, data in tensors
    ]
    pairs = [
        (name, [shape[0]] if name == SCORE and len(shape) == 2 and shape[1] == 2 else shape, data)
        for name, shape, data in pairs
    ]
    found = _by_name(pairs, list(kinds))
    if found:
        return _rows({name: [_cell(kinds[name], value) for value in values] for name, values in found.items()})
    if len(tensors) != 1:
        return []
    _, shape, data = tensors[0]
    width = math.prod(shape[1:])
    if width == 1:
        return _rows({PREDICTION: [_cell("categorical", value) for value in data]})
    if not data or not width:
        raise UnknownError
    lines = [data[start : start + width] for start in range(0, len(data), width)]
    shares = [_shares(line) for line in lines]
    if all(shares):
        best = [{PREDICTION: str(line.index(max(line)))} for line in shares if line]
        return [{**row, SCORE: line[1]} for row, line in zip(best, shares, strict=True) if line] if width == 2 else best
    if width != 2:
        raise RefusedError
    return _rows(
        {
            PREDICTION: [_cell("categorical", line[0]) for line in lines],
            SCORE: [_cell("numeric", line[1]) for line in lines],
        }
    )


def _shares(line: list[Any]) -> list[float] | None:
    try:
        shares = [_number(value) for value in line]
    except RefusedError:
        return None
    if any(math.isnan(share) or not 0 <= share <= 1 for share in shares):
        return None
    total = sum(shares)
    if abs(abs(total - 1) - 5e-3) < 1e-9:
        raise UnknownError  # at the very edge, the order of the sum decides
    return shares if abs(total - 1) < 5e-3 else None


def _by_name(tensors: Tensors, names: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, shape, values in tensors:
        if name in names:
            if name in found or math.prod(shape[1:]) != 1:
                raise RefusedError
            found[name] = values
    return found


def _rows(by_name: dict[str, list[Any]]) -> list[Row]:
    lengths = {len(values) for values in by_name.values()}
    if len(lengths) != 1:
        raise RefusedError
    return [{name: values[place] for name, values in by_name.items()} for place in range(lengths.pop())]


def _cell(kind: str, value: Any) -> Any:
    return _nan_is_none(_number(value)) if kind == "numeric" else _text(value)


def _nan_is_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, list | dict):
        raise RefusedError
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise RefusedError from error


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value) if abs(value) < 2**128 else "beyond 128 bits"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return _shortest_single(value) if isinstance(value, Single) else repr(value)
    raise RefusedError


def _shortest_single(value: float) -> str:
    for digits in range(1, 18):
        text = f"{value:.{digits}g}"
        if _as_single(float(text)) == float(value):
            return repr(float(text))
    return repr(float(value))


def _as_single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf


# --- from bytes to tensors ----------------------------------------------------------------------------------------
def _tensors(payload: Payload, columns: str, lines: str) -> Tensors:
    body = payload.body
    if payload.content_encoding is not None or body[:2] in (
        b"\x1f\x8b",
        b"\x78\x01",
        b"\x78\x9c",
        b"\x78\xda",
        b"\x28\xb5",
    ):
        raise UnknownError
    header = payload.headers.get("inference-header-content-length")
    if header is not None:
        if not header.isascii() or not header.isdecimal() or not 0 < int(header) <= len(body):
            raise UnknownError
        return _v2(_document(body[: int(header)]), columns, body[int(header) :])
    if body[:1] in (b"\0", b"\1"):
        return _grpc(body, columns)
    if body.lstrip()[:1] != b"{" or body[:1] == b"\n":
        raise UnknownError
    try:
        document = _document(body)
    except RefusedError:
        text = body.decode("utf-8", "surrogateescape")
        try:
            document, end = json.JSONDecoder(strict=False).raw_decode(text, len(text) - len(text.lstrip()))
        except (ValueError, RecursionError) as error:
            raise UnknownError from error
        tail = text[end:].encode("utf-8", "surrogateescape")
        if b"\n{" in tail or not _is_v2(document, columns):
            raise UnknownError from None
        return _v2(document, columns, tail)
    if _is_v2(document, columns):
        return _v2(document, columns, b"")
    return _v1(document, columns, lines)


def _document(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"), strict=False)
    except (ValueError, RecursionError) as error:
        raise RefusedError from error


def _is_v2(document: Any, columns: str) -> bool:
    parts = document.get(columns) if isinstance(document, dict) else None
    return isinstance(parts, list) and bool(parts) and isinstance(parts[0], dict) and "datatype" in parts[0]


def _v2(document: Any, columns: str, tail: bytes) -> Tensors:
    parts = document.get(columns) if isinstance(document, dict) else None
    if not isinstance(parts, list):
        raise RefusedError
    found: Tensors = []
    for part in parts:
        if (
            not isinstance(part, dict)
            or not isinstance(part.get("name"), str)
            or not isinstance(part.get("datatype"), str)
        ):
            raise RefusedError
        shape = _shape(part.get("shape"))
        parameters = part.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            values = _flat(part.get("data"))
        else:
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(tail):
                raise RefusedError
            values, tail = _raw(part["datatype"], tail[:size]), tail[size:]
        if any(length < 0 for length in shape) or math.prod(shape) != len(values):
            raise RefusedError
        found.append((part["name"], shape or [1], values))
    if tail.strip():
        raise RefusedError
    if len(found) == 1 and any(isinstance(value, dict) for value in found[0][2][:1]):
        raise UnknownError
    return found


def _shape(shape: Any) -> list[int]:
    if not isinstance(shape, list):
        raise RefusedError
    for length in shape:
        if isinstance(length, bool) or not isinstance(length, int | float) or not math.isfinite(length):
            raise RefusedError
        if int(length) != length:
            raise RefusedError
    return [int(length) for length in shape]


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise RefusedError
    while data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            raise RefusedError
        data = [value for part in data for value in part]
    return list(data)


def _raw(datatype: str, raw: bytes) -> list[Any]:
    if datatype == "BYTES":
        texts = []
        while raw:
            size = int.from_bytes(raw[:4], "little")
            if len(raw) < 4 + size:
                raise RefusedError
            texts.append(raw[4 : 4 + size])
            raw = raw[4 + size :]
        return [_decoded(text) for text in texts]
    if datatype == "BF16":
        return [Single(struct.unpack("<f", b"\0\0" + raw[place : place + 2])[0]) for place in range(0, len(raw), 2)]
    if datatype not in _FORMATS or len(raw) % struct.calcsize("<" + _FORMATS[datatype]):
        raise RefusedError
    if datatype == "BOOL" and any(byte > 1 for byte in raw):
        raise UnknownError
    if datatype == "FP16":
        raise UnknownError  # spelling of half precision is not the reference's business
    values = [value for (value,) in struct.iter_unpack("<" + _FORMATS[datatype], raw)]
    return [Single(value) for value in values] if datatype == "FP32" else values


def _decoded(text: bytes) -> str | bytes:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RefusedError from error


def _grpc(body: bytes, columns: str) -> Tensors:
    size = int.from_bytes(body[1:5], "big")
    if body[0] or size != len(body) - 5:
        raise UnknownError
    try:
        message = _TYPES["Request" if columns == "inputs" else "Response"].FromString(body[5:])
    except Exception as error:  # the library's own DecodeError, whatever it is built on
        raise RefusedError from error
    raws = list(message.raw_input_contents if columns == "inputs" else message.raw_output_contents)
    found: Tensors = []
    for tensor in getattr(message, columns):
        if "shared_memory_region" in tensor.parameters:
            raise RefusedError
        name, datatype, shape = _utf8(tensor.name), _utf8(tensor.datatype), list(tensor.shape)
        if raws and not tensor.contents.ByteSize():
            values = _raw(datatype, raws.pop(0))
        elif datatype in _TYPED:
            values = list(getattr(tensor.contents, _TYPED[datatype]))
            values = [Single(value) for value in values] if datatype == "FP32" else values
            values = [_decoded(value) for value in values] if datatype == "BYTES" else values
        else:
            raise RefusedError
        if any(length < 0 for length in shape) or math.prod(shape) != len(values):
            raise RefusedError
        found.append((name, shape or [1], values))
    if raws:
        raise RefusedError
    return found


def _v1(document: Any, columns: str, lines: str) -> Tensors:
    if not isinstance(document, dict):
        raise UnknownError
    content = document.get(lines) if lines in document else document.get(columns, UnknownError)
    names = list(INPUTS) if columns == "inputs" else [PREDICTION, SCORE]
    if content is UnknownError or (lines in document and columns == "inputs" and not isinstance(content, list)):
        raise UnknownError if content is UnknownError else RefusedError
    if isinstance(content, dict):
        return [
            (name, [len(values)], _unwrapped(values)) for name in names if isinstance(values := content.get(name), list)
        ]
    if not isinstance(content, list):
        raise RefusedError
    if not content:
        return []
    return _v1_rows(content, names)


def _v1_rows(content: list[Any], names: list[str]) -> Tensors:
    kinds = {dict if isinstance(row, dict) else list if isinstance(row, list) else None for row in content}
    if len(kinds) != 1:
        raise RefusedError
    kind: Callable[..., Any] | None = kinds.pop()
    if kind is dict:
        present = {name for row in content for name in row}
        if present.isdisjoint(names):
            raise UnknownError
        return [
            (name, [len(content)], _unwrapped([row.get(name) for row in content])) for name in names if name in present
        ]
    if kind is list:
        if len({len(row) for row in content}) != 1:
            raise RefusedError
        return [("", [len(content), len(content[0])], [value for row in content for value in row])]
    return [("", [len(content)], content)]


def _unwrapped(values: list[Any]) -> list[Any]:
    if any(isinstance(value, dict) for value in values):
        raise UnknownError
    if values and all(isinstance(value, list) and len(value) == 1 for value in values):
        values = [value[0] for value in values]
        if any(isinstance(value, dict) for value in values):
            raise UnknownError
    return values
