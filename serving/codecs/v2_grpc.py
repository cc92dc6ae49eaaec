"""Open Inference Protocol V2 over gRPC: ``ModelInferRequest`` and ``ModelInferResponse``, in frames or bare.

A captured call has each message in a frame of five bytes (is it compressed, and its length); ModelMesh and Seldon send
the message alone, Seldon also behind Confluent's prefix of a schema registry. Streams (``ModelStreamInfer``) are
several messages; their tensors are joined by name along the first axis. Data are read from typed and raw contents.
Source: https://github.com/kserve/open-inference-protocol, grpc_predict_v2.proto; stream messages: Triton's.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from driftline.errors import DecodeError
from driftline.protobuf_wire import BYTES as DELIMITED
from driftline.protobuf_wire import FIXED32, FIXED64, VARINT, Field, WireError, few_varints, fields
from serving import reasons
from serving.codecs.packed_numbers import varints
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
#: Tensors of so many bytes have no contents worth the name, and what they say is kept.
_SMALL_BYTES = 128


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
        found = fields(body)
        heads = [_head(body, *span) for number, wire, *span in found if number == _TENSORS and wire == DELIMITED]
    except (WireError, UnicodeDecodeError):
        return False
    known = (1, 2, 3, 4, 5, 6, _RAW[half])
    return bool(heads) and all(field[0] in known for field in found) and all(head[1] in DATATYPES for head in heads)


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
    found = fields(message)
    tensors, raws = [], []
    for number, wire_type, start, end in found:
        if wire_type == DELIMITED:
            if number == _TENSORS:
                tensors.append((start, end))
            elif number == _RAW[half]:
                raws.append((start, end))
    if not tensors and half != REQUEST:
        return _read_stream_answer(message, found, half)
    raws.reverse()
    read_ones = [_read_tensor(message, start, end, raws) for start, end in tensors]
    if raws:
        raise DecodeError(reasons.MALFORMED, f"{len(raws)} raw contents of the {half} belong to no tensor")
    return read_ones


def _read_stream_answer(message: bytes, found: Sequence[Field], half: Half) -> list[Tensor]:
    inner = [span for number, wire, *span in found if number == _STREAM_ANSWER and wire == DELIMITED]
    # The version of the model stands in the same place; a message inside has fields of its own.
    if len(inner) == 1 and any(field[0] == _TENSORS for field in _fields_or_none(message, *inner[0])):
        return _read_message(message[slice(*inner[0])], half)
    return []


def _fields_or_none(message: bytes, start: int, end: int) -> list[Field]:
    try:
        return fields(message, start, end)
    except WireError:
        return []


def _head(message: bytes, start: int, end: int) -> tuple[str, str, list[int], list[tuple[int, int]], bool]:
    """Name, datatype, shape, contents and whether it lies in shared memory."""
    name = datatype = ""
    shape: list[int] = []
    contents = []
    is_shared = False
    for number, wire_type, first, last in fields(message, start, end):
        if number == 3 and wire_type in (DELIMITED, VARINT):
            shape += few_varints(message, first, last)
        elif wire_type != DELIMITED:
            continue
        elif number == 1:
            name = message[first:last].decode()
        elif number == 2:
            datatype = message[first:last].decode()
        elif number == _PARAMETERS:
            is_shared = is_shared or _is_shared(message, first, last)
        elif number == _CONTENTS and first < last:  # MLServer writes empty contents beside raw ones
            contents.append((first, last))
    return name, datatype, shape, contents, is_shared


@functools.lru_cache(maxsize=1024)
def _known_head(tensor: bytes) -> tuple[str, str, list[int], list[tuple[int, int]], bool]:
    """The same of a small tensor by its bytes: where the values are raw, those of every call are the same."""
    return _head(tensor, 0, len(tensor))


def _is_shared(message: bytes, start: int, end: int) -> bool:
    return any(number == 1 and message[first:last] == _SHARED for number, _, first, last in fields(message, start, end))


def _read_tensor(message: bytes, start: int, end: int, raws: list[tuple[int, int]]) -> Tensor:
    is_known = bool(raws) and end - start <= _SMALL_BYTES
    head = _known_head(message[start:end]) if is_known else _head(message, start, end)
    name, datatype, lengths, contents, is_shared = head
    shape = tuple([length - 2**64 if length >= 2**63 else length for length in lengths])
    if is_shared:
        raise DecodeError(reasons.NOT_OBSERVABLE, f"tensor '{name}' lies in shared memory, not in the message")
    if datatype not in DATATYPES:
        raise unknown_datatype(name, datatype)
    if raws and not contents:
        first, last = raws.pop()
        return read_raw(name, datatype, shape, message[first:last])
    if is_known:  # places in the tensor, not in the message
        contents = [(start + first, start + last) for first, last in contents]
    kept_in = _TYPED.get(datatype)
    if kept_in is None:
        raise DecodeError(reasons.MALFORMED, f"tensor '{name}' is {datatype} and has no raw contents, which it needs")
    pieces = [field for content in contents for field in fields(message, *content)]
    if any(number != kept_in and number <= _TYPED[BYTES] and start < end for number, _, start, end in pieces):
        raise DecodeError(reasons.MALFORMED, f"tensor '{name}' is {datatype} and has values of another type")
    pieces = [field for field in pieces if field[0] == kept_in]
    values = typed_values(message, datatype, pieces)
    check_count(name, shape, len(values))
    return Tensor(name, datatype, shape, values)


def typed_values(message: bytes, datatype: str, pieces: Sequence[Field]) -> Values:
    """Numbers or texts that protobuf keeps in these repeated fields, packed or not; raises WireError."""
    kept_in = _TYPED[datatype]
    if kept_in == _TYPED[BYTES]:
        return [text_or_bytes(message[start:end]) for _, wire_type, start, end in pieces if wire_type == DELIMITED]
    if kept_in in _FLOATS:
        dtype, size, alone = _FLOATS[kept_in]
        whole = b"".join(message[start:end] for _, wire, start, end in pieces if wire in (DELIMITED, alone))
        if len(whole) % size:
            raise WireError("packed numbers are cut")
        return np.frombuffer(whole, dtype)
    wide = [varints(message[start:end]) for _, wire, start, end in pieces if wire in (DELIMITED, VARINT)]
    numbers = np.concatenate(wide) if wide else np.zeros(0, np.uint64)
    kept: Any = numbers != 0 if kept_in == 1 else numbers.astype(_KEPT_AS[kept_in])
    values: Values = kept
    return values
