"""The pool of connections to the model server, and readiness, which it decides."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.logger_sidecar.wire import (
    GET,
    OK,
    PATH,
    Running,
    Upstream,
    answering,
    between,
    post,
    read_all,
    read_message,
    sidecar,
)
from tests.parts.processes import refusing_socket, wait_until


# --- the pool ---------------------------------------------------------------------------------------------------------
def test_requests_beyond_the_bound_wait_in_order_and_all_are_served(tmp_path: Path) -> None:
    most, now = 0, 0
    lock = threading.Lock()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        nonlocal most, now
        while upstream.read(connection):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1
            connection.sendall(OK)

    with between(tmp_path, script, max_upstream_connections=1) as (running, upstream), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(12)]
        for number, client in enumerate(clients):
            client.sendall(post(b"{}", f"x-request-id: {number}"))
            wait_until(lambda number=number: running.sidecar.pool.waiting + len(upstream.requests) > number)  # type: ignore[misc]
        for client in clients:
            assert read_message(client).startswith(b"HTTP/1.1 200")
        assert (most, upstream.connections) == (1, 1)
        order = [int(request.partition(b"x-request-id: ")[2].split(b"\r")[0]) for request in upstream.requests]
        assert order == sorted(order)


@pytest.mark.slow
def test_who_waits_for_too_long_gets_a_503_that_is_counted_and_who_left_is_not_served(tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            go_on.wait(60)
            connection.sendall(OK)

    with between(tmp_path, script, max_upstream_connections=1, queue_timeout_s=4.0) as (running, upstream):
        with running.connect() as first, running.connect() as second:
            first.sendall(GET)
            wait_until(lambda: len(upstream.requests) == 1)
            gone = running.connect()
            gone.sendall(post(b"{}", "x-request-id: gone"))
            wait_until(lambda: running.sidecar.pool.waiting == 1)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            gone.close()
            wait_until(lambda: running.sidecar.pool.waiting == 0)
            second.sendall(post(b"{}", "x-request-id: late"))
            answer = read_message(second)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"all 1 connections to the model server were busy" in answer
            assert 'upstream_errors_total{reason="queue_timeout"} 1.0' in running.admin("/metrics")
            go_on.set()
            assert read_message(first) == OK
            second.sendall(GET)  # the connection is as good as before
            assert read_message(second) == OK
        assert [request[:3] for request in upstream.requests] == [b"GET", b"GET"]
        assert sorted(event.status_code for event in running.events()) == [499, 503]


def test_a_connection_that_dies_makes_room_for_who_waits(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        time.sleep(0.1)
        if len(upstream.requests) > 1:
            connection.sendall(OK)

    with (
        between(tmp_path, script, max_upstream_connections=1) as (running, _),
        running.connect() as first,
        running.connect() as second,
    ):
        first.sendall(post())
        wait_until(lambda: running.sidecar.pool.open_connections == 1)
        second.sendall(GET)
        assert read_message(first).startswith(b"HTTP/1.1 502 ")
        assert read_message(second) == OK


def test_idle_connections_are_used_newest_first(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        own = upstream.connections
        while upstream.read(connection):
            go_on.wait(60)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % own)

    go_on = threading.Event()
    with between(tmp_path, script) as (running, upstream), running.connect() as one, running.connect() as two:
        one.sendall(GET)
        wait_until(lambda: len(upstream.requests) == 1)
        two.sendall(GET)
        wait_until(lambda: len(upstream.requests) == 2)
        go_on.set()
        read_message(one)
        newest = read_message(two)[-1:]
        wait_until(lambda: len(running.sidecar.pool.idle) == 2)
        one.sendall(GET)
        assert read_message(one)[-1:] in (newest, b"1", b"2")
        assert upstream.connections == 2


# --- readiness --------------------------------------------------------------------------------------------------------
def ready(running: Running) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", running.sidecar.admin_port), timeout=60) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        status, _, body = read_all(client).decode().partition("\r\n\r\n")
    return int(status.split()[1]), body


def test_ready_is_only_who_takes_grpc_too_where_it_has_an_address_of_its_own(tmp_path: Path) -> None:
    first = b"HTTP/1.1 400 Bad Request\r\n\r\n"

    def script(upstream: Upstream, connection: socket.socket) -> None:
        if asked := connection.recv(1000):
            upstream.requests.append(asked)
        connection.sendall(first)

    def for_both() -> tuple[int, str]:
        running.sidecar._readiness[1]._asked_s -= 1.0  # nothing is given again without asking
        return ready(running)

    grpc = Upstream(script)
    with between(tmp_path, script, grpc_upstream=grpc.url) as (running, upstream):
        refusing = f"the model server at 127.0.0.1:{grpc.port} does not speak HTTP/2, and so no gRPC\n"
        assert for_both() == (503, refusing)
        first = bytes.fromhex("000006 04 00 00000000 0003 00000064")  # settings, as a server begins with
        assert for_both() == (200, "ok\n")
        assert grpc.requests[-1].startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        grpc.close()
        assert for_both() == (
            503,
            f"the model server at 127.0.0.1:{grpc.port} does not accept connections: Connection refused\n",
        )
        assert upstream.requests == []  # without a ready path a connection is enough


def test_ready_is_only_who_answers_the_ready_path_and_everybody_asks_once_a_second(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n"

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            connection.sendall(answer)

    with between(tmp_path, script, ready_path="/v2/health/ready") as (running, upstream):
        why = f"the model server at 127.0.0.1:{upstream.port} answers /v2/health/ready with 503\n"
        began_s = time.monotonic()
        for _ in range(10):
            assert ready(running) == (503, why)
        assert len(upstream.requests) <= 2 + int(time.monotonic() - began_s)
        assert b"GET /v2/health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\n" in upstream.requests[0]
        answer = OK
        wait_until(lambda: ready(running) == (200, "ok\n"))
        assert running.events() == []


def test_before_its_model_server_the_sidecar_answers_clearly_and_is_not_ready(tmp_path: Path) -> None:
    with refusing_socket() as (listener, port), sidecar(f"http://127.0.0.1:{port}", tmp_path) as running:
        status, why = ready(running)
        assert status == 503
        assert f"127.0.0.1:{port} does not accept connections" in why
        with running.connect() as client:
            client.sendall(post())
            assert read_message(client).startswith(b"HTTP/1.1 502 ")
            listener.listen()

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        threading.Thread(target=answer_all, args=(connection,), daemon=True).start()

            threading.Thread(target=serve, daemon=True).start()
            wait_until(lambda: ready(running)[0] == 200)
            client.sendall(post())
            assert read_message(client).startswith(b"HTTP/1.1 200 ")
            listener.shutdown(socket.SHUT_RDWR)


def answer_all(connection: socket.socket) -> None:
    with connection:
        while read_message(connection):
            connection.sendall(OK)


def test_probes_through_the_proxy_are_answered_by_the_model_server_itself(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 503 Not yet\r\nContent-Length: 7\r\nX-Model: iris\r\n\r\nloading"
    with between(tmp_path, answering(answer)) as (running, upstream):
        probe = b"GET /v2/health/ready HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.30\r\nConnection: close\r\n\r\n"
        assert running.ask(probe) == answer.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        assert upstream.requests == [probe.replace(b"Connection: close\r\n", b"")]


@pytest.mark.slow
def test_streams_are_finished_at_the_end_and_cut_when_their_time_is_over(tmp_path: Path) -> None:
    asked = threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        request = upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        asked.set()
        time.sleep(0.3)
        if b"endless" not in request:
            connection.sendall(b"0\r\n\r\n")
        connection.recv(1)

    with between(tmp_path, script, drain_timeout_s=4.0) as (running, _):
        with running.connect() as short, running.connect() as endless:
            short.sendall(post(path=PATH))
            assert asked.wait(60)
            asked.clear()
            endless.sendall(post(b"endless"))
            assert asked.wait(60)
            running.loop.call_soon_threadsafe(running.sidecar.stop)
            running.loop.call_soon_threadsafe(running.sidecar.stop)  # a second time does not hurt
            assert read_all(short).endswith(b"0\r\n\r\n")
            assert not read_all(endless).endswith(b"0\r\n\r\n")
        assert [event.truncated for event in running.events()] == [False, True]
