"""What the sidecar and its finishing process say to each other: one msgpack value behind four bytes of its length.

The sidecar sends ``Setup`` first and whenever the rules change, then any number of ``Batch``; each is answered by one
``Done``. An end of the stream ends the process.

>>> decode_order(encode(Batch([b"frame"])))
Batch(frames=[b'frame'])
"""

import socket
import struct

import msgspec

#: No batch is longer: the spool hands over at most a segment at once.
MAX_MESSAGE_BYTES = 512 * 1024 * 1024
_LENGTH = struct.Struct(">I")


class Setup(msgspec.Struct, frozen=True, tag=True):
    """By what to finish. ``key``: of the hashes; ``max_decoded_bytes``: bound of a body without its coding."""

    rules: tuple[str, ...] = ()
    key: bytes = b""
    max_decoded_bytes: int = 16 * 1024 * 1024


class Batch(msgspec.Struct, frozen=True, tag=True):
    """Frames to finish, in order."""

    frames: list[bytes]


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """One frame as it may be written; empty where it was lost. ``left_out``: reasons of bodies that are not in it."""

    frame: bytes
    left_out: list[str] = []


class Done(msgspec.Struct, frozen=True):
    """The answer: one outcome per frame; none to a Setup. ``fault``: why a Setup could not be followed."""

    outcomes: list[Outcome]
    fault: str = ""


Order = Setup | Batch
_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_answers = msgspec.msgpack.Decoder(Done)


def encode(message: Order | Done) -> bytes:
    """The message without its length."""
    return _encoder.encode(message)


def decode_order(data: bytes) -> Order:
    """Read what the sidecar sent; raises msgspec.MsgspecError."""
    return _orders.decode(data)


def decode_done(data: bytes) -> Done:
    """Read what the process answered; raises msgspec.MsgspecError."""
    return _answers.decode(data)


def send(connection: socket.socket, message: bytes) -> None:
    """Write one message; raises OSError, TimeoutError included."""
    connection.sendall(_LENGTH.pack(len(message)))
    connection.sendall(message)


def receive(connection: socket.socket) -> bytes | None:
    """Read one message; None at the end of the stream, also where that cuts a message. Raises OSError."""
    head = _read(connection, _LENGTH.size)
    if head is None:
        return None
    size = int(_LENGTH.unpack(head)[0])
    if size > MAX_MESSAGE_BYTES:
        raise OSError(f"a message of {size} bytes is longer than any that is sent")
    return _read(connection, size)


def _read(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return bytes(data)
