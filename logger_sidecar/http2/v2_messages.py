r"""The few things the sidecar reads from the protobuf messages of ``inference.GRPCInferenceService``.

Model, version and id stand first in a ModelInferRequest, as every serializer writes fields in order, so a short piece
of the message's beginning is enough. Fields (grpc_predict_v2.proto of the Open Inference Protocol): request 1 model
name, 2 model version, 3 id, 5 inputs, 6 outputs; input 4 parameters; output 2 parameters; each entry of a map has its
key in field 1. ModelStreamInferResponse, of Triton: 1 error message.

>>> Beginnings().read(b"\x0a\x04iris\x12\x013\x1a\x02r1\x2a\x00")
Beginning(model='iris', version='3', id='r1', is_whole=True)
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from logger_sidecar.recording.shared_memory import SHARED_MEMORY_REGION

#: So much of a message is looked at for its model, version and id.
BEGINNING_BYTES = 1024
_PREFIX_BYTES = 5
_unpack_length = struct.Struct(">I").unpack_from
_MAX_NAME_BYTES = 256
_MAX_ERROR = 500
_PLAIN_ID = re.compile(rb"[ -~]{1,256}")
_INPUTS, _OUTPUTS = 5, 6
#: In which field the parameters stand.
_PARAMETERS = {_INPUTS: 4, _OUTPUTS: 2}
_LENGTH_DELIMITED = 2
_FIXED_SIZES = {1: 8, 5: 4}


class Beginning(NamedTuple):
    """What the beginning of a request says; empty texts where it does not.

    ``is_whole``: nothing that comes behind can say more.
    """

    model: str
    version: str
    id: str
    is_whole: bool


NO_BEGINNING = Beginning("", "", "", is_whole=False)


class Beginnings:
    """Reads the beginnings of messages; most say what the one before them said, and need no reading."""

    __slots__ = ("_bytes", "_newest")

    def __init__(self) -> None:
        self._bytes = b""
        self._newest = NO_BEGINNING

    def newest_at(self, data: bytes, start: int, end: int) -> Beginning | None:
        """What the newest said, where the message in ``data[start:end]`` begins alike behind its prefix."""
        newest = self._bytes
        if not newest or data[start] or not data.startswith(newest, start + _PREFIX_BYTES, end):
            return None
        return self._newest if _unpack_length(data, start + 1)[0] >= len(newest) else None

    def read(self, message: bytes) -> Beginning:
        """Model, version and id of a ModelInferRequest, of which ``message`` may be the first piece only.

        Reads up to the first field behind them. A name is UTF-8 without control characters and a slash in it is quoted
        as in a path; an id has visible characters only; what is not so counts as not given.
        """
        if self._bytes and message.startswith(self._bytes):
            return self._newest
        found, end = _walk_beginning(message)
        if found.is_whole and end < len(message):
            self._bytes, self._newest = message[: end + 1], found  # with the first byte of what comes behind
        return found


def _walk_beginning(message: bytes) -> tuple[Beginning, int]:
    """What :meth:`Beginnings.read` returns, and where the fields end that say it."""
    said = [b"", b"", b"", b""]
    behind = 0
    is_whole = False
    for field, start, end in _fields(message, 0, min(len(message), BEGINNING_BYTES)):
        if field not in (1, 2, 3):
            break
        said[field] = message[start:end]
        behind = end
    is_whole = behind < len(message) and message[behind] >> 3 > 3
    request_id = said[3].decode("ascii") if _PLAIN_ID.fullmatch(said[3]) else ""
    return Beginning(_name(said[1]), _name(said[2]), request_id, is_whole), behind


def names_shared_memory(message: bytes) -> bool:
    """Whether an input or a requested output of a ModelInferRequest lies in shared memory.

    A message that is cut counts as far as it goes.
    """
    if SHARED_MEMORY_REGION not in message:
        return False
    return any(
        _has_region(message, start, end, _PARAMETERS[field])
        for field, start, end in _fields(message, 0, len(message))
        if field in _PARAMETERS
    )


def error_of_stream_response(message: bytes, model: str) -> str:
    r"""The error message of a ModelStreamInferResponse, its first line; empty where it has none.

    Some servers answer with ModelInferResponse instead, which has the model's name where the error would be, and more
    fields behind it. ``model``: the name that is no error.

    >>> error_of_stream_response(b"\x0a\x03bad", "iris"), error_of_stream_response(b"\x12\x02\x0a\x00", "iris")
    ('bad', '')
    """
    found = b""
    for field, start, end in _fields(message, 0, len(message)):
        if field == 1:
            found = message[start:end]
        elif not found or field != 2:
            return ""
    lines = found.decode(errors="replace").splitlines()
    return lines[0][:_MAX_ERROR] if lines and lines[0] != model else ""


def _has_region(message: bytes, start: int, end: int, parameters: int) -> bool:
    for field, entry_start, entry_end in _fields(message, start, end):
        if field == parameters:
            for key, key_start, key_end in _fields(message, entry_start, entry_end):
                if key == 1 and message[key_start:key_end] == SHARED_MEMORY_REGION:
                    return True
    return False


def _name(written: bytes) -> str:
    if len(written) > _MAX_NAME_BYTES:
        return ""
    try:
        text = written.decode()
    except UnicodeDecodeError:
        return ""
    return text.replace("/", "%2F") if text.isprintable() else ""


def _fields(message: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field; ends quietly where the bytes are cut or no protobuf."""
    while position < end:
        tag, position = _varint(message, position, end)
        wire_type = tag & 7
        if wire_type == _LENGTH_DELIMITED:
            size, position = _varint(message, position, end)
            if position < 0 or position + size > end:
                return
            yield tag >> 3, position, position + size
            position += size
        elif wire_type == 0:
            _, position = _varint(message, position, end)
        elif wire_type in _FIXED_SIZES:
            position += _FIXED_SIZES[wire_type]
        else:
            return
        if position < 0:
            return


def _varint(message: bytes, position: int, end: int) -> tuple[int, int]:
    """A number, and where it ends: -1 where it does not. (Tag and size of -1 fall through to an end, too.)"""
    number = shift = 0
    while 0 <= position < end and shift < 64:
        piece = message[position]
        position += 1
        number |= (piece & 0x7F) << shift
        if piece < 0x80:
            return number, position
        shift += 7
    return 4, -1  # wire type 4 ends every walk
