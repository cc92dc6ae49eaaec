"""Which codec a body needs, found in the body itself: headers may be lost or wrong, and the path is not always known.

In this order: raw tensors behind the JSON that a header measures; a JSON document; JSON with raw tensors whose header
was lost, or JSON lines; frames of gRPC, or a bare message of the V2 protocol, of TensorFlow Serving or of Seldon; a
stream of events; a table as CSV; anything else is one row with the field ``body``.
"""

from typing import Any, Final

from driftline import names
from driftline.errors import DecodeError
from driftline.events import Payload
from serving import json_body, reasons
from serving.codecs import (
    csv_text,
    documents,
    event_streams,
    json_lines,
    seldon_grpc,
    tf_serving_grpc,
    torchserve,
    v1,
    v2_binary,
    v2_grpc,
    v2_json,
)
from serving.codecs.reading import REQUEST, Half, Reading, Wanted
from serving.content import plain_body
from serving.json_body import NotThisFormat
from serving.tensors import BYTES, NUMPY_TYPES, Tensor, read_raw

#: Only V2 says the datatype of a tensor.
_V2_MARK: Final = b'"datatype"'
_BF16_BYTES: Final = 2
#: Beginnings of images: PNG, JPEG, GIF, BMP, TIFF (both), RIFF (WebP).
_IMAGES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")


def read(payload: Payload, half: Half, wanted: Wanted, rows: int | None = None) -> Reading:
    """The tensors of one half of an inference; raises DecodeError. ``rows``: see ``codecs.documents``."""
    body = payload.body
    if payload.content_encoding is not None or body[:1] != b"{":
        body = plain_body(body, payload.content_encoding)
    header = payload.headers.get(names.HEADER_BINARY_LENGTH) if payload.headers else None
    if header is not None:
        return _read_binary(body, header, half, wanted)
    first = body[:1] if body[:1] in _JSON_STARTS else body.lstrip()[:1]
    if first and first in _JSON_STARTS and (first == body[:1] or not _is_bare_message(body, half)):
        return _read_json(body, half, wanted, rows)
    return _read_other(payload, body, half, wanted, rows)


_JSON_STARTS: Final = (b"{", b"[", b"")


def _read_json(body: bytes, half: Half, wanted: Wanted, rows: int | None) -> Reading:
    if _V2_MARK in body:
        reading = _read_v2(body, half, wanted)
        if reading is not None:
            return reading
    try:
        document = json_body.read_any(body)
    except DecodeError as error:
        return _read_several(body, half, wanted, error)
    return documents.read(document, half, wanted, rows)


def _read_v2(body: bytes, half: Half, wanted: Wanted) -> Reading | None:
    """The fast path of the most frequent format; None where it is not, or not only, that."""
    try:
        parts = v2_json.parse_request(body).inputs if half == REQUEST else v2_json.parse_response(body).outputs
    except (NotThisFormat, DecodeError):
        return None
    return Reading("v2", documents.v2_rows([v2_json.to_tensor(part) for part in parts], wanted), text=body)


def _read_several(body: bytes, half: Half, wanted: Wanted, fault: DecodeError) -> Reading:
    """A body that begins with JSON and is not one document."""
    values = json_lines.values(body)
    if values is not None:
        return Reading("json_lines", v1.rows_to_tensors("the lines", values, wanted.names), values)
    if body[:1] == b"[" or v2_binary.length_of_json(body) == len(body.rstrip()):
        raise fault
    return _read_binary(body, None, half, wanted)


def _read_binary(body: bytes, header: str | None, half: Half, wanted: Wanted) -> Reading:
    if header == "0":
        return Reading("v2_raw", [_raw_tensor(body, half, wanted)])
    text, tail = v2_binary.split(body, header)
    try:
        parts = v2_json.parse_request(text).inputs if half == REQUEST else v2_json.parse_response(text).outputs
    except NotThisFormat as fault:
        raise DecodeError(reasons.MALFORMED, f"the {half} breaks the V2 protocol: {fault}") from fault
    return Reading("v2_binary", v2_binary.tensors(parts, tail), text=text)


def _raw_tensor(body: bytes, half: Half, wanted: Wanted) -> Tensor:
    """Triton's raw request: the bytes of the only input; of BYTES, the one element without its length."""
    datatype = wanted.raw_datatype
    if datatype is None or half != REQUEST:
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT, "the body is one raw tensor without JSON; its type is not known (raw_datatype)"
        )
    if datatype == BYTES:
        return torchserve.body_tensor(body)
    size = _BF16_BYTES if datatype not in NUMPY_TYPES else int(NUMPY_TYPES[datatype][-1])
    row = size * wanted.width
    if not body or len(body) % row:
        raise DecodeError(
            reasons.SHAPE_MISMATCH,
            f"the raw tensor has {len(body)} bytes, not a multiple of {row}: {wanted.width} values of {datatype}",
        )
    return read_raw(torchserve.BODY, datatype, (len(body) // row, wanted.width), body)


def _read_other(payload: Payload, body: bytes, half: Half, wanted: Wanted, rows: int | None) -> Reading:
    """A body that does not begin as JSON."""
    messages = _grpc_messages(payload, body, half)
    if messages is not None:
        return _read_messages(messages, half, wanted, rows)
    if not body:
        raise DecodeError(reasons.UNSUPPORTED_FORMAT, f"the {half} has 0 bytes")
    is_told = "protobuf" in (payload.content_type or "")
    if (other := _read_message(body, half, wanted, rows, is_told=is_told)) is not None:
        return other
    if event_streams.is_stream(body):
        reading = documents.read(event_streams.fold(body), half, wanted, rows)
        reading.messages = 2  # a stream, whatever it folded to
        return reading
    content_type = (payload.content_type or "").lower()
    if "csv" in content_type or (_is_text(body) and csv_text.is_table(body, wanted.names, wanted.width)):
        return Reading("csv", csv_text.tensors(body, wanted.names, _says_header(content_type)))
    scalar = _scalar(body)
    if scalar is not None and half != REQUEST:
        return documents.read(scalar, half, wanted, rows)
    if not _is_text(body) and not body.startswith(_IMAGES) and torchserve.BODY not in wanted.names:
        raise DecodeError(
            reasons.UNSUPPORTED_FORMAT, f"the {half} has {len(body)} bytes of no known format, beginning {body[:8]!r}"
        )
    return Reading("body", [torchserve.body_tensor(body)], loose=half != REQUEST)


def _grpc_messages(payload: Payload, body: bytes, half: Half) -> list[bytes] | None:
    if not body:
        return None
    found = v2_grpc.frames(body, payload.headers.get("grpc-encoding")) if body[0] < 2 else None
    if found is None and not body[0] and (inner := v2_grpc.unregistered(body)) and v2_grpc.is_message(inner, half):
        return [inner]
    if found is None and v2_grpc.is_message(body, half):
        return [body]
    return found


def _read_messages(messages: list[bytes], half: Half, wanted: Wanted, rows: int | None) -> Reading:
    """The messages of a call, of the V2 protocol unless they are of another."""
    try:
        reading = v2_grpc.read(messages, half)
    except DecodeError:
        reading = None
    if reading is None or (not reading.tensors and len(messages) == 1):
        other = _read_message(messages[0], half, wanted, rows, is_told=True) if len(messages) == 1 else None
        return other or reading or v2_grpc.read(messages, half)
    return reading


def _read_message(body: bytes, half: Half, wanted: Wanted, rows: int | None, *, is_told: bool) -> Reading | None:
    """A message of protobuf that is not of the V2 protocol; None where it is none that is known."""
    reading = tf_serving_grpc.read(body, half)
    if reading is None and (document := seldon_grpc.document(body, is_told=is_told)) is not None:
        return documents.read(document, half, wanted, rows)
    return reading


def _is_bare_message(body: bytes, half: Half) -> bool:
    """Whether what begins like JSON behind a blank is a message: a line feed is the first field of many."""
    if v2_grpc.is_message(body, half) or tf_serving_grpc.is_message(body, half):
        return True
    return seldon_grpc.document(body, is_told=False) is not None


def _scalar(body: bytes) -> Any:
    try:
        return json_body.read_any(body)
    except DecodeError:
        return None


def _is_text(body: bytes) -> bool:
    if body.translate(None, _CONTROLS) != body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


#: What no text holds: control characters but tab, line feed, form feed and carriage return.
_CONTROLS: Final = bytes(code for code in (*range(32), 127) if code not in (9, 10, 12, 13))


def _says_header(content_type: str) -> bool | None:
    if "header=present" in content_type.replace(" ", ""):
        return True
    return False if "header=absent" in content_type.replace(" ", "") else None
