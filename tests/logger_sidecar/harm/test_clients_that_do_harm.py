"""Ten thousand clients that say nothing, and hundreds that say it slowly, are of no concern to the others."""

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline import names
from tests.logger_sidecar.harm.rig import Figures, SidecarProcess, alternate, settled, sidecar_process
from tests.parts.processes import wait_until

CONNECTIONS = 10_000
_REQUEST = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for so many sockets, here and in the processes that are started here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 2000
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (ValueError, OSError):
            pytest.skip(f"needs {wanted} open files; ulimit -n allows {hard}")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_ten_thousand_idle_connections_cost_little_memory_and_no_one_else_anything(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures, many_files: None
) -> None:
    with sidecar_process(tmp_path, echo) as sidecar, contextlib.ExitStack() as idle:
        alternate(healthy, sidecar, rounds=1)
        before = sidecar.rss_bytes()
        sockets = [idle.enter_context(_connect(sidecar.port)) for _ in range(CONNECTIONS)]
        gauge = f"{names.SIDECAR_CONNECTIONS.name} {float(CONNECTIONS)}"
        wait_until(lambda: gauge in sidecar.metrics(), 120, f"{CONNECTIONS} open connections")
        silent = (sidecar.rss_bytes() - before) / CONNECTIONS
        without, with_fault = alternate(healthy, sidecar)
        figures.compare(f"{CONNECTIONS} idle connections", without, with_fault)
        for client in sockets:
            client.sendall(_REQUEST)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        used = (sidecar.rss_bytes() - before) / CONNECTIONS
        figures.say(
            f"{CONNECTIONS} idle connections: {silent:.0f} bytes each that never spoke, {used:.0f} bytes each after "
            "one request"
        )
        assert used < 32 * 1024
        assert settled(sidecar.outcomes, 4000 + CONNECTIONS) == {"logged": 4000 + CONNECTIONS}


@pytest.mark.slow
def test_clients_that_drip_their_heads_disturb_nobody_and_are_closed_in_the_end(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    with sidecar_process(tmp_path, echo, sidecar_idle_timeout_s=3) as sidecar, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(_connect(sidecar.port)) for _ in range(300)]
        stopped = stack.enter_context(_connect(sidecar.port))
        stopped.sendall(_REQUEST[:20])
        enough = threading.Event()
        dripper = threading.Thread(target=_drip, args=(slow, enough))
        dripper.start()
        stack.callback(dripper.join, 60)
        stack.callback(enough.set)
        without, with_fault = alternate(healthy, sidecar)
        figures.compare("300 clients drip their heads", without, with_fault)
        # A client that has stopped in the middle of its head, and those that never come to its end.
        assert _is_closed(stopped)
        assert all(_is_closed(client) for client in slow)


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def _drip(clients: list[socket.socket], enough: threading.Event) -> None:
    """A byte every fifth of a second to each, of a head that goes on for ever."""
    head = b"POST /v2/models/echo/infer HTTP/1.1\r\nHost: t\r\n" + b"X-More: yes\r\n" * 10_000
    for position in range(len(head)):
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(head[position : position + 1])
        if enough.wait(0.2):
            return


def _is_closed(client: socket.socket) -> bool:
    """Whether the other side closes within the socket's timeout; an answer that says why may come before that."""
    deadline = time.monotonic() + 120
    with contextlib.suppress(ConnectionError):
        try:
            while client.recv(65536):
                if time.monotonic() > deadline:
                    return False
        except TimeoutError:
            return False
    return True
