"""Bodies as documents that rules can be applied to, and back: JSON, V2 with binary tensors, V2 messages of gRPC.

What a body is, is found in the body: clients say wrong things about it, or nothing. A body that cannot be read whole is
refused with a reason, because nobody could say what a rule left in it.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from driftline import names
from driftline.content_coding import REASON_TRUNCATED, decode
from driftline.json_ends import json_length
from logger_sidecar.finishing.tensor_data import read_raw, write_raw
from logger_sidecar.finishing.v2_documents import read_request, read_response, write_request, write_response

REASON_NOT_JSON = "not_json"
REASON_BROKEN_MESSAGE = "broken_message"
REASON_RAW_TENSOR = "raw_tensor"
REASON_TOO_DEEP = "too_deep"
PROTOCOL_V2_GRPC = "v2-grpc"
_GRPC = "application/grpc"
_PREFIX = struct.Struct(">BI")


class Unreadable(Exception):  # noqa: N818 - an answer, turned into a count by who asked
    """A body that rules cannot be applied to. ``reason``: a bounded word for counters."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(slots=True)
class Opened:
    """A body as documents. ``write``: the body of the documents, and headers that are different with it."""

    documents: list[Any]
    write: Callable[[list[Any]], tuple[bytes, dict[str, str]]]


def open_body(
    body: bytes,
    content_type: str | None,
    headers: Mapping[str, str],
    *,
    protocol: str,
    is_request: bool,
    limit_bytes: int,
) -> Opened:
    """The documents in a body that has no content coding any more; raises Unreadable.

    ``limit_bytes``: how much the messages of a call may become when their compression is undone.
    """
    if is_grpc(content_type, protocol):
        if protocol != PROTOCOL_V2_GRPC:
            raise Unreadable(REASON_NOT_JSON)
        return _open_messages(body, headers, is_request, limit_bytes)
    header = headers.get(names.HEADER_BINARY_LENGTH)
    if header is not None:
        return _open_binary(body, header, is_request)
    try:
        return _open_json(body)
    except Unreadable:
        if lines := _open_lines(body):
            return lines
        length = json_length(body) if body[:1] == b"{" else 0
        if not 0 < length < len(body):
            raise
        return _open_binary(body, str(length), is_request)  # the header was lost


def is_grpc(content_type: str | None, protocol: str) -> bool:
    """Whether a body is messages with a prefix of five bytes each."""
    return protocol == PROTOCOL_V2_GRPC or (content_type or "").lower().startswith(_GRPC)


# --- JSON ---------------------------------------------------------------------------------------------------------
def _open_json(body: bytes) -> Opened:
    document, is_strict = read_json(body)
    return Opened([document], lambda documents: (write_json(documents[0], is_strict), {}))


def _open_lines(body: bytes) -> Opened | None:
    """JSON lines, as batches and streams have them; None where a line is no object or list."""
    documents, are_strict = [], []
    for line in body.splitlines():
        if not line.strip():
            continue
        if line.lstrip()[:1] not in (b"{", b"["):
            return None
        try:
            document, is_strict = read_json(line)
        except Unreadable:
            return None
        documents.append(document)
        are_strict.append(is_strict)

    def write(documents: list[Any]) -> tuple[bytes, dict[str, str]]:
        return b"".join(map(_line, documents, are_strict)), {}

    return Opened(documents, write) if len(documents) > 1 else None


def _line(document: Any, is_strict: bool) -> bytes:
    return write_json(document, is_strict) + b"\n"


def read_json(body: bytes) -> tuple[Any, bool]:
    """The document, and whether it is strict JSON; else it has NaN, lone surrogates or the like, as Python takes it."""
    try:
        return msgspec.json.decode(body), True
    except RecursionError as error:
        raise Unreadable(REASON_TOO_DEEP) from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        return json.loads(body), False
    except RecursionError as error:
        raise Unreadable(REASON_TOO_DEEP) from error
    except ValueError as error:
        raise Unreadable(REASON_NOT_JSON) from error


def write_json(document: Any, is_strict: bool) -> bytes:
    """The document as it was read."""
    return msgspec.json.encode(document) if is_strict else json.dumps(document).encode()


# --- V2 with binary tensors ---------------------------------------------------------------------------------------
def _open_binary(body: bytes, header: str, is_request: bool) -> Opened:
    length = int(header) if header.isascii() and header.isdecimal() and len(header) < 20 else -1
    if length == 0:
        raise Unreadable(REASON_RAW_TENSOR)  # one tensor without JSON: nothing says which
    if not 0 < length <= len(body):
        raise Unreadable(REASON_TRUNCATED if length > 0 else REASON_BROKEN_MESSAGE)
    document, is_strict = read_json(body[:length])
    sizes = _attach(document, "inputs" if is_request else "outputs", memoryview(body)[length:])

    def write(documents: list[Any]) -> tuple[bytes, dict[str, str]]:
        tail = [_detach(tensor) for tensor in sizes]
        head = write_json(documents[0], is_strict)
        return b"".join((head, *tail)), {names.HEADER_BINARY_LENGTH: str(len(head))}

    return Opened([document], write)


def _attach(document: Any, field: str, tail: memoryview) -> list[dict[str, Any]]:
    """Give the tensors whose data stand behind the JSON their data; returns those tensors, in order."""
    tensors = document.get(field) if isinstance(document, dict) else None
    if not isinstance(tensors, list):
        raise Unreadable(REASON_BROKEN_MESSAGE)
    place, taken = 0, []
    for tensor in tensors:
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            continue
        if not isinstance(size, int) or size < 0 or place + size > len(tail):
            raise Unreadable(REASON_TRUNCATED if isinstance(size, int) and size > 0 else REASON_BROKEN_MESSAGE)
        tensor["data"] = _guarded(_raw, tensor, tail[place : place + size])
        place += size
        taken.append(tensor)
    if place != len(tail):
        raise Unreadable(REASON_BROKEN_MESSAGE)
    return taken


def _raw(tensor: dict[str, Any], raw: memoryview) -> Any:
    return read_raw(str(tensor.get("datatype")), bytes(raw))


def _detach(tensor: dict[str, Any]) -> bytes:
    tensor["datatype"], raw = write_raw(str(tensor.get("datatype")), tensor.pop("data"))
    parameters = tensor.get("parameters")
    if not isinstance(parameters, dict):
        raise Unreadable(REASON_BROKEN_MESSAGE)  # a rule took away what says how long the data are
    parameters["binary_data_size"] = len(raw)
    return raw


# --- V2 over gRPC -------------------------------------------------------------------------------------------------
def _open_messages(body: bytes, headers: Mapping[str, str], is_request: bool, limit_bytes: int) -> Opened:
    read, write = (read_request, write_request) if is_request else (read_response, write_response)
    documents = [_guarded(read, message) for message in split_messages(body, headers, limit_bytes)]
    return Opened(documents, lambda changed: (join_messages([write(document) for document in changed]), {}))


def split_messages(body: bytes, headers: Mapping[str, str], limit_bytes: int) -> list[bytes]:
    """The messages of one side of a call, without prefixes and compression; raises Unreadable.

    Raises CodingError where a compression cannot be undone. Source: gRPC over HTTP/2, "Length-Prefixed-Message".
    """
    messages = []
    position = 0
    while position < len(body):
        start = position + _PREFIX.size
        if start > len(body):
            raise Unreadable(REASON_TRUNCATED)
        is_compressed, size = _PREFIX.unpack_from(body, position)
        position = start + size
        if position > len(body):
            raise Unreadable(REASON_TRUNCATED)
        message = body[start:position]
        if is_compressed:
            plain = decode(message, headers.get("grpc-encoding"), limit_bytes)
            if not plain.is_whole:
                raise Unreadable(plain.reason)
            message = plain.body
            limit_bytes -= len(message)
        messages.append(message)
    return messages


def join_messages(messages: list[bytes]) -> bytes:
    """The messages with a prefix each, not compressed."""
    return b"".join(_PREFIX.pack(0, len(message)) + message for message in messages)


def _guarded(read: Callable[..., Any], *given: Any) -> Any:
    """What others wrote may break in any way; it must not break us."""
    try:
        return read(*given)
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise Unreadable(REASON_BROKEN_MESSAGE) from error
