"""Raw sockets for the proxy's tests: scripted model servers, a sidecar in a thread, and what they said."""

import asyncio
import contextlib
import dataclasses
import functools
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop

from driftline.clock import Clock
from driftline.events import InferenceEvent
from driftline.testing import ManualClock
from logger_sidecar.config_file import Sources
from logger_sidecar.finishing.finisher import FinishingProcess
from logger_sidecar.finishing.wire import Setup
from logger_sidecar.recording import recorder
from logger_sidecar.recording.recorder_settings import RecorderSettings
from logger_sidecar.server import Sidecar
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.spool.source import SpoolSource

PATH = "/v2/models/iris/infer"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def post(body: bytes = b"{}", *headers: str, path: str = PATH) -> bytes:
    """A POST request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_message(connection: socket.socket, *, body: bool = True) -> bytes:
    """One HTTP message: head, and the body it announces; what came, where the stream ends early."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    lower = head.lower()
    if not body:
        return data
    if b"transfer-encoding: chunked" in lower:
        while not rest.endswith(b"0\r\n\r\n"):
            piece = connection.recv(65536)
            if not piece:
                break
            rest += piece
    elif b"content-length:" in lower:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(rest) < length:
            piece = connection.recv(65536)
            if not piece:
                break
            rest += piece
    return head + b"\r\n\r\n" + rest


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return data


class Upstream:
    """A model server that does on each connection what ``script`` says; keeps the requests it read.

    ``path``: of the Unix socket that it listens on; None: it listens on a port.
    """

    def __init__(self, script: Callable[["Upstream", socket.socket], None], path: Path | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = script
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
            self.url = f"http://127.0.0.1:{self.port}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
            self.url = f"unix:{path}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def read(self, connection: socket.socket) -> bytes:
        """The next request; empty at the end of the connection."""
        request = read_message(connection)
        if request:
            self.requests.append(request)
        return request

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._script(self, connection)
            connection.close()


def answering(response: bytes) -> Callable[[Upstream, socket.socket], None]:
    """Answers every request with the same bytes."""

    def script(upstream: Upstream, connection: socket.socket) -> None:
        while upstream.read(connection):
            connection.sendall(response)

    return script


@dataclasses.dataclass
class Running:
    """A sidecar that runs, with its spool."""

    sidecar: Sidecar
    settings: SidecarSettings
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.sidecar.listen_port}"

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.sidecar.listen_port), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ask(self, request: bytes) -> bytes:
        """One request on a connection of its own, and its answer."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_message(connection)

    def admin(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.sidecar.admin_port}{path}", timeout=60) as answer:
            return answer.read().decode()

    def stop(self) -> None:
        """Drain and end, as SIGTERM does."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.sidecar.stop)
        self.thread.join(120)  # on a slow machine the finishing process alone takes many seconds
        assert not self.thread.is_alive()

    def events(self) -> list[InferenceEvent]:
        """Stop, then everything in the spool."""
        self.stop()
        return spooled(self.settings.spool_directory)

    def outcomes(self) -> dict[str, int]:
        """What the capture counters say, summed over streams."""
        counted: dict[str, int] = {}
        for stream in [*self.sidecar.meters._streams.values(), self.sidecar.meters._other]:
            found = {"logged": stream.logged, "sampled_out": stream.sampled_out, **stream.dropped}
            for reason, count in [*found.items(), *stream.lost_by_reason.items()]:
                counted[reason] = counted.get(reason, 0) + count
            counted["requests"] = counted.get("requests", 0) + sum(stream.requests.values())
        return counted


def spooled(directory: Path) -> list[InferenceEvent]:
    """All events in a spool, read as the collector reads them."""
    source = SpoolSource(directory, "test", lambda _partition: None)
    events: list[InferenceEvent] = []
    while records := source.poll(1000, 0.0):
        for record in records:
            assert isinstance(record.content, InferenceEvent), record
            events.append(record.content)
    source.close()
    return events


class RecorderThread:
    """A recorder in a thread of this process: the same work over the same socket, without the time a process takes."""

    pid = -1

    def __init__(self, settings: RecorderSettings, theirs: socket.socket) -> None:
        self._connection = theirs.dup()
        finisher = FinishingProcess(Setup())
        self._thread = threading.Thread(target=recorder.run, args=(settings, self._connection, finisher), daemon=True)
        self._thread.start()

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else 0

    def wait(self, timeout: float | None = None) -> int:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("recorder", timeout or 0.0)
        self._connection.close()
        return 0

    def kill(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def sidecar(
    upstream: str,
    directory: Path,
    clock: Clock | None = None,
    sources: Sources | None = None,
    recorder_process: bool = False,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    **changes: object,
) -> Iterator[Running]:
    """A sidecar in a thread of this process, stopped at the end."""
    given = {
        "upstream": upstream,
        "listen_host": "127.0.0.1",
        "listen_port": 0,
        "admin_host": "127.0.0.1",
        "admin_port": 0,
        "spool_directory": directory,
        "sinks": (),
        "connect_timeout_s": 30.0,
        "drain_timeout_s": 5.0,
        **changes,
    }
    settings = SidecarSettings(**given)  # type: ignore[arg-type]
    assert settings.validate() == []
    loop = new_loop()
    starts = None if recorder_process else functools.partial(RecorderThread, settings.recorder())
    made = Sidecar(settings, None, clock or ManualClock(1_700_000_000.0), sources, starts)
    thread = threading.Thread(target=lambda: loop.run_until_complete(made.serve()), daemon=True)
    thread.start()
    assert made.started.wait(60)
    running = Running(made, settings, loop, thread)
    try:
        yield running
    finally:
        running.stop()
        loop.close()


@contextlib.contextmanager
def between(
    tmp_path: Path, script: Callable[[Upstream, socket.socket], None], **changes: object
) -> Iterator[tuple[Running, Upstream]]:
    """A sidecar in front of a model server that does what ``script`` says."""
    upstream = Upstream(script)
    try:
        with sidecar(upstream.url, tmp_path, **changes) as running:
            yield running, upstream
    finally:
        upstream.close()


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or what came before the end."""
    data = b""
    while len(data) < size and (piece := connection.recv(min(65536, size - len(data)))):
        data += piece
    return data
