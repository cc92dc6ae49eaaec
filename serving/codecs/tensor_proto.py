"""TensorFlow's ``TensorProto``, in which TensorFlow Serving's calls and Seldon's ``tftensor`` keep their values.

Values are raw bytes (``tensor_content``) or typed fields, of which TensorFlow leaves out the last ones where they
repeat. Source: https://github.com/tensorflow/tensorflow, core/framework/tensor.proto and types.proto.
"""

import math
from collections.abc import Sequence

import numpy as np

from driftline.errors import DecodeError
from driftline.protobuf_wire import BYTES as DELIMITED
from driftline.protobuf_wire import VARINT, Field, fields, read_varint
from serving import reasons
from serving.codecs.packed_numbers import varints
from serving.codecs.v2_grpc import typed_values
from serving.tensors import BF16, BYTES, Tensor, Values, check_count, read_raw

#: Of DataType, and the field that keeps its values.
_TYPES = {
    1: ("FP32", 5),
    2: ("FP64", 6),
    3: ("INT32", 7),
    4: ("UINT8", 7),
    5: ("INT16", 7),
    6: ("INT8", 7),
    7: (BYTES, 8),
    9: ("INT64", 10),
    10: ("BOOL", 11),
    14: (BF16, 13),
    17: ("UINT16", 7),
    19: ("FP16", 13),
    22: ("UINT32", 16),
    23: ("UINT64", 17),
}
_DTYPE, _SHAPE, _CONTENT = 1, 2, 4
_LAST_FIELD = 17
_DIMENSION, _SIZE = 2, 1
#: More values than these are not made of a few that repeat: a shape of eight bytes could ask for any number.
_MOST_REPEATED = 1 << 20


def is_tensor(message: bytes, start: int, end: int) -> bool:
    """Whether the fields are those of a tensor, and its datatype is one of TensorFlow's; raises WireError."""
    found = fields(message, start, end)
    types = [_number(message, field) for field in found if field[0] == _DTYPE and field[1] == VARINT]
    known = all(number <= _LAST_FIELD and (number != _DTYPE or wire == VARINT) for number, wire, *_ in found)
    return len(types) == 1 and known and types[0] in _TYPES


def read(name: str, message: bytes, start: int, end: int) -> Tensor:
    """The tensor in ``message[start:end]``; raises DecodeError and WireError."""
    found = fields(message, start, end)
    dtype = next((_number(message, field) for field in found if field[0] == _DTYPE), 0)
    if dtype not in _TYPES:
        raise DecodeError(reasons.UNSUPPORTED_FORMAT, f"tensor '{name}' is of TensorFlow's type {dtype}")
    datatype, kept_in = _TYPES[dtype]
    shape = tuple(
        size
        for number, wire, *span in found
        if number == _SHAPE and wire == DELIMITED
        for size in _sizes(message, *span)
    )
    raw = [message[first:last] for number, wire, first, last in found if number == _CONTENT and wire == DELIMITED]
    if raw and raw[-1]:
        if datatype == BYTES:
            raise DecodeError(reasons.UNSUPPORTED_FORMAT, f"tensor '{name}' holds its texts as raw content")
        return read_raw(name, datatype, shape, raw[-1])
    values = _values(message, datatype, [field for field in found if field[0] == kept_in])
    values = _repeated(name, datatype, shape, values)
    check_count(name, shape, len(values))
    return Tensor(name, datatype, shape, values)


def _number(message: bytes, field: Field) -> int:
    return read_varint(message, field[2], field[3])[0] if field[1] == VARINT else -1


def _sizes(message: bytes, start: int, end: int) -> list[int]:
    """The length of each dimension; 0 is the one that protobuf leaves out."""
    sizes = []
    for number, wire, first, last in fields(message, start, end):
        if number == _DIMENSION and wire == DELIMITED:
            found = [_number(message, field) for field in fields(message, first, last) if field[0] == _SIZE]
            sizes.append(found[-1] if found else 0)
    return [size - 2**64 if size >= 2**63 else size for size in sizes]


def _values(message: bytes, datatype: str, pieces: Sequence[Field]) -> Values:
    if datatype not in ("FP16", BF16):
        return typed_values(message, datatype, pieces)
    packed = [varints(message[first:last]) for _, wire, first, last in pieces if wire in (DELIMITED, VARINT)]
    bits = (np.concatenate(packed) if packed else np.zeros(0, np.uint64)).astype("<u2")
    return bits.view("<f2") if datatype == "FP16" else (bits.astype("<u4") << 16).view("<f4")


def _repeated(name: str, datatype: str, shape: tuple[int, ...], values: Values) -> Values:
    """All values where the last of those that are there stands for the rest; none at all are zeros."""
    lacking = math.prod(shape) - len(values) if min(shape, default=0) >= 0 else 0
    if lacking <= 0 or (datatype == BYTES and not len(values)):
        return values
    if lacking > _MOST_REPEATED:
        raise DecodeError(reasons.SHAPE_MISMATCH, f"tensor '{name}' has shape {list(shape)} for {len(values)} values")
    if isinstance(values, np.ndarray):
        return np.concatenate([values, np.full(lacking, values[-1] if len(values) else 0, values.dtype)])
    return [*values, *[values[-1]] * lacking]
