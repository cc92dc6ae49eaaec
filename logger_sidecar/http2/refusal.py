"""What a client that speaks HTTP/2 is told where no model server can be reached.

It is answered as a gRPC server would: settings, then "unavailable" on each stream it begins, then the wish that it
come again on another connection. What crosses that wish is refused like the rest, for not every client gives up by
itself a stream that is never answered (gRPC's core waits for the end of the connection). A stream that is no gRPC gets
the answer that it would get over HTTP/1.1.
"""

import json
from typing import Protocol

from logger_sidecar.http2 import grpc_status
from logger_sidecar.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    HIGHEST_STREAM,
    NO_ERROR,
    PING,
    PREFACE,
    SETTINGS,
    frame,
    goaway,
    literal,
    reset,
    unpack_head,
)

_STATUS_200 = b"\x88"  # in the static table (RFC 7541, appendix A)
_MAX_PENDING_BYTES = 65536


class Asked(Protocol):
    """What is known of the streams that the client has begun; as ``tap.Tap``."""

    def speaks_grpc(self, stream: int) -> bool:
        """Whether it began this one as a call over gRPC."""

    def wants_no_body(self, stream: int) -> bool:
        """Whether the answer may have no body (RFC 9110, section 9.3.2)."""


class Refusal:
    """Answers one connection's client; takes its bytes and gives those it shall get.

    ``detail``: what the caller is told. ``status``: the HTTP status where it is no gRPC. ``asked``: of the streams.
    """

    def __init__(self, detail: str, status: int, asked: Asked) -> None:
        self._asked = asked
        self._body = json.dumps({"error": detail}).encode()
        self._plain = b"".join(
            (
                literal(b":status", str(status).encode()),
                literal(b"content-type", b"application/json"),
                literal(b"content-length", str(len(self._body)).encode()),
            )
        )
        message = "".join(
            chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in detail.encode()
        )
        self._answer = b"".join(
            (
                _STATUS_200,
                literal(b"content-type", b"application/grpc"),
                literal(b"grpc-status", str(grpc_status.UNAVAILABLE).encode()),
                literal(b"grpc-message", message.encode()),
            )
        )
        self._pending = b""
        self._skip = len(PREFACE)
        self._highest = 0
        self._is_leaving = False
        #: Calls that were refused.
        self.count = 0

    def greeting(self) -> bytes:
        """What a server says first."""
        return frame(SETTINGS, 0, 0)

    def goodbye(self) -> bytes:
        """What a server says last, once: the client shall begin its next calls on another connection."""
        if self._is_leaving:
            return b""
        self._is_leaving = True
        return goaway(HIGHEST_STREAM)

    def feed(self, data: bytes) -> bytes:
        """Take what the client sends; returns the answers to it, whole frames."""
        data = self._pending + data
        position = min(self._skip, len(data))
        self._skip -= position
        out: list[bytes] = []
        while len(data) - position >= HEAD_BYTES:
            high, low, kind, flags, stream = unpack_head(data, position)
            end = position + HEAD_BYTES + (high << 8 | low)
            if end > len(data) and kind in (PING, SETTINGS):
                break
            out.append(self._reply(kind, flags, stream, data[position + HEAD_BYTES : end]))
            self._skip = max(0, end - len(data))
            position = min(end, len(data))
        self._pending = data[position:][:_MAX_PENDING_BYTES]
        return b"".join(out)

    def _reply(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if kind == SETTINGS and not flags & ACK:
            return frame(SETTINGS, ACK, 0)
        if kind == PING and not flags & ACK:
            return frame(PING, ACK, 0, payload)
        if kind != HEADERS or stream <= self._highest or not stream & 1:
            return b""
        self._highest = stream
        self.count += 1
        if self._asked.speaks_grpc(stream):
            answer = frame(HEADERS, END_HEADERS | END_STREAM, stream, self._answer)
        elif self._asked.wants_no_body(stream):
            answer = frame(HEADERS, END_HEADERS | END_STREAM, stream, self._plain)
        else:
            answer = frame(HEADERS, END_HEADERS, stream, self._plain) + frame(DATA, END_STREAM, stream, self._body)
        return answer if flags & END_STREAM else answer + reset(stream, NO_ERROR)
