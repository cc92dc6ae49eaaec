"""V2 messages over gRPC as documents like V2's JSON, and back, so that the same rules of redaction hold for both.

Messages and field numbers: ``grpc_predict_v2.proto`` of the Open Inference Protocol, and ModelStreamInferResponse of
Triton's ``grpc_service.proto``. A document has ``model_name``, ``model_version``, ``id``, ``parameters``, and
``inputs`` or ``outputs`` with ``name``, ``datatype``, ``shape``, ``parameters`` and ``data``; an answer of a stream may
have ``error_message``. A message with a field that is none of these cannot be vouched for, and is refused.
"""

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from driftline.protobuf_wire import BYTES, FIXED32, FIXED64, VARINT, WireError, few_varints
from logger_sidecar.finishing.protobuf_wire import (
    Field,
    read_fields,
    signed,
    varint,
    write_bytes,
    write_field,
    write_varint,
)
from logger_sidecar.finishing.tensor_data import as_bytes, read_raw, text_or_bytes, write_raw

Document = dict[str, Any]

#: Name of each text field, by number.
_TEXTS = {1: "model_name", 2: "model_version", 3: "id"}
_PARAMETERS, _INPUTS, _REQUESTED, _RAW_INPUTS = 4, 5, 6, 7
_OUTPUTS, _RAW_OUTPUTS = 5, 6
#: InferTensorContents by number: type code of ``array`` ("" for bytes), and the datatypes whose values stand there.
_CONTENTS = {1: "B", 2: "q", 3: "q", 4: "Q", 5: "Q", 6: "f", 7: "d", 8: ""}
_CONTENTS_BYTES = 8
_RAW = "raw"


class _Noted(dict[str, Any]):
    """A document with a note on how it came, so that it goes the same way: no rule can reach that."""

    __slots__ = ("way",)

    def __init__(self, values: Document, way: str = "") -> None:
        super().__init__(values)
        self.way = way


def read_request(message: bytes) -> Document:
    """A ModelInferRequest; raises WireError or TensorError."""
    return _read(message, "inputs", _RAW_INPUTS)


def write_request(document: Document) -> bytes:
    """The message of such a document."""
    return _write(document, "inputs", _RAW_INPUTS)


def read_response(message: bytes) -> Document:
    """A ModelInferResponse or a ModelStreamInferResponse; raises WireError or TensorError."""
    fields = read_fields(message)
    if not _is_stream_response(fields):
        return _read(message, "outputs", _RAW_OUTPUTS)
    document = _Noted({}, "stream")
    for field in fields:
        if field.number == 1:
            document["error_message"] = _text(field)
        else:
            document.update(_read(_bytes(field), "outputs", _RAW_OUTPUTS))
            document.way = "stream with response"
    return document


def write_response(document: Document) -> bytes:
    """The message of such a document."""
    way = document.way if isinstance(document, _Noted) else ""
    if not way:
        return _write(document, "outputs", _RAW_OUTPUTS)
    error = document.get("error_message")
    head = write_bytes(1, as_bytes(error)) if error is not None else b""
    inner = {name: value for name, value in document.items() if name != "error_message"}
    return head + (write_bytes(2, _write(inner, "outputs", _RAW_OUTPUTS)) if way.endswith("response") else b"")


def _is_stream_response(fields: Sequence[Field]) -> bool:
    """The answer of a stream has an error (1) or a response (2); the numbers of a plain answer's first two texts."""
    if not fields or any(field.number > 2 or field.wire_type != BYTES for field in fields):
        return False
    inner = next((field.value for field in fields if field.number == 2), None)
    if not isinstance(inner, bytes):
        return True  # a text in field 1 alone: an error, or an answer that has nothing but a model's name
    try:
        parsed = read_fields(inner)
    except WireError:
        return False
    return bool(parsed) and all(field.number <= _RAW_OUTPUTS and field.wire_type == BYTES for field in parsed)


def _read(message: bytes, tensors: str, raw_number: int) -> Document:
    document: Document = {tensors: []}
    found: list[_Noted] = document[tensors]
    raws: list[bytes] = []
    for field in read_fields(message):
        if field.number in _TEXTS:
            document[_TEXTS[field.number]] = _text(field)
        elif field.number == _PARAMETERS:
            _add_parameter(document, field)
        elif field.number == _INPUTS:
            found.append(_read_tensor(_bytes(field)))
        elif field.number == raw_number:
            raws.append(_bytes(field))
        elif field.number == _REQUESTED:
            document.setdefault("outputs", []).append(_read_requested(_bytes(field)))
        else:
            raise WireError(f"the message has a field {field.number}, which the protocol does not name")
    _add_raws(found, raws)
    return document


def _add_raws(tensors: list[_Noted], raws: list[bytes]) -> None:
    if not raws:
        return
    # Tensors in shared memory have no raw contents.
    takers = [tensor for tensor in tensors if "shared_memory_region" not in tensor.get("parameters", {})]
    if len(takers) != len(raws):
        raise WireError(f"the message has {len(takers)} tensors and {len(raws)} raw contents")
    for tensor, raw in zip(takers, raws, strict=True):
        tensor["data"] = read_raw(tensor.get("datatype", ""), raw)
        tensor.way = _RAW


def _write(document: Document, tensors: str, raw_number: int) -> bytes:
    parts = [
        write_bytes(number, as_bytes(document[name]))
        for number, name in _TEXTS.items()
        if document.get(name) is not None
    ]
    parts += _parameters(document, _PARAMETERS)
    raws: list[bytes] = []
    for tensor in document[tensors]:
        parts.append(write_bytes(_INPUTS, _write_tensor(tensor, raws)))
    if tensors == "inputs":
        parts += [write_bytes(_REQUESTED, _write_requested(output)) for output in document.get("outputs", [])]
    return b"".join((*parts, *(write_bytes(raw_number, raw) for raw in raws)))


# --- tensors ------------------------------------------------------------------------------------------------------
def _read_tensor(message: bytes) -> _Noted:
    tensor = _Noted({"shape": []})
    for field in read_fields(message):
        if field.number in (1, 2):
            tensor["name" if field.number == 1 else "datatype"] = _text(field)
        elif field.number == 3:
            tensor["shape"] += [signed(int(value)) for value in _numbers(field, "Q")]
        elif field.number == 4:
            _add_parameter(tensor, field)
        elif field.number == 5:
            _add_contents(tensor, _bytes(field))
        else:
            raise WireError(f"a tensor has a field {field.number}, which the protocol does not name")
    return tensor


def _add_contents(tensor: _Noted, message: bytes) -> None:
    for field in read_fields(message):
        code, way = _CONTENTS.get(field.number), str(field.number)
        if code is None or tensor.way not in ("", way):
            raise WireError(f"the contents of a tensor have a field {field.number} that does not fit")
        tensor.way = way
        if code == "":
            tensor.setdefault("data", []).append(text_or_bytes(_bytes(field)))
        else:
            tensor.setdefault("data", array(code)).extend(_numbers(field, code))


def _write_tensor(tensor: _Noted, raws: list[bytes]) -> bytes:
    way, data = tensor.way, tensor.get("data")
    datatype = tensor.get("datatype", "")
    contents = b""
    if way == _RAW:
        datatype, raw = write_raw(datatype, data)
        raws.append(raw)
    elif way:
        datatype, contents = _contents(int(way), datatype, data)
    parts = [write_bytes(1, as_bytes(tensor.get("name", ""))), write_bytes(2, as_bytes(datatype))]
    if tensor["shape"]:
        parts.append(write_bytes(3, b"".join(varint(int(size or 0)) for size in tensor["shape"])))
    parts += _parameters(tensor, 4)
    return b"".join((*parts, write_bytes(5, contents) if contents else b""))


def _contents(number: int, datatype: str, data: Any) -> tuple[str, bytes]:
    items = data if isinstance(data, array | list) else [data]
    if number == _CONTENTS_BYTES or any(isinstance(item, str | bytes) for item in items):
        return "BYTES", b"".join(write_bytes(_CONTENTS_BYTES, as_bytes(item)) for item in items)
    values = [0 if item is None else item for item in items]
    code = _CONTENTS[number]
    packed = array(code, values).tobytes() if code in "fd" else b"".join(varint(int(value)) for value in values)
    return datatype, write_bytes(number, packed)


def _numbers(field: Field, code: str) -> "array[Any]":
    """Numbers of a repeated field, packed or not."""
    if isinstance(field.value, int):
        return array(code, [signed(field.value) if code == "q" else field.value])
    if code in "fd":
        if field.wire_type not in (BYTES, FIXED32 if code == "f" else FIXED64):
            raise WireError(f"field {field.number} holds other numbers than it should")
        numbers = array(code)
        if len(field.value) % numbers.itemsize:
            raise WireError(f"field {field.number} holds no whole number of values")
        numbers.frombytes(field.value)
        return numbers
    values = few_varints(field.value, 0, len(field.value))
    if code == "B":
        return array(code, [value & 255 for value in values])
    return array(code, [signed(value) for value in values] if code == "q" else values)


def _read_requested(message: bytes) -> Document:
    output: Document = {}
    for field in read_fields(message):
        if field.number == 1:
            output["name"] = _text(field)
        elif field.number == 2:
            _add_parameter(output, field)
        else:
            raise WireError(f"a requested output has a field {field.number}, which the protocol does not name")
    return output


def _write_requested(output: Document) -> bytes:
    return b"".join((write_bytes(1, as_bytes(output.get("name", ""))), *_parameters(output, 2)))


# --- parameters ---------------------------------------------------------------------------------------------------
_TRUTH, _WHOLE, _STRING, _DOUBLE, _UNSIGNED = 1, 2, 3, 4, 5
_READ_PARAMETER: dict[int, Callable[[Field], Any]] = {
    _TRUTH: lambda field: bool(field.value),
    _WHOLE: lambda field: signed(int(field.value)) if isinstance(field.value, int) else 0,
    _STRING: lambda field: text_or_bytes(_bytes(field)),
    _DOUBLE: lambda field: struct.unpack("<d", _bytes(field))[0],
    _UNSIGNED: lambda field: field.value,
}


def _add_parameter(holder: Document, field: Field) -> None:
    """One entry of a map from names to InferParameter."""
    entry = {part.number: part for part in read_fields(_bytes(field))}
    name = _text(entry[1]) if 1 in entry else ""
    choice = read_fields(_bytes(entry[2])) if 2 in entry else []
    if not set(entry) <= {1, 2} or len(choice) > 1 or any(part.number not in _READ_PARAMETER for part in choice):
        raise WireError("a parameter has a field which the protocol does not name")
    value = _READ_PARAMETER[choice[0].number](choice[0]) if choice else None
    holder.setdefault("parameters", {})[name] = value


def _parameters(holder: Document, number: int) -> list[bytes]:
    parameters = holder.get("parameters")
    if not isinstance(parameters, dict):
        return []
    return [
        write_bytes(number, write_bytes(1, as_bytes(name)) + write_bytes(2, _parameter(value)))
        for name, value in parameters.items()
    ]


def _parameter(value: Any) -> bytes:
    if isinstance(value, bool):
        return write_varint(_TRUTH, int(value))
    if isinstance(value, int):
        return write_varint(_WHOLE if value < 2**63 else _UNSIGNED, value)
    if isinstance(value, float):
        return write_field(Field(_DOUBLE, FIXED64, struct.pack("<d", value)))
    return b"" if value is None else write_bytes(_STRING, as_bytes(value))


def _bytes(field: Field) -> bytes:
    if isinstance(field.value, int) or field.wire_type == VARINT:
        raise WireError(f"field {field.number} is a number where a message is expected")
    return field.value


def _text(field: Field) -> Any:
    return text_or_bytes(_bytes(field))
