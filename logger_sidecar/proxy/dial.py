"""Where the model server is, and how a connection to it is made: TCP, TLS or a Unix socket.

>>> parse_upstream("https://models:8443").address, parse_upstream("unix:/run/model.sock").address
('models:8443', 'unix:/run/model.sock')
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from logger_sidecar.proxy.handshakes import UPSTREAM, Handshakes
from logger_sidecar.proxy.tls import ALPN_HTTP1, TlsError, TlsFiles, client_context

_log = logging.getLogger("driftline.sidecar")
P = TypeVar("P", bound=asyncio.BaseProtocol)
_PORTS = {"http": 80, "https": 443}


class UpstreamAddress(NamedTuple):
    """Where the model server listens. ``path``: of its Unix socket, or empty; then ``host`` and ``port`` count."""

    host: str
    port: int
    path: str = ""
    is_tls: bool = False

    @property
    def address(self) -> str:
        """As messages name it."""
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        """What a request of our own says in ``Host``."""
        return "localhost" if self.path else f"[{self.host}]" if ":" in self.host else self.host


def parse_upstream(text: str) -> UpstreamAddress:
    """Read ``http://HOST[:PORT]``, ``https://HOST[:PORT]`` or ``unix:/PATH``; raises ValueError."""
    fault = f"'{text}' is none of http://HOST:PORT, https://HOST:PORT and unix:/PATH"
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(fault)
        return UpstreamAddress("", 0, path)
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(fault)
    if parts.query or parts.fragment or parts.username or parts.password or parts.port == 0:
        raise ValueError(fault)
    try:
        parts.hostname.encode("idna")  # as it is when it is looked up
    except UnicodeError as error:
        raise ValueError(fault) from error
    return UpstreamAddress(parts.hostname, parts.port or _PORTS[parts.scheme], is_tls=parts.scheme == "https")


class Dialer:
    """Makes connections to the model server.

    ``files``: for an address with TLS; the server is verified or refused. ``server_name``: what the server's
    certificate must name; empty: the host. ``alpn``: the protocols to offer. ``handshakes``: counts those that fail.
    Raises TlsError.
    """

    def __init__(
        self,
        target: UpstreamAddress,
        *,
        timeout_s: float,
        files: TlsFiles | None = None,
        server_name: str = "",
        alpn: Sequence[str] = ALPN_HTTP1,
        handshakes: Handshakes | None = None,
    ) -> None:
        self.target = target
        self.timeout_s = timeout_s
        self._files = files or TlsFiles()
        self._server_name = server_name
        self._alpn = alpn
        self._handshakes = handshakes
        self._seen: tuple[object, ...] = ()
        self._context = self._made() if target.is_tls else None

    def renew(self, *, asked: bool) -> None:
        """Read the files anew where they have changed, or where somebody ``asked``; new connections go by them."""
        if self._context is None or not (asked or self._files.fingerprint() != self._seen):
            return
        try:
            self._context = self._made()
        except TlsError as error:
            _log.error("connections to %s keep their certificates: %s", self.address, error)

    def _made(self) -> ssl.SSLContext:
        self._seen = self._files.fingerprint()
        context = client_context(self._files, self._alpn)
        return context if self._handshakes is None else self._handshakes.watch(context, UPSTREAM, self.timeout_s)

    @property
    def address(self) -> str:
        """Where it connects to, as messages name it."""
        return self.target.address

    async def connect(self, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        """A connection, handshake included; raises TimeoutError, ssl.SSLError or another OSError."""
        loop, target = asyncio.get_running_loop(), self.target
        async with asyncio.timeout(self.timeout_s):
            if target.path:
                return await loop.create_unix_connection(factory, target.path)
            if not target.is_tls:
                return await loop.create_connection(factory, target.host, target.port)
            name = self._server_name or target.host
            return await loop.create_connection(
                factory, target.host, target.port, ssl=self._context, server_hostname=name
            )
