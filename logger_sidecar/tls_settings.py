"""What the settings say about TLS and Unix sockets, and what is wrong with it."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from logger_sidecar.proxy.dial import parse_upstream
from logger_sidecar.proxy.tls import TlsError, TlsFiles, client_context, server_context

if TYPE_CHECKING:
    from logger_sidecar.settings import SidecarSettings

#: The kernel's bound of a Unix socket's path.
_MAX_PATH_BYTES = 107
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not listened on
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def listening_files(settings: "SidecarSettings") -> TlsFiles:
    """The files of the side that clients see."""
    return TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def upstream_files(settings: "SidecarSettings") -> TlsFiles:
    """The files of the side that the model server sees."""
    return TlsFiles(settings.upstream_certificate, settings.upstream_key, settings.upstream_ca)


def tls_faults(settings: "SidecarSettings") -> list[str]:
    """Every fault as a sentence."""
    uses_tls = any(text.startswith("https:") for text in (settings.upstream, settings.grpc_upstream))
    listening = {"tls_certificate": settings.tls_certificate, "tls_key": settings.tls_key}
    upstream = {"upstream_certificate": settings.upstream_certificate, "upstream_key": settings.upstream_key}
    faults = _pair_faults(listening) + _pair_faults(upstream) + _socket_faults(settings.listen_socket)
    if settings.tls_client_ca is not None and settings.tls_certificate is None:
        faults.append("tls_client_ca is given, and is of no use without tls_certificate and tls_key")
    if not uses_tls:
        given = {**upstream, "upstream_ca": settings.upstream_ca, "upstream_server_name": settings.upstream_server_name}
        faults += [f"{name} is given, but upstream is not https" for name, value in given.items() if value]
    if faults:
        return faults
    if settings.tls_certificate is not None:
        faults += _made("tls_certificate, tls_key or tls_client_ca", lambda: server_context(listening_files(settings)))
    if uses_tls:
        names = "upstream_ca, upstream_certificate or upstream_key"
        faults += _made(names, lambda: client_context(upstream_files(settings)))
    return faults


def upstream_faults(name: str, text: str) -> list[str]:
    """What is wrong with an address of the model server."""
    try:
        parse_upstream(text)
    except ValueError as error:
        return [f"{name} is {error}"]
    return []


def loop_faults(settings: "SidecarSettings") -> list[str]:
    """A sidecar that forwards to itself opens connections for each request until there are no more of them."""
    own = _LOOPBACK if settings.listen_host in (*_WILDCARDS, *_LOOPBACK) else (settings.listen_host,)
    ports = {"listen_port": settings.listen_port, "grpc_listen_port": settings.grpc_listen_port}
    faults = []
    for name in ("upstream", "grpc_upstream"):
        with contextlib.suppress(ValueError):
            target = parse_upstream(getattr(settings, name))
            if target.path:
                listening = ["listen_socket"] if target.path == settings.listen_socket else []
            else:
                listening = [each for each, port in ports.items() if target.host in own and target.port == port]
            faults += [f"{name} is the sidecar itself, at {each}" for each in listening]
    return faults


def _pair_faults(pair: Mapping[str, Path | None]) -> list[str]:
    lacking = [name for name, path in pair.items() if path is None]
    if len(lacking) != 1:
        return []
    [given] = set(pair) - set(lacking)
    return [f"{lacking[0]} is empty, and {given} is of no use without it"]


def _socket_faults(path: str) -> list[str]:
    if not path:
        return []
    if not path.startswith("/"):
        return [f"listen_socket is '{path}', which is not an absolute path"]
    if len(path.encode()) > _MAX_PATH_BYTES:
        return [f"listen_socket is '{path}', which is longer than {_MAX_PATH_BYTES} bytes, the system's bound"]
    return [] if Path(path).parent.is_dir() else [f"listen_socket is '{path}', whose directory does not exist"]


def _made(names: str, make: Callable[[], object]) -> list[str]:
    try:
        make()
    except TlsError as error:
        return [f"{names}: {error}"]
    return []
