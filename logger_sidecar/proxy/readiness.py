"""Whether the model server is ready, asked over the kind of connection that requests take."""

import asyncio
import re
import ssl
from collections.abc import Callable

from logger_sidecar.proxy.dial import Dialer
from logger_sidecar.proxy.upstream_pool import tls_fault

#: Longest time that an answer is given again without asking.
_KEPT_S = 1.0
_MAX_LINE_BYTES = 4096
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


class Readiness:
    """Asks the model server, at most once a second, and once for all who want to know meanwhile.

    ``path``: asked for with GET, and any 2xx means ready; empty: a connection is enough. ``monotonic``: seconds of a
    clock that never jumps.
    """

    def __init__(self, dialer: Dialer, path: str, monotonic: Callable[[], float]) -> None:
        self._dialer = dialer
        self._path = path
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
                return await self._connect_and_ask(where)
        except TimeoutError:
            return f"{where} did not answer within {self._dialer.timeout_s:g} s"
        except ssl.SSLError as error:
            return f"{where} cannot be trusted: {tls_fault(error)}"
        except ValueError:
            return f"{where} did not answer {self._path} in HTTP"
        except OSError as error:
            return f"{where} does not accept connections: {error.strerror or error}"

    async def _connect_and_ask(self, where: str) -> str:
        # A stream's own way of connecting knows neither Unix sockets nor our TLS; its protocol fits any transport.
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES, loop=loop)
        transport, _ = await self._dialer.connect(lambda: asyncio.StreamReaderProtocol(reader, loop=loop))
        try:
            if not self._path:
                return ""
            transport.write(
                f"GET {self._path} HTTP/1.1\r\nhost: {self._dialer.target.host_header}\r\n"
                "user-agent: driftline-sidecar\r\nconnection: close\r\n\r\n".encode()
            )
            return _judged(where, self._path, await reader.readline())
        finally:
            transport.abort()


def _judged(where: str, path: str, answer: bytes) -> str:
    found = _STATUS.match(answer)
    if found is None:
        return f"{where} did not answer {path} in HTTP"
    return "" if found[1].startswith(b"2") else f"{where} answers {path} with {found[1].decode()}"
