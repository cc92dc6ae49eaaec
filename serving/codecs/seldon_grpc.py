"""Seldon Core v1's messages as protobuf: what its gRPC carries and its request logger sends, read into their JSON form.

Source: SeldonMessage of https://github.com/SeldonIO/seldon-core, prediction.proto; google/protobuf/struct.proto.
"""

import base64
import struct
from typing import Any

import numpy as np

from driftline.errors import DecodeError
from driftline.protobuf_wire import BYTES as DELIMITED
from driftline.protobuf_wire import FIXED64, VARINT, WireError, few_varints, fields, read_varint
from serving import reasons
from serving.codecs import tensor_proto
from serving.codecs.seldon import BINARY, JSON, TEXT

_STATUS, _META, _DATA, _BINARY, _TEXT, _JSON = range(1, 7)
#: The last field of a status and of what is told beside the contents; V2 has the model's name and version there.
_LAST_BESIDE = 5
_CONTENTS = (_DATA, _BINARY, _TEXT, _JSON)
_NAMES, _TENSOR, _ROWS, _TF_TENSOR = range(1, 5)
_NUMBER, _WORD, _TRUTH, _STRUCT, _LIST = range(2, 7)
_FIRST_PRINTABLE = 32
#: Values within values; what a person sends has a handful.
_DEEPEST = 64


def document(message: bytes, *, is_told: bool) -> dict[str, Any] | None:
    """The message as its JSON form has it, None where it is another; raises DecodeError.

    ``is_told``: whether something else says that this is protobuf. Where nothing does, only ``data`` counts: any bytes
    could be a text or bytes of somebody's.

    >>> document(bytes([0x2A, 2]) + b"Hi", is_told=True)
    {'strData': 'Hi'}
    """
    try:
        found = fields(message)
        contents = [field for field in found if field[0] in _CONTENTS]
        is_known = all(number <= _JSON and wire == DELIMITED for number, wire, *_ in found)
        beside = [span for number, _, *span in found if number in (_STATUS, _META)]
        is_known = is_known and all(number <= _LAST_BESIDE for span in beside for number, *_ in fields(message, *span))
        if not is_known or len(contents) != 1 or not (is_told or contents[0][0] == _DATA):
            return None
        [(number, _, start, end)] = contents
        return _content(message, number, start, end)
    except (WireError, UnicodeDecodeError):
        return None


def _content(message: bytes, number: int, start: int, end: int) -> dict[str, Any]:
    if number == _DATA:
        return {"data": _data(message, start, end)}
    if number == _BINARY:
        return {BINARY: base64.b64encode(message[start:end]).decode()}
    if number == _TEXT:
        return {TEXT: _text(message[start:end])}
    return {JSON: _value(message, start, end, 0)}


def _text(content: bytes) -> str:
    """A text, which has no control characters: where Seldon has it, V2 has its tensors, which do."""
    if any(byte < _FIRST_PRINTABLE and byte not in b"\t\n\r" for byte in content):
        raise WireError("a text has control characters")
    return content.decode()


def _data(message: bytes, start: int, end: int) -> dict[str, Any]:
    """Names, and one of three ways to hold numbers; raises WireError where it is none of them."""
    names: list[str] = []
    data: dict[str, Any] = {}
    for number, wire, first, last in fields(message, start, end):
        if wire != DELIMITED:
            raise WireError(f"data has a field {number} that is no message")
        if number == _NAMES:
            names.append(message[first:last].decode())
        elif number == _TENSOR:
            data = {"tensor": _tensor(message, first, last)}
        elif number == _ROWS:
            data = {"ndarray": _list(message, first, last, 0)}
        elif number == _TF_TENSOR:
            data = {"tensor": _tf_tensor(message, first, last)}
        else:
            raise WireError(f"data has a field {number}")
    if not data:
        raise WireError("data holds neither a tensor nor an array")
    return {"names": names, **data}


def _tensor(message: bytes, start: int, end: int) -> dict[str, Any]:
    shape: list[int] = []
    values: list[float] = []
    for number, wire, first, last in fields(message, start, end):
        if number == 1 and wire in (DELIMITED, VARINT):
            shape += few_varints(message, first, last)
        elif number == 2 and wire in (DELIMITED, FIXED64) and (last - first) % 8 == 0:
            values += np.frombuffer(message[first:last], "<f8").tolist()
        else:
            raise WireError(f"a tensor has a field {number}")
    return {"shape": shape, "values": values}


def _tf_tensor(message: bytes, start: int, end: int) -> dict[str, Any]:
    tensor = tensor_proto.read("tftensor", message, start, end)
    values = tensor.values.tolist() if isinstance(tensor.values, np.ndarray) else tensor.values
    return {"shape": list(tensor.shape), "values": values}


# --- google.protobuf.Value ----------------------------------------------------------------------------------------
def _value(message: bytes, start: int, end: int, depth: int) -> Any:
    if depth > _DEEPEST:
        raise DecodeError(reasons.MALFORMED, f"a value holds values within values, more than {_DEEPEST}")
    found: Any = None
    for number, wire, first, last in fields(message, start, end):
        if number == _NUMBER and wire == FIXED64:
            [found] = struct.unpack("<d", message[first:last])
        elif number == _WORD and wire == DELIMITED:
            found = message[first:last].decode()
        elif number == _TRUTH and wire == VARINT:
            found = bool(read_varint(message, first, last)[0])
        elif number == _STRUCT and wire == DELIMITED:
            found = _struct(message, first, last, depth + 1)
        elif number == _LIST and wire == DELIMITED:
            found = _list(message, first, last, depth + 1)
        elif (number, wire) != (1, VARINT):  # a null
            raise WireError(f"a value has a field {number}")
    return found


def _list(message: bytes, start: int, end: int, depth: int) -> list[Any]:
    found = fields(message, start, end)
    if any(number != 1 or wire != DELIMITED for number, wire, *_ in found):
        raise WireError("a list has something beside its values")
    return [_value(message, first, last, depth) for _, _, first, last in found]


def _struct(message: bytes, start: int, end: int, depth: int) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for number, wire, first, last in fields(message, start, end):
        parts = {one[0]: one for one in fields(message, first, last)} if (number, wire) == (1, DELIMITED) else {}
        if not parts or not set(parts) <= {1, 2} or any(one[1] != DELIMITED for one in parts.values()):
            raise WireError("a struct has something beside its members")
        name = message[slice(*parts[1][2:])].decode() if 1 in parts else ""
        members[name] = _value(message, *parts[2][2:], depth) if 2 in parts else None
    return members
