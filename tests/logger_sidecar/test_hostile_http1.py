"""Clients and model servers that break off, answer early, say too much or repeat themselves, seen from both ends."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logger_sidecar.http1.head_grammar import HeadError
from logger_sidecar.http1.heads import HeaderNames, RequestReader
from logger_sidecar.proxy.client import ClientConnection
from logger_sidecar.proxy.lingering import Lingering
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
    receive,
    sidecar,
)
from tests.parts.processes import wait_until

EARLY = b"HTTP/1.1 103 Early Hints\r\nConnection: x-hop\r\nX-Hop: 1\r\nLink: a\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
LOAD = b"POST /v2/repository/models/m/load HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
#: Of the connection to a model server that reads nothing the kernel takes the former and not both.
UNREAD_BYTES, AT_ONCE_BYTES = 150_000, 205_000
#: The kernel doubles it. A host may have another default.
_HALF_ROOM_BYTES = 106_496


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with between(tmp_path, answering(OK)) as (started, _):
        yield started


def first_is_answered_whole(rest: bytes) -> Callable[[Upstream, socket.socket], None]:
    """Of each connection's requests the first gets an answer, the second these bytes and the end."""

    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(OK)
        upstream.read(connection)
        connection.sendall(rest)

    return script


@pytest.mark.parametrize(
    ("request_bytes", "rest", "asked"),
    [
        (post(), b"", 2),  # an inference may be asked for twice
        (GET, b"", 2),
        (LOAD, b"", 1),  # RFC 9110 section 9.2.2: the server may have done it
        (post(), EARLY, 1),  # it said that it had heard
        (GET, EARLY, 1),
    ],
)
def test_only_what_does_no_harm_and_was_not_heard_is_asked_again(
    tmp_path: Path, request_bytes: bytes, rest: bytes, asked: int
) -> None:
    with between(tmp_path, first_is_answered_whole(rest)) as (running, upstream), running.connect() as client:
        client.sendall(GET)
        assert read_message(client) == OK
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
        if rest:
            assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 502 ")
        else:
            assert answer.startswith(b"HTTP/1.1 200 " if asked == 2 else b"HTTP/1.1 502 ")
        assert len(upstream.requests) == 1 + asked


def test_a_body_that_a_204_must_not_have_is_nobody_s_answer(tmp_path: Path) -> None:
    more = threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while b"/first" in upstream.read(connection):
            connection.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n")
            more.wait(60)
        connection.sendall(b"{}")  # of the answer before
        connection.sendall(OK)

    with between(tmp_path, script) as (running, upstream), running.connect() as client:
        client.sendall(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_message(client, body=False).startswith(b"HTTP/1.1 204 ")
        client.sendall(GET)
        more.set()
        wait_until(lambda: upstream.connections == 2)


@contextlib.contextmanager
def on_unix_sockets(
    script: Callable[[Upstream, socket.socket], None], tmp_path: Path
) -> Iterator[tuple[Running, Upstream, socket.socket]]:
    """A sidecar, its model server and a client of it, of which the kernel takes ``AT_ONCE_BYTES`` and more at once."""
    upstream, own = Upstream(script, tmp_path / "model.sock"), str(tmp_path / "own.sock")
    try:
        with (
            sidecar(upstream.url, tmp_path / "spool", listen_socket=own) as running,
            socket.socket(socket.AF_UNIX) as client,
        ):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _HALF_ROOM_BYTES)
            client.connect(own)
            client.settimeout(60)
            yield running, upstream, client
    finally:
        upstream.close()


@contextlib.contextmanager
def standing_still(running: Running) -> Iterator[None]:
    """The sidecar does nothing meanwhile, so that it finds at once what comes."""
    waits, go_on = threading.Event(), threading.Event()

    def stand_still() -> None:
        waits.set()
        go_on.wait(60)

    running.loop.call_soon_threadsafe(stand_still)
    assert waits.wait(60)
    yield
    go_on.set()


def read_head(connection: socket.socket) -> bytes:
    """A head and nothing behind it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += connection.recv(1)
    return data


def clients(running: Running) -> list[ClientConnection]:
    """Whose connections are open."""
    return [found for found in list(running.sidecar._parts.connections) if isinstance(found, ClientConnection)]


def is_held_back(running: Running) -> bool:
    """Whether a client is, for its model server."""
    return any(client._stalls for client in clients(running))


def bound_upstream(running: Running, left_bytes: int) -> None:
    """When all but so many bytes of the body have come: nobody reads them, and the kernel takes few more."""
    wait_until(lambda: [client._left for client in clients(running)] == [left_bytes])
    [connection] = running.sidecar.pool.connections
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _HALF_ROOM_BYTES)


def test_who_answered_before_it_read_is_not_asked_again_on_that_connection(tmp_path: Path) -> None:
    answers, over = threading.Event(), threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        if upstream.connections == 1:
            upstream.requests.append(read_head(connection))
            answers.wait(60)
            connection.sendall(OK)
            over.wait(300)  # longer than a client that was sent here waits: an end would send it on
        else:
            answering(OK)(upstream, connection)

    with on_unix_sockets(script, tmp_path) as (running, upstream, client):
        request = post(b"x" * (UNREAD_BYTES + AT_ONCE_BYTES))
        client.sendall(request[:-AT_ONCE_BYTES])
        wait_until(lambda: bool(upstream.requests))
        bound_upstream(running, left_bytes=AT_ONCE_BYTES)
        with standing_still(running):
            client.sendall(request[-AT_ONCE_BYTES:])
        wait_until(lambda: is_held_back(running))
        answers.set()
        assert read_message(client).startswith(b"HTTP/1.1 200 ")
        client.sendall(GET)
        assert read_message(client) == OK
        assert upstream.connections == 2
        over.set()


def test_a_client_held_back_for_a_server_that_closed_goes_on_to_the_next(tmp_path: Path) -> None:
    """The kept connection is full of what its server never read, closes, and the request is asked again."""
    answers, closes, over = threading.Event(), threading.Event(), threading.Event()
    bodies: list[int] = []
    heads: list[bytes] = []

    def script(upstream: Upstream, connection: socket.socket) -> None:
        if upstream.connections == 1:
            heads.append(read_head(connection))
            answers.wait(60)
            connection.sendall(OK)
            closes.wait(60)
        else:
            bodies.append(len(upstream.read(connection).partition(b"\r\n\r\n")[2]))
            connection.sendall(OK)
            over.wait(60)

    with on_unix_sockets(script, tmp_path) as (running, _, client):
        client.sendall(post(b"x" * UNREAD_BYTES))
        wait_until(lambda: bool(heads))
        bound_upstream(running, left_bytes=0)
        answers.set()
        assert read_message(client).startswith(b"HTTP/1.1 200 ")
        request = post(b"y" * 1_000_000)
        with standing_still(running):
            client.sendall(request[:AT_ONCE_BYTES])
        wait_until(lambda: is_held_back(running))
        closes.set()
        client.sendall(request[AT_ONCE_BYTES:])
        assert read_message(client).startswith(b"HTTP/1.1 200 ")
        assert bodies == [1_000_000]
        over.set()


def test_any_number_of_empty_lines_before_a_request_is_ignored(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, upstream), running.connect() as client:
        client.sendall(b"\r\n" * 500_000 + GET + b"\r\n" * 500_000 + GET)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).count(b"HTTP/1.1 200 ") == 2
        assert upstream.requests == [GET, GET]


def test_http_2_begins_with_the_first_bytes_or_not_at_all(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, upstream), running.connect() as client:
        client.sendall(GET + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        said = read_all(client)
        assert said.startswith(OK)
        assert said.removeprefix(OK).startswith(b"HTTP/1.1 505 ")
        assert upstream.requests == [GET]


def test_connection_names_a_few_options_or_none() -> None:
    for count, fits in ((60, True), (4000, False)):
        lines = b"".join(b"Connection: x%d\r\n" % number for number in range(count))
        reader = RequestReader(HeaderNames(()))
        with contextlib.nullcontext() if fits else pytest.raises(HeadError, match="too many options"):
            reader.read(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")


def test_a_target_of_absolute_form_is_passed_as_it_came_and_seen(tmp_path: Path) -> None:
    requests = [post(path=f"http://a:1{PATH}"), post(path="HTTPS://a/score/fraud?x=1"), post(path="http://a")]
    with between(tmp_path, answering(OK), capture_paths=("/score/{model}",)) as (running, upstream):
        for request in requests:
            assert running.ask(request).startswith(b"HTTP/1.1 200 ")
        assert [request.split(b"\r\n")[0] for request in upstream.requests] == [
            request.split(b"\r\n")[0] for request in requests
        ]
        assert [event.model for event in running.events()] == ["iris", "fraud"]


@pytest.mark.parametrize(
    ("text", "coding"), [("é", "utf-8"), ("é", "latin-1"), ("prüfung-✓", "utf-8"), ("Ã©", "utf-8"), ("ÿ", "latin-1")]
)
def test_what_a_header_says_is_said_again_byte_for_byte_and_recorded_as_text(
    tmp_path: Path, text: str, coding: str
) -> None:
    said = text.encode(coding)
    lines = b"X-Request-Id: " + said + b"\r\nX-Team: " + said + b"\r\nContent-Length"
    request = post(path=f"{PATH.removesuffix('infer')}versions/V/infer").replace(b"Content-Length", lines)
    request = request.replace(b"/V/", b"/" + said + b"/")
    with between(tmp_path, answering(OK), capture_headers=("x-team",)) as (running, upstream):
        with running.connect() as client:
            for _ in range(3):
                client.sendall(request)
                assert b"\r\nx-request-id: " + said + b"\r\n" in read_message(client)
        assert upstream.requests == [request] * 3
        events = running.events()
    assert {(event.request_id, event.request.headers["x-team"], event.model_version) for event in events} == {
        (text, text, text)
    }
    assert len(events) == 3


def test_an_id_beyond_ascii_that_is_captured_is_each_request_s_own(tmp_path: Path) -> None:
    ids = ["é", "plain", "ü"]
    with between(tmp_path, answering(OK), capture_headers=("x-request-id",)) as (running, _):
        with running.connect() as client:
            for request_id in ids:
                client.sendall(post().replace(b"\r\n\r\n", f"\r\nX-Request-Id: {request_id}\r\n\r\n".encode()))
                assert read_message(client).startswith(b"HTTP/1.1 200 ")
        events = running.events()
    assert [(event.request_id, event.request.headers["x-request-id"]) for event in events] == [
        (request_id, request_id) for request_id in ids
    ]


def test_an_id_that_is_captured_with_another_of_its_name_is_each_request_s_own(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK), capture_headers=("x-request-id",)) as (running, _):
        with running.connect() as client:
            for number in range(3):
                client.sendall(post(b"{}", f"X-Request-Id: first-{number}", "X-Request-Id: second"))
                assert read_message(client).startswith(b"HTTP/1.1 200 ")
        events = running.events()
    assert [(event.request_id, event.request.headers["x-request-id"]) for event in events] == [
        (f"first-{number}", f"first-{number}, second") for number in range(3)
    ]


def test_who_upgrades_and_ends_at_once_is_heard_to_end(tmp_path: Path) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        ended.wait(60)
        connection.sendall(SWITCHED)
        connection.sendall(b"heard " + read_all(connection))

    ended = threading.Event()
    with between(tmp_path, script) as (running, _), running.connect() as client:
        client.sendall(UPGRADE + b"all of it")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: any(client._has_ended for client in clients(running)))
        ended.set()
        assert receive(client, len(SWITCHED)) == SWITCHED
        assert read_all(client) == b"heard all of it"


def test_a_last_answer_reaches_a_client_that_has_said_more(tmp_path: Path) -> None:
    """Were the connection closed with bytes unread, a reset would overtake the answer."""
    body = b"x" * 3_000_000
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with between(tmp_path, answering(answer)) as (running, upstream), running.connect() as client:
        client.sendall(b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n" + GET)
        wait_until(lambda: len(upstream.requests) == 1)
        client.sendall(GET * 1000)
        assert read_all(client).endswith(body)
        assert len(upstream.requests) == 1


class Unread(asyncio.Transport):
    """Of a client that takes a byte now and then. ``unsent``: what is still to be written."""

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self.unsent = unsent
        self.is_open = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.is_open = False


def test_a_client_that_reads_its_last_answer_slowly_gets_all_of_it_and_no_more_time(running: Running) -> None:
    slow, still = Unread(50), Unread(50)
    endings = [Lingering(running.sidecar._parts, transport) for transport in (slow, still)]
    for left in reversed(range(1, 50)):
        slow.unsent = left
        for ending in endings:
            ending.data_received(b"and on")
            ending.tick(5)
    assert (slow.is_open, still.is_open) == (True, False)
    slow.unsent = 0
    for _ in range(10):
        endings[0].tick(5)
    assert not slow.is_open


def test_a_client_that_still_sends_when_it_is_answered_may_do_so_for_a_while(running: Running) -> None:
    talking, silent = Unread(0), Unread(0)
    endings = [Lingering(running.sidecar._parts, transport) for transport in (talking, silent)]
    seen = []
    for _ in range(100):
        endings[0].data_received(b"more of the body")
        for ending in endings:
            ending.tick(5)
        seen.append((talking.is_open, silent.is_open))
    assert [seen.count(state) for state in ((True, True), (True, False), (False, False))] == [3, 27, 70]
