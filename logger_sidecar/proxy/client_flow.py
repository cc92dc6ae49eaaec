"""How fast a client's connection may go: who is held back for whom, and who has been silent for too long."""

import asyncio
import socket
import struct

from logger_sidecar.http1.error_answers import error_body, error_head
from logger_sidecar.http1.exchange import Exchange
from logger_sidecar.http1.head_grammar import HTTP2_PREFACE_HEAD, begins_http2
from logger_sidecar.proxy.lingering import Lingering
from logger_sidecar.proxy.parts import ProxyParts
from logger_sidecar.proxy.upstream import UpstreamConnection

# Why bytes are held back. The first three stop the reading from the client, the last one that from the model server.
PIPELINED, CONNECTING, SERVER_FULL, CLIENT_FULL = 1, 2, 4, 8
_HOLDS_CLIENT = PIPELINED | CONNECTING | SERVER_FULL

#: Linger for no time at all: what is unsent is thrown away, and the other end is told.
_RESET = struct.pack("ii", 1, 0)


class ClientFlow(asyncio.Protocol):
    """The part of a client's connection that stops and goes."""

    def __init__(self, parts: ProxyParts) -> None:
        self.transport: asyncio.Transport
        self.silent_ticks = 0
        #: Its descriptor while it is in the fast lane, else -1.
        self.lane_fd = -1
        #: After so many more requests that took the fast path it may come into the lane, and how many they were.
        self.lane_wait = self.lane_penalty = 1
        #: How many requests were passed there since it was last found unusual.
        self.lane_passed = 0
        self._parts: ProxyParts = parts
        self._exchange: Exchange | None = None
        self._upstream: UpstreamConnection | None = None
        #: Bytes of requests that are not yet begun.
        self._pending = b""
        self._request_open = False
        self._answer_begun = False
        self._answer_endless = False
        self._has_ended = False
        self._stalls = 0
        self._close_after = False
        self._unsent = 0
        self._head_ticks = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self._exchange is None

    @property
    def calls_in_flight(self) -> int:
        """Part of proxy_parts.OpenConnection."""
        return int(self._exchange is not None)

    def drain(self) -> None:
        """Answer what is in flight, then close."""
        if self._exchange is None:
            self.transport.close()
        else:
            self._close_after = True

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._stalls |= CLIENT_FULL
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._stalls &= ~CLIENT_FULL
        self.silent_ticks = 0
        if self._upstream is not None:
            self._upstream.silent_ticks = 0
            self._upstream.transport.resume_reading()

    def tick(self, idle_ticks: int) -> None:
        """Called regularly: ends a connection whose client has been silent for too many ticks while it was its turn."""
        self.silent_ticks += 1
        if self._stalls & CLIENT_FULL:
            if self._upstream is not None:
                self._upstream.silent_ticks = 0  # it is we who do not read
            unsent = self.transport.get_write_buffer_size()
            if unsent != self._unsent:
                self._unsent, self.silent_ticks = unsent, 0
        elif self._exchange is not None and (not self._request_open or self._answer_begun or self._stalls):
            self.silent_ticks = 0
        self._head_ticks = self._head_ticks + 1 if self._exchange is None and self._pending else 0
        if self._head_ticks > idle_ticks:
            self._refuse(408, "the request did not come in time")
        elif self.silent_ticks > idle_ticks:
            self.transport.abort()

    def _hold(self, why: int) -> None:
        """Read no more from the client for now."""
        if not self._stalls & _HOLDS_CLIENT:
            self.transport.pause_reading()
        self._stalls |= why

    def _let_go(self, why: int) -> None:
        if self._stalls & why & _HOLDS_CLIENT:
            self._stalls &= ~why
            if not self._stalls & _HOLDS_CLIENT:
                self.silent_ticks = 0
                self.transport.resume_reading()

    def _unstall(self, connection: UpstreamConnection) -> None:
        """The exchange with this connection has ended; it must not be held back for us, nor we for it."""
        if self._stalls & SERVER_FULL:
            connection.transport.abort()  # it answered without reading all that was said, and may never
        if self._stalls & CLIENT_FULL:
            connection.transport.resume_reading()
        self._let_go(SERVER_FULL | CONNECTING)

    def pause(self) -> None:
        """Part of upstream.Caller."""
        self._hold(SERVER_FULL)

    def resume(self) -> None:
        """Part of upstream.Caller."""
        self._let_go(SERVER_FULL)

    def _linger(self) -> None:
        """All is said, but the client still talks."""
        self._request_open = False
        self._pending = b""
        if self._has_ended or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        Lingering(self._parts, self.transport).begin()
        self._parts.closed(self)

    def _cut(self) -> None:
        """The answer broke off. What came of it still goes out, unless its end would then look like a whole one's."""
        if self._answer_endless:
            _reset(self.transport)
        else:
            self.transport.close()

    def _becomes_http2(self, data: bytes) -> bool:
        """Whether a client's first bytes are HTTP/2, or may be: then the connection belongs to another protocol."""
        make = self._parts.http2
        if make is None or not begins_http2(data):
            return False
        if len(data) < len(HTTP2_PREFACE_HEAD):
            self._pending = data
            return True
        protocol = make()
        self._parts.closed(self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)
        return True

    def _write_error(self, exchange: Exchange, status: int, detail: str) -> bytes:
        body = error_body(detail)
        head = error_head(status, body, id_line=exchange.id_line, closes=self._close_after)
        self.transport.write(head if exchange.request.head.method == b"HEAD" else head + body)
        return body

    def _refuse(self, status: int, detail: str) -> None:
        raise NotImplementedError


def _reset(transport: asyncio.Transport) -> None:
    """Close a connection so that its other end sees an error and not an end; TLS ends without its farewell."""
    opened = transport.get_extra_info("socket")
    if opened is not None and opened.family in (socket.AF_INET, socket.AF_INET6):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
