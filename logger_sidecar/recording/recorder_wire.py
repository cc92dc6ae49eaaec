"""What the proxy and the recorder say to each other over their socket: length-prefixed msgpack.

The first byte brings the descriptors of the region where batches of records will lie (``batch_region``) and, in the
compiled build, of the memory where bodies may lie already (``shared_bytes``). Then the proxy sends how to finish events
(``finishing_wire.Setup``), first and whenever that changes, and announces batches. The
recorder answers each batch, in order, with an :class:`Ack`; a setup is not answered.
"""

import struct

import msgspec
from msgspec import msgpack

from logger_sidecar.finishing.wire import Setup

#: A body that is shorter is written with the rest of its record.
LARGE_BODY_BYTES = 4096
#: A body of a record, whole or in pieces; pieces have ``LARGE_BODY_BYTES`` together or more.
Body = bytes | tuple[bytes, ...]
#: The same as it arrives.
ReceivedBody = memoryview | tuple[memoryview, ...]
#: The arguments of ``event_frames.frame``, in their order: an event that takes the fast path.
ShortRecord = tuple[bytes, str, str, int, float, float, bool, bytes, Body, bytes, Body]
#: A frame as ``captured.encode_captured`` made it; alone in a tuple it has work left before it may be written.
Record = ShortRecord | bytes | tuple[bytes]

_NO_BODY = memoryview(b"")
PREFIX = struct.Struct(">I")
#: Stands in a region before its batch, of which it is the number.
GENERATION = struct.Struct(">Q")


class Announced(msgspec.Struct, frozen=True, tag=True):
    """A batch lies in the region: its number, then its records up to ``head_bytes``, then the large bodies.

    ``size_bytes``: of all of it.
    """

    generation: int
    head_bytes: int
    size_bytes: int


class ReceivedRecord(msgspec.Struct, array_like=True, gc=False):
    """A record that is a tuple, as it arrives: the bodies are where the batch is, and last as long as it.

    ``response`` is empty where ``stream`` is a frame that was alone in its tuple: it has work left on it.
    ``request_bytes``, ``response_bytes``: of a body that does not stand here but behind all records; 0: it does.
    ``request_places``, ``response_places``: where in the shared memory the pieces of such a body stand, each with its
    length behind it; none: it does not stand there. Of several pieces the body is a tuple.
    """

    stream: bytes
    event_id: str = ""
    request_id: str = ""
    time_ns: int = 0
    duration_ms: float = 0.0
    ttfb_ms: float = 0.0
    truncated: bool = False
    request: bytes = b""
    request_body: ReceivedBody = _NO_BODY
    response: bytes = b""
    response_body: ReceivedBody = _NO_BODY
    request_bytes: int = 0
    response_bytes: int = 0
    request_places: tuple[int, ...] = ()
    response_places: tuple[int, ...] = ()


class Ack(msgspec.Struct, frozen=True, array_like=True):
    """What became of one batch, and how the spool stands.

    ``lost``: reason of each record that is not in the spool, by index. ``bytes_held``: bytes now in the spool.
    ``oldest_time_s``: when its oldest segment was last written to, seconds since 1970; 0: there is none.
    ``last_error``: what the disk said to the last write that failed; empty when writing is well.
    ``write_errors``: batches that the disk refused, ``left_out``: bodies that could not be redacted and were left out,
    by reason, ``finishing_starts``: how often a finishing process was started; all since the recorder began.
    """

    lost: dict[int, str] = {}
    bytes_held: int = 0
    oldest_time_s: float = 0.0
    last_error: str = ""
    write_errors: int = 0
    left_out: dict[str, int] = {}
    finishing_starts: int = 0


Received = Announced | Setup
_encoder = msgpack.Encoder()
_messages: msgpack.Decoder[Received] = msgpack.Decoder(Received)
_records: msgpack.Decoder[list[ReceivedRecord | bytes]] = msgpack.Decoder(list[ReceivedRecord | bytes])
_acks = msgpack.Decoder(Ack)


def body_bytes(body: Body | ReceivedBody) -> int:
    """How long it is."""
    return sum(map(len, body)) if isinstance(body, tuple) else len(body)


def encode(message: Received | Ack) -> bytes:
    """A message as it goes over the socket."""
    body = _encoder.encode(message)
    return PREFIX.pack(len(body)) + body


def decode_message(body: bytes) -> Received:
    """What the proxy said, given without its length; raises msgspec.MsgspecError."""
    return _messages.decode(body)


def decode_records(body: memoryview) -> list[ReceivedRecord | bytes]:
    """The records of a batch, without their large bodies; raises msgspec.MsgspecError."""
    return _records.decode(body)


def decode_ack(body: bytes) -> Ack:
    """What the recorder answered, given without its length; raises msgspec.MsgspecError."""
    return _acks.decode(body)
