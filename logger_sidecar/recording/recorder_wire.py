"""What the proxy and the recorder say to each other over their socket: length-prefixed msgpack.

The proxy sends how to finish events (``finishing_wire.Setup``), first and whenever that changes, and batches of
records. The recorder answers each batch, in order, with an :class:`Ack`; a setup is not answered.
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import msgpack

from logger_sidecar.finishing.wire import Setup

#: The arguments of ``event_frames.frame``, in their order: an event that takes the short way.
ShortRecord = tuple[bytes, str, str, int, float, float, bool, bytes, bytes, bytes, bytes]
#: A frame as ``captured.encode_captured`` made it; alone in a tuple it has work left before it may be written.
Record = ShortRecord | bytes | tuple[bytes]

_NO_BODY = memoryview(b"")
PREFIX = struct.Struct(">I")


class Batch(msgspec.Struct, frozen=True, tag=True):
    """Records, in order. They are told apart by their type; what stands in them was put there by this very package."""

    records: Sequence[Any]


class ReceivedRecord(msgspec.Struct, array_like=True, gc=False):
    """A record that is a tuple, as it arrives: the bodies are where the message is, and last as long as it.

    ``response`` is empty where ``stream`` is a frame that was alone in its tuple: it has work left on it.
    """

    stream: bytes
    event_id: str = ""
    request_id: str = ""
    time_ns: int = 0
    duration_ms: float = 0.0
    ttfb_ms: float = 0.0
    truncated: bool = False
    request: bytes = b""
    request_body: memoryview = _NO_BODY
    response: bytes = b""
    response_body: memoryview = _NO_BODY


class ReceivedBatch(msgspec.Struct, tag="Batch"):
    """As ``Batch``, at its other end; a record that is bytes is a finished frame."""

    records: list[ReceivedRecord | bytes]


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


Received = ReceivedBatch | Setup
_encoder = msgpack.Encoder()
_messages: msgpack.Decoder[Received] = msgpack.Decoder(Received)
_acks = msgpack.Decoder(Ack)


def encode(message: Batch | Setup | Ack) -> bytes:
    """A message as it goes over the socket."""
    body = _encoder.encode(message)
    return PREFIX.pack(len(body)) + body


def encode_into(buffer: bytearray, message: Batch | Setup) -> None:
    """As ``encode``, in place of what is in the buffer, whose memory is used again."""
    _encoder.encode_into(message, buffer, PREFIX.size)
    PREFIX.pack_into(buffer, 0, len(buffer) - PREFIX.size)


def decode_message(body: bytes | memoryview) -> Received:
    """What the proxy said, given without its length; raises msgspec.MsgspecError."""
    return _messages.decode(body)


def decode_ack(body: bytes) -> Ack:
    """What the recorder answered, given without its length; raises msgspec.MsgspecError."""
    return _acks.decode(body)
