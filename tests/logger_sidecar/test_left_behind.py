"""A connection that has gone leaves nothing in memory, without the collector of cycles, which hardly ever runs here.

Ten minutes at full load once grew by 5 MB, because each of the stopwatches that are put in front of some connections
referred to itself.
"""

import gc
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.logger_sidecar.grpc.servers import INFER, STREAM_INFER, call, channel, infer_request, served
from tests.logger_sidecar.wire import OK, Running, Upstream, between, post, read_all, read_message, sidecar
from tests.parts.processes import wait_until

_ROUNDS = 12
_STREAMED = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"
_EVENTS = b"HTTP/1.1 200 OK\r\n" + _STREAMED + b"\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n"
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def left() -> Counter[str]:
    """The objects of the sidecar's classes that are in memory, by class."""
    kinds = (type(found) for found in gc.get_objects())
    # Of the type of Cython's functions it is no text, in some orders of import.
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("logger_sidecar."))


def keep_alive(running: Running) -> None:
    with running.connect() as connection:
        for _ in range(3):
            connection.sendall(post())
            read_message(connection)


def refused(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
        read_all(connection)


def gone_within_the_request(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{}")


def upgraded(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        connection.recv(1000)


def script(upstream: Upstream, connection: socket.socket) -> None:
    while request := upstream.read(connection):
        connection.sendall(_SWITCHED if b"Upgrade" in request else _EVENTS if b"/v1/" in request else OK)


def stream(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(post(path="/v1/chat/completions"))
        read_message(connection)


def of_grpc(running: Running) -> None:
    with channel(running.sidecar.listen_port) as made:
        call(made, INFER, infer_request())
        list(made.stream_stream(STREAM_INFER)(iter([infer_request()]), timeout=60))


def leak(running: Running, visit: Callable[[Running], None]) -> Counter[str]:
    """The classes of which ``_ROUNDS`` visits left an object each, beyond what as many before them had left.

    What is made once, and what the last visits still hold, is no leak: hence half of the visits, and patience.
    """

    def visited() -> None:
        for _ in range(_ROUNDS):
            with suppress(ConnectionError):  # on a busy machine it may have been silent for too long
                visit(running)

    def leaking() -> Counter[str]:
        return Counter({kind: number for kind, number in (left() - before).items() if number >= _ROUNDS // 2})

    def looked() -> Counter[str]:
        found.append(leaking())
        return found[-1]

    found: list[Counter[str]] = []
    gc.collect()
    gc.disable()
    try:
        visited()
        wait_until(lambda: not running.sidecar._parts.connections)
        before = left()
        visited()
        # Of one look: a connection that is only now accepted would be in the next.
        with suppress(TimeoutError):
            wait_until(lambda: not looked(), 120, "all is given back")
        return found[-1]
    finally:
        gc.enable()


@pytest.mark.parametrize("visit", [keep_alive, stream, refused, gone_within_the_request, upgraded])
def test_connections_of_http1_leave_nothing(tmp_path: Path, visit: Callable[[Running], None]) -> None:
    with between(tmp_path, script, idle_timeout_s=0.25) as (running, _upstream):
        assert leak(running, visit) == {}


def test_connections_of_http2_leave_nothing(tmp_path: Path) -> None:
    with served() as server, sidecar(f"http://127.0.0.1:{server.port}", tmp_path) as running:
        assert leak(running, of_grpc) == {}
