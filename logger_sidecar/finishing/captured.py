"""An event as the proxy hands it over: what the spool will hold, and what finishing it needs to know besides."""

import msgspec

from driftline.errors import EventError
from driftline.events import InferenceEvent


class Captured(InferenceEvent, frozen=True, kw_only=True, omit_defaults=True):
    """An inference event with the arrival of each piece of a streamed answer.

    ``arrivals``: (bytes of the answer's body seen so far, milliseconds since the request's first byte) per piece; empty
    where the answer was not a stream. It goes no further than the finisher.
    """

    arrivals: list[tuple[int, float]] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Captured)


def encode_captured(captured: Captured) -> bytes:
    """The event as it is handed over; a reader of frames sees the event in it."""
    return _encoder.encode(captured)


def decode_captured(data: bytes) -> Captured:
    """Read what :func:`encode_captured`, or any frame's encoder, wrote; raises EventError."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise EventError("captured event", [str(error)]) from error
