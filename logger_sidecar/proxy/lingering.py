"""The end of a connection whose client still talks: it is answered, and what it goes on to say is thrown away.

A socket closed with unread bytes resets the connection, and the reset may overtake the answer. So only our half is
closed, and the rest is read for a short while (RFC 9112 section 9.6).
"""

import asyncio

from logger_sidecar.proxy.parts import ProxyParts

#: For so many ticks, of a second at most, a client may be silent or may talk after its answer has been sent.
_SILENT_TICKS, _TALKING_TICKS = 3, 30


class Lingering(asyncio.Protocol):
    """Takes a transport over from another protocol, whose last bytes are written."""

    calls_in_flight = 0

    def __init__(self, parts: ProxyParts, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._parts = parts
        self._ticks = self._talking_ticks = 0
        self._unsent = 0

    def begin(self) -> None:
        """Take the transport over."""
        self._parts.opened(self)
        self.transport.set_protocol(self)
        self.transport.write_eof()
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol; many clients look for an answer when they have sent all only."""
        if not self._unsent:
            self._ticks = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._parts.closed(self)

    def tick(self, idle_ticks: int) -> None:
        """Part of proxy_parts.OpenConnection."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:  # it still reads, however slowly
            self._unsent, self._ticks = unsent, 0
        self._ticks += 1
        self._talking_ticks += not unsent
        if self._ticks > (idle_ticks if unsent else _SILENT_TICKS) or self._talking_ticks > _TALKING_TICKS:
            self.transport.abort()

    def drain(self) -> None:
        """Part of proxy_parts.OpenConnection."""
        if not self.transport.get_write_buffer_size():
            self.transport.close()
