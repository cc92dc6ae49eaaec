"""Whether the model server is ready, asked over the kind of connection that requests take."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from logger_sidecar.proxy.dial import Dialer
from logger_sidecar.proxy.tls import tls_fault

#: Longest time that an answer is given again without asking.
_KEPT_S = 1.0
_MAX_LINE_BYTES = 4096
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


#: Asks over a connection that was just made; why the server is not ready, to be told after its name, or empty. Raises
#: OSError.
Ask = Callable[[asyncio.StreamReader, asyncio.WriteTransport], Awaitable[str]]


class Readiness:
    """Asks the model server, at most once a second, and once for all who want to know meanwhile.

    ``ask``: how. ``monotonic``: seconds of a clock that never jumps.
    """

    def __init__(self, dialer: Dialer, ask: Ask, monotonic: Callable[[], float]) -> None:
        self._dialer = dialer
        self._ask_over = ask
        self._monotonic = monotonic
        self._asking: asyncio.Task[str] | None = None
        self._asked_s = 0.0

    async def fault(self) -> str:
        """Why the model server is not ready; empty when it is."""
        now_s = self._monotonic()
        if self._asking is None or (self._asking.done() and now_s - self._asked_s >= _KEPT_S):
            self._asked_s = now_s
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> str:
        where = f"the model server at {self._dialer.address}"
        try:
            async with asyncio.timeout(self._dialer.timeout_s):
                fault = await self._connect_and_ask()
        except TimeoutError:
            return f"{where} did not answer within {self._dialer.timeout_s:g} s"
        except ssl.SSLError as error:
            return f"{where} cannot be trusted: {tls_fault(error)}"
        except OSError as error:
            return f"{where} does not accept connections: {error.strerror or error}"
        return f"{where} {fault}" if fault else ""

    async def _connect_and_ask(self) -> str:
        # A stream's own way of connecting knows neither Unix sockets nor our TLS; its protocol fits any transport.
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES, loop=loop)
        transport, _ = await self._dialer.connect(lambda: asyncio.StreamReaderProtocol(reader, loop=loop))
        try:
            return await self._ask_over(reader, transport)
        finally:
            transport.abort()


@dataclass(frozen=True, slots=True)
class AskOverHttp:
    """Asks ``host`` for ``path`` with GET, and any 2xx means ready; empty: a connection is enough."""

    path: str
    host: str

    async def __call__(self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport) -> str:
        """As :data:`Ask`."""
        if not self.path:
            return ""
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nhost: {self.host}\r\n"
            "user-agent: driftline-sidecar\r\nconnection: close\r\n\r\n".encode()
        )
        try:
            found = _STATUS.match(await reader.readline())
        except ValueError:  # a line without an end
            found = None
        if found is None:
            return f"did not answer {self.path} in HTTP"
        return "" if found[1].startswith(b"2") else f"answers {self.path} with {found[1].decode()}"
