"""The less usual parts of HTTP/1.1 and 1.0 on real sockets: upgrades, half-closed ends, early answers, slow ends."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.logger_sidecar.test_spool import wait_for
from tests.logger_sidecar.wire import OK, PATH, Running, Upstream, answering, post, read_all, read_message, sidecar

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nX-Key: k\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Accept: a\r\n\r\n"
Script = Callable[[Upstream, socket.socket], None]


@contextlib.contextmanager
def between(tmp_path: Path, script: Script, **changes: object) -> Iterator[tuple[Running, Upstream]]:
    upstream = Upstream(script)
    try:
        with sidecar(upstream.url, tmp_path, **changes) as running:
            yield running, upstream
    finally:
        upstream.close()


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := connection.recv(min(65536, size - len(data)))):
        data += piece
    return data


# --- upgrade ----------------------------------------------------------------------------------------------------------
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
        wait_for(lambda: running.sidecar._open_connections() == 0)
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
        go_on.wait(10)

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


# --- half-closed ends and pipelines -----------------------------------------------------------------------------------
def test_a_client_that_has_said_all_gets_every_answer_of_its_pipeline(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, upstream), running.connect() as client:
        client.sendall(b"".join(post(b"{}", f"x-request-id: {number}") for number in range(20)))
        client.shutdown(socket.SHUT_WR)
        answers = read_all(client)
        assert answers.count(b"HTTP/1.1 200") == 20
        assert [answers.index(b"x-request-id: %d\r" % number) for number in range(20)] == sorted(
            answers.index(b"x-request-id: %d\r" % number) for number in range(20)
        )
        assert len(upstream.requests) == 20
        assert len(running.events()) == 20


def test_a_request_that_breaks_off_is_never_finished_by_the_sidecar(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, upstream):
        with running.connect() as client:
            client.sendall(GET + GET[:-4])
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == OK
        with running.connect() as client:
            client.sendall(GET + post(b"0123456789")[:-5])
            client.shutdown(socket.SHUT_WR)
            assert read_all(client).startswith(OK[:15])
        wait_for(lambda: running.sidecar._open_connections() == 0)
        assert [request[:3] for request in upstream.requests[:2]] == [b"GET", b"GET"]
        assert not any(request.endswith(b"0123456789") for request in upstream.requests)


def test_a_client_gone_mid_request_takes_its_upstream_connection_along(tmp_path: Path) -> None:
    seen = threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.requests.append(read_all(connection))
        seen.set()

    with between(tmp_path, script) as (running, upstream):
        client = running.connect()
        client.sendall(post(b"x" * 1000)[:-500])
        wait_for(lambda: running.sidecar.pool.open_connections == 1)
        client.close()
        assert seen.wait(5)
        assert len(upstream.requests[0]) < len(post(b"x" * 1000))
        [event] = running.events()
        assert (event.status_code, event.truncated) == (499, True)


# --- HTTP/1.0 ---------------------------------------------------------------------------------------------------------
def test_http_1_0_is_passed_on_as_it_is_and_closes_after_its_answer(tmp_path: Path) -> None:
    request = b"GET /x HTTP/1.0\r\nX: y\r\n\r\n"
    with between(tmp_path, answering(OK)) as (running, upstream), running.connect() as client:
        client.sendall(request)
        assert read_all(client) == OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        assert upstream.requests == [request]


def test_http_1_0_may_be_kept_alive_and_is_told_so(tmp_path: Path) -> None:
    request = b"GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    with between(tmp_path, answering(OK)) as (running, upstream), running.connect() as client:
        for _ in range(3):
            client.sendall(request)
            assert read_message(client) == OK.replace(b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n")
        assert upstream.requests == [request] * 3


def test_http_1_0_is_spared_interim_answers(tmp_path: Path) -> None:
    with between(tmp_path, answering(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK)) as (running, _):
        with running.connect() as client:
            client.sendall(b"GET /x HTTP/1.0\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 200")
        assert running.ask(GET).startswith(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")


def test_a_model_server_of_http_1_0_answers_until_it_closes(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall")

    with between(tmp_path, script) as (running, upstream):
        for _ in range(2):
            with running.connect() as client:
                client.sendall(GET)
                assert read_all(client).endswith(b"\r\nconnection: close\r\n\r\nall")
        assert upstream.connections == 2


# --- answers that come early, late or in part -------------------------------------------------------------------------
def test_an_early_answer_reaches_a_client_that_still_sends(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        connection.recv(1 << 20)

    with between(tmp_path, script) as (running, _), running.connect() as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        talker = threading.Thread(target=talk, args=(client,))
        talker.start()
        answer = read_message(client)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"big")
        assert b"connection: close" in answer
        client.close()
        talker.join(10)


def talk(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for _ in range(100):
            client.sendall(b"x" * 100_000)


def test_a_final_answer_instead_of_100_continue_ends_the_connection(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.requests.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        upstream.requests.append(read_all(connection))

    with between(tmp_path, script) as (running, upstream), running.connect() as client:
        client.sendall(post(b"0123456789", "Expect: 100-continue")[:-10])
        answer = read_message(client)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in answer
        client.sendall(smuggled := b"GET /smuggled HTTP/1.1\r\n\r\n")
        wait_for(lambda: len(upstream.requests) == 2)
        assert smuggled not in upstream.requests[1]


def test_a_bidirectional_stream_flows_both_ways_before_either_ends(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        data = connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            while b"ping" not in data:
                data = connection.recv(65536)
            data = b""
            connection.sendall(b"4\r\npong\r\n")
        while b"0\r\n\r\n" not in data:
            data += connection.recv(65536)
        connection.sendall(b"0\r\nX-Sum: 3\r\n\r\n")

    with between(tmp_path, script) as (running, _), running.connect() as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        got = b""
        for number in range(3):
            client.sendall(b"4\r\nping\r\n")
            while got.count(b"pong") <= number:
                got += client.recv(65536)
        client.sendall(b"0\r\n\r\n")
        got += read_all(client)
        assert got.endswith(b"0\r\nX-Sum: 3\r\n\r\n")


def test_trailers_pass_in_both_directions(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTrailer: X-B\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-B: 2\r\n\r\n"
    request = (
        b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\nTrailer: X-A\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\nX-A: 1\r\n\r\n"
    )
    received = []

    def script(upstream: Upstream, connection: socket.socket) -> None:
        received.append(receive(connection, len(request)))
        connection.sendall(answer)

    with between(tmp_path, script) as (running, _), running.connect() as client:
        client.sendall(request)
        assert receive(client, len(answer)) == answer
        assert received == [request]


@pytest.mark.parametrize(
    ("framing", "body"), [("Content-Length: 100", "half"), ("Transfer-Encoding: chunked", "64\r\nhalf")]
)
def test_what_came_of_a_broken_answer_goes_out_and_its_end_is_no_end(tmp_path: Path, framing: str, body: str) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}".encode())

    with between(tmp_path, script) as (running, _):
        with running.connect() as client:
            client.sendall(post())
            assert read_all(client).endswith(f"\r\n\r\n{body}".encode())
        [event] = running.events()
        assert (event.status_code, event.truncated) == (502, True)


def test_an_endless_answer_that_is_reset_is_reset_for_the_client_too(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        go_on.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    go_on = threading.Event()
    with between(tmp_path, script) as (running, _), running.connect() as client:
        client.sendall(GET)
        data = b""
        while not data.endswith(b"half"):
            data += client.recv(65536)
        go_on.set()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


# --- slow ends --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_long_silent_stream_is_cut_by_the_response_timeout_alone(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            time.sleep(0.6)
            connection.sendall(b"6\r\ndata\n\n\r\n")
        connection.sendall(b"0\r\n\r\n")

    with between(tmp_path, script, idle_timeout_s=0.2, response_timeout_s=2.0) as (running, _):
        answer = running.ask(post(path="/v1/chat/completions"))
        assert answer.count(b"data") == 3
        assert answer.endswith(b"0\r\n\r\n")
        assert [event.status_code for event in running.events()] == [200]


@pytest.mark.slow
def test_a_connection_is_not_idle_while_its_answer_is_awaited(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            time.sleep(0.6)
            connection.sendall(OK)

    timeouts = {"idle_timeout_s": 0.3, "response_timeout_s": 5.0}
    with between(tmp_path, script, **timeouts) as (running, _), running.connect() as client:
        for _ in range(2):
            client.sendall(GET)
            assert read_message(client) == OK
        assert client.recv(1) == b""  # and then it is


@pytest.mark.slow
def test_a_slow_but_steady_reader_is_never_cut_off(tmp_path: Path) -> None:
    size = 8_000_000

    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        upstream.read(connection)

    timeouts = {"idle_timeout_s": 1.0, "response_timeout_s": 1.0}
    with between(tmp_path, script, **timeouts) as (running, _), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", running.sidecar.listen_port))
        client.sendall(GET)
        got = 0
        for _ in range(20):
            got += len(receive(client, 300_000))
            time.sleep(0.1)
        client.shutdown(socket.SHUT_WR)
        got += len(read_all(client))
        assert got > size


@pytest.mark.slow
def test_a_head_that_drips_in_is_given_up_with_a_408(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK), idle_timeout_s=0.5) as (running, upstream), running.connect() as client:
        with contextlib.suppress(OSError):
            for byte in GET[:-1] * 10:
                client.sendall(bytes([byte]) if byte not in b"\r\n" else b"x")
                time.sleep(0.02)
        assert read_all(client).startswith(b"HTTP/1.1 408 ")
        assert upstream.requests == []


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
            wait_for(lambda number=number: running.sidecar._requests_inflight() + len(upstream.requests) > number)
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
            go_on.wait(10)
            connection.sendall(OK)

    with between(tmp_path, script, max_upstream_connections=1, queue_timeout_s=1.0) as (running, upstream):
        with running.connect() as first, running.connect() as second:
            first.sendall(GET)
            wait_for(lambda: len(upstream.requests) == 1)
            gone = running.connect()
            gone.sendall(post(b"{}", "x-request-id: gone"))
            wait_for(lambda: running.sidecar.pool.waiting == 1)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            gone.close()
            wait_for(lambda: running.sidecar.pool.waiting == 0)
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
        wait_for(lambda: running.sidecar.pool.open_connections == 1)
        second.sendall(GET)
        assert read_message(first).startswith(b"HTTP/1.1 502 ")
        assert read_message(second) == OK


def test_idle_connections_are_used_newest_first(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        own = upstream.connections
        while upstream.read(connection):
            go_on.wait(10)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % own)

    go_on = threading.Event()
    with between(tmp_path, script) as (running, upstream), running.connect() as one, running.connect() as two:
        one.sendall(GET)
        wait_for(lambda: len(upstream.requests) == 1)
        two.sendall(GET)
        wait_for(lambda: len(upstream.requests) == 2)
        go_on.set()
        read_message(one)
        newest = read_message(two)[-1:]
        wait_for(lambda: len(running.sidecar.pool._idle) == 2)
        one.sendall(GET)
        assert read_message(one)[-1:] in (newest, b"1", b"2")
        assert upstream.connections == 2


# --- readiness --------------------------------------------------------------------------------------------------------
def ready(running: Running) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", running.sidecar.admin_port), timeout=10) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        status, _, body = read_all(client).decode().partition("\r\n\r\n")
    return int(status.split()[1]), body


def test_ready_is_only_who_answers_the_ready_path_and_everybody_asks_once_a_second(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n"

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            connection.sendall(answer)

    with between(tmp_path, script, ready_path="/v2/health/ready") as (running, upstream):
        why = f"the model server at 127.0.0.1:{upstream.port} answers /v2/health/ready with 503\n"
        for _ in range(10):
            assert ready(running) == (503, why)
        assert len(upstream.requests) <= 3
        assert b"GET /v2/health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\n" in upstream.requests[0]
        answer = OK
        wait_for(lambda: ready(running) == (200, "ok\n"))
        assert running.events() == []


def test_before_its_model_server_the_sidecar_answers_clearly_and_is_not_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept:
        port = kept.getsockname()[1]
    with sidecar(f"http://127.0.0.1:{port}", tmp_path) as running:
        status, why = ready(running)
        assert status == 503
        assert f"127.0.0.1:{port} does not accept connections" in why
        with running.connect() as client:
            client.sendall(post())
            assert read_message(client).startswith(b"HTTP/1.1 502 ")
            with socket.create_server(("127.0.0.1", port)) as listener:

                def serve() -> None:
                    with contextlib.suppress(OSError):
                        while True:
                            connection, _ = listener.accept()
                            threading.Thread(target=answer_all, args=(connection,), daemon=True).start()

                threading.Thread(target=serve, daemon=True).start()
                wait_for(lambda: ready(running)[0] == 200)
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

    with between(tmp_path, script, drain_timeout_s=1.0) as (running, _):
        with running.connect() as short, running.connect() as endless:
            short.sendall(post(path=PATH))
            assert asked.wait(5)
            asked.clear()
            endless.sendall(post(b"endless"))
            assert asked.wait(5)
            running.loop.call_soon_threadsafe(running.sidecar.stop)
            running.loop.call_soon_threadsafe(running.sidecar.stop)  # a second time does not hurt
            assert read_all(short).endswith(b"0\r\n\r\n")
            assert not read_all(endless).endswith(b"0\r\n\r\n")
        assert [event.truncated for event in running.events()] == [False, True]
