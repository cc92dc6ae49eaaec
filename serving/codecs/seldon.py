"""Seldon Core v1's messages: ``data`` as ``ndarray`` or ``tensor`` with or without ``names``, ``strData``, ``binData``,
``jsonData``; the same shape for requests and answers.

Source: SeldonMessage of https://github.com/SeldonIO/seldon-core, prediction.proto, in its JSON form.
"""

import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Any

from driftline.errors import DecodeError
from serving import reasons
from serving.codecs.v1 import UNNAMED, rows_to_tensors
from serving.tensors import Tensor, check_count

#: Names under which the contents without rows are found.
TEXT, BINARY, JSON = "strData", "binData", "jsonData"


def is_message(document: Mapping[str, Any]) -> bool:
    """Whether an object is one of Seldon's messages, by its contents."""
    data = document.get("data")
    if isinstance(data, dict) and not {"ndarray", "tensor", "tftensor"}.isdisjoint(data):
        return True
    return not {TEXT, BINARY, JSON}.isdisjoint(document)


def tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The tensors of a message that is not ``jsonData``; raises DecodeError."""
    data = document.get("data")
    if isinstance(data, dict):
        return _from_data(data, wanted)
    if isinstance(text := document.get(TEXT), str):
        return [Tensor(TEXT, "", (1,), [text])]
    binary = document.get(BINARY)
    if not isinstance(binary, str):
        raise DecodeError(reasons.MALFORMED, f"{TEXT} or {BINARY} of the message is not a text")
    try:
        return [Tensor(BINARY, "", (1,), [base64.b64decode(binary, validate=True)])]
    except (binascii.Error, ValueError) as error:
        raise DecodeError(reasons.MALFORMED, f"{BINARY} is not base64: {error}") from error


def _from_data(data: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    if "ndarray" in data:
        found = rows_to_tensors("data.ndarray", data["ndarray"], wanted)
    elif isinstance(tensor := data.get("tensor"), dict):
        found = [_flat(tensor)]
    else:
        raise DecodeError(reasons.UNSUPPORTED_FORMAT, "data holds neither ndarray nor a tensor of shape and values")
    names = data.get("names")
    if not names or len(found) != 1 or found[0].name != UNNAMED:
        return found
    return _named(found[0], names, wanted)


def _flat(tensor: Mapping[str, Any]) -> Tensor:
    shape, values = tensor.get("shape"), tensor.get("values")
    is_shape = isinstance(shape, list) and all(type(length) is int for length in shape)
    if not is_shape or not isinstance(shape, list) or not isinstance(values, list):
        raise DecodeError(reasons.MALFORMED, "data.tensor has no list of whole numbers as shape, or no list of values")
    check_count("data.tensor", tuple(shape), len(values))
    return Tensor(UNNAMED, "", tuple(shape), values)


def _named(tensor: Tensor, names: object, wanted: Collection[str]) -> list[Tensor]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DecodeError(reasons.MALFORMED, "data.names is not a list of texts")
    known = [name for name in names if name in wanted]
    if not known:
        return [tensor]
    if len(tensor.shape) > 2 or tensor.width != len(names) or len(set(known)) != len(known):
        raise DecodeError(
            reasons.SHAPE_MISMATCH, f"data has shape {list(tensor.shape)} for {len(names)} names, or a name twice"
        )
    width = len(names)
    return [Tensor(name, "", (tensor.rows,), tensor.values[names.index(name) :: width]) for name in known]
