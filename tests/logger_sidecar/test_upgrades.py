"""Connections that change their protocol: passed on as they are."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.logger_sidecar.wire import (
    OK,
    Upstream,
    answering,
    between,
    post,
    read_all,
    read_message,
    receive,
)
from tests.parts.processes import wait_until

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nX-Key: k\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Accept: a\r\n\r\n"


def test_an_upgraded_connection_passes_bytes_both_ways_untouched(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(SWITCHED + b"hello first")  # the server may speak in the same breath
        while data := connection.recv(65536):
            connection.sendall(data.upper())

    with between(tmp_path, script) as (running, upstream), running.connect() as client:
        client.sendall(UPGRADE)
        assert receive(client, len(SWITCHED) + 11) == SWITCHED + b"hello first"
        assert upstream.requests == [UPGRADE]
        for message in (b"\x00\xff\r\n\r\n", b"get / http/1.1\r\n\r\n", b"x" * 1_000_000):
            sender = threading.Thread(target=client.sendall, args=(message,))
            sender.start()
            assert receive(client, len(message)) == message.upper()
            sender.join()
        assert running.sidecar._requests_inflight() == 1
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        wait_until(lambda: running.sidecar._open_connections() == 0)
        assert running.sidecar.pool.open_connections == 0


def test_either_side_of_an_upgraded_connection_may_fall_silent_and_listen_on(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(SWITCHED)
        heard = read_all(connection)
        connection.sendall(b"heard " + heard)

    with between(tmp_path, script) as (running, _), running.connect() as client:
        client.sendall(UPGRADE)
        assert receive(client, len(SWITCHED)) == SWITCHED
        client.sendall(b"all of it")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"heard all of it"


@pytest.mark.slow
def test_an_upgraded_connection_is_held_back_in_both_directions(tmp_path: Path) -> None:
    sent = {"up": 0, "down": 0}
    go_on = threading.Event()

    def flood(connection: socket.socket, way: str) -> None:
        connection.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while sent[way] < 100_000_000:
                sent[way] += connection.send(b"x" * 100_000)

    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(SWITCHED)
        flood(connection, "down")
        go_on.wait(60)

    with between(tmp_path, script) as (running, _), running.connect() as client:
        client.sendall(UPGRADE)
        receive(client, len(SWITCHED))
        flood(client, "up")
        go_on.set()
        assert 0 < sent["up"] < 50_000_000
        assert 0 < sent["down"] < 50_000_000


def test_an_upgrade_that_is_declined_is_an_answer_like_any_other(tmp_path: Path) -> None:
    declined = b"HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n\r\nno"
    with between(tmp_path, answering(declined)) as (running, upstream), running.connect() as client:
        for _ in range(2):
            client.sendall(UPGRADE)
            assert read_message(client) == declined
        assert upstream.connections == 1


def test_whoever_asks_for_h2c_goes_on_in_http_1_1_and_is_seen(tmp_path: Path) -> None:
    request = post(
        b"{}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "x-request-id: r"
    )
    with between(tmp_path, answering(OK)) as (running, upstream):
        assert running.ask(request).startswith(b"HTTP/1.1 200")
        assert upstream.requests == [post(b"{}", "x-request-id: r")]
        assert [event.request_id for event in running.events()] == ["r"]


@pytest.mark.slow
def test_a_silent_upgraded_connection_lives_as_long_as_the_idle_timeout_and_no_longer(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(SWITCHED)
        connection.recv(1)

    with between(tmp_path, script, idle_timeout_s=1.0) as (running, _), running.connect() as client:
        client.sendall(UPGRADE)
        receive(client, len(SWITCHED))
        began = time.monotonic()
        assert read_all(client) == b""
        assert time.monotonic() - began >= 1.0
