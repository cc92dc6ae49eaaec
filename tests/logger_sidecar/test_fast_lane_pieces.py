"""Bodies that come in pieces stay in the fast lane, each piece goes on at once; without a lane, all go as others."""

import socket
import struct
import threading
from pathlib import Path

import pytest

from logger_sidecar.proxy.upstream import REASON_TIMEOUT
from tests.logger_sidecar.test_fast_lane import ask, both_in_lane, enter, on_loop
from tests.logger_sidecar.wire import OK, Upstream, answering, between, post, read_all, read_message, receive
from tests.parts.processes import wait_until

_SIZE = 1_500_000
_ID = "x-request-id: r"
_REQUEST = post(b"\0" * _SIZE, _ID)
#: Enough that no socket's buffers hold them.
_MANY = 70


def body_of(number: int) -> bytes:
    return bytes(97 + (number + place) % 26 for place in range(260)) * (_SIZE // 260) + b"." * (_SIZE % 260)


class Heard:
    """What a model server has heard of the request that it reads now; it answers when it has all of it."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def script(self, upstream: Upstream, connection: socket.socket) -> None:
        while True:
            data, self.size_bytes = bytearray(), 0
            while len(data) < len(_REQUEST):
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
                self.size_bytes = len(data)
            upstream.requests.append(bytes(data))
            connection.sendall(OK)


@pytest.mark.parametrize("kept_bytes", [4 * _SIZE, 300_000, 0])
def test_each_piece_goes_on_at_once_and_what_is_kept_is_bounded(tmp_path: Path, kept_bytes: int) -> None:
    heard = Heard()
    with between(tmp_path, heard.script, max_body_bytes=kept_bytes) as (running, upstream), running.connect() as client:
        enter(running, client, body_of(0), _ID)
        has_lane = running.sidecar._lane is not None
        for number in range(1, 4):
            whole = post(body_of(number), _ID)
            for start in range(0, len(whole), 400_000):
                client.sendall(whole[start : start + 400_000])
                sent = min(len(whole), start + 400_000)
                wait_until(lambda sent=sent, whole=whole: heard.size_bytes == sent or upstream.requests[-1] == whole)  # type: ignore[misc]
                assert both_in_lane(running) is has_lane
            assert read_message(client).endswith(b"{}")
        events = running.events()
    assert [event.request.body for event in events][-3:] == [body_of(number)[:kept_bytes] for number in range(1, 4)]
    assert {event.truncated for event in events} == {kept_bytes < _SIZE}


def test_what_is_said_behind_a_long_body_is_answered_next(tmp_path: Path) -> None:
    kept_bytes = 4 * _SIZE
    with between(tmp_path, answering(OK), max_body_bytes=kept_bytes) as (running, _), running.connect() as client:
        enter(running, client, body_of(0), _ID)
        client.sendall(post(body_of(1), _ID) + post(b"<>", _ID) + post(body_of(2), _ID))
        named = len(OK) + len(f"{_ID}\r\n")
        assert receive(client, 3 * named).count(b"HTTP/1.1 200") == 3
        events = running.events()
    assert [event.request.body for event in events][-3:] == [body_of(1), b"<>", body_of(2)]


@pytest.mark.parametrize("kept_bytes", [4 * _SIZE, 300_000, 0])
def test_a_body_of_which_much_waits_already_goes_on_whole(tmp_path: Path, kept_bytes: int) -> None:
    go = threading.Event()
    with (
        between(tmp_path, answering(OK), max_body_bytes=kept_bytes) as (running, upstream),
        running.connect() as client,
    ):
        enter(running, client, body_of(0), _ID)
        long = body_of(8) * (_MANY // 10)
        sender = threading.Thread(target=client.sendall, args=(post(long, _ID) + post(b"<>", _ID),))
        running.loop.call_soon_threadsafe(go.wait, 60)
        sender.start()
        sender.join(0.2)  # what the kernel has room for waits by then
        go.set()
        sender.join(60)
        assert receive(client, 2 * (len(OK) + len(f"{_ID}\r\n"))).count(b"HTTP/1.1 200") == 2
        heard = [request.partition(b"\r\n\r\n")[2] for request in upstream.requests]
        events = running.events()
    assert heard[-2:] == [long, b"<>"]
    assert [event.request.body for event in events][-2:] == [long[:kept_bytes], b"<>"[:kept_bytes]]


def test_a_model_server_that_answers_within_a_long_body_is_heard(tmp_path: Path) -> None:
    refused = b"HTTP/1.1 413 Too Long\r\nContent-Length: 2\r\n\r\nno"

    def script(upstream: Upstream, connection: socket.socket) -> None:
        for _ in range(4):
            upstream.read(connection)
            connection.sendall(OK)
        while connection.recv(65536):
            connection.sendall(refused)

    with between(tmp_path, script) as (running, _), running.connect() as client:
        for number in range(4):
            ask(client, body_of(number), _ID)
        client.sendall(post(body_of(9), _ID)[:100_000])
        assert b" 413 " in read_message(client).split(b"\r\n")[0]
        assert read_all(client) == b""
        [refusal] = [event for event in running.events() if event.status_code == 413]
    assert body_of(9).startswith(refusal.request.body)


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_leaves_within_a_long_body_is_recorded_as_gone(tmp_path: Path, how: str) -> None:
    heard = Heard()
    with between(tmp_path, heard.script) as (running, _):
        with running.connect() as client:
            enter(running, client, body_of(0), _ID)
            client.sendall(post(body_of(9), _ID)[:100_000])
            wait_until(lambda: heard.size_bytes == 100_000)
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not running.sidecar._parts.connections)
        [gone] = [event for event in running.events() if event.status_code == 499]
    assert gone.truncated
    assert body_of(9).startswith(gone.request.body)
    assert gone.request.body


def test_a_model_server_that_closes_within_a_long_body_fails_that_request_only(tmp_path: Path) -> None:
    heard = 0

    def script(upstream: Upstream, connection: socket.socket) -> None:
        nonlocal heard
        while not heard and len(upstream.requests) < 4:
            upstream.read(connection)
            connection.sendall(OK)
        while heard <= 100_000:
            heard += len(connection.recv(65536))

    with between(tmp_path, script) as (running, _):
        with running.connect() as client:
            for number in range(4):
                ask(client, body_of(number), _ID)
            whole = post(body_of(9), _ID)
            client.sendall(whole[:100_000])
            wait_until(lambda: heard == 100_000)
            client.sendall(whole[100_000:100_100])
            assert b" 502 " in read_message(client).split(b"\r\n")[0]
            assert read_all(client) == b""
        [failed] = [event for event in running.events() if event.status_code == 502]
    assert failed.request.body == whole[whole.index(b"\r\n\r\n") + 4 : 100_100]


def test_a_model_server_that_is_too_slow_for_a_long_body_is_given_up(tmp_path: Path) -> None:
    heard = Heard()
    with between(tmp_path, heard.script) as (running, _), running.connect() as client:
        enter(running, client, body_of(0), _ID)
        client.sendall(post(body_of(9), _ID)[:100_000])
        wait_until(lambda: heard.size_bytes == 100_000)
        [upper] = running.sidecar.pool.connections
        on_loop(running, lambda: upper.fail(REASON_TIMEOUT, "too slow"))
        assert b" 504 " in read_message(client).split(b"\r\n")[0]
        assert read_all(client) == b""


def test_a_model_server_that_does_not_read_holds_the_client_back(tmp_path: Path) -> None:
    go = threading.Event()
    long = post(body_of(7) * _MANY, _ID)
    heard = bytearray()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        for _ in range(3):
            upstream.read(connection)
            connection.sendall(OK)
        go.wait(60)
        while len(heard) < len(long):
            heard.extend(connection.recv(1 << 20))
        connection.sendall(OK)

    with between(tmp_path, script) as (running, _), running.connect() as client:
        for number in range(3):
            ask(client, body_of(number), _ID)
        sender = threading.Thread(target=client.sendall, args=(long,))
        sender.start()
        [upper] = running.sidecar.pool.connections
        wait_until(lambda: upper.transport.get_write_buffer_size() > 0)
        sender.join(0.2)
        assert sender.is_alive()
        assert upper.transport.get_write_buffer_size() < 2 * _SIZE
        go.set()
        sender.join(60)
        assert read_message(client).endswith(b"{}")
    assert heard == long
