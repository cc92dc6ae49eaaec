"""Messages that say the same as those before them take the fast path, and must come out as on the slow one."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from driftline.events import InferenceEvent
from logger_sidecar.http1.heads import HeaderNames, RequestReader, ResponseReader
from logger_sidecar.http1.sameness import same_but
from logger_sidecar.proxy.client import ClientConnection
from tests.logger_sidecar.wire import OK, Upstream, answering, post, read_message, sidecar
from tests.parts.processes import wait_until

JSON = "Content-Type: application/json"


def serving(answers: Sequence[bytes]) -> Callable[[Upstream, socket.socket], None]:
    """Gives these answers, each to one request of a connection."""

    def script(upstream: Upstream, connection: socket.socket) -> None:
        for answer in answers:
            upstream.read(connection)
            connection.sendall(answer)
        connection.recv(1)

    return script


def talk(tmp_path: Path, upstream: Upstream, requests: Sequence[bytes]) -> tuple[list[bytes], list[InferenceEvent]]:
    """The answers to these requests on one connection, and the events."""
    with sidecar(upstream.url, tmp_path) as running:
        with running.connect() as client:
            answers = []
            for request in requests:
                client.sendall(request)
                answers.append(read_message(client, body=not request.startswith(b"HEAD")))
        events = running.events()
        outcomes = running.outcomes()
    upstream.close()
    assert outcomes["requests"] == outcomes["logged"] == len(events)
    return answers, events


def test_the_same_request_again_and_again_is_passed_named_and_logged_each_time(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    answers, events = talk(tmp_path, upstream, [post(b'{"a": %d}' % number, JSON) for number in range(10)])
    assert len({event.id for event in events}) == 10
    for number, (answer, event, seen) in enumerate(zip(answers, events, upstream.requests, strict=True)):
        line = f"\r\nx-request-id: {event.request_id}\r\n\r\n".encode()
        assert answer == OK.replace(b"\r\n\r\n", line)
        assert seen == post(b'{"a": %d}' % number, JSON).replace(b"\r\n\r\n", line)
        assert (event.request.body, event.response.body) == (b'{"a": %d}' % number, b"{}")
        assert event.request.content_type == event.response.content_type == "application/json"
        assert event.duration_ms >= event.ttfb_ms > 0


def test_an_id_in_the_body_is_found_behind_the_same_head(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    requests = [post(b'{"id": "r-%d"}' % number) for number in range(5)]
    answers, events = talk(tmp_path, upstream, requests)
    assert [event.request_id for event in events] == [f"r-{number}" for number in range(5)]
    assert all(b"\r\nx-request-id: r-%d\r\n" % number in answer for number, answer in enumerate(answers))
    assert upstream.requests == requests


def test_heads_that_change_between_requests_are_read_anew(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    requests = [
        post(b"{}", "x-request-id: a"),
        post(b"{}", "x-request-id: a"),
        post(b"{}", "x-request-id: b"),
        post(b"{ }", "x-request-id: b"),
        post(b"{}", "x-request-id: b", path="/v1/models/m:predict"),
        b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n",
        post(b"{}", "x-request-id: a"),
    ]
    answers, events = talk(tmp_path, upstream, requests)
    assert upstream.requests == requests
    assert [(event.request_id, event.model, event.request.body) for event in events] == [
        ("a", "iris", b"{}"),
        ("a", "iris", b"{}"),
        ("b", "iris", b"{}"),
        ("b", "iris", b"{ }"),
        ("b", "m", b"{}"),
        ("a", "iris", b"{}"),
    ]
    assert answers[5] == answers[6] == OK


def test_an_answer_to_head_has_no_body_even_if_its_head_is_the_one_of_before(tmp_path: Path) -> None:
    head = OK.removesuffix(b"{}")
    upstream = Upstream(serving([OK, OK, head, OK]))
    get, ask_head = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"
    answers, _events = talk(tmp_path, upstream, [get, get, ask_head, get])
    assert answers == [OK, OK, head, OK]
    assert upstream.connections == 1


def test_bytes_behind_an_answer_never_become_the_next_ones(tmp_path: Path) -> None:
    upstream = Upstream(serving([OK, OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"]))
    with sidecar(upstream.url, tmp_path) as running, running.connect() as client:
        for _ in range(4):
            client.sendall(post())
            assert read_message(client).endswith(b"{}")
    upstream.close()
    assert upstream.connections == 2


@pytest.mark.parametrize("cut", [10, -20, -1])
def test_the_same_again_in_two_pieces_is_one_message(tmp_path: Path, cut: int) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while upstream.read(connection):
            connection.sendall(OK[:cut])
            connection.sendall(OK[cut:])

    upstream = Upstream(script)
    request = post(b'{"inputs": []}', "x-request-id: r")
    with sidecar(upstream.url, tmp_path) as running, running.connect() as client:
        for _ in range(5):
            client.sendall(request[:cut])
            client.sendall(request[cut:])
            assert read_message(client).endswith(b"{}")
        client.close()
        events = running.events()
    upstream.close()
    assert upstream.requests == [request] * 5
    assert [event.request.body for event in events] == [b'{"inputs": []}'] * 5


def test_a_last_request_is_answered_as_the_ones_before_and_closes(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with sidecar(upstream.url, tmp_path) as running, running.connect() as client:
        for _ in range(3):
            client.sendall(post())
            assert b"connection" not in read_message(client)
        client.sendall(post())
        client.shutdown(socket.SHUT_WR)
        assert read_message(client).endswith(b"{}")
        assert client.recv(1) == b""
    upstream.close()


def test_ids_that_change_within_the_same_head_are_each_requests_own(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    names = ["a", "b-2", "x" * 512, "c", "{}", "c"]
    requests = [post(b'{"n": %d}' % number, f"X-Request-Id: {name}", JSON) for number, name in enumerate(names)]
    answers, events = talk(tmp_path, upstream, requests)
    assert upstream.requests == requests
    assert [event.request_id for event in events] == names
    assert [event.request.body for event in events] == [b'{"n": %d}' % number for number in range(len(names))]
    for name, answer in zip(names, answers, strict=True):
        assert f"\r\nx-request-id: {name}\r\n".encode() in answer


HEAD = b"POST /v2/models/a/infer HTTP/1.1\r\nX-Request-Id: r-1\r\nContent-Length: 2\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 2\r\nserver: a\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (HEAD.replace(b"r-1", b"other") + b"{}", "other"),
        (HEAD.replace(b"r-1", b"x" * 512) + b"{}", "x" * 512),
        (HEAD.replace(b"r-1", b"x" * 513) + b"{}", None),
        (HEAD.replace(b"r-1", b"") + b"{}", None),
        (HEAD.replace(b"r-1", b"a b") + b"{}", None),
        (HEAD.replace(b"r-1", b"a\rb") + b"{}", None),
        (HEAD.replace(b"r-1", b"a\nb") + b"{}", None),
        (HEAD.replace(b"r-1", b"a\r\nX: y") + b"{}", None),
        (HEAD.replace(b"r-1", b"a\r\nContent-Length: 5") + b"{}", None),
        (HEAD.replace(b"r-1", b"a\x00") + b"{}", None),
        (HEAD.replace(b"r-1", b"\xe9") + b"{}", None),
        (HEAD.replace(b"r-1", b"other") + b"{", None),
        (HEAD.replace(b"r-1", b"other") + b"{}G", None),
        (HEAD.replace(b"r-1", b"other").replace(b"h: 2", b"h: 3") + b"{}", None),
        (HEAD.replace(b"r-1", b"other").replace(b"/a/", b"/b/") + b"{}", None),
        (HEAD.replace(b"h: 2", b"h: 3") + b"{ }", "r-1"),
        (HEAD.replace(b"h: 2", b"h: 0"), "r-1"),
        (HEAD.replace(b"h: 2", b"h: " + b"2".zfill(18)) + b"{}", "r-1"),
        (HEAD.replace(b"h: 2", b"h: " + b"2".zfill(19)) + b"{}", None),
        (HEAD.replace(b"r-1", b"22").replace(b"h: 2", b"h: 300") + b" " * 300, "22"),
        *(
            (HEAD.replace(b"h: 2", b"h: " + value) + b"{}", None)
            for value in (b"", b"3", b" 2", b"2 ", b"+2", b"-2", b"0x2", b"2,2", b"2.", b"\xb2", b"2\r\nA: b", b"2\n")
        ),
    ],
)
def test_only_another_plain_id_or_length_makes_a_head_count_as_the_same(data: bytes, expected: str | None) -> None:
    found = same_but(RequestReader(HeaderNames(())).read(HEAD), data)
    assert found == (None if expected is None else (expected, None, data.index(b"\r\n\r\n") + 4))


TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def same_trace(first: Sequence[bytes], second: Sequence[bytes]) -> str | None:
    """Trace context of a request with the ``second`` lines after one with the ``first``; empty: it is not the same."""
    lines = [b"".join(b"\r\ntraceparent: %b" % value for value in values) for values in (first, second)]
    raw, other = (HEAD.replace(b"\r\nContent", line + b"\r\nContent") for line in lines)
    found = same_but(RequestReader(HeaderNames(())).read(raw), other + b"{}")
    return "" if found is None else found.traceparent


def test_another_trace_context_makes_a_head_count_as_the_same() -> None:
    assert same_trace([TRACE], [OTHER]) == OTHER.decode()
    assert same_trace([TRACE], [TRACE]) == TRACE.decode()


@pytest.mark.parametrize(
    "other",
    [
        OTHER.upper(),
        OTHER[:-1],
        OTHER + b"0",
        OTHER + b"-a",
        b"cc" + OTHER[2:],
        OTHER.replace(b"-", b"_"),
        OTHER.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32),
        OTHER.replace(b"00f067aa0ba902b7", b"0" * 16),
        OTHER + b"\r\ntraceparent: " + OTHER,
    ],
)
def test_no_other_value_does_nor_does_trace_context_after_what_is_none(other: bytes) -> None:
    assert same_trace([TRACE], [other]) == ""
    assert same_trace([other], [OTHER]) == ""
    assert same_trace([TRACE, TRACE], [OTHER, OTHER]) == same_trace([TRACE] * 3, [OTHER] * 3) == ""
    assert same_trace([TRACE, OTHER], [TRACE, OTHER]) is None


def same_state(first: bytes, second: bytes) -> bool:
    """Whether a request with the ``second`` lines is the same as one with the ``first``."""
    raw, other = (HEAD.replace(b"\r\nContent", lines + b"\r\nContent") for lines in (first, second))
    return same_but(RequestReader(HeaderNames(())).read(raw), other + b"{}") is not None


STATE = b"\r\ntracestate: congo=t61rcWkgMzE, rojo=00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (b"\r\ntracestate: a=1", True),
        (b"\r\ntracestate: a", True),
        (b"\r\ntracestate: " + b"x" * 512, True),
        (b"\r\ntracestate: " + b"x" * 513, False),
        (b"\r\ntracestate: ", False),
        (b"\r\ntracestate: a=1 ", False),
        (b"\r\ntracestate:  a=1", False),
        (b"\r\ntracestate: a=1\t", False),
        (b"\r\ntracestate: a=\xe9", False),
        (b"\r\ntracestate: a=1\r\nX: y", False),
        (b"\r\ntracestate: a=1\r\ntracestate: b=2", False),
        (b"\r\nTracestate: a=1", False),
        (b"", False),
    ],
)
def test_another_trace_state_of_one_line_makes_a_head_count_as_the_same(other: bytes, is_same: bool) -> None:
    assert same_state(STATE, other) is is_same


def test_of_two_lines_of_trace_state_both_may_differ() -> None:
    assert same_state(STATE + STATE.replace(b"t61", b"t62"), STATE + STATE.replace(b"t61", b"t6"))
    assert not same_state(STATE + STATE, STATE + STATE.replace(b"t61", b"t6"))


@pytest.mark.parametrize(
    ("data", "is_same"),
    [
        (ANSWER.replace(b"h: 2", b"h: 10") + b"0123456789", True),
        (ANSWER.replace(b"49:37", b"49:38") + b"{}", False),
        (ANSWER.replace(b" GMT", b"") + b"{}", False),
        (ANSWER.replace(b": a", b": b") + b"{}", False),
        (ANSWER + b"{}{", False),
    ],
)
def test_answers_of_one_second_differ_in_length(data: bytes, is_same: bool) -> None:
    head = ResponseReader(HeaderNames(())).read(ANSWER, answers_head=False)
    assert (same_but(head, data) is not None) is is_same


@pytest.mark.parametrize(
    ("written", "other"),
    [
        (b"infer", b"other"),  # stands in the path too
        (b"r-1\r\nce-id: r-1", b"r-2\r\nce-id: r-2"),
    ],
)
def test_an_id_that_has_no_place_of_its_own_makes_another_head(written: bytes, other: bytes) -> None:
    raw = HEAD.replace(b"r-1", written)
    head = RequestReader(HeaderNames(())).read(raw)
    assert same_but(head, HEAD.replace(b"r-1", other) + b"{}") is None
    assert same_but(head, raw.replace(b"h: 2", b"h: 3") + b"{ }") == (head.request_id, None, len(raw))


@pytest.mark.parametrize(
    ("captured", "raw"),
    [
        ([], HEAD.replace(b"r-1", b"r-1\r\nConnection: close")),
        (["content-length", "x-request-id"], HEAD),
        (["x-request-id"], HEAD.replace(b"Content-Length: 2\r\n", b"")),
    ],
)
def test_some_heads_are_like_no_other(captured: list[str], raw: bytes) -> None:
    """Events carry the headers that are captured, as each request said them."""
    assert not RequestReader(HeaderNames(captured)).read(raw).stretches


@pytest.mark.parametrize("size", [100, 900_000])
def test_an_idle_connection_keeps_no_body(tmp_path: Path, size: int) -> None:
    upstream = Upstream(answering(OK))
    with sidecar(upstream.url, tmp_path) as running, running.connect() as client:
        for _ in range(3):
            client.sendall(post(b"x" * size, "x-request-id: r"))
            assert read_message(client).endswith(b"{}")
        wait_until(lambda: not any(one.calls_in_flight for one in running.sidecar._parts.connections))
        [connection] = running.sidecar._parts.connections
        assert isinstance(connection, ClientConnection)
        exchange = connection._own_exchange
        wait_until(lambda: exchange.held is exchange.request.whole is None)
        wait_until(lambda: exchange.request.parts == exchange.response.parts == [])
        assert len(running.events()) == 3
    upstream.close()
