"""TensorFlow Serving's ``PredictRequest`` and ``PredictResponse``: a map of named tensors each.

Source: https://github.com/tensorflow/serving, tensorflow_serving/apis/predict.proto.
"""

from driftline.errors import DecodeError
from driftline.protobuf_wire import BYTES as DELIMITED
from driftline.protobuf_wire import WireError, fields
from serving import reasons
from serving.codecs import tensor_proto
from serving.codecs.reading import Half, Reading

#: Name and where its tensor begins and ends.
_Entry = tuple[str, int, int]
_KEY, _VALUE = 1, 2
#: The field that is the map, and all that there are: with the model's name, and of a request the outputs it wants.
_MAPS = {"request": (2, (1, 2, 3)), "response": (1, (1, 2))}


def read(message: bytes, half: Half) -> Reading | None:
    """The tensors of a bare message, None where it is another; raises DecodeError."""
    entries = _entries(message, half)
    if not entries:
        return None
    try:
        tensors = [tensor_proto.read(name, message, start, end) for name, start, end in entries]
    except WireError as error:
        raise DecodeError(reasons.MALFORMED, f"the {half} is no message of TensorFlow Serving: {error}") from error
    return Reading("tf_serving_grpc", tensors)


def is_message(message: bytes, half: Half) -> bool:
    """Whether bare bytes read as a message with at least one named tensor of a known datatype."""
    return bool(_entries(message, half))


def _entries(message: bytes, half: Half) -> list[_Entry]:
    """The entries of the map; none where one of them, or another field, is not as it should be."""
    mapped, known = _MAPS[half]
    try:
        found = fields(message)
        if any(number not in known or wire != DELIMITED for number, wire, *_ in found):
            return []
        entries = [_entry(message, start, end) for number, _, start, end in found if number == mapped]
    except (WireError, UnicodeDecodeError):
        return []
    return [entry for entry in entries if entry is not None] if None not in entries else []


def _entry(message: bytes, start: int, end: int) -> _Entry | None:
    name, value = "", None
    for number, wire, first, last in fields(message, start, end):
        if number not in (_KEY, _VALUE) or wire != DELIMITED:
            return None
        if number == _KEY:
            name = message[first:last].decode()
        else:
            value = first, last
    if value is None or not tensor_proto.is_tensor(message, *value):
        return None
    return name, *value
