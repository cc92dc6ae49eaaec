"""Connections in the fast lane are closed, timed, stopped and counted as others are; without a lane, all are others."""

import dataclasses
import functools
import select
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from tests.logger_sidecar.wire import OK, Running, Upstream, answering, between, post, read_all, read_message, receive
from tests.parts.processes import wait_until

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def ask(client: socket.socket, body: bytes = b"{}", *headers: str) -> bytes:
    client.sendall(post(body, *headers))
    return read_message(client)


def in_lane(running: Running) -> list[bool]:
    """Of each client whether it is in the lane."""
    return [each.lane_fd >= 0 for each in running.sidecar._parts.connections]  # type: ignore[attr-defined]


def both_in_lane(running: Running) -> bool:
    """Whether the only client and the only connection to the model server are."""
    [upper] = running.sidecar.pool.connections
    return in_lane(running) == [True] and upper.lane_fd >= 0


def turned(upstream: Upstream, connection: socket.socket) -> None:
    """A model server that answers with the body, turned round."""
    while request := upstream.read(connection):
        body = request.partition(b"\r\n\r\n")[2][::-1]
        connection.sendall(_HEAD % len(body) + body)


def enter(running: Running, client: socket.socket, body: bytes = b"{}", *headers: str) -> None:
    """Requests that say the same, until the connection is in the lane, where there is one."""
    lane = running.sidecar._lane
    for _ in range(3):
        ask(client, body, *headers)

    while lane is not None and not any(in_lane(running)):  # a stopwatch may have been in the way
        ask(client, body, *headers)


def on_loop(running: Running, work: Callable[[], None]) -> None:
    done: Future[None] = Future()

    def call() -> None:
        work()
        done.set_result(None)

    running.loop.call_soon_threadsafe(call)
    done.result(60)


def silent_on(word: bytes, held: threading.Event | None = None) -> Callable[[Upstream, socket.socket], None]:
    """Answers all requests but those with this word, or those too, once somebody says so."""

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while request := upstream.read(connection):
            if word not in request:
                connection.sendall(OK)
            elif held is None:
                connection.recv(1)
                return
            else:
                held.wait(60)
                connection.sendall(OK)

    return script


def trace(number: int) -> str:
    """Header lines of its own for each number."""
    return f"traceparent: 00-{number + 1:032x}-{number + 1:016x}-01\r\ntracestate: {'a=b, ' * number}congo={number}"


def test_messages_that_differ_in_id_trace_length_and_date_stay_in_it(tmp_path: Path) -> None:
    dated = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:%02d GMT\r\nContent-Length: %d\r\n\r\n"

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while request := upstream.read(connection):
            size = len(request.partition(b"\r\n\r\n")[2])
            connection.sendall(dated % (size % 60, size) + b"." * size)

    with between(tmp_path, script) as (running, _), running.connect() as client:
        enter(running, client, b"{}", "x-request-id: first", trace(99))
        for number in range(20):
            answer = ask(client, b" " * number * number, f"x-request-id: r{number}", trace(number))
            assert f"\r\nx-request-id: r{number}\r\n" in answer.decode()
            assert answer.endswith(b"\n" + b"." * number * number)
            assert both_in_lane(running) is (running.sidecar._lane is not None)
        events = {event.request_id: (len(event.request.body), event.traceparent) for event in running.events()}
    said = [(number * number, trace(number).partition(": ")[2].partition("\r\n")[0]) for number in range(20)]
    assert [events[f"r{number}"] for number in range(20)] == said


def test_large_bodies_stay_whole_however_their_heads_and_lengths_change(tmp_path: Path) -> None:
    with between(tmp_path, turned) as (running, _), running.connect() as client:
        enter(running, client, b"a" * 8192, "x-request-id: r-00")
        sent = []
        for number in range(24):
            # Every third is as long as the one before it, with more of it in the head, and every fourth is short.
            name = f"r-{number:02}" + "x" * (number % 3)
            size = 100 if number % 4 == 3 else 8192 + number // 3 - number % 3
            body = bytes(97 + (number + place) % 26 for place in range(size))
            answer = ask(client, body, f"x-request-id: {name}")
            assert answer.endswith(b"\r\n\r\n" + body[::-1])
            assert f"\r\nx-request-id: {name}\r\n" in answer.decode()
            sent.append((name, body))
        events = {event.request_id: event for event in running.events()}
    assert [(name, events[name].request.body, events[name].response.body) for name, _ in sent] == [
        (name, body, body[::-1]) for name, body in sent
    ]


def test_a_large_request_that_finds_its_connection_closed_is_sent_again_whole(tmp_path: Path) -> None:
    closing = threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while request := upstream.read(connection):
            if b"unheard" in request and not closing.is_set():
                closing.set()
                return
            body = request.partition(b"\r\n\r\n")[2]
            connection.sendall(_HEAD % len(body) + body)

    with between(tmp_path, script) as (running, upstream), running.connect() as client:
        enter(running, client, b"a" * 9000)
        body = b"unheard".ljust(9000, b".")
        assert ask(client, body).endswith(b"\r\n\r\n" + body)
        assert [request.endswith(b"\r\n\r\n" + body) for request in upstream.requests if b"unheard" in request] == [
            True,
            True,
        ]
        events = [event for event in running.events() if event.request.body == body]
    assert [event.response.body for event in events] == [body]


def test_a_model_server_that_does_not_answer_is_given_up_and_the_client_goes_on(tmp_path: Path) -> None:
    with between(tmp_path, silent_on(b"<>")) as (running, upstream), running.connect() as client:
        enter(running, client)
        before = len(upstream.requests)
        client.sendall(post(b"<>"))
        wait_until(lambda: len(upstream.requests) > before)
        on_loop(running, lambda: running.sidecar.pool.tick(0, 1000))
        assert b" 504 " in read_message(client).split(b"\r\n")[0]
        for _ in range(3):
            assert ask(client).startswith(b"HTTP/1.1 200")
        events = running.events()
    assert [event.status_code for event in events if event.request.body == b"<>"] == [504]
    assert {event.status_code for event in events if event.request.body == b"{}"} == {200}


def test_a_silent_client_is_closed(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client)
        connections = running.sidecar._parts.connections

        def tick() -> None:
            for each in list(connections):
                each.tick(0)

        on_loop(running, tick)
        assert client.recv(1) == b""
        wait_until(lambda: not connections)
        on_loop(running, lambda: running.sidecar.pool.tick(1000, 0))
        wait_until(lambda: not running.sidecar.pool.connections)


def test_at_the_end_what_is_in_flight_is_answered_and_the_idle_are_closed(tmp_path: Path) -> None:
    held = threading.Event()
    with between(tmp_path, silent_on(b"<>", held), drain_timeout_s=60.0) as (running, upstream):
        with running.connect() as busy, running.connect() as idle:
            enter(running, idle)
            enter(running, busy)
            before = len(upstream.requests)
            busy.sendall(post(b"<>"))
            wait_until(lambda: len(upstream.requests) > before)
            running.loop.call_soon_threadsafe(running.sidecar.stop)
            assert read_all(idle) == b""
            held.set()
            assert read_all(busy).startswith(b"HTTP/1.1 200")
        events = running.events()
    assert any(event.request.body == b"<>" for event in events)


def test_a_client_that_does_not_read_gets_every_byte_in_order(tmp_path: Path) -> None:
    size = 60_000

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            connection.sendall(_HEAD % size + b"%07d" % len(upstream.requests) + b"." * (size - 7))

    with between(tmp_path, script, max_body_bytes=100) as (running, upstream), running.connect() as client:
        made, sent = running.sidecar, 0

        def is_answered(count: int) -> bool:
            return len(upstream.requests) == count and (made._requests_inflight() == 0 or is_full())

        def is_full() -> bool:
            return any(each.transport.get_write_buffer_size() > 0 for each in list(made._parts.connections))

        while not is_full():
            client.sendall(post(b"{}", "x-request-id: r"))
            sent += 1
            wait_until(functools.partial(is_answered, sent))
        client.sendall(post(b"{}", "x-request-id: r"))
        for number in range(1, sent + 2):
            whole = receive(client, len(_HEAD % size) + len(b"x-request-id: r\r\n") + size)
            assert whole.partition(b"\r\n\r\n")[2] == b"%07d" % number + b"." * (size - 7)
        assert len(running.events()) == sent + 1


def test_a_model_server_that_reads_slowly_gets_every_byte(tmp_path: Path) -> None:
    go = threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        for _ in range(3):
            upstream.read(connection)
            connection.sendall(OK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while True:
            go.wait(60)
            if not upstream.read(connection):
                return
            connection.sendall(OK)

    body = b"{" + b" " * 60_000 + b"}"
    with between(tmp_path, script) as (running, upstream), running.connect() as client:
        for _ in range(3):
            ask(client, body, "x-request-id: r")
        for _ in range(5):
            go.clear()
            client.sendall(post(body, "x-request-id: r"))
            go.set()
            assert read_message(client).endswith(b"{}")
        assert [len(each) for each in upstream.requests] == [len(post(body, "x-request-id: r"))] * 8
        assert [event.request.body for event in running.events()] == [body] * 8


def test_a_client_that_breaks_off_within_its_request_is_recorded_as_gone(tmp_path: Path) -> None:
    with between(tmp_path, silent_on(b"<>")) as (running, upstream):
        with running.connect() as client:
            enter(running, client)
            before = len(upstream.requests)
            client.sendall(post(b"<>"))
            wait_until(lambda: len(upstream.requests) > before)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not running.sidecar._parts.connections)
        [gone] = [event for event in running.events() if event.request.body == b"<>"]
    assert gone.status_code == 499


def test_a_client_that_has_said_all_still_gets_its_answer(tmp_path: Path) -> None:
    held = threading.Event()
    with between(tmp_path, silent_on(b"<>", held)) as (running, upstream), running.connect() as client:
        enter(running, client)
        before = len(upstream.requests)
        client.sendall(post(b"<>"))
        wait_until(lambda: len(upstream.requests) > before)
        client.shutdown(socket.SHUT_WR)
        held.set()
        assert read_all(client).endswith(b"{}")


def test_a_kept_connection_that_the_model_server_closes_costs_no_request(tmp_path: Path) -> None:
    closing = threading.Event()

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while not closing.is_set():
            if select.select([connection], [], [], 0.01)[0]:
                if not upstream.read(connection):
                    return
                connection.sendall(OK)
        closing.clear()

    with between(tmp_path, script) as (running, upstream), running.connect() as client:
        enter(running, client)
        [kept] = running.sidecar.pool.connections
        closing.set()
        wait_until(lambda: kept not in running.sidecar.pool.connections)
        for _ in range(4):
            assert ask(client).endswith(b"{}")
        assert upstream.connections == 2
        assert {event.status_code for event in running.events()} == {200}


def test_settings_that_change_hold_from_the_next_request_on(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client, b"{}", "x-team: a")
        changed = dataclasses.replace(running.settings, capture_headers=("x-team",))
        on_loop(running, lambda: running.sidecar._live.follow(changed))
        ask(client, b"<>", "x-team: a")
        events = running.events()
    assert [event.request.headers for event in events if event.request.body == b"<>"] == [{"x-team": "a"}]
    assert all(event.request.headers == {} for event in events if event.request.body == b"{}")


def test_a_stopwatch_measures_in_the_lane_too(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client)
        made = running.sidecar

        def measured() -> dict[str, int]:
            return {direction: sum(buckets) for direction, buckets in made._stopwatches._overhead._buckets.items()}

        stream = made.meters._streams["iris", "", "stable"]
        stream.examples.clear()
        before = measured()
        on_loop(running, lambda: made._stopwatches.tick(list(made._parts.connections), made.pool.connections))
        ask(client, b"{}")
        wait_until(lambda: measured()["out"] > before["out"])
        assert measured()["in"] > before["in"]
        wait_until(lambda: bool(stream.examples))


def test_what_fails_in_it_ends_that_connection_and_no_other(tmp_path: Path) -> None:
    broken = threading.Event()

    def clock() -> float:
        if broken.is_set():
            raise RuntimeError("no time")
        return 1_700_000_000.0

    with between(tmp_path, answering(OK), clock=clock) as (running, _):
        with running.connect() as client, running.connect() as other:
            enter(running, client)
            broken.set()
            client.sendall(post())
            assert read_all(client) == b""
            broken.clear()
            assert ask(other).endswith(b"{}")
        wait_until(lambda: not running.sidecar._parts.connections)
