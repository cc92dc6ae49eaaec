"""Two connections that became one: after a 101 the bytes pass both ways, unseen, with back-pressure both ways."""

import asyncio
from collections.abc import Callable

from logger_sidecar.proxy.parts import ProxyParts


class _Side(asyncio.Protocol):
    """One of the two ends."""

    def __init__(self, transport: asyncio.Transport, moved: Callable[[], None], lost: Callable[[], None]) -> None:
        self.transport = transport
        self.other: _Side
        self.has_ended = False
        self._moved = moved
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self._moved()
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""
        self._moved()
        self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Part of asyncio.Protocol; one side may fall silent and still listen."""
        self.has_ended = True
        other = self.other.transport
        if self.other.has_ended or not other.can_write_eof():
            other.close()
            return False
        other.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        if exc is None:
            self.other.transport.close()
        else:
            self.other.transport.abort()
        self._lost()


class Splice:
    """A client and the model server, joined. ``let_go``: called when the model server's side has closed."""

    calls_in_flight = 1

    def __init__(
        self,
        parts: ProxyParts,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        let_go: Callable[[], None],
    ) -> None:
        self.transport = client
        self._parts = parts
        self._silent_ticks = 0
        self._open = 2
        self._let_go = let_go
        self._client = _Side(client, self._moved, self._lost)
        self._upstream = _Side(upstream, self._moved, self._upstream_lost)
        self._client.other, self._upstream.other = self._upstream, self._client

    def begin(self, *, client_has_ended: bool) -> None:
        """Take both transports over. ``client_has_ended``: it has said all that it wanted before."""
        self._parts.opened(self)
        self._client.transport.set_protocol(self._client)
        self._upstream.transport.set_protocol(self._upstream)
        # One of them may have closed while the other switched.
        if self._client.transport.is_closing() or self._upstream.transport.is_closing():
            self._client.transport.abort()
            self._upstream.transport.abort()
        elif client_has_ended:
            self._client.eof_received()

    def tick(self, idle_ticks: int) -> None:
        """Part of proxy_parts.OpenConnection."""
        self._silent_ticks += 1
        if self._silent_ticks > idle_ticks:
            self._client.transport.abort()
            self._upstream.transport.abort()

    def drain(self) -> None:
        """Part of proxy_parts.OpenConnection; nobody but the two knows when they are done."""

    def _moved(self) -> None:
        self._silent_ticks = 0

    def _upstream_lost(self) -> None:
        self._let_go()
        self._lost()

    def _lost(self) -> None:
        self._open -= 1
        if not self._open:
            self._parts.closed(self)
            # All these refer to each other, and memory that goes round in a circle hardly ever comes back here.
            del self._client.other, self._upstream.other, self._client, self._upstream
