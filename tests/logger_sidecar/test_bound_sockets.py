"""Sockets to listen on: one for each address of a host, made without a thread."""

import socket
import subprocess
import sys

import pytest

from logger_sidecar.bound_sockets import bound_sockets

_LISTENING = """
import asyncio, threading, time, uvloop
from pathlib import Path
from logger_sidecar.admin import serve_admin
from logger_sidecar.proxy.handshakes import Handshakes
from logger_sidecar.proxy.listening import Port

async def main():
    await Port(asyncio.Protocol, None, Handshakes(time.monotonic)).open("", 0)
    await serve_admin("localhost", 0, {})
    print(len(list(Path("/proc/self/task").iterdir())))

uvloop.run(main())
"""


def test_every_interface_is_asked_for_by_an_empty_host() -> None:
    bound = bound_sockets("", 0)
    assert all(one.getsockname()[0] in ("0.0.0.0", "::") for one in bound)
    assert len({one.family for one in bound}) == len(bound)
    for one in bound:
        one.close()


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bound_sockets("127.0.0.1", taken.getsockname()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_process_that_listens_has_one_thread() -> None:
    done = subprocess.run([sys.executable, "-c", _LISTENING], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["1"]
