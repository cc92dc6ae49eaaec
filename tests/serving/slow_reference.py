"""Every protocol read a second time: slowly, row by row, and with none of the code that is tested.

Made of Python's ``json`` and ``struct`` and of protobuf's own library; documents of other protocols than V2 are read in
``slow_documents``, texts in ``slow_texts``. What it does not claim to know raises UnknownError.
"""

import json
import math
import struct
from typing import Any

from driftline.events import Payload
from tests.logger_sidecar.finishing.predict_messages import message_types
from tests.serving import slow_documents, slow_messages, slow_texts
from tests.serving.slow_parts import Found, RefusedError, Row, Sought, Tensors, UnknownError, refuse

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


class Single(float):
    """A float32, which is spelt shorter than the float64 that it is equal to."""


def rows(request: Payload, response: Payload, sought: Sought) -> list[Row]:
    """The rows of an event, or RefusedError, or UnknownError."""
    given = _read(request, "inputs", sought, None)
    if given.streamed:
        raise UnknownError
    count = given.tensors[0][1][0] if given.tensors else None
    said = _read(response, "outputs", sought, count)
    if said.streamed and count == 1:
        said = Found([_as_one_row(*tensor) for tensor in said.tensors], said.loose)
    asked, answered = _inputs(given, sought), _outputs(said, sought)
    if answered and len(answered) != len(asked):
        raise RefusedError
    return [{**first, **second} for first, second in zip(asked, answered or [{}] * len(asked), strict=True)]


# --- from tensors to rows -----------------------------------------------------------------------------------------
def _inputs(given: Found, sought: Sought) -> list[Row]:
    tensors, kinds = given.tensors, sought.inputs
    found = _by_name(tensors, list(kinds))
    if found:
        return _rows({name: [_cell(kinds[name], value) for value in values] for name, values in found.items()})
    refuse(not given.loose or len(tensors) != 1 or len(tensors[0][1]) != 2 or tensors[0][1][1] != len(kinds))
    values = tensors[0][2]
    return _rows(
        {
            name: [_cell(kind, value) for value in values[place :: len(kinds)]]
            for place, (name, kind) in enumerate(kinds.items())
        }
    )


def _as_one_row(name: str, shape: list[int], values: list[Any]) -> tuple[str, list[int], list[Any]]:
    """Pieces of a streamed answer: texts one after the other, of others the last."""
    if shape[0] < 2 or math.prod(shape[1:]) != 1:
        return name, shape, values
    is_text = all(isinstance(value, str) for value in values)
    return name, [1, *shape[1:]], ["".join(values)] if is_text else values[-1:]


def _outputs(said: Found, sought: Sought) -> list[Row]:
    tensors, prediction, score = said.tensors, sought.prediction, sought.score
    kinds = {prediction: "categorical", score: "numeric"}
    pairs = [
        (name, shape[:1], data[1::2]) if name == score and len(shape) == 2 and shape[1] == 2 else (name, shape, data)
        for name, shape, data in tensors
    ]
    found = _by_name(pairs, list(kinds))
    if found:
        return _rows({name: [_cell(kinds[name], value) for value in values] for name, values in found.items()})
    if not said.loose:
        return []
    if tensors and tensors[0][0] == "class":
        named = {prediction: tensors[0], score: tensors[1]} if len(tensors) > 1 else {prediction: tensors[0]}
        return _rows({name: [_cell(kinds[name], value) for value in values] for name, (_, _, values) in named.items()})
    return _only_output(tensors[0], sought) if len(tensors) == 1 else []


def _only_output(tensor: tuple[str, list[int], list[Any]], sought: Sought) -> list[Row]:
    _, shape, data = tensor
    prediction, score = sought.prediction, sought.score
    width = math.prod(shape[1:])
    if width == 1:
        return _rows({prediction: [_cell("categorical", value) for value in data]})
    if not data or not width:
        raise UnknownError
    lines = [data[start : start + width] for start in range(0, len(data), width)]
    shares = [_shares(line) for line in lines]
    if all(shares):
        best = [{prediction: str(line.index(max(line)))} for line in shares if line]
        return [{**row, score: line[1]} for row, line in zip(best, shares, strict=True) if line] if width == 2 else best
    refuse(width != 2)
    return _rows(
        {
            prediction: [_cell("categorical", line[0]) for line in lines],
            score: [_cell("numeric", line[1]) for line in lines],
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
def _read(payload: Payload, side: str, sought: Sought, count: int | None) -> Found:
    body = payload.body
    packed = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x28\xb5")
    if payload.content_encoding is not None or body[:2] in packed:
        raise UnknownError
    header = payload.headers.get("inference-header-content-length")
    if header is not None:
        if not header.isascii() or not header.isdecimal() or not 0 < int(header) <= len(body):
            raise UnknownError
        return Found(_v2(_document(body[: int(header)]), side, body[int(header) :]))
    if body[:1] in (b"\0", b"\1"):
        return _grpc(body, side, sought, count)
    if body[:1] == b"\n":
        raise UnknownError
    if body.lstrip()[:1] in (b"{", b"["):
        return _json(body, side, sought, count)
    if body.removeprefix(b"\xef\xbb\xbf").startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
        return slow_documents.read(slow_texts.stream(body), side, sought, count)._replace(streamed=True)
    if payload.content_type == "text/csv" and body:
        return Found(slow_texts.table(body, sought.names(side)))
    raise UnknownError


def _json(body: bytes, side: str, sought: Sought, count: int | None) -> Found:
    try:
        document = _document(body)
    except RefusedError:
        values = slow_texts.json_lines(body)
        if values is not None:
            return Found(slow_documents.rows_of(values, sought.names(side)))
        refuse(body[:1] == b"[")
        return Found(_before_raw_tensors(body, side))
    if _is_v2(document, side):
        return _rows_of_objects(_v2(document, side, b""), sought.names(side))
    return slow_documents.read(document, side, sought, count)


def _before_raw_tensors(body: bytes, side: str) -> Tensors:
    text = body.decode("utf-8", "surrogateescape")
    try:
        document, end = json.JSONDecoder(strict=False).raw_decode(text, len(text) - len(text.lstrip()))
    except (ValueError, RecursionError) as error:
        raise UnknownError from error
    tail = text[end:].encode("utf-8", "surrogateescape")
    if b"\n{" in tail or not _is_v2(document, side):
        raise UnknownError
    return _v2(document, side, tail)


def _rows_of_objects(tensors: Tensors, names: list[str]) -> Found:
    """V2's tensors, or the rows that an only one holds as objects."""
    if len(tensors) == 1 and any(isinstance(value, dict) for value in tensors[0][2][:1]):
        return Found(slow_documents.rows_of(tensors[0][2], names))
    return Found(tensors)


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


def _grpc(body: bytes, side: str, sought: Sought, count: int | None) -> Found:
    try:
        tensors = _v2_message(body, side)
    except RefusedError:
        _refuse_unless_another(body, side, sought, count)
        raise
    return Found(tensors) if tensors else slow_messages.read(body[5:], side, sought, count)


def _refuse_unless_another(body: bytes, side: str, sought: Sought, count: int | None) -> None:
    try:
        slow_messages.read(body[5:], side, sought, count)
    except (UnknownError, RefusedError):
        return
    raise UnknownError


def _v2_message(body: bytes, columns: str) -> Tensors:
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
