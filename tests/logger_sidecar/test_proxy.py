"""The proxy on real sockets: what goes through, byte for byte, and what happens when something breaks."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logger_sidecar.wire import OK, PATH, Upstream, answering, post, read_all, read_message, sidecar
from tests.parts.processes import refusing_socket

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def served() -> Iterator[list[Upstream]]:
    """Upstreams made by a test, closed at its end."""
    made: list[Upstream] = []
    yield made
    for upstream in made:
        upstream.close()


def test_a_health_request_passes_byte_for_byte_both_ways(tmp_path: Path, served: list[Upstream]) -> None:
    response = b"HTTP/1.1 200 Fine\r\nX-Odd:  spaces \r\nContent-Length: 4\r\nServer: a\r\n\r\nlive"
    served.append(Upstream(answering(response)))
    request = b"GET /v2/health/live?x=%20 HTTP/1.1\r\nhOsT: a\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
    with sidecar(served[0].url, tmp_path) as running:
        assert running.ask(request) == response
        assert served[0].requests == [request]
        assert running.events() == []


def test_an_inference_with_an_id_reaches_the_model_server_unchanged(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK)))
    request = post(b'{"inputs": []}', "X-Request-Id: r-1", f"traceparent: {TRACE}")
    with sidecar(served[0].url, tmp_path) as running:
        answer = running.ask(request)
        assert served[0].requests == [request]  # no Content-Type was sent, and none was added
        assert answer == OK.replace(b"\r\n\r\n", b"\r\nx-request-id: r-1\r\n\r\n")
        [event] = running.events()
    assert (event.request_id, event.model, event.protocol, event.status_code) == ("r-1", "iris", "v2", 200)
    assert (event.request.body, event.response.body) == (b'{"inputs": []}', b"{}")
    assert (event.request.content_type, event.response.content_type) == (None, "application/json")
    assert event.traceparent == TRACE
    assert event.time_ns == 1_700_000_000_000_000_000
    assert event.duration_ms >= event.ttfb_ms > 0


def test_an_id_is_made_sent_upstream_and_returned(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK)))
    with sidecar(served[0].url, tmp_path) as running:
        answer = running.ask(post(b'{"instances": [1]}', path="/v1/models/m:predict"))
        [event] = running.events()
    line = f"x-request-id: {event.request_id}\r\n".encode()
    assert line in answer
    assert line in served[0].requests[0]
    assert event.request_id == event.id


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (["X-Request-Id: a", "Ce-Id: b"], b'{"id": "c"}', "a"),
        (["Seldon-Puid: d", "ce-ID: b"], b'{"id": "c"}', "b"),
        (["Seldon-Puid: d"], b'{"id": "c"}', "d"),
        ([], b'{"id": "c"}', "c"),
        ([], b'{"parameters": {"id": "no"}, "id": "c"}', "c"),
    ],
)
def test_the_id_comes_from_the_most_trusted_place(
    tmp_path: Path, served: list[Upstream], headers: list[str], body: bytes, expected: str
) -> None:
    served.append(Upstream(answering(OK)))
    with sidecar(served[0].url, tmp_path) as running:
        answer = running.ask(post(body, *headers))
        assert f"x-request-id: {expected}\r\n".encode() in answer
        assert [event.request_id for event in running.events()] == [expected]


def test_an_id_in_a_body_that_comes_after_its_head_is_found(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK)))
    request = post(b'{"id": "late", "inputs": []}')
    with sidecar(served[0].url, tmp_path) as running, running.connect() as client:
        head = request.index(b"\r\n\r\n") + 4
        client.sendall(request[:head])
        threading.Event().wait(0.05)
        client.sendall(request[head:])
        assert b"x-request-id: late\r\n" in read_message(client)


def test_the_answers_own_request_id_is_neither_doubled_nor_contradicted(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK.replace(b"\r\n\r\n", b"\r\nX-Request-ID: r-1\r\n\r\n"))))
    with sidecar(served[0].url, tmp_path) as running:
        assert running.ask(post(b"{}", "x-request-id: r-1")).lower().count(b"x-request-id") == 1
        other = running.ask(post(b"{}", "x-request-id: r-2"))
        assert b"r-2" in other
        assert b"r-1" not in other


def test_hop_by_hop_headers_stay_on_their_hop(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(
        Upstream(
            answering(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=5\r\nConnection: X-Up\r\nX-Up: 1\r\n\r\n"))
        )
    )
    with sidecar(served[0].url, tmp_path) as running:
        answer = running.ask(
            post(b"{}", "Connection: close, X-Mine", "X-Mine: 1", "X-Yours: 1", "TE: gzip", "Upgrade: h2c")
        )
    lower = served[0].requests[0].lower()
    for gone in (b"connection", b"x-mine", b"\r\nte:", b"upgrade"):
        assert gone not in lower
    assert b"x-yours: 1" in lower
    assert b"keep-alive" not in answer.lower()
    assert b"x-up" not in answer.lower()
    assert answer.lower().count(b"connection: close") == 1


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70000 + b"\r\n\r\n", 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (post().replace(b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400),
    ],
)
def test_what_is_not_one_plain_request_is_refused_and_never_passed_on(
    tmp_path: Path, served: list[Upstream], request_bytes: bytes, status: int
) -> None:
    served.append(Upstream(answering(OK)))
    with sidecar(served[0].url, tmp_path) as running, running.connect() as client:
        client.sendall(request_bytes)
        answer = read_all(client)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("driftline sidecar: ")
    assert served[0].requests == []


def test_pipelined_requests_are_answered_in_order_one_at_a_time(tmp_path: Path, served: list[Upstream]) -> None:
    def echo_number(upstream: Upstream, connection: socket.socket) -> None:
        while request := upstream.read(connection):
            body = request.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    served.append(Upstream(echo_number))
    bodies = [b'{"n": %d}' % number for number in range(40)]
    with sidecar(served[0].url, tmp_path) as running, running.connect() as client:
        client.sendall(b"".join(post(body, "x-request-id: p") for body in bodies))
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 40 or not answers.endswith(bodies[-1]):
            answers += client.recv(65536)
        assert [part.partition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == bodies
        assert served[0].connections == 1
        client.close()
        assert [event.response.body for event in running.events()] == bodies


def test_head_204_and_304_have_no_body_whatever_their_length_says(tmp_path: Path, served: list[Upstream]) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        for status in (b"200 OK", b"204 No Content", b"304 Not Modified", b"200 OK"):
            upstream.read(connection)
            length = b"" if status.startswith(b"204") else b"Content-Length: 5\r\n"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\n")
        connection.sendall(b"hello")

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path) as running, running.connect() as client:
        for method, body in (("HEAD", False), ("GET", False), ("GET", False), ("GET", True)):
            client.sendall(f"{method} /x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = read_message(client, body=body)
        assert answer.endswith(b"hello")
        assert served[0].connections == 1


def test_chunks_pass_at_once_and_are_captured_without_their_framing(tmp_path: Path, served: list[Upstream]) -> None:
    go_on = threading.Event()

    def stream(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"b\r\ndata: one\n\n\r\n")
        go_on.wait(60)
        connection.sendall(b"b\r\ndata: two\n\n\r\n0\r\n\r\n")

    served.append(Upstream(stream))
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nx-request-id: s\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\n{}\n\r\n0\r\n\r\n"
    )
    with sidecar(served[0].url, tmp_path, workload="llm") as running, running.connect() as client:
        client.sendall(request)
        begun = b""
        while b"one" not in begun:  # comes while the model server has not finished
            begun += client.recv(65536)
        go_on.set()
        while not begun.endswith(b"0\r\n\r\n"):
            begun += client.recv(65536)
        client.close()
        [event] = running.events()
    assert served[0].requests == [request]
    assert (event.protocol, event.model) == ("openai", "llm")
    assert event.request.body == b"{}\n"
    assert event.response.body == b'["one","two"]'


def test_an_interim_100_reaches_the_client_before_it_sends_the_body(tmp_path: Path, served: list[Upstream]) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        head = connection.recv(65536)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        upstream.requests.append(head + connection.recv(65536))
        connection.sendall(OK)

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path) as running, running.connect() as client:
        request = post(b"{}", "Expect: 100-continue", "x-request-id: e")
        client.sendall(request[:-2])
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert read_message(client).startswith(b"HTTP/1.1 200")
        assert served[0].requests == [request]


def test_an_answer_without_length_ends_with_the_connection(tmp_path: Path, served: list[Upstream]) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nall there is")

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path) as running:
        with running.connect() as client:
            client.sendall(post())
            answer = read_all(client)
        assert answer.endswith(b"\r\n\r\nall there is")
        assert b"connection: close" in answer
        [event] = running.events()
    assert (event.response.body, event.status_code, event.truncated) == (b"all there is", 200, False)


def test_a_model_server_that_is_not_there_is_a_502_that_names_it(tmp_path: Path) -> None:
    with (
        refusing_socket() as (_, port),
        sidecar(f"http://127.0.0.1:{port}", tmp_path, sample_rate=0.0) as running,
    ):
        answer = running.ask(post(b"{}", "x-request-id: r"))
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert f"127.0.0.1:{port}".encode() in answer
        assert b"x-request-id: r\r\n" in answer
        assert 'upstream_errors_total{reason="connect_refused"} 1.0' in running.admin("/metrics")
        [event] = running.events()  # errors are kept whatever the sampling says
    assert (event.status_code, event.sample_rate) == (502, 1.0)


def test_a_silent_model_server_is_a_504(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(lambda upstream, connection: connection.recv(1) and threading.Event().wait(5)))
    with sidecar(served[0].url, tmp_path, response_timeout_s=0.2) as running:
        assert running.ask(post()).startswith(b"HTTP/1.1 504 ")
        assert [event.status_code for event in running.events()] == [504]


def test_a_model_server_that_dies_in_its_answer_never_makes_a_whole_one(tmp_path: Path, served: list[Upstream]) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path) as running:
        with running.connect() as client:
            client.sendall(post())
            assert len(read_all(client).partition(b"\r\n\r\n")[2]) < 100
        [event] = running.events()
    assert (event.status_code, event.truncated) == (502, True)


def test_an_idle_connection_that_closes_as_we_write_is_tried_once_more(tmp_path: Path, served: list[Upstream]) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(OK)
        connection.recv(1)  # the second request comes, and the server has just decided to close

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path) as running, running.connect() as client:
        for _ in range(4):
            client.sendall(post())
            assert read_message(client).startswith(b"HTTP/1.1 200")
        client.close()
        assert [event.status_code for event in running.events()] == [200] * 4


def test_a_fresh_connection_that_closes_unanswered_is_not_tried_again(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(lambda upstream, connection: upstream.read(connection) and None))
    with sidecar(served[0].url, tmp_path) as running:
        assert running.ask(post()).startswith(b"HTTP/1.1 502 ")
    assert len(served[0].requests) == 1


def test_a_client_that_leaves_is_counted_and_its_upstream_connection_is_not_reused(
    tmp_path: Path, served: list[Upstream]
) -> None:
    asked, left = threading.Event(), threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        asked.set()
        if connection.recv(1) == b"":
            left.set()

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path) as running:
        client = running.connect()
        client.sendall(post())
        assert asked.wait(60)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()
        assert left.wait(60)
        [event] = running.events()
    assert event.status_code == 499


def test_a_large_body_passes_whole_with_bounded_capture(tmp_path: Path, served: list[Upstream]) -> None:
    body = bytes(range(256)) * 20000

    def script(upstream: Upstream, connection: socket.socket) -> None:
        request = upstream.read(connection)
        received = request.partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received) + received)

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path, max_body_bytes=1000) as running:
        answer = running.ask(post(body, "Content-Type: application/octet-stream"))
        assert answer.partition(b"\r\n\r\n")[2] == body
        [event] = running.events()
    assert event.truncated
    assert event.request.body == event.response.body == body[:1000]


def test_a_slow_reader_holds_the_model_server_back_and_not_the_memory(tmp_path: Path, served: list[Upstream]) -> None:
    sent = 0

    def flood(upstream: Upstream, connection: socket.socket) -> None:
        nonlocal sent
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        piece = b"x" * 100_000
        connection.settimeout(0.5)
        try:
            while sent < 200_000_000:
                sent += connection.send(piece)
        except TimeoutError:
            stuck.set()

    stuck = threading.Event()
    served.append(Upstream(flood))
    with sidecar(served[0].url, tmp_path) as running, running.connect() as client:
        client.sendall(post())
        assert stuck.wait(60)
        assert sent < 100_000_000
        client.close()


def test_secrets_are_never_captured_and_listed_headers_are(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: s\r\nX-Team: b\r\n\r\n"))))
    with sidecar(served[0].url, tmp_path, capture_headers=("X-Team",)) as running:
        running.ask(post(b"{}", "Authorization: Bearer s3cret", "Cookie: c", "x-team: a", "X-Other: o"))
        [event] = running.events()
    assert event.request.headers == {"x-team": "a"}
    assert event.response.headers == {"x-team": "b"}


def test_the_variant_and_the_binary_header_are_taken_along(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK.replace(b"\r\n\r\n", b"\r\nX-Driftline-Variant: canary\r\n\r\n"))))
    with sidecar(served[0].url, tmp_path) as running:
        running.ask(post(b"{}\x00\x01", "Inference-Header-Content-Length: 2", "Content-Encoding: identity"))
        [event] = running.events()
    assert (event.variant, event.protocol) == ("canary", "v2-binary")
    assert event.request.headers == {"inference-header-content-length": "2"}
    assert event.request.content_encoding == "identity"


def test_probes_and_metadata_are_not_inferences(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK)))
    with sidecar(served[0].url, tmp_path) as running:
        running.ask(post(b"{}", "User-Agent: kube-probe/1.30"))
        running.ask(post(b"{}", path="/v2/repository/index"))
        running.ask(f"GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert running.outcomes()["requests"] == 0
        assert running.events() == []


def test_python_http_client_sees_the_same_as_without_the_sidecar(tmp_path: Path, served: list[Upstream]) -> None:
    served.append(Upstream(answering(OK.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 422 Bad"))))
    with sidecar(served[0].url, tmp_path) as running:
        seen = []
        for port in (served[0].port, running.sidecar.listen_port):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", PATH, b"{}", {"x-request-id": "r"})
            response = connection.getresponse()
            headers = sorted(pair for pair in response.getheaders() if pair[0] != "x-request-id")
            seen.append((response.status, response.reason, headers, response.read()))
            connection.close()
        assert seen[0] == seen[1]
        assert [event.status_code for event in running.events()] == [422]


def test_a_drain_answers_what_is_in_flight_and_closes_what_is_idle(tmp_path: Path, served: list[Upstream]) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        asked.set()
        go_on.wait(60)
        connection.sendall(OK)

    served.append(Upstream(script))
    with sidecar(served[0].url, tmp_path) as running, running.connect() as idle, running.connect() as busy:
        busy.sendall(post())
        assert asked.wait(60)
        running.loop.call_soon_threadsafe(running.sidecar.stop)
        assert idle.recv(1) == b""
        go_on.set()
        answer = read_all(busy)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert len(running.events()) == 1
