"""Connections to the model server: one exchange at a time on each, kept and used again."""

import asyncio
import contextlib
import os
import ssl
from typing import Protocol, cast

from logger_sidecar.http1.chunked import ChunkedScanner, ChunkError
from logger_sidecar.http1.exchange import Exchange
from logger_sidecar.http1.head_grammar import HeadError, is_hopeless
from logger_sidecar.http1.heads import NO_HEAD, Head, HeaderNames, ResponseReader
from logger_sidecar.http1.sameness import same_but
from logger_sidecar.proxy.fast_lane import FastLane
from logger_sidecar.proxy.tls import tls_fault

REASON_REFUSED = "connect_refused"
REASON_CONNECT_TIMEOUT = "connect_timeout"
REASON_CLOSED = "closed"
REASON_CLOSED_MID_RESPONSE = "closed_mid_response"
REASON_BAD_RESPONSE = "bad_response"
REASON_TIMEOUT = "response_timeout"
REASON_TLS = "tls"
#: Every connection that may be open was busy for too long.
REASON_QUEUE_TIMEOUT = "queue_timeout"
#: What the client is answered where the model server did not; 502 for all other reasons.
STATUS_OF_REASON = {REASON_TIMEOUT: 504, REASON_CONNECT_TIMEOUT: 504, REASON_QUEUE_TIMEOUT: 503}

_UNTIL_CLOSE = -1
_READ_BYTES = 262144


class Caller(Protocol):
    """Who waits for the answer: the client's side of the exchange."""

    transport: asyncio.Transport

    def use(self, connection: "UpstreamConnection") -> None:
        """A connection for the exchange is there."""

    def answer(self, head: Head) -> bytes:
        """The answer's head came; returns it as the client shall see it."""

    def answer_whole(
        self, connection: "UpstreamConnection", head: Head, open_end: bytes, body: bytes, data: bytes
    ) -> None:
        """The whole answer came in one piece, and can be passed on as it is. It is complete.

        It says what ``head`` says, but in its places. ``open_end``: its own head but for the blank line. ``data``: all.
        """

    def inform(self, head: Head) -> None:
        """An interim answer (1xx) came."""

    def switch(self, connection: "UpstreamConnection", raw: bytes, rest: bytes) -> None:
        """The model server switched protocols, as it was asked to: ``raw`` says so, ``rest`` is in the new one."""

    def done(self, connection: "UpstreamConnection", *, reusable: bool) -> None:
        """The answer is complete."""

    def failed(self, reason: str, detail: str, *, fresh: bool) -> None:
        """There will be no (whole) answer. ``fresh``: the connection had served nobody before."""

    def pause(self) -> None:
        """The model server takes no more for now."""

    def resume(self) -> None:
        """It does again."""


class Keeper(Protocol):
    """Who keeps the connections: the pool."""

    header_names: HeaderNames
    max_head_bytes: int
    lane: FastLane | None

    def forget(self, connection: "UpstreamConnection") -> None:
        """It is closed."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to the model server."""

    def __init__(self, pool: Keeper) -> None:
        self.transport: asyncio.Transport
        self.silent_ticks = 0
        #: Its descriptor while it is in the fast lane, else -1.
        self.lane_fd = -1
        #: Whether it has answered anybody yet.
        self.has_served = False
        self._pool = pool
        self._reader = ResponseReader(pool.header_names)
        self._head: Head = NO_HEAD
        #: Who waits for an answer, and the exchange that it belongs to.
        self.caller: Caller | None = None
        self.exchange: Exchange
        self._in_head = True
        #: Whether the next piece may be an answer from its first byte to its last; never within one.
        self.may_be_whole = True
        self._left = 0
        self._chunks: ChunkedScanner | None = None
        self._pending = b""

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.caller is not None

    @property
    def serving(self) -> tuple[Caller, Exchange] | None:
        """Who waits for an answer, and the exchange that it belongs to."""
        return None if self.caller is None else (self.caller, self.exchange)

    @property
    def answer_begun(self) -> bool:
        """Whether any byte of the present answer has come."""
        return not self._in_head or bool(self._pending)

    def begin(self, caller: Caller, exchange: Exchange, asked: Head) -> None:
        """Answer this caller from now on. ``asked``: the request's head."""
        if self._pool.lane is not None:
            self._pool.lane.leave(self)
        self.ask(caller, exchange, asked)

    def ask(self, caller: Caller, exchange: Exchange, asked: Head) -> None:
        """As ``begin``, for the fast lane, which it stays in."""
        self.caller = caller
        self.exchange = exchange
        self.may_be_whole = asked.takes_whole
        self.silent_ticks = 0

    def read_head(self, raw: bytes) -> Head:
        """Read the head of an answer that came whole and was not read, for it says what the newest one said."""
        self._head = self._reader.read(raw, answers_head=False)
        return self._head

    def read_anew(self) -> None:
        """Settings have changed: the next answer's head is read even if it says what the newest said."""
        self._reader.forget()

    def release(self) -> None:
        """The caller is gone; what is on the way would be in nobody's name, so the connection ends."""
        self.caller = None
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)  # a base class of uvloop's own by duck typing only

    def eof_received(self) -> None:
        """Part of asyncio.Protocol; the connection is closed at once: a model server that ends has said all."""

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol."""
        if self.caller is not None:
            self.caller.pause()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self.silent_ticks = 0
        if self.caller is not None:
            self.caller.resume()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self.silent_ticks = 0
        caller, head = self.caller, self._head
        if (
            self.may_be_whole
            and caller is not None
            and len(data) == head.whole_bytes
            and (body := data.removeprefix(head.raw)) is not data
        ):
            # It says what the answer before it said, and came in one piece, as most do.
            self.caller = None
            self.has_served = True
            caller.answer_whole(self, head, head.open_end, body, data)
        elif caller is None:  # nobody asked: whatever it is, it must not become somebody's answer
            self.transport.abort()
        elif not self._in_head:
            self._take_body(caller, data)
        elif self.may_be_whole and head.stretches and (found := same_but(head, data)) is not None:
            self.caller = None
            self.has_served = True
            caller.answer_whole(self, head, data[: found.head_bytes - 2], data[found.head_bytes :], data)
        else:
            self._take_head(caller, self._pending + data if self._pending else data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        if exc is not None and self.caller is not None:
            self._salvage()
        self._pool.forget(self)
        caller = self.caller
        if caller is None:
            return
        self.caller = None
        if not self._in_head and self._chunks is None and self._left == _UNTIL_CLOSE and exc is None:
            caller.done(self, reusable=False)
            return
        fresh = not self.has_served or self.answer_begun
        if isinstance(exc, ssl.SSLError):
            caller.failed(REASON_TLS, f"the model server ended the connection: {tls_fault(exc)}", fresh=fresh)
            return
        reason = REASON_CLOSED if self._in_head else REASON_CLOSED_MID_RESPONSE
        caller.failed(reason, "the model server closed the connection before its answer was complete", fresh=fresh)

    def _salvage(self) -> None:
        """Take what came before a reset: the loop gives up when a write fails, and may have left an answer unread.

        So it is with a server that answers in the middle of a request (413, 401) and closes.
        """
        opened = self.transport.get_extra_info("socket")
        if opened is None or self.transport.get_extra_info("sslcontext") is not None:
            return
        with contextlib.suppress(OSError):  # nothing there, or no longer open
            while self.caller is not None and (data := os.read(opened.fileno(), _READ_BYTES)):
                self.data_received(data)

    def fail(self, reason: str, detail: str) -> None:
        """Give the exchange up."""
        caller, self.caller = self.caller, None
        self.transport.abort()
        if caller is not None:
            caller.failed(reason, detail, fresh=True)

    def _take_head(self, caller: Caller, data: bytes) -> None:
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._wait_for_head(data)
                return
            self._pending = b""
            if end > self._pool.max_head_bytes:
                self._refuse_length()
                return
            raw = data[:end]
            try:
                self._head = self._reader.read(raw, answers_head=self.exchange.request.head.method == b"HEAD")
            except HeadError as error:
                self.fail(REASON_BAD_RESPONSE, f"the model server's answer is not HTTP: {error}")
                return
            if self._head.status >= 200:
                break
            if self._head.status == 101:
                self._switch(caller, raw, data[end:])
                return
            self.exchange.held = None  # it has the request, and must not get it again
            caller.inform(self._head)
            data = data[end:]
        self._in_head = self.may_be_whole = False
        self._answer(caller, data, end)

    def _wait_for_head(self, data: bytes) -> None:
        if is_hopeless(data, len(self._pending)):
            self.fail(REASON_BAD_RESPONSE, "the model server's answer is not HTTP: a CR, LF or control character")
        elif len(data) > self._pool.max_head_bytes:
            self._refuse_length()
        elif data:
            self._pending = data
            self.may_be_whole = False

    def _refuse_length(self) -> None:
        limit = self._pool.max_head_bytes
        self.fail(REASON_BAD_RESPONSE, f"the head of the model server's answer is longer than {limit} bytes")

    def _switch(self, caller: Caller, raw: bytes, rest: bytes) -> None:
        if not self.exchange.request.head.is_upgrade:
            self.fail(REASON_BAD_RESPONSE, "the model server switched protocols without being asked to")
            return
        self.caller = None
        caller.switch(self, raw, rest)

    def _answer(self, caller: Caller, data: bytes, end: int) -> None:
        head, exchange = self._head, self.exchange
        out = caller.answer(head)
        if len(data) > end:
            body = data[end:]
            if 0 <= head.content_length <= len(body) and not head.chunked:
                caller.transport.write(out + body[: head.content_length])
                exchange.response.append(body[: head.content_length])
                self._finish(caller, surplus=len(body) > head.content_length)
                return
            caller.transport.write(out)
            self._frame()
            self._take_body(caller, body)
            return
        caller.transport.write(out)
        if head.content_length == 0 and not head.chunked:
            self._finish(caller, surplus=False)
        else:
            self._frame()

    def _frame(self) -> None:
        self._left = self._head.content_length if self._head.content_length >= 0 else _UNTIL_CLOSE
        self._chunks = ChunkedScanner(self._pool.max_head_bytes) if self._head.chunked else None

    def _take_body(self, caller: Caller, data: bytes) -> None:
        response = self.exchange.response
        if self._chunks is not None:
            try:
                end = self._chunks.feed(data, 0, response)
            except ChunkError as error:
                self.fail(REASON_BAD_RESPONSE, f"the model server's answer is badly chunked: {error}")
                return
            caller.transport.write(data if end < 0 else data[:end])
            if end >= 0:
                self._finish(caller, surplus=end < len(data))
            return
        if self._left == _UNTIL_CLOSE:
            caller.transport.write(data)
            response.append(data)
            return
        surplus = len(data) > self._left
        piece = data[: self._left] if surplus else data
        caller.transport.write(piece)
        response.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._finish(caller, surplus=surplus)

    def _finish(self, caller: Caller, *, surplus: bool) -> None:
        self.caller = None
        self._in_head = True
        self._chunks = None
        self.has_served = True
        caller.done(self, reusable=self._head.keep_alive and not surplus)
