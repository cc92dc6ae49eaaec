"""Where clients connect: ports, with or without TLS, and a Unix socket beside them.

A certificate that changes closes nothing: the same listening socket is handed to a new server with the new one, so that
connections made from then on get it, and those that exist keep the old.
"""

import asyncio
import logging
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from logger_sidecar.bound_sockets import bound_sockets
from logger_sidecar.proxy.handshakes import CLIENT, Handshakes
from logger_sidecar.proxy.tls import TlsError, TlsFiles, server_context

_log = logging.getLogger("driftline.sidecar")
_BACKLOG = 2048
_HANDSHAKE_TIMEOUT_S = 10.0
_SHUTDOWN_TIMEOUT_S = 2.0
_EVERYBODY = 0o666

Factory = Callable[[], asyncio.Protocol]


class Port:
    """One port that clients connect to. ``files``: its TLS, or None for plain connections."""

    def __init__(self, factory: Factory, files: TlsFiles | None, handshakes: Handshakes) -> None:
        self.number = 0
        self._factory = factory
        self._files = files
        self._handshakes = handshakes
        self._seen: tuple[object, ...] = ()
        self._servers: list[asyncio.Server] = []

    async def open(self, host: str, port: int) -> None:
        """Listen; an empty ``host`` is every interface. Raises OSError when the port is taken, TlsError."""
        context = self._context()
        self._servers = [await self._serve(one, context) for one in bound_sockets(host, port)]
        self.number = self._servers[0].sockets[0].getsockname()[1]

    async def renew(self, *, asked: bool) -> None:
        """Take the certificate anew where its files have changed, or where somebody ``asked`` for it.

        Files that make no TLS are named in the log, and the certificate in use stays.
        """
        files = self._files
        if files is None or not self._servers or not (asked or files.fingerprint() != self._seen):
            return
        try:
            await self._replace(self._context())
        except (TlsError, OSError) as error:
            _log.error("port %d keeps its certificate: %s", self.number, error)
        else:
            _log.info("new connections to port %d get the certificate as it is now", self.number)

    async def _replace(self, context: ssl.SSLContext | None) -> None:
        old = self._servers
        listening = [socket.socket(fileno=os.dup(one.fileno())) for server in old for one in server.sockets]
        self._servers = [await self._serve(again, context) for again in listening]
        for server in old:
            server.close()

    async def _serve(self, listening: socket.socket, context: ssl.SSLContext | None) -> asyncio.Server:
        make = asyncio.get_running_loop().create_server
        if context is None:
            return await make(self._factory, sock=listening, backlog=_BACKLOG)
        return await make(
            self._factory,
            sock=listening,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT_S,
        )

    def close(self) -> None:
        """Listen no more; connections stay."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    def _context(self) -> ssl.SSLContext | None:
        if self._files is None:
            return None
        self._seen = self._files.fingerprint()
        return self._handshakes.watch(server_context(self._files), CLIENT, _HANDSHAKE_TIMEOUT_S)


class UnixSocket:
    """A path that clients on the same machine connect to, always without TLS: who may is the directory's affair."""

    def __init__(self, factory: Factory, path: str) -> None:
        self._factory = factory
        self._path = Path(path)
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; a socket that nobody listens on any more is replaced. Raises OSError when somebody does."""
        _remove_stale(self._path)
        self._server = await asyncio.get_running_loop().create_unix_server(
            self._factory, str(self._path), backlog=_BACKLOG
        )
        self._path.chmod(_EVERYBODY)

    def close(self) -> None:
        """Listen no more; connections stay."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(f"somebody listens on {path}")
