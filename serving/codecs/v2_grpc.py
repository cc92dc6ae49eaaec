"""Open Inference Protocol V2 over gRPC: ``ModelInferRequest`` and ``ModelInferResponse``, in frames or bare.

A captured call has each message in a frame of five bytes (is it compressed, and its length); ModelMesh and Seldon send
the message alone, Seldon also behind Confluent's prefix of a schema registry. Streams (``ModelStreamInfer``) are
several messages; their tensors are joined by name along the first axis. Data are read from typed and raw contents.
Source: https://github.com/kserve/open-inference-protocol, grpc_predict_v2.proto; stream messages: Triton's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from driftline.errors import DecodeError
from serving import reasons
from serving.codecs.protobuf_wire import BYTES as DELIMITED
from serving.codecs.protobuf_wire import FIXED32, FIXED64, VARINT, Field, WireError, fields, varints
from serving.codecs.reading import REQUEST, Half, Reading
from serving.content import plain_body
from serving.tensors import BYTES, DATATYPES, Tensor, Values, check_count, read_raw, text_or_bytes, unknown_datatype

PREFIX_BYTES = 5
#: Numbers of the fields: of a request and an answer, of a tensor, and of the contents by datatype.
_TENSORS = 5
_RAW = {"request": 7, "response": 6}
_STREAM_ANSWER = 2
_PARAMETERS, _CONTENTS = 4, 5
_TYPED = {
    "BOOL": 1,
    "INT8": 2,
    "INT16": 2,
    "INT32": 2,
    "INT64": 3,
    "UINT8": 4,
    "UINT16": 4,
    "UINT32": 4,
    "UINT64": 5,
    "FP32": 6,
    "FP64": 7,
    BYTES: 8,
}
#: How protobuf keeps the numbers of each field of the contents.
_KEPT_AS = {1: np.bool_, 2: np.int32, 3: np.int64, 4: np.uint32, 5: np.uint64}
_FLOATS: dict[int, tuple[str, int, int]] = {6: ("<f4", 4, FIXED32), 7: ("<f8", 8, FIXED64)}
_SHARED = b"shared_memory_region"


def frames(body: bytes, encoding: str | None) -> list[bytes] | None:
    r"""The messages of a body that is frames from end to end; None where it is not. Raises DecodeError.

    ``encoding``: the call's grpc-encoding, for frames that are compressed.

    >>> frames(b"\0\0\0\0\1a\0\0\0\0\2bc", None)
    [b'a', b'bc']
    """
    found: list[tuple[int, bytes]] = []
    position = 0
    while position < len(body):
        start = position + PREFIX_BYTES
        if body[position] > 1 or start > len(body):
            return None
        position = start + int.from_bytes(body[start - 4 : start], "big")
        if position > len(body):
            return None
        found.append((body[start - PREFIX_BYTES], body[start:position]))
    return [plain_body(message, encoding) if is_compressed else message for is_compressed, message in found]


def unregistered(body: bytes) -> bytes | None:
    """The message behind Confluent's prefix: a zero, four bytes of schema id, which message of the schema it is."""
    if len(body) < PREFIX_BYTES + 2 or body[0]:
        return None
    # The first message of a schema is a zero; else a count and as many numbers, all small in practice.
    count = body[PREFIX_BYTES] >> 1
    behind = PREFIX_BYTES + 1 + count
    return body[behind:] if body[PREFIX_BYTES] < 16 and all(place < 128 for place in body[6:behind]) else None


def is_message(body: bytes, half: Half) -> bool:
    """Whether a bare body reads as a message with at least one tensor that has a name and a known datatype."""
    try:
        found = list(fields(body))
        heads = [_head(body, field) for field in found if field.number == _TENSORS and field.wire_type == DELIMITED]
    except (WireError, UnicodeDecodeError):
        return False
    known = {1, 2, 3, 4, 5, 6, _RAW[half]}
    return bool(heads) and all(field.number in known for field in found) and all(head[1] in DATATYPES for head in heads)


def read(messages: Sequence[bytes], half: Half) -> Reading:
    """The tensors of one half of a call; raises DecodeError."""
    try:
        read_ones = [_read_message(message, half) for message in messages]
    except WireError as error:
        raise DecodeError(reasons.MALFORMED, f"the {half} is no message of the V2 protocol: {error}") from error
    except UnicodeDecodeError as error:
        raise DecodeError(reasons.MALFORMED, f"the {half} has a name that is not UTF-8: {error}") from error
    if half == "response":
        read_ones = [tensors for tensors in read_ones if tensors]  # a stream's last message may be an empty mark
    return Reading("v2_grpc", joined(read_ones), messages=len(read_ones))


def joined(parts: Sequence[list[Tensor]]) -> list[Tensor]:
    """The tensors of several messages, by name along the first axis; raises DecodeError where they do not fit."""
    if len(parts) < 2:
        return parts[0] if parts else []
    names = [tensor.name for tensor in parts[0]]
    for part in parts:
        if [tensor.name for tensor in part] != names:
            raise DecodeError(reasons.SHAPE_MISMATCH, "the messages of a stream have different tensors")
    return [_joined([part[place] for part in parts]) for place in range(len(names))]


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    if any(tensor.shape[1:] != first.shape[1:] or tensor.datatype != first.datatype for tensor in tensors):
        raise DecodeError(reasons.SHAPE_MISMATCH, f"tensor '{first.name}' changes its shape or type within a stream")
    values: Values
    if all(isinstance(tensor.values, np.ndarray) for tensor in tensors):
        values = np.concatenate([tensor.values for tensor in tensors])
    else:
        values = [value for tensor in tensors for value in tensor.values]
    return Tensor(first.name, first.datatype, (sum(tensor.rows for tensor in tensors), *first.shape[1:]), values)


def _read_message(message: bytes, half: Half) -> list[Tensor]:
    found = [field for field in fields(message) if field.wire_type == DELIMITED]
    if half != REQUEST and not any(field.number == _TENSORS for field in found):
        return _read_stream_answer(message, found, half)
    raws = [field for field in found if field.number == _RAW[half]]
    tensors = [_read_tensor(message, field, raws) for field in found if field.number == _TENSORS]
    if raws:
        raise DecodeError(reasons.MALFORMED, f"{len(raws)} raw contents of the {half} belong to no tensor")
    return tensors


def _read_stream_answer(message: bytes, found: Sequence[Field], half: Half) -> list[Tensor]:
    inner = [field for field in found if field.number == _STREAM_ANSWER]
    # The version of the model stands in the same place; a message inside has fields of its own.
    if len(inner) == 1 and any(part.number == _TENSORS for part in _fields_or_none(message, inner[0])):
        return _read_message(message[inner[0].start : inner[0].end], half)
    return []


def _fields_or_none(message: bytes, field: Field) -> list[Field]:
    try:
        return list(fields(message, field.start, field.end))
    except WireError:
        return []


def _head(message: bytes, tensor: Field) -> tuple[str, str, tuple[int, ...], list[Field], bool]:
    """Name, datatype, shape, contents and whether it lies in shared memory."""
    name = datatype = ""
    shape: list[int] = []
    contents = []
    is_shared = False
    for field in fields(message, tensor.start, tensor.end):
        if field.number == 3 and field.wire_type in (DELIMITED, VARINT):
            shape += _shape(message, field)
        elif field.wire_type != DELIMITED:
            continue
        elif field.number == 1:
            name = message[field.start : field.end].decode()
        elif field.number == 2:
            datatype = message[field.start : field.end].decode()
        elif field.number == _PARAMETERS:
            is_shared = is_shared or _is_shared(message, field)
        elif field.number == _CONTENTS:
            contents.append(field)
    return name, datatype, tuple(shape), contents, is_shared


def _is_shared(message: bytes, parameter: Field) -> bool:
    keys = [field for field in fields(message, parameter.start, parameter.end) if field.number == 1]
    return any(message[key.start : key.end] == _SHARED for key in keys)


def _shape(message: bytes, field: Field) -> list[int]:
    lengths = varints(message[field.start : field.end]).astype(np.int64)
    result: list[int] = lengths.tolist()
    return result


def _read_tensor(message: bytes, tensor: Field, raws: list[Field]) -> Tensor:
    name, datatype, shape, contents, is_shared = _head(message, tensor)
    if is_shared:
        raise DecodeError(reasons.NOT_OBSERVABLE, f"tensor '{name}' lies in shared memory, not in the message")
    if datatype not in DATATYPES:
        raise unknown_datatype(name, datatype)
    if raws and not contents:
        raw = raws.pop(0)
        return read_raw(name, datatype, shape, message[raw.start : raw.end])
    kept_in = _TYPED.get(datatype)
    if kept_in is None:
        raise DecodeError(reasons.MALFORMED, f"tensor '{name}' is {datatype} and has no raw contents, which it needs")
    pieces = [
        field
        for content in contents
        for field in fields(message, content.start, content.end)
        if field.number == kept_in
    ]
    values = _typed_values(message, kept_in, pieces)
    check_count(name, shape, len(values))
    return Tensor(name, datatype, shape, values)


def _typed_values(message: bytes, kept_in: int, pieces: Sequence[Field]) -> Values:
    if kept_in == _TYPED[BYTES]:
        return [text_or_bytes(message[piece.start : piece.end]) for piece in pieces if piece.wire_type == DELIMITED]
    if kept_in in _FLOATS:
        dtype, size, alone = _FLOATS[kept_in]
        whole = b"".join(message[piece.start : piece.end] for piece in pieces if piece.wire_type in (DELIMITED, alone))
        if len(whole) % size:
            raise WireError("packed numbers are cut")
        return np.frombuffer(whole, dtype)
    wide = [varints(message[piece.start : piece.end]) for piece in pieces if piece.wire_type in (DELIMITED, VARINT)]
    numbers = np.concatenate(wide) if wide else np.zeros(0, np.uint64)
    kept: Any = numbers != 0 if kept_in == 1 else numbers.astype(_KEPT_AS[kept_in])
    values: Values = kept
    return values
