"""What the settings say about TLS and Unix sockets, and what is wrong with it."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from logger_sidecar.proxy.dial import parse_upstream
from logger_sidecar.proxy.tls import TlsError, TlsFiles, client_context, server_context

#: The kernel's bound of a Unix socket's path.
_MAX_PATH_BYTES = 107
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not listened on
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where clients find the sidecar; ports by the names of their settings."""

    host: str
    ports: Mapping[str, int | None]
    socket: str


def tls_faults(listening: TlsFiles, upstream: TlsFiles, server_name: str, *, upstream_is_tls: bool) -> list[str]:
    """Every fault as a sentence; ``listening``: of the side that clients see, ``upstream``: of the model server's."""
    faults = _pair_faults({"tls_certificate": listening.certificate, "tls_key": listening.key})
    pair = {"upstream_certificate": upstream.certificate, "upstream_key": upstream.key}
    faults += _pair_faults(pair)
    if listening.authority is not None and listening.certificate is None:
        faults.append("tls_client_ca is given, and is of no use without tls_certificate and tls_key")
    if not upstream_is_tls:
        given = {**pair, "upstream_ca": upstream.authority, "upstream_server_name": server_name}
        faults += [f"{name} is given, but upstream is not https" for name, value in given.items() if value]
    if faults:
        return faults
    if listening.certificate is not None:
        faults += _made("tls_certificate, tls_key or tls_client_ca", lambda: server_context(listening))
    if upstream_is_tls:
        names = "upstream_ca, upstream_certificate or upstream_key"
        faults += _made(names, lambda: client_context(upstream))
    return faults


def upstream_faults(name: str, text: str) -> list[str]:
    """What is wrong with an address of the model server."""
    try:
        parse_upstream(text)
    except ValueError:
        return [f"{name} is '{text}', which is none of http://HOST:PORT, https://HOST:PORT and unix:/PATH"]
    return []


def loop_faults(listening: Listening, upstreams: Mapping[str, str]) -> list[str]:
    """A sidecar that forwards to itself opens connections for each request until there are no more of them."""
    own = _LOOPBACK if listening.host in (*_WILDCARDS, *_LOOPBACK) else (listening.host,)
    faults = []
    for name, text in upstreams.items():
        with contextlib.suppress(ValueError):
            target = parse_upstream(text)
            if target.path:
                met = ["listen_socket"] if target.path == listening.socket else []
            else:
                met = [each for each, port in listening.ports.items() if target.host in own and target.port == port]
            faults += [f"{name} is the sidecar itself, at {each}" for each in met]
    return faults


def _pair_faults(pair: Mapping[str, Path | None]) -> list[str]:
    lacking = [name for name, path in pair.items() if path is None]
    if len(lacking) != 1:
        return []
    [given] = set(pair) - set(lacking)
    return [f"{lacking[0]} is empty, and {given} is of no use without it"]


def socket_faults(path: str) -> list[str]:
    """What is wrong with the path of ``listen_socket``."""
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
