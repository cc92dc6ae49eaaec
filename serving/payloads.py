"""Which codec a body needs, found in the body itself; the protocol a logger claims only says what to try first."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from driftline import names
from driftline.errors import DecodeError
from driftline.events import Payload
from serving import json_body, reasons, v1, v2, v2_binary
from serving.content import plain_body
from serving.json_body import NotThisFormat
from serving.tensors import Tensor

PROTOCOL_V1 = "v1"

_documents = msgspec.json.Decoder(dict[str, Any])


def request_tensors(payload: Payload, protocol: str, wanted: Collection[str]) -> list[Tensor]:
    """The input tensors of a request; raises DecodeError. ``wanted``: the names of fields that matter."""
    return _tensors(payload, protocol, wanted, _REQUEST)


def response_tensors(payload: Payload, protocol: str, wanted: Collection[str]) -> list[Tensor]:
    """The output tensors of a response; raises DecodeError. ``wanted``: the names of fields that matter."""
    return _tensors(payload, protocol, wanted, _RESPONSE)


class _Half(msgspec.Struct, frozen=True):
    """How one half of an inference is read."""

    what: str
    tensor_field: str
    row_fields: tuple[str, str]
    parse_v2: Callable[[bytes], list[v2.JsonTensor]]
    read_v1: Callable[[Mapping[str, Any], Collection[str]], list[Tensor]]


_REQUEST = _Half(
    "request", "inputs", ("instances", "inputs"), lambda text: v2.parse_request(text).inputs, v1.request_tensors
)
_RESPONSE = _Half(
    "response", "outputs", ("predictions", "outputs"), lambda text: v2.parse_response(text).outputs, v1.response_tensors
)


def _tensors(payload: Payload, protocol: str, wanted: Collection[str], half: _Half) -> list[Tensor]:
    body = plain_body(payload.body, payload.content_encoding)
    header = payload.headers.get(names.HEADER_BINARY_LENGTH)
    if header is not None:
        return _read_binary(body, header, half)
    if body[:1] != b"{" and body.lstrip()[:1] != b"{":
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT, f"the {half.what} has {len(body)} bytes that do not start a JSON object"
        )
    if protocol == PROTOCOL_V1:
        return _read_rows(body, wanted, half, "it has neither")
    try:
        parts = half.parse_v2(body)
    except NotThisFormat as fault:
        return _read_rows(body, wanted, half, str(fault))
    except DecodeError:
        # Binary tensors whose header was lost: bytes follow the JSON.
        if v2_binary.json_length(body) == len(body.rstrip()):
            raise
        return _read_binary(body, None, half)
    return _expand([v2.to_tensor(part) for part in parts], wanted)


def _expand(tensors: list[Tensor], wanted: Collection[str]) -> list[Tensor]:
    # Some servers take one tensor whose elements are whole rows, each an object.
    if len(tensors) == 1 and isinstance(tensors[0].values, list) and isinstance(next(iter(tensors[0].values), 0), dict):
        return v1.rows_to_tensors(tensors[0].name, tensors[0].values, wanted)
    return tensors


def _read_binary(body: bytes, header: str | None, half: _Half) -> list[Tensor]:
    text, tail = v2_binary.split(body, header)
    try:
        parts = half.parse_v2(text)
    except NotThisFormat as fault:
        raise DecodeError(reasons.MALFORMED, f"the {half.what} breaks the V2 protocol: {fault}") from fault
    return v2_binary.tensors(parts, tail)


def _read_rows(body: bytes, wanted: Collection[str], half: _Half, fault: str) -> list[Tensor]:
    try:
        document = json_body.read(body, _documents)
    except NotThisFormat as error:
        raise DecodeError(reasons.UNSUPPORTED_FORMAT, f"the {half.what} is not a JSON object: {error}") from error
    if _is_v2(document.get(half.tensor_field)):
        return _read_v2_rows(body, wanted, half)
    if not any(field in document for field in half.row_fields):
        found = ", ".join(sorted(document)[:5])[:80]
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT,
            f"the {half.what} has none of {' or '.join(half.row_fields)} ({fault}); its fields are: {found or 'none'}",
        )
    return half.read_v1(document, wanted)


def _read_v2_rows(body: bytes, wanted: Collection[str], half: _Half) -> list[Tensor]:
    try:
        return _expand([v2.to_tensor(part) for part in half.parse_v2(body)], wanted)
    except NotThisFormat as fault:
        raise DecodeError(reasons.MALFORMED, f"the {half.what} breaks the V2 protocol: {fault}") from fault


def _is_v2(field: object) -> bool:
    return isinstance(field, list) and bool(field) and isinstance(field[0], dict) and "datatype" in field[0]
