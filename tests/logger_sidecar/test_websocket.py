"""A websocket through the sidecar, with the websockets library at both ends."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.logger_sidecar.wire import sidecar


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture
def server_port() -> Iterator[int]:
    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(60)


@pytest.mark.parametrize("size", [0, 125, 70_000, 900_000])
def test_messages_pass_both_ways_and_the_farewell_too(tmp_path: Path, server_port: int, size: int) -> None:
    with sidecar(f"http://127.0.0.1:{server_port}", tmp_path) as running:
        with connect(f"ws://127.0.0.1:{running.sidecar.listen_port}/stream", open_timeout=60) as client:
            for message in ("x" * size, b"\x00" * size):
                client.send(message)
                assert client.recv(timeout=60) == message
            client.ping().wait(10)
        assert client.close_code == 1000
        assert running.events() == []
