"""The less usual parts of HTTP/1.1 and 1.0 on real sockets: half-closed ends, early answers, slow ends."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.logger_sidecar.wire import (
    GET,
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
        wait_until(lambda: running.sidecar._open_connections() == 0)
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
        wait_until(lambda: running.sidecar.pool.counts()["busy"] == 1)
        client.close()
        assert seen.wait(60)
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
        talker.join(60)


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
        wait_until(lambda: len(upstream.requests) == 2)
        assert smuggled not in upstream.requests[1]


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", b"", b"no http\r\n\r\n"],
    ids=["refused", "closed", "nonsense"],
)
@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"], ids=["length", "chunks"])
def test_a_request_that_was_answered_before_all_of_it_came_is_marked(
    tmp_path: Path, framing: bytes, answer: bytes
) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    with between(tmp_path, script) as (running, _):
        with running.connect() as client:
            head = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing
            client.sendall(head + (b'5\r\n{"x":\r\n' if b"chunked" in framing else b'{"x":'))
            assert read_message(client).startswith(b"HTTP/1.1 " + (answer[9:12] if b"413" in answer else b"502"))
        [event] = running.events()
    assert (event.truncated, event.request.body) == (True, b'{"x":')


def test_a_request_that_is_refused_in_its_body_is_marked(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _):
        head = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert running.ask(head + b'5\r\n{"x":\r\nnonsense\r\n').startswith(b"HTTP/1.1 400")
        [event] = running.events()
    assert (event.status_code, event.truncated) == (400, True)


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
        go_on.wait(60)
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
        for _ in range(2):
            time.sleep(1.5)
            connection.sendall(b"6\r\ndata\n\n\r\n")
        connection.sendall(b"0\r\n\r\n")

    with between(tmp_path, script, idle_timeout_s=1.0, response_timeout_s=30.0) as (running, _):
        answer = running.ask(post(path="/v1/chat/completions"))
        assert answer.count(b"data") == 2
        assert answer.endswith(b"0\r\n\r\n")
        assert [event.status_code for event in running.events()] == [200]


@pytest.mark.slow
def test_a_connection_is_not_idle_while_its_answer_is_awaited(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            time.sleep(2.6)
            connection.sendall(OK)

    timeouts = {"idle_timeout_s": 2.0, "response_timeout_s": 30.0}
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

    timeouts = {"idle_timeout_s": 3.0, "response_timeout_s": 3.0}
    with between(tmp_path, script, **timeouts) as (running, _), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", running.sidecar.listen_port))
        client.sendall(GET)
        got = 0
        for _ in range(20):
            got += len(receive(client, 300_000))
            time.sleep(0.25)
        client.shutdown(socket.SHUT_WR)
        got += len(read_all(client))
        assert got > size


@pytest.mark.slow
def test_a_head_that_drips_in_is_given_up_with_a_408(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK), idle_timeout_s=2.0) as (running, upstream), running.connect() as client:
        with contextlib.suppress(OSError):
            for byte in GET[:-1] * 10:
                client.sendall(bytes([byte]) if byte not in b"\r\n" else b"x")
                time.sleep(0.02)
        assert read_all(client).startswith(b"HTTP/1.1 408 ")
        assert upstream.requests == []


# --- long heads -------------------------------------------------------------------------------------------------------
LIMIT = 1000


def long_head(first: bytes, size: int) -> bytes:
    """A head of exactly so many bytes."""
    return first + b"X: " + b"x" * (size - len(first) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"


@pytest.mark.parametrize("piece_bytes", [1 << 20, 300], ids=["at once", "in pieces"])
def test_the_head_of_a_request_is_taken_up_to_its_limit_and_no_byte_further(tmp_path: Path, piece_bytes: int) -> None:
    with between(tmp_path, answering(OK), max_head_bytes=LIMIT) as (running, upstream):
        for size, status in ((LIMIT, b"200"), (LIMIT + 1, b"431")):
            with running.connect() as client:
                send_in_pieces(client, long_head(b"GET /x HTTP/1.1\r\nHost: a\r\n", size), piece_bytes)
                assert read_message(client).startswith(b"HTTP/1.1 " + status)
        assert [len(request) for request in upstream.requests] == [LIMIT]


@pytest.mark.parametrize("piece_bytes", [1 << 20, 300], ids=["at once", "in pieces"])
def test_the_head_of_an_answer_is_taken_up_to_its_limit_and_no_byte_further(tmp_path: Path, piece_bytes: int) -> None:
    sizes = iter((LIMIT, LIMIT + 1))

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            head = long_head(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", next(sizes))
            send_in_pieces(connection, head, piece_bytes)

    with between(tmp_path, script, max_head_bytes=LIMIT) as (running, _):
        assert len(running.ask(GET)) == LIMIT
        answer = running.ask(GET)
        assert answer.startswith(b"HTTP/1.1 502")
        assert b"longer than 1000 bytes" in answer


def send_in_pieces(connection: socket.socket, data: bytes, piece_bytes: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for begin in range(0, len(data), piece_bytes):
        connection.sendall(data[begin : begin + piece_bytes])
        time.sleep(0.01 if begin + piece_bytes < len(data) else 0)  # so that they arrive as pieces; nothing rests on it
