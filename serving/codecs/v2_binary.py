"""Open Inference Protocol V2 with Triton's binary tensor extension: JSON, then the raw tensors one after another.

The header ``Inference-Header-Content-Length`` says where the JSON ends. A logger may have lost it; the end of the first
JSON value is then where its first brace closes.
"""

from collections.abc import Sequence
from typing import Any

from driftline.errors import DecodeError
from driftline.json_ends import json_length
from serving import reasons
from serving.codecs import v2_json
from serving.tensors import Tensor, read_raw, write_raw


def split(body: bytes, header: str | None) -> tuple[bytes, memoryview]:
    """JSON and the bytes that follow it.

    ``header``: value of Inference-Header-Content-Length, None when there is none or it was lost. Raises DecodeError.
    """
    length = length_of_json(body) if header is None else _header_length(header, len(body))
    if length == 0:
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT, "the body is one raw tensor without JSON, so its name and type are not known"
        )
    return body[:length], memoryview(body)[length:]


def length_of_json(body: bytes) -> int:
    r"""Bytes of the JSON object that ``body`` starts with; raises DecodeError when its last brace is missing.

    >>> length_of_json(b'{"a": "}"}\x00\x01')
    10
    """
    length = json_length(body)
    if not length:
        raise DecodeError(reasons.MALFORMED, "the body is not JSON: it ends before its first object does")
    return length


def tensors(parts: Sequence[v2_json.JsonTensor], tail: memoryview) -> list[Tensor]:
    """The tensors of a request or response whose raw data are in ``tail``, in order; raises DecodeError."""
    result = []
    place = 0
    for part in parts:
        size = _binary_size(part)
        if size is None:
            result.append(v2_json.to_tensor(part))
            continue
        if place + size > len(tail):
            raise DecodeError(
                reasons.MALFORMED,
                f"tensor '{part.name}' has {size} bytes of data, but {len(tail) - place} are left in the body",
            )
        result.append(read_raw(part.name, part.datatype, part.shape, bytes(tail[place : place + size])))
        place += size
    if place != len(tail):
        raise DecodeError(reasons.MALFORMED, f"{len(tail) - place} bytes follow the last tensor of the body")
    return result


def write_response(
    model_name: str, model_version: str, request_id: str | None, answers: Sequence[tuple[Tensor, bool]]
) -> tuple[bytes, int | None]:
    """Body and the length of its JSON; ``answers`` say for each tensor whether it goes as raw bytes.

    The length is None when no tensor does: the body is then plain JSON.
    """
    outputs: list[dict[str, Any]] = []
    raws = []
    for tensor, binary in answers:
        if binary:
            raws.append(write_raw(tensor))
            head = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype}
            outputs.append({**head, "parameters": {"binary_data_size": len(raws[-1])}})
        else:
            outputs.append(v2_json.output(tensor))
    text = v2_json.write_response(model_name, model_version, request_id, outputs)
    return (b"".join((text, *raws)), len(text)) if raws else (text, None)


def _header_length(header: str, body_bytes: int) -> int:
    # isdecimal() also holds for digits of other scripts, which int() reads; a header has none of them.
    if not (header.isascii() and header.isdecimal() and len(header) < 20 and int(header) <= body_bytes):
        raise DecodeError(
            reasons.MALFORMED,
            f"header Inference-Header-Content-Length is '{header[:40]}', the body has {body_bytes} bytes",
        )
    return int(header)


def _binary_size(part: v2_json.JsonTensor) -> int | None:
    if part.parameters is None:
        return None
    size = part.parameters.get("binary_data_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise DecodeError(
            reasons.MALFORMED, f"tensor '{part.name}' has binary_data_size {str(size)[:40]!r}, not a number of bytes"
        )
    return size
