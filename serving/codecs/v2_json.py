"""Open Inference Protocol V2, JSON form: reading requests and responses, writing responses.

Data may be nested or flat. What may be left out may also be null, as the KServe server writes it.
"""

from typing import Any

import msgspec
import numpy as np

from driftline.errors import DecodeError
from serving import json_body, reasons
from serving.tensors import BYTES, Tensor, check_count, flatten

Parameters = dict[str, Any]


# None of these can be part of a cycle: the collector of cycles need not look at the thousands of one batch.
class JsonTensor(msgspec.Struct, gc=False):
    """A tensor as the JSON has it; ``data`` is absent when its bytes follow the JSON or lie in shared memory."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class FlatTensor(msgspec.Struct, gc=False):
    """A tensor whose data are flat: what most of them are, and quicker to check by its type than by its values."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: Parameters | None = None
    data: list[float | int | str | bool | None] | None = None


class FlatRequest(msgspec.Struct, gc=False):
    """A request of flat tensors; only these are looked at."""

    inputs: list[FlatTensor]


class FlatResponse(msgspec.Struct, gc=False):
    """A response of flat tensors; only these are looked at."""

    outputs: list[FlatTensor]


class RequestedOutput(msgspec.Struct, gc=False):
    """An output the client asks for."""

    name: str
    parameters: Parameters | None = None


class Request(msgspec.Struct, gc=False):
    """The JSON of an inference request."""

    inputs: list[JsonTensor]
    id: Any = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] | None = None


class Response(msgspec.Struct, gc=False):
    """The JSON of an inference response."""

    outputs: list[JsonTensor]
    id: Any = None
    model_name: str | None = None
    model_version: str | None = None
    parameters: Parameters | None = None


class _Answer(msgspec.Struct, omit_defaults=True):
    model_name: str
    outputs: list[dict[str, Any]]
    model_version: str | None = None
    id: str | None = None


_requests = msgspec.json.Decoder(Request)
_responses = msgspec.json.Decoder(Response)


def parse_request(text: bytes) -> Request:
    """The JSON of a request; raises NotThisFormat, or DecodeError when it is not JSON."""
    return json_body.read(text, _requests)


def parse_response(text: bytes) -> Response:
    """The JSON of a response; raises NotThisFormat, or DecodeError when it is not JSON."""
    return json_body.read(text, _responses)


def to_tensor(part: JsonTensor) -> Tensor:
    """A tensor whose data are in the JSON; raises DecodeError when they are not or do not fill the shape."""
    data = part.data
    if data is None:
        raise _no_data(part)
    if data and type(data[0]) is list:
        data = flatten(part.name, data)
    shape = part.shape
    # The common case, one value per row, needs no product.
    if not (len(shape) == 1 and shape[0] == len(data)):
        check_count(part.name, shape, len(data))
    return Tensor(part.name, part.datatype, shape, data)


def write_response(model_name: str, model_version: str, request_id: str | None, outputs: list[dict[str, Any]]) -> bytes:
    """The JSON of a response; ``outputs`` are as :func:`output` makes them. An absent id stays absent."""
    return msgspec.json.encode(_Answer(model_name, outputs, model_version, request_id))


def output(tensor: Tensor) -> dict[str, Any]:
    """A tensor as the JSON of a response has it, its data flat. NaN and infinity become null: JSON has neither."""
    data = tensor.values.tolist() if isinstance(tensor.values, np.ndarray) else tensor.values
    if tensor.datatype == BYTES:
        data = [value if isinstance(value, str) else str(value) for value in data]
    return {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype, "data": data}


def _no_data(part: JsonTensor) -> DecodeError:
    parameters = part.parameters or {}
    if "shared_memory_region" in parameters:
        return DecodeError(reasons.NOT_OBSERVABLE, f"tensor '{part.name}' lies in shared memory, not in the body")
    if "binary_data_size" in parameters:
        return DecodeError(reasons.MALFORMED, f"tensor '{part.name}' has binary data, but no bytes follow the JSON")
    return DecodeError(reasons.MALFORMED, f"tensor '{part.name}' has no data")
