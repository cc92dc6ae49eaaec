"""One inference of the model server: request bytes in, answer bytes out, without any HTTP framework."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from driftline.errors import DecodeError, DriftlineError
from serving import json_body, reasons
from serving.codecs import v1, v2_binary, v2_json
from serving.errors import ModelFailedError
from serving.json_body import NotThisFormat
from serving.repository import Model
from serving.tensors import BYTES, Tensor

_documents = msgspec.json.Decoder(dict[str, Any])


class Answer(NamedTuple):
    """Body of an answer and, when raw tensors follow its JSON, the length of the JSON."""

    body: bytes
    json_length: int | None = None


def infer_v2(model: Model, body: bytes, binary_header: str | None) -> Answer:
    """Answer a V2 request, with or without raw tensors; raises DecodeError or ModelFailedError.

    ``binary_header``: value of Inference-Header-Content-Length, if the request has one.
    """
    text, tail = (body, memoryview(b"")) if binary_header is None else v2_binary.split(body, binary_header)
    try:
        request = v2_json.parse_request(text)
    except NotThisFormat as fault:
        raise DecodeError(reasons.MALFORMED, f"the request breaks the V2 protocol: {fault}") from fault
    tensors = v2_binary.tensors(request.inputs, tail)
    request_id = request.id if isinstance(request.id, str) and request.id else None
    outputs = _requested(_predict(model, tensors), request)
    return Answer(*v2_binary.write_response(model.name, model.version, request_id, outputs))


def predict_v1(model: Model, body: bytes) -> Answer:
    """Answer a V1 request: a value per row, or an object by output name where the model has several outputs."""
    try:
        document = json_body.read(body, _documents)
    except NotThisFormat as fault:
        raise DecodeError(reasons.MALFORMED, f"the request is not a JSON object: {fault}") from fault
    if "instances" not in document and "inputs" not in document:
        raise DecodeError(reasons.MALFORMED, "the request has neither 'instances' nor 'inputs'")
    tensors = v1.request_tensors(document, [spec.name for spec in model.config.inputs])
    outputs = _predict(model, tensors)
    columns = [_rows(tensor) for tensor in outputs]
    if len(outputs) == 1:
        return Answer(v1.write_response(columns[0]))
    names = [tensor.name for tensor in outputs]
    return Answer(v1.write_response([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]))


def _predict(model: Model, tensors: Sequence[Tensor]) -> list[Tensor]:
    try:
        return model.runtime.predict(tensors)
    except DriftlineError:
        raise
    except Exception as error:  # a foreign model may raise anything
        raise ModelFailedError(f"model '{model.name}' failed: {type(error).__name__}: {error}") from error


def _requested(outputs: Sequence[Tensor], request: v2_json.Request) -> list[tuple[Tensor, bool]]:
    # Triton's clients ask for all outputs as raw bytes once, or for each output alone.
    binary = bool((request.parameters or {}).get("binary_data_output", False))
    if not request.outputs:
        return [(tensor, binary) for tensor in outputs]
    by_name = {tensor.name: tensor for tensor in outputs}
    result = []
    for wanted in request.outputs:
        if wanted.name not in by_name:
            known = ", ".join(by_name)
            raise DecodeError(reasons.MALFORMED, f"output '{wanted.name[:40]}' was asked for; the model has: {known}")
        result.append((by_name[wanted.name], bool((wanted.parameters or {}).get("binary_data", binary))))
    return result


def _rows(tensor: Tensor) -> list[Any]:
    if isinstance(tensor.values, np.ndarray) and tensor.datatype != BYTES:
        rows: list[Any] = tensor.values.reshape(tensor.shape).tolist()
        return rows
    return list(tensor.values)
