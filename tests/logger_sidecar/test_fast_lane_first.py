"""A client that says from its first request on what another said before comes into the fast lane with it."""

import dataclasses
import socket
from hashlib import sha256
from pathlib import Path

import pytest

from tests.logger_sidecar.test_fast_lane import ask, enter, in_lane, on_loop, turned
from tests.logger_sidecar.wire import OK, Upstream, answering, between, post, read_all, read_message
from tests.parts.processes import wait_until

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def digested(upstream: Upstream, connection: socket.socket) -> None:
    """A model server that answers what it understood, in few bytes."""
    while request := upstream.read(connection):
        connection.sendall(_HEAD % 64 + sha256(request.partition(b"\r\n\r\n")[2]).hexdigest().encode())


@pytest.mark.parametrize("size", [2, 4_000, 16_384, 60_000, 300_000, 1_500_000])
def test_a_body_of_any_length_comes_whole_with_a_first_request(tmp_path: Path, size: int) -> None:
    body = bytes(97 + place % 26 for place in range(size))
    digest = sha256(body).hexdigest().encode()
    with between(tmp_path, digested) as (running, _):
        with running.connect() as client:
            enter(running, client, body, "x-request-id: r-00")
        for name in ("r-01", "longer-than-it", "s"):
            with running.connect() as client:
                answer = ask(client, body, f"x-request-id: {name}")
                assert answer.endswith(b"\r\n\r\n" + digest)
                assert f"\r\nx-request-id: {name}\r\n" in answer.decode()
                assert ask(client, body, "x-request-id: again").endswith(b"\r\n\r\n" + digest)
        events = {event.request_id: event for event in running.events()}
    kept = running.settings.max_body_bytes
    for name in ("r-01", "longer-than-it", "s", "again"):
        assert (events[name].request.body, events[name].response.body) == (body[:kept], digest)


def test_it_is_there_after_its_first_request(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client)
        with running.connect() as other:
            ask(other, b"[]")
            assert in_lane(running) == [running.sidecar._lane is not None] * 2


def test_a_first_request_in_pieces_or_with_another_behind_it_is_answered(tmp_path: Path) -> None:
    with between(tmp_path, turned) as (running, _), running.connect() as client:
        enter(running, client, b"abc")
        whole = post(b"abc")
        for cut in (1, len(whole) - 4, len(whole) - 3, len(whole) - 1, len(whole)):
            with running.connect() as other:
                other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                other.sendall(whole[:cut])
                wait_until(lambda: len(running.sidecar._parts.connections) == 2)
                other.sendall(whole[cut:])
                assert read_message(other).endswith(b"\r\n\r\ncba")
                other.sendall(post(b"abc") + post(b"xyz"))
                assert both_of(other).endswith(b"\r\n\r\nzyx")
        with running.connect() as other:
            other.sendall(post(b"abc") + post(b"xyz"))
            assert both_of(other).endswith(b"\r\n\r\nzyx")


def both_of(client: socket.socket) -> bytes:
    """Two answers, which may come in one piece."""
    answers = read_message(client)
    return answers if answers.count(b"HTTP/1.1 200 OK") == 2 else answers + read_message(client)


def test_settings_that_change_hold_for_the_next_client_s_first_request(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _):
        with running.connect() as client:
            enter(running, client, b"{}", "x-team: a")
        wait_until(lambda: not running.sidecar._parts.connections)
        changed = dataclasses.replace(running.settings, capture_headers=("x-team",))
        on_loop(running, lambda: running.sidecar._live.follow(changed))
        with running.connect() as client:
            ask(client, b"<>", "x-team: a")
        events = running.events()
    assert [event.request.headers for event in events if event.request.body == b"<>"] == [{"x-team": "a"}]


def test_one_that_says_something_else_is_read_as_ever(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client)
        with running.connect() as other:
            other.sendall(post(b"{}").replace(b"/models/", b"/no models/", 1))
            assert read_all(other).startswith(b"HTTP/1.1 400 ")
        with running.connect() as other:
            assert ask(other, b"{}", "x-team: b").endswith(b"{}")


def test_a_client_that_ends_between_two_requests_is_closed(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        wait_until(lambda: not running.sidecar._parts.connections)


def test_what_is_said_together_with_the_end_is_still_answered(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client)

        def both() -> None:  # nobody reads in between: the sidecar is here
            client.sendall(post(b"<>"))
            client.shutdown(socket.SHUT_WR)

        on_loop(running, both)
        assert read_all(client).endswith(b"{}")
