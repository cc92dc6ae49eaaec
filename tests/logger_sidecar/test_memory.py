"""Slow ends cost no memory: 200 MB pass each way between a fast end and one that first sleeps."""

import contextlib
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.logger_sidecar.test_server import process
from tests.logger_sidecar.wire import OK, Upstream, read_message

_SIZE = 200_000_000
_BOUND_BYTES = 24_000_000
_PIECE = b"x" * 1_000_000


def resident_bytes(pid: int, name: str = "VmRSS") -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def take(connection: socket.socket, size: int) -> int:
    got = 0
    while got < size and (piece := connection.recv(min(1 << 20, size - got))):
        got += len(piece)
    return got


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/x", "/v2/models/iris/infer"])
def test_a_slow_reader_of_200_mb_costs_no_memory(tmp_path: Path, path: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _SIZE

    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(head)
        for _ in range(_SIZE // len(_PIECE)):
            connection.sendall(_PIECE)

    upstream = Upstream(script)
    with process(upstream.url, tmp_path) as (sidecar, port), socket.create_connection(("127.0.0.1", port)) as client:
        before = resident_bytes(sidecar.pid)
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        time.sleep(1.0)
        assert resident_bytes(sidecar.pid) - before < _BOUND_BYTES
        assert take(client, _SIZE) == _SIZE
        assert resident_bytes(sidecar.pid, "VmHWM") - before < _BOUND_BYTES
    upstream.close()


@pytest.mark.slow
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_slow_model_server_that_is_sent_200_mb_costs_no_memory(tmp_path: Path, is_chunked: bool) -> None:
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {_SIZE}"
    head = f"POST /v2/models/iris/infer HTTP/1.1\r\nHost: a\r\nx-request-id: r\r\n{framing}\r\n\r\n".encode()
    piece = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE) if is_chunked else _PIECE
    end = b"0\r\n\r\n" if is_chunked else b""
    size = len(head) + len(piece) * (_SIZE // len(_PIECE)) + len(end)
    got = 0

    def script(upstream: Upstream, connection: socket.socket) -> None:
        nonlocal got
        got += len(connection.recv(1000))
        time.sleep(1.0)
        got += take(connection, size - got)
        connection.sendall(OK)

    def send() -> None:
        with contextlib.suppress(OSError):
            client.sendall(head)
            for _ in range(_SIZE // len(_PIECE)):
                client.sendall(piece)
            client.sendall(end)

    upstream = Upstream(script)
    with process(upstream.url, tmp_path) as (sidecar, port), socket.create_connection(("127.0.0.1", port)) as client:
        before = resident_bytes(sidecar.pid)
        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.8)
        assert resident_bytes(sidecar.pid) - before < _BOUND_BYTES
        assert read_message(client).startswith(b"HTTP/1.1 200 ")
        assert got == size
        assert resident_bytes(sidecar.pid, "VmHWM") - before < _BOUND_BYTES
        client.shutdown(socket.SHUT_RDWR)
        sender.join(60)
    upstream.close()
