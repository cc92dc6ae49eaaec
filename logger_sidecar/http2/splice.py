"""Connections of clients that speak HTTP/2: each is spliced onto a connection of its own to the model server."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, cast

from logger_sidecar.http2.followed_call import CallParts
from logger_sidecar.http2.refusal import Refusal
from logger_sidecar.http2.tap import Tap
from logger_sidecar.proxy.upstream import (
    REASON_CLOSED_MID_RESPONSE,
    REASON_CONNECT_TIMEOUT,
    REASON_REFUSED,
)

#: How often a connection may be looked at before it is closed, where its streams have all ended after a goodbye, or
#: all of its calls were refused; and before it is aborted, where it is closing and has nothing left to write.
_GOODBYE_TICKS = 2
_REFUSED_TICKS = 5
_CLOSING_TICKS = 1
#: As over HTTP/1.1; of everything else it is 502.
_STATUS_OF = {REASON_CONNECT_TIMEOUT: 504}
#: How long a header block waits for the body behind it, which may say the call's id. Clients that send both apart send
#: them one after the other; who takes longer has its head go on without.
_BODY_FOLLOWS_S = 0.1
#: How long calls are refused on a connection before the client is asked to try another one.
_REFUSING_S = 0.2


class Registry(Protocol):
    """Where connections are known while they are open."""

    def opened(self, connection: "Http2Connection") -> None:
        """There is one more."""

    def closed(self, connection: "Http2Connection") -> None:
        """Both its sides are closed."""


@dataclass(slots=True)
class SpliceParts:
    """What all these connections share.

    ``connect``: makes the transport to the model server for the protocol it is given; raises OSError. ``address``:
    what that server is called in messages.
    """

    calls: CallParts
    registry: Registry
    connect: Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.BaseTransport, asyncio.BaseProtocol]]]
    address: str
    connect_timeout_s: float


class Http2Connection(asyncio.Protocol):
    """One client and its model server: bytes go through both ways, each side at the pace of the other."""

    def __init__(self, parts: SpliceParts) -> None:
        self.transport: asyncio.Transport
        self._parts = parts
        self._tap = Tap(parts.calls)
        self._server: _ServerSide | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        self._refusal: Refusal | None = None
        self._silent_ticks = 0
        self._goodbye_ticks = 0
        self._refusing_ticks = 0
        self._closing_ticks = 0
        self._closing_bytes = 0
        self._says_goodbye = False
        self._reason = ""
        self._is_lost = False
        self._is_paused = False
        #: Whether one side has said that it will say no more, and whether that was the client.
        self._is_ending = False
        self._client_ended = False

    # --- the client's transport -----------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)
        _keep_alive(self.transport)
        self._parts.registry.opened(self)
        self.transport.pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self._silent_ticks = 0
        out = self._tap.from_client(data)
        if self._tap.keeps_back:
            asyncio.get_running_loop().call_later(_BODY_FOLLOWS_S, self._let_go)
        if out:
            self._pass_on(out)

    def _let_go(self) -> None:
        out = self._tap.let_go()
        if out and not self._is_lost:
            self._pass_on(out)

    def _pass_on(self, out: bytes) -> None:
        if self._server is not None:
            self._server.transport.write(out)
        elif self._refusal is not None:
            self._refuse(self._refusal, out)
        else:
            self._waiting.append(out)

    def eof_received(self) -> bool:
        """Part of asyncio.Protocol; what the client says, the server shall hear."""
        if self._is_ending:
            return False
        self._let_go()
        self._is_ending = self._client_ended = True
        return self._server is not None and _pass_eof(self._server.transport)

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._is_paused = True
        if self._server is not None:
            _pause(self._server.transport)
        elif self._refusal is not None:
            _pause(self.transport)

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._is_paused = False
        if self._server is not None:
            _resume(self._server.transport)
        elif self._refusal is not None:
            _resume(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._is_lost = True
        self._tap.client_gone()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._server is None:
            self._parts.registry.closed(self)
        else:
            self._server.transport.close()

    # --- the model server's transport -----------------------------------------------------------------------------
    def server_said(self, data: bytes) -> None:
        """The server sent this."""
        self._silent_ticks = 0
        out = self._tap.from_server(data)
        if out and not self.transport.is_closing():
            self.transport.write(out)
        self._tap.settle()

    def server_ended(self) -> bool:
        """The server will say no more; tells whether it may still be talked to."""
        if self._is_ending:
            return False
        self._is_ending = True
        self._leave_unanswered()  # now, because the client will give up what it began when it hears of it
        return not self._is_lost and _pass_eof(self.transport)

    def server_lost(self) -> None:
        """The connection to the server is closed."""
        if self._client_ended:
            self._tap.client_gone()
        self._leave_unanswered()
        if self._is_lost:
            self._parts.registry.closed(self)
        self._server = None
        self.transport.close()

    def _leave_unanswered(self) -> None:
        """The server has said its last: what it has not answered by now it never will."""
        for _ in range(self._tap.server_gone()):
            self._parts.calls.meters.upstream_error(REASON_CLOSED_MID_RESPONSE)

    # --- its life -------------------------------------------------------------------------------------------------
    @property
    def calls_in_flight(self) -> int:
        """How many streams have begun and not ended."""
        return self._tap.open_streams

    @property
    def is_idle(self) -> bool:
        """Whether no call is in flight, as far as that can be told."""
        return not self._tap.open_streams and (self._tap.is_observed or self._silent_ticks > 1)

    def tick(self, idle_ticks: int) -> None:
        """Called regularly: ends what has been idle for too many ticks, or does not come to its end."""
        self._silent_ticks += 1
        if self._is_lost or self.transport.is_closing():
            self._tick_closing(idle_ticks)
        elif self._refusal is not None:
            # Not at once: a client that hears a goodbye with the first settings may wait for others in vain, for 20 s.
            self._refusing_ticks += 1
            if self._refusing_ticks > 1:
                self._end_refusing()
            if self._silent_ticks > _REFUSED_TICKS:
                self.transport.close()
        elif self._says_goodbye:
            self._goodbye_ticks = self._goodbye_ticks + 1 if self.is_idle else 0
            if self._goodbye_ticks >= _GOODBYE_TICKS:
                self.transport.close()
        elif self._silent_ticks > idle_ticks and self._is_ending:
            self.abort()
        elif self._silent_ticks > idle_ticks and self.is_idle and self._tap.is_observed:
            self.drain()

    def _tick_closing(self, idle_ticks: int) -> None:
        """What is written still goes out, as long as somebody takes it; then a peer need not agree to the end."""
        left = 0 if self._is_lost else self.transport.get_write_buffer_size()
        if self._server is not None:
            left += self._server.transport.get_write_buffer_size()
        if left != self._closing_bytes:
            self._closing_bytes, self._closing_ticks = left, 0
        self._closing_ticks += 1
        if self._closing_ticks > (idle_ticks if left else _CLOSING_TICKS):
            self.abort()

    def drain(self) -> None:
        """Let no more calls begin, and close when those in flight have ended."""
        self._says_goodbye = True
        if self._is_ending or self.transport.is_closing():
            return
        goodbye = self._tap.say_goodbye()
        if goodbye:
            self.transport.write(goodbye)
        elif self._refusal is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close both sides at once."""
        if self._server is not None:
            self._server.transport.abort()
        self.transport.abort()

    # --- how it begins --------------------------------------------------------------------------------------------
    async def _connect(self) -> None:
        parts = self._parts
        try:
            async with asyncio.timeout(parts.connect_timeout_s):
                await parts.connect(lambda: _ServerSide(self))
        except TimeoutError:
            detail = f"no connection to the model server at {parts.address} within {parts.connect_timeout_s:g} s"
            self._begin_refusing(REASON_CONNECT_TIMEOUT, detail)
        except OSError as error:
            detail = f"the model server at {parts.address} cannot be reached: {error.strerror or error}"
            self._begin_refusing(REASON_REFUSED, detail)
        finally:
            self._connecting = None
            if self._server is None and self._refusal is None:  # not even an error that was foreseen
                self.transport.abort()

    def server_made(self, server: "_ServerSide") -> None:
        """The connection to the server is there."""
        if self._is_lost:
            server.transport.abort()
            return
        self._server = server
        _keep_alive(server.transport)
        if self._is_paused:
            _pause(server.transport)
        if self._waiting:
            server.transport.writelines(self._waiting)
            self._waiting = []
        _resume(self.transport)

    def _begin_refusing(self, reason: str, detail: str) -> None:
        if self._is_lost:
            return
        self._reason = reason
        self._refusal = refusal = Refusal(f"driftline sidecar: {detail}", _STATUS_OF.get(reason, 502), self._tap)
        self.server_said(refusal.greeting())
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._refuse(refusal, data)
        if not self._is_paused:
            _resume(self.transport)

    def _refuse(self, refusal: Refusal, data: bytes) -> None:
        before = refusal.count
        answers = refusal.feed(data)
        if answers:
            self.server_said(answers)
        for _ in range(refusal.count - before):
            self._parts.calls.meters.upstream_error(self._reason)
        if refusal.count > before == 0:
            asyncio.get_running_loop().call_later(_REFUSING_S, self._end_refusing)

    def _end_refusing(self) -> None:
        """The server may be back: the client shall try again on a new connection."""
        if self._refusal is not None and not self.transport.is_closing():
            self.transport.write(self._refusal.goodbye())


class _ServerSide(asyncio.Protocol):
    """The connection to the model server that one client's connection is spliced onto."""

    def __init__(self, client: Http2Connection) -> None:
        self.transport: asyncio.Transport
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self._client.server_made(self)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self._client.server_said(data)

    def eof_received(self) -> bool:
        """Part of asyncio.Protocol."""
        return self._client.server_ended()

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol."""
        _pause(self._client.transport)

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        _resume(self._client.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._client.server_lost()


def _pause(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.pause_reading()


def _resume(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


def _pass_eof(transport: asyncio.Transport) -> bool:
    """Say no more on this transport, where that can be said; tells whether the other way stays open."""
    if transport.is_closing() or not transport.can_write_eof():
        return False
    transport.write_eof()
    return True


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let the system notice a peer that is gone without a word: calls may rightly be silent for long."""
    found = transport.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
