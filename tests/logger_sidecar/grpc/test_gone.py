"""One of the two goes, or was never there: callers are told what they would be told without the sidecar."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.http2.frames import PREFACE, SETTINGS, frame
from logger_sidecar.http2.splice import Http2Connection, SpliceParts
from tests.logger_sidecar.grpc.conversations import Observed, read_frames
from tests.logger_sidecar.grpc.servers import (
    INFER,
    READY,
    STREAM_INFER,
    call,
    channel,
    framed,
    infer_request,
    served,
)
from tests.logger_sidecar.wire import Running, Upstream, read_all, sidecar
from tests.parts.processes import refusing_socket, wait_until


@pytest.fixture
def closed() -> Iterator[tuple[socket.socket, int]]:
    """Refuses connections."""
    with refusing_socket() as refusing:
        yield refusing


def codes(running: Running) -> dict[tuple[str, int], int]:
    counted: dict[tuple[str, int], int] = {}
    for stream in running.sidecar.meters._streams.values():
        for key, count in stream.requests.items():
            counted[key] = counted.get(key, 0) + count
    return counted


def answers(made: grpc.Channel) -> bool:
    future = made.unary_unary(INFER).future(infer_request(), timeout=60, wait_for_ready=True)
    assert future.code() in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    return future.code() == grpc.StatusCode.OK


def test_a_server_that_cannot_be_reached_is_unavailable(tmp_path: Path, closed: tuple[socket.socket, int]) -> None:
    _, port = closed
    with sidecar(f"http://127.0.0.1:{port}", tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            for method in (INFER, READY, INFER):
                with pytest.raises(grpc.RpcError) as caught:
                    call(made, method, infer_request())
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
                assert f"127.0.0.1:{port} cannot be reached" in caught.value.details()
                told = [item.value for item in caught.value.trailing_metadata() if item.key == "x-request-id"]
                assert len(told) == (method == INFER)
        assert running.sidecar.meters._upstream_errors == {"connect_refused": 3}
        events = running.events()
        assert codes(running) == {("v2-grpc", 503): 2}
    assert [(event.model, event.grpc_status, event.status_code) for event in events] == [("iris", 14, 200)] * 2
    assert events[-1].request_id == told[0]


def test_every_call_is_answered_and_logged_once_however_many_goodbyes_it_meets(
    tmp_path: Path, closed: tuple[socket.socket, int]
) -> None:
    found: Counter[tuple[grpc.StatusCode, bool]] = Counter()
    connections: set[object] = set()
    with (
        sidecar(f"http://127.0.0.1:{closed[1]}", tmp_path) as running,
        channel(running.sidecar.listen_port, ("grpc.max_reconnect_backoff_ms", 100)) as made,
    ):
        ask = made.unary_unary(INFER)
        while len(connections) < 5:  # each but the last has said goodbye
            asked = [ask.future(infer_request(), timeout=120, wait_for_ready=True) for _ in range(16)]
            found.update((each.code(), "cannot be reached" in each.details()) for each in asked)
            connections.update(running.sidecar._parts.connections)
        connections.clear()
        assert list(found) == [(grpc.StatusCode.UNAVAILABLE, True)]
        made.close()
        events = running.events()
    assert Counter(event.grpc_status for event in events) == {14: found.total()}


def test_a_stream_to_a_server_that_cannot_be_reached_is_unavailable(
    tmp_path: Path, closed: tuple[socket.socket, int]
) -> None:
    with (
        sidecar(f"http://127.0.0.1:{closed[1]}", tmp_path) as running,
        channel(running.sidecar.listen_port) as made,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            list(call(made, STREAM_INFER, iter([infer_request()] * 3)))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_server_that_comes_back_is_found_again(tmp_path: Path, closed: tuple[socket.socket, int]) -> None:
    bound, port = closed
    with sidecar(f"http://127.0.0.1:{port}", tmp_path) as running, channel(running.sidecar.listen_port) as made:
        with pytest.raises(grpc.RpcError):
            call(made, INFER, infer_request())
        bound.close()
        with served(address=f"127.0.0.1:{port}"):
            wait_until(lambda: answers(made))


@pytest.mark.parametrize("goes", ["says it is done", "is torn away"])
def test_a_server_that_goes_in_mid_call_is_unavailable(tmp_path: Path, goes: str) -> None:
    def vanish(upstream: Upstream, connection: socket.socket) -> None:
        connection.sendall(b"\0\0\0\4\0\0\0\0\0")  # its settings
        begun.wait(60)
        if goes == "is torn away":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:  # as one whose process ends; by what the client then does, the call must not be judged
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)

    begun = threading.Event()
    upstream = Upstream(vanish)
    try:
        with sidecar(upstream.url, tmp_path) as running, channel(running.sidecar.listen_port) as made:
            future = made.unary_unary(INFER).future(infer_request(), timeout=60)
            wait_until(lambda: running.sidecar._requests_inflight() == 1)
            begun.set()
            assert future.exception(60).code() == grpc.StatusCode.UNAVAILABLE
            [event] = running.events()
            assert codes(running) == {("v2-grpc", 503): 1}
            assert running.sidecar.meters._upstream_errors == {"closed_mid_response": 1}
    finally:
        upstream.close()
    assert (event.grpc_status, event.status_code) == (14, 503)
    assert event.request.body == framed(infer_request())


def test_a_client_that_goes_in_mid_call_is_counted_and_its_call_cancelled(tmp_path: Path) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        assert context.add_callback(cancelled.set)
        begun.set()
        cancelled.wait(60)
        return request

    with served(infer=wait) as server, sidecar(server.url, tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            future = made.unary_unary(INFER).future(infer_request(), timeout=60)
            assert begun.wait(60)
        assert cancelled.wait(60)
        assert future.code() == grpc.StatusCode.CANCELLED
        wait_until(lambda: running.sidecar._open_connections() == 0)
        [event] = running.events()
    assert (event.grpc_status, event.status_code) == (1, 499)


def test_a_server_that_says_goodbye_is_asked_again_on_a_new_connection(tmp_path: Path) -> None:
    options = [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 5000)]
    with served(options) as server, sidecar(server.url, tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            ports: set[str] = set()
            while len(ports) < 3:
                assert call(made, INFER, infer_request()) == infer_request()
                ports.update(map(str, running.sidecar._parts.connections))
        outcomes = running.events()
    assert {event.grpc_status for event in outcomes} == {0}


def test_a_drain_answers_what_is_in_flight(tmp_path: Path) -> None:
    go_on = threading.Event()

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        go_on.wait(60)
        return request

    with served(infer=wait) as server, sidecar(server.url, tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            future = made.unary_unary(INFER).future(infer_request(), timeout=60)
            wait_until(lambda: bool(server.seen))
            running.loop.call_soon_threadsafe(running.sidecar.stop)
            wait_until(lambda: running.sidecar._parts.draining)
            go_on.set()
            assert future.result(60) == infer_request()
            running.thread.join(60)
            assert not running.thread.is_alive()
        assert len(running.events()) == 1


def test_a_drain_closes_what_is_idle_at_once(tmp_path: Path) -> None:
    with (
        served() as server,
        sidecar(server.url, tmp_path, drain_timeout_s=60.0) as running,
        channel(running.sidecar.listen_port) as made,
    ):
        call(made, INFER, infer_request())
        running.stop()


def test_a_client_that_does_not_heed_a_goodbye_is_closed(tmp_path: Path) -> None:
    with (
        served() as server,
        sidecar(server.url, tmp_path, drain_timeout_s=60.0, idle_timeout_s=0.5) as running,
        running.connect() as connection,
    ):
        connection.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
        connection.settimeout(60)
        said = b""
        while piece := connection.recv(65536):  # idle for so long that it is told to go, and then closed
            said += piece
    assert "GoAwayFrame" in [read[0] for read in read_frames(said)]


def test_a_server_that_reads_slowly_holds_the_client_back(tmp_path: Path) -> None:
    release = threading.Event()

    def read_late(upstream: Upstream, connection: socket.socket) -> None:
        release.wait(60)
        while piece := connection.recv(1 << 20):
            got.append(len(piece))

    got: list[int] = []
    upstream = Upstream(read_late)
    chunk = b"\0\x40\0\0\0\0\0\0\1" + b"x" * 16384
    sent = 0
    try:
        with sidecar(upstream.url, tmp_path) as running, running.connect() as connection:
            connection.sendall(PREFACE)
            connection.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                while sent < 200 << 20:
                    sent += connection.send(chunk[sent % len(chunk) :])
            assert sent < 100 << 20  # what the sockets hold, and no more
            release.set()
            connection.settimeout(60)
            connection.shutdown(socket.SHUT_WR)
            wait_until(lambda: sum(got) == sent + len(PREFACE))
    finally:
        upstream.close()


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with served() as server, sidecar(server.url, tmp_path_factory.mktemp("spool")) as running:
        yield running


@given(st.binary(max_size=500), st.integers(1, 200))
def test_noise_behind_the_preface_stops_nothing(open_house: Running, noise: bytes, step: int) -> None:
    data = PREFACE + noise
    with open_house.connect() as connection, contextlib.suppress(ConnectionError):
        for position in range(0, len(data), step):
            connection.sendall(data[position : position + step])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert open_house.thread.is_alive()


def test_after_all_that_noise_calls_are_answered(open_house: Running) -> None:
    with channel(open_house.sidecar.listen_port) as made:
        assert call(made, INFER, infer_request()) == infer_request()
    wait_until(lambda: open_house.sidecar._open_connections() == 0)


class ClosedTransport(asyncio.Transport):
    """A transport that is closed, or closing with something left to write: as uvloop's, it takes nothing more."""

    def __init__(self, *, is_closing: bool = False) -> None:
        super().__init__()
        self._closing = is_closing
        self.written = b""

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            raise RuntimeError("the handler is closed")
        self.written += data


class Registered:
    """Knows the connections that are open."""

    def __init__(self) -> None:
        self.open: set[Http2Connection] = set()

    def opened(self, connection: Http2Connection) -> None:
        self.open.add(connection)

    def closed(self, connection: Http2Connection) -> None:
        self.open.discard(connection)


def test_the_end_of_the_sidecar_says_nothing_to_a_client_that_is_gone_already() -> None:
    """Its server's side may take a while to close, and until then the connection counts as open."""
    registered = Registered()
    server: list[tuple[ClosedTransport, asyncio.Protocol]] = []

    async def connect(make: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Transport, asyncio.Protocol]:
        server.append((ClosedTransport(), make()))
        server[-1][1].connection_made(server[-1][0])
        return server[-1]

    async def scenario() -> None:
        connection = Http2Connection(SpliceParts(Observed().parts, registered, connect, "model", 1.0))
        client = ClosedTransport()
        connection.connection_made(client)
        await asyncio.sleep(0.01)
        connection.data_received(PREFACE)
        connection.server_said(frame(SETTINGS, 0, 0))
        client.close()
        connection.connection_lost(None)
        assert registered.open == {connection}
        connection.drain()
        server[0][1].connection_lost(None)
        assert registered.open == set()

    asyncio.run(scenario())


def test_a_client_that_has_just_come_is_not_told_goodbye_with_the_settings() -> None:
    """gRPC's core would wait for another connection for twenty seconds."""

    async def refuse(_make: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Transport, asyncio.Protocol]:
        raise ConnectionRefusedError

    async def scenario() -> None:
        connection = Http2Connection(SpliceParts(Observed().parts, Registered(), refuse, "model", 1.0))
        client = ClosedTransport()
        connection.connection_made(client)
        connection.data_received(PREFACE)
        await asyncio.sleep(0.01)
        connection.tick(300)
        assert [each[0] for each in read_frames(client.written)] == ["SettingsFrame"]
        connection.tick(300)
        assert [each[0] for each in read_frames(client.written)] == ["SettingsFrame", "GoAwayFrame"]

    asyncio.run(scenario())
