"""Which port each part of one machine listens on."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, fields

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Default ports of one machine; the proxy is where clients go instead of the model server."""

    model: int = 9080
    proxy: int = 9081
    proxy_admin: int = 9082
    shipper: int = 9083
    collector: int = 9084
    detectors: int = 9085
    web: int = 9086


def free_ports(wanted: Ports | None = None) -> Ports:
    """The wanted ports, each replaced by a free one where it is taken."""
    wanted = wanted or Ports()
    held: list[socket.socket] = []
    try:
        chosen = {field.name: _hold(getattr(wanted, field.name), held) for field in fields(Ports)}
    finally:
        for each in held:
            each.close()
    return Ports(**chosen)


def _hold(port: int, held: list[socket.socket]) -> int:
    for candidate in _candidates(port):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
        except OSError:
            listener.close()
            continue
        held.append(listener)
        return int(listener.getsockname()[1])
    raise AssertionError("port 0 can always be bound")


def _candidates(port: int) -> Iterable[int]:
    return (port, 0)
