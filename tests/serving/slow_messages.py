"""Messages of TensorFlow Serving and Seldon read a second time, by protobuf's own library.

Only those that it would write just so are read here: what it makes of damaged ones is UnknownError.
"""

import math
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from tests.serving import slow_documents
from tests.serving.slow_parts import Found, Sought, UnknownError, refuse
from tests.serving.table_messages import message_types

_TYPES = message_types()
#: Of TensorFlow's types the two that the corpus has.
_KEPT = {9: "int64_val", 2: "double_val"}


def read(body: bytes, side: str, sought: Sought, count: int | None) -> Found:
    """What a bare message holds, or UnknownError."""
    message = _message(body, "PredictRequest" if side == "inputs" else "PredictResponse")
    if message is not None and getattr(message, side):
        return Found([_tensor(name, tensor) for name, tensor in sorted(getattr(message, side).items())])
    message = _message(body, "SeldonMessage")
    if message is None or message.WhichOneof("contents") != "data":
        raise UnknownError
    return slow_documents.read(_document(message.data), side, sought, count)


def _message(body: bytes, kind: str) -> Any:
    try:
        message = _TYPES[kind].FromString(body)
    except DecodeError:
        return None
    message.DiscardUnknownFields()
    return message if message.SerializeToString(deterministic=True) == body else None


def _tensor(name: str, tensor: Any) -> tuple[str, list[int], list[Any]]:
    if tensor.dtype not in _KEPT or tensor.tensor_content:
        raise UnknownError
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    wanted = math.prod(shape)
    values = list(getattr(tensor, _KEPT[tensor.dtype])) or [0]
    refuse(min(shape, default=0) < 0 or len(values) > max(wanted, 1) or wanted > 1 << 20)
    return name, shape or [1], (values + values[-1:] * wanted)[:wanted]


def _document(data: Any) -> dict[str, Any]:
    if data.HasField("ndarray"):
        # NaN and infinity are texts in this form, and nothing else is.
        rows = json_format.MessageToDict(data.ndarray)
        if any(word in str(rows) for word in ("'NaN'", "Infinity")):
            raise UnknownError
        return {"data": {"names": list(data.names), "ndarray": rows}}
    if not data.HasField("tensor"):
        raise UnknownError
    flat = {"shape": list(data.tensor.shape), "values": list(data.tensor.values)}
    return {"data": {"names": list(data.names), "tensor": flat}}
