"""The message of a spooled frame: in the compiled build made of its bytes in one pass (``message_kernel.pyx``).

>>> from driftline.events import InferenceEvent, Payload, decode_inference, encode_frame
>>> event = InferenceEvent(id="1", source="/ns/app/pod", model="iris", time_ns=7, request_id="r1", protocol="v2",
...     status_code=200, request=Payload(body=b'{"a": 1}'), response=Payload())
>>> message = FrameMessages().message(encode_frame(event))
>>> decode_inference(message.headers, message.value) == event, message.key, message.time_ns
(True, b'r1', 7)
"""

from collections.abc import Sequence
from typing import Protocol, cast

import msgspec
from msgspec import msgpack

from driftline.errors import EventError
from driftline.events import (
    HalfBeginnings,
    InferenceMessage,
    Payload,
    decode_frame,
    encode_inference,
    half_beginnings,
)
from driftline.native import native_module

_MODULE = "driftline.message_kernel"
#: What the kernel puts in, where the shared headers have it empty.
_OWN = ("ce_id", "ce_time", "ce_requestid", "ce_durationms", "ce_ttfbms", "ce_traceparent")
_payloads = msgpack.Decoder(Payload)
_encode = msgpack.Encoder().encode
_EMPTY_BODY = _encode(b"")

SharedHeaders = tuple[list[tuple[str, bytes]], Sequence[int]]


class UsualFrames(Protocol):
    """What only the compiled build has; see ``message_kernel.pyx``."""

    def message(self, frame: bytes) -> InferenceMessage | None:
        """The message of a frame; None where the frame is none of the usual."""


class FrameMessages:
    """Makes messages; used by one thread at a time."""

    def __init__(self) -> None:
        module = native_module(_MODULE)
        self._usual: UsualFrames | None = None
        if module is not None:
            self._usual = cast("UsualFrames", module.UsualFrames(InferenceMessage, shared_headers, beginnings_of))

    def message(self, frame: bytes) -> InferenceMessage:
        """The message of what :func:`driftline.events.encode_frame` wrote, or the recorder; raises EventError."""
        if self._usual is not None and (made := self._usual.message(frame)) is not None:
            return made
        event = decode_frame(frame)
        return InferenceMessage(*encode_inference(event), event.time_ns)


def shared_headers(shared: bytes, truncated: bool, traced: bool) -> SharedHeaders | tuple[()]:
    """The headers of all events whose frames begin with ``shared``, which ends behind the key of the event's id.

    What an event has of its own is empty in them; the places say where it stands, in the order of ``_OWN``, -1: it does
    not. Nothing where no event begins so.
    """
    own: dict[str, object] = {
        "time_ns": 0,
        "duration_ms": 0.0,
        "ttfb_ms": 0.0,
        "request_id": "",
        "truncated": truncated,
    }
    own |= {"traceparent": "" if traced else None, "request": {}, "response": {}}
    entries = b"".join(_encode(name) + _encode(value) for name, value in own.items())
    try:
        headers = encode_inference(decode_frame(shared + _encode("") + entries)).headers
    except EventError:
        return ()
    names = [name for name, _ in headers]
    return headers, [names.index(name) if name in names else -1 for name in _OWN]


def beginnings_of(described: bytes) -> HalfBeginnings | tuple[()]:
    """How a half's message begins whose frame begins with ``described``, which ends behind the key of the body.

    Nothing where no half begins so.
    """
    try:
        return half_beginnings(_payloads.decode(described + _EMPTY_BODY))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()
