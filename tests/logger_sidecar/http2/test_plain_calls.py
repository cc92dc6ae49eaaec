"""REST over HTTP/2 through the sidecar: passed as it is, and the same events of it as over HTTP/1.1."""

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trustme

from driftline.events import InferenceEvent
from tests.logger_sidecar.http2.plain_server import EARLY, Answer, Asked, plain_server
from tests.logger_sidecar.wire import PATH, Running, Upstream, answering, sidecar
from tests.parts.processes import refusing_socket, wait_until

JSON = {"content-type": "application/json"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextlib.contextmanager
def client(running: Running, *, http2: bool = True) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, http1=not http2, http2=http2, trust_env=False, timeout=60) as made:
        yield made


def what_both_say(event: InferenceEvent) -> dict[str, object]:
    """An event without what differs between any two of them."""
    varying = ("id", "time_ns", "request_id", "duration_ms", "ttfb_ms", "ttft_ms")
    return {name: getattr(event, name) for name in event.__struct_fields__ if name not in varying}


def echo(asked: Asked) -> Answer:
    kept = [("content-type", asked.headers.get("content-type", "a/b")), ("x-node", "n1")]
    return Answer(headers=kept, pieces=[asked.body])


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        (PATH, {**JSON, "x-team": "red", "traceparent": TRACE}, b'{"inputs": []}'),
        ("/v2/models/iris/versions/3/infer", {"inference-header-content-length": "2"}, b"{}\x01\x02"),
        ("/v1/models/wine:predict", {**JSON, "content-encoding": "gzip"}, gzip.compress(b"{}", mtime=0)),
        ("/v1/chat/completions?x=1", {**JSON, "user-agent": "robot/1"}, b'{"model": "m"}'),
        ("/v2/models/iris/infer", JSON, b'{"parameters": {"shared_memory_region": "r"}}'),
        ("/invocations", JSON, b"x" * 3_000),
        ("/score/fraud", JSON, b'{"amount": 3}'),
    ],
)
def test_an_event_is_the_same_over_either_version(
    path: str, headers: dict[str, str], body: bytes, tmp_path: Path
) -> None:
    settings = {"capture_headers": ("x-team", "x-node", "content-type"), "max_body_bytes": 2000}
    settings["capture_paths"] = ("/score/{model}",)
    found = []
    answer = f"HTTP/1.1 200 OK\r\ncontent-type: {headers.get('content-type', 'a/b')}\r\nx-node: n1\r\n"
    upstream = Upstream(answering(f"{answer}content-length: {len(body)}\r\n\r\n".encode() + body))
    with (
        sidecar(upstream.url, tmp_path / "1", **settings) as running,
        client(running, http2=False) as made,
    ):
        assert made.post(path, headers=headers, content=body).status_code == 200
        made.close()
        found += running.events()
    upstream.close()
    with (
        plain_server(echo) as server,
        sidecar(server.url, tmp_path / "2", **settings) as running,
        client(running) as made,
    ):
        answered = made.post(path, headers=headers, content=body)
        assert (answered.http_version, answered.status_code) == ("HTTP/2", 200)
        [asked] = server.asked
        made.close()
        found += running.events()
        assert answered.headers["x-request-id"] == asked.headers["x-request-id"] == found[1].request_id == found[1].id
    assert (asked.headers[":path"], asked.body) == (path, body)
    assert what_both_say(found[0]) == what_both_say(found[1])
    assert 0 < found[1].ttfb_ms <= found[1].duration_ms


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"x-request-id": "mine"}, b'{"id": "other"}', "mine"),
        ({"ce-id": "c"}, b"{}", "c"),
        ({}, b'{"id": "inside"}', "inside"),
    ],
)
def test_an_id_that_is_there_is_kept_and_told(
    headers: dict[str, str], body: bytes, expected: str, tmp_path: Path
) -> None:
    with plain_server() as server, sidecar(server.url, tmp_path) as running, client(running) as made:
        answered = made.post(PATH, headers={**JSON, **headers}, content=body)
        made.close()
        [event] = running.events()
    assert event.request_id == answered.headers["x-request-id"] == expected


def test_an_id_in_utf_8_is_told_and_recorded_as_it_is_written(tmp_path: Path) -> None:
    said = "prüfung-✓"
    with plain_server() as server, sidecar(server.url, tmp_path) as running, client(running) as made:
        headers = [(b"content-type", b"application/json"), (b"x-request-id", said.encode())]
        answered = made.post(PATH, headers=headers, content=b"{}")
        assert answered.headers.raw[-1] == (b"x-request-id", said.encode())
        made.close()
        [event] = running.events()
    assert event.request_id == said


def test_what_is_no_inference_passes_unseen(tmp_path: Path) -> None:
    with plain_server() as server, sidecar(server.url, tmp_path) as running, client(running) as made:
        assert made.get("/v2/health/ready").json() == {}
        assert made.post("/v2/repository/index", json={}).json() == {}
        assert made.post(PATH, headers={"user-agent": "kube-probe/1"}, json={}).json() == {}
        assert made.get(PATH).json() == {}
        assert all("x-request-id" not in asked.headers for asked in server.asked)
        made.close()
        assert running.events() == []
        assert running.outcomes()["requests"] == 0


@pytest.mark.parametrize("is_coded", [False, True])
def test_a_stream_of_events_is_folded(tmp_path: Path, is_coded: bool) -> None:
    words = ["data: " + json.dumps({"model": "m", "choices": [{"index": 0, "text": text}]}) for text in ("a", "b")]
    pieces = [f"{line}\n\n".encode() for line in (*words, "data: [DONE]")]
    headers = [("content-type", "text/event-stream")]
    if is_coded:
        pieces = [gzip.compress(b"".join(pieces))]
        headers.append(("content-encoding", "gzip"))
    headed = threading.Event()  # the head is there before anything of the body is sent
    answer = Answer(headers=headers, pieces=pieces, go_on=headed)
    with plain_server(lambda _: answer) as server, sidecar(server.url, tmp_path) as running, client(running) as made:
        with made.stream("POST", "/v1/completions", json={"stream": True}) as stream:
            headed.set()
            assert [line for line in stream.iter_lines() if line] == [*words, "data: [DONE]"]
        made.close()
        [event] = running.events()
    assert json.loads(event.response.body)["choices"][0]["text"] == "ab"
    assert (event.chunk_count, event.response.content_type, event.protocol) == (2, "application/json", "openai")
    assert 0 < event.ttfb_ms < event.ttft_ms <= event.duration_ms


def test_many_at_once_on_one_connection_are_told_apart(tmp_path: Path) -> None:
    with plain_server(echo) as server, sidecar(server.url, tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.sidecar.listen_port)) as connection:
            peer = raw_client(connection)
            bodies = {}
            for number in range(50):
                stream = peer.get_next_available_stream_id()
                bodies[stream] = json.dumps({"id": f"r{number}", "pad": "x" * 20 * number}).encode()
                peer.send_headers(stream, request(PATH))
            for stream, body in bodies.items():
                peer.send_data(stream, body[:10])
            connection.sendall(peer.data_to_send())
            for stream, body in bodies.items():
                peer.send_data(stream, body[10:], end_stream=True)
            connection.sendall(peer.data_to_send())
            told = ended(peer, connection, set(bodies))
        events = {event.request_id: event for event in running.events()}
        # Nothing of the bodies was there when the heads went on: no id of ours was told, where one could still come.
        assert sum("x-request-id" in asked.headers for asked in server.asked) == 0
    assert sorted(events) == sorted(f"r{number}" for number in range(50)) == sorted(told.values())
    for stream, body in bodies.items():
        assert events[told[stream]].request.body == events[told[stream]].response.body == body


def test_a_head_whose_body_takes_its_time_goes_on_and_the_body_still_says_the_id(tmp_path: Path) -> None:
    with plain_server(echo) as server, sidecar(server.url, tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.sidecar.listen_port)) as connection:
            peer = raw_client(connection)
            peer.send_headers(1, request(PATH))
            connection.sendall(peer.data_to_send())
            wait_until(lambda: len(server.begun) == 1)
            peer.send_data(1, b'{"id": "inside"}', end_stream=True)
            connection.sendall(peer.data_to_send())
            told = ended(peer, connection, {1})
        [event] = running.events()
    assert told[1] == event.request_id == "inside"
    assert "x-request-id" not in server.begun[0]


def test_a_request_that_was_answered_before_all_of_it_came_is_marked(tmp_path: Path) -> None:
    with plain_server(lambda _asked: Answer(status=413)) as server, sidecar(server.url, tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.sidecar.listen_port)) as connection:
            peer = raw_client(connection)
            peer.send_headers(1, [*request(PATH), (EARLY, "yes")])
            peer.send_data(1, b'{"id": "inside", "inputs": [')
            connection.sendall(peer.data_to_send())
            ended(peer, connection, {1})
        [event] = running.events()
    assert (event.status_code, event.truncated) == (413, True)


def test_a_client_that_says_no_more_behind_a_head_is_heard(tmp_path: Path) -> None:
    with (
        plain_server() as server,
        sidecar(server.url, tmp_path) as running,
        socket.create_connection(("127.0.0.1", running.sidecar.listen_port)) as connection,
    ):
        peer = raw_client(connection)
        peer.send_headers(1, request(PATH))
        connection.sendall(peer.data_to_send())
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: len(server.begun) == 1)
        assert server.begun[0][":path"] == PATH


def test_rest_over_tls_is_http2_where_client_and_sidecar_agree_on_it(tmp_path: Path) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    trusted = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    trusted.set_alpn_protocols(["h2"])
    settings = {"tls_certificate": chain, "tls_key": key}
    with plain_server(echo) as server, sidecar(server.url, tmp_path / "spool", **settings) as running:
        with (
            socket.create_connection(("127.0.0.1", running.sidecar.listen_port)) as plain,
            trusted.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            assert connection.selected_alpn_protocol() == "h2"
            peer = raw_client(connection)
            peer.send_headers(1, request(PATH))
            peer.send_data(1, b'{"id": "r1"}', end_stream=True)
            connection.sendall(peer.data_to_send())
            told = ended(peer, connection, {1})
        [event] = running.events()
    assert (told[1], event.request_id, event.protocol, event.status_code) == ("r1", "r1", "v2", 200)
    assert event.request.body == event.response.body == server.asked[0].body == b'{"id": "r1"}'


def raw_client(connection: socket.socket) -> h2.connection.H2Connection:
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    peer.initiate_connection()
    connection.sendall(peer.data_to_send())
    return peer


def request(path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    start = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test")]
    return [*start, ("content-type", "application/json"), *more]


def ended(peer: h2.connection.H2Connection, connection: socket.socket, streams: set[int]) -> dict[int, str]:
    """Wait for all of these to end; returns the request id in each answer."""
    connection.settimeout(60)
    left, told = set(streams), {}
    while left:
        data = connection.recv(65536)
        assert data, "the connection was closed"
        for event in peer.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                told[event.stream_id] = {str(name): str(value) for name, value in event.headers}.get("x-request-id", "")
            elif isinstance(event, h2.events.DataReceived):
                peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                left.discard(event.stream_id)
        connection.sendall(peer.data_to_send())
    return told


def test_a_status_of_the_server_is_the_event_s(tmp_path: Path) -> None:
    answer = Answer(status=503, pieces=[b'{"error": "busy"}'], trailers=[("x-last", "1")])
    with plain_server(lambda _: answer) as server, sidecar(server.url, tmp_path) as running, client(running) as made:
        assert made.post(PATH, json={}).status_code == 503
        made.close()
        [event] = running.events()
        [codes] = [stream.requests for stream in running.sidecar.meters._streams.values()]
    assert (event.status_code, event.grpc_status, event.truncated) == (503, None, False)
    assert event.response.body == b'{"error": "busy"}'
    assert codes == {("v2", 503): 1}


def test_an_answer_that_breaks_off_is_marked(tmp_path: Path) -> None:
    answer = Answer(pieces=[b"half"], reset=2)
    with plain_server(lambda _: answer) as server, sidecar(server.url, tmp_path) as running, client(running) as made:
        with pytest.raises(httpx.RemoteProtocolError):
            made.post(PATH, json={})
        wait_until(lambda: running.outcomes().get("requests") == 1)
        made.close()
        [event] = running.events()
    assert (event.status_code, event.truncated, event.response.body) == (502, True, b"half")


def test_a_client_that_leaves_is_told_apart(tmp_path: Path) -> None:
    with plain_server() as server, sidecar(server.url, tmp_path) as running:
        with socket.create_connection(("127.0.0.1", running.sidecar.listen_port)) as connection:
            peer = raw_client(connection)
            peer.send_headers(1, request(PATH))
            peer.send_data(1, b"{", end_stream=False)
            connection.sendall(peer.data_to_send())
            wait_until(lambda: running.sidecar._requests_inflight() == 1)
            peer.reset_stream(1, 8)
            connection.sendall(peer.data_to_send())
            wait_until(lambda: running.outcomes().get("requests") == 1)
        [event] = running.events()
    assert (event.status_code, event.truncated, event.request.body) == (499, True, b"{")


def test_without_a_server_it_is_refused_as_over_http_1_1(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        _, port = stack.enter_context(refusing_socket())
        running = stack.enter_context(sidecar(f"http://127.0.0.1:{port}", tmp_path))
        answers = []
        for http2 in (False, True):
            with client(running, http2=http2) as made:
                answers.append(made.post(PATH, json={}, headers={"x-request-id": "r"}))
        with client(running) as made:
            assert made.get("/v2/health/ready").status_code == 502
            alone = made.head("/v2/health/ready")
            assert (alone.status_code, alone.content, int(alone.headers["content-length"]) > 0) == (502, b"", True)
        over_1, over_2 = running.events()
    assert [answer.status_code for answer in answers] == [502, 502]
    assert answers[1].json()["error"].startswith("driftline sidecar: the model server at 127.0.0.1")
    assert answers[1].headers["x-request-id"] == "r"
    assert (over_2.status_code, over_2.response.content_type) == (over_1.status_code, over_1.response.content_type)
    assert over_2.response.body == answers[1].content


def test_what_is_not_sampled_is_counted_and_not_written(tmp_path: Path) -> None:
    rules = {"sample_rate": 0.0, "keep_headers": ("x-debug",)}
    with plain_server() as server, sidecar(server.url, tmp_path, **rules) as running, client(running) as made:
        for headers in ({}, {"x-debug": "1"}, {}):
            made.post(PATH, json={}, headers=headers)
        made.close()
        [event] = running.events()
        assert running.outcomes() == {"logged": 1, "sampled_out": 2, "requests": 3}
    assert (event.sample_rate, event.request.headers) == (1.0, {"x-debug": "1"})


def test_bodies_in_flight_keep_to_the_room_of_all_calls(tmp_path: Path) -> None:
    settings = {"grpc_capture_bytes": 1000, "max_body_bytes": 800}
    with plain_server(echo) as server, sidecar(server.url, tmp_path, **settings) as running, client(running) as made:
        for size in (300, 700, 5000, 300):
            assert made.post(PATH, content=b"x" * size, headers=JSON).content == b"x" * size
        made.close()
        events = running.events()
    kept = [(len(event.request.body), len(event.response.body), event.truncated) for event in events]
    assert kept == [(300, 300, False), (700, 300, True), (800, 200, True), (300, 300, False)]
