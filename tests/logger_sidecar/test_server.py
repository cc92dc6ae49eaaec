"""The sidecar as a process: signals, a killed shipper, a killed sidecar, and settings that name their faults."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from driftline.clock import system_clock
from driftline.errors import SettingsError
from driftline.settings import load
from logger_sidecar.server import Sidecar, environment_of, working_s
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.supervisor import Supervisor
from tests.logger_sidecar.wire import OK, Upstream, answering, between, post, read_message, spooled
from tests.parts.processes import free_ports, has_ended, wait_until

_MAIN = """
import os, sys
from driftline.clock import system_clock
from driftline.settings import load
from logger_sidecar.server import run
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.settings import SidecarSettings
settings = load(SidecarSettings, "SIDECAR", environ=os.environ)
shipper = load(ShipperSettings, "SHIPPER", environ=os.environ)
sys.exit(run(settings, shipper, system_clock))
"""


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        return read_message(connection)


@contextlib.contextmanager
def process(upstream: str, spool: Path, **changes: object) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A sidecar process that answers already; killed at the end."""
    port, shipper_port = free_ports(2)
    settings = {
        "upstream": upstream,
        "listen_host": "127.0.0.1",
        "listen_port": port,
        "admin_host": "127.0.0.1",
        "admin_port": 0,
        "spool_directory": spool,
        "sinks": "",
        "drain_timeout_s": 60.0,
        "grace_period_s": 90.0,
        **changes,
    }
    shipper = ShipperSettings(
        bootstrap_servers=("127.0.0.1:1",),
        admin_host="127.0.0.1",
        admin_port=shipper_port,
        request_timeout_s=0.3,
        drain_timeout_s=0.3,
    )
    environ = {**os.environ, **environment_of(shipper, "SHIPPER")}
    environ.update({f"DRIFTLINE_SIDECAR_{name.upper()}": str(value) for name, value in settings.items()})
    started = subprocess.Popen([sys.executable, "-c", _MAIN], env=environ, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port))
        yield started, port
    finally:
        started.kill()
        started.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def helpers(pid: int) -> dict[int, str]:
    """The modules that a sidecar has started as processes of their own, by process; not those that have just ended."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if len(command) > 2:
                found[int(child)] = command[2].decode()
    return found


def shippers(pid: int) -> list[int]:
    """The shippers that a sidecar has started and that run."""
    return [child for child, module in helpers(pid).items() if module == "logger_sidecar.shipping.shipper"]


@pytest.mark.parametrize("setting", ["listen_port", "grpc_listen_port", "admin_port"])
def test_a_port_that_is_taken_is_told_with_the_setting_that_asked_for_it(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = {"listen_port": 0, "admin_port": 0, setting: port}
        settings = SidecarSettings(
            listen_host="127.0.0.1", admin_host="127.0.0.1", spool_directory=tmp_path, sinks=(), **chosen
        )
        made = Sidecar(settings, None, system_clock)
        with pytest.raises(SettingsError, match=f"{setting} is {port}, .*: Address already in use"):
            uvloop.run(made.start())


@pytest.mark.parametrize(
    ("host", "words"), [("no..host", "no name of a host"), ("192.0.2.1", "Cannot assign requested address")]
)
@pytest.mark.parametrize("setting", ["listen_host", "admin_host"])
def test_a_host_that_nobody_can_listen_on_is_told_with_its_setting(
    tmp_path: Path, setting: str, host: str, words: str
) -> None:
    chosen = {"listen_host": "127.0.0.1", "admin_host": "127.0.0.1", setting: host}
    settings = SidecarSettings(listen_port=0, admin_port=0, spool_directory=tmp_path, sinks=(), **chosen)
    with pytest.raises(SettingsError, match=f"{setting} is {host}, .*: {words}"):
        uvloop.run(Sidecar(settings, None, system_clock).start())


def test_without_time_limits_everything_is_looked_after_all_the_same(tmp_path: Path) -> None:
    without = {"response_timeout_s": math.inf, "idle_timeout_s": math.inf}
    with between(tmp_path, answering(OK), **without) as (running, _):
        running.ask(post())
        wait_until(lambda: any(each.silent_ticks > 1 for each in running.sidecar.pool.connections))


def test_what_fails_while_all_is_looked_after_is_logged_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Supervisor):
        ticks = 0

        def tick(self) -> None:
            self.ticks += 1
            raise MemoryError("for a moment")

    failing = Failing("timeit", {}, time.monotonic)
    with between(tmp_path, answering(OK), idle_timeout_s=0.5) as (running, _):
        running.sidecar._supervisor = failing
        wait_until(lambda: failing.ticks > 1)
    assert "looking after connections and helpers failed" in caplog.text


def test_sigterm_flushes_the_spool_and_exits_0(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with process(upstream.url, tmp_path) as (sidecar, port):
        for number in range(20):
            ask(port, post(b"{}", f"x-request-id: {number}"))
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(120) == 0
    upstream.close()
    assert [event.request_id for event in spooled(tmp_path)] == [str(number) for number in range(20)]


@pytest.mark.slow
def test_a_second_sigterm_hurts_nothing_and_all_ends_within_the_grace_period(tmp_path: Path) -> None:
    def stream(upstream: Upstream, connection: socket.socket) -> None:
        upstream.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        connection.recv(1)

    upstream = Upstream(stream)
    limits = {"drain_timeout_s": 60.0, "grace_period_s": 4.0, "sinks": "kafka"}
    with (
        process(upstream.url, tmp_path, **limits) as (sidecar, port),
        socket.create_connection(("127.0.0.1", port), timeout=60) as client,
    ):
        client.sendall(post())
        assert client.recv(100)
        wait_until((tmp_path / "writer.lock").exists)  # or the recorder's start is part of the grace period
        began_s = time.monotonic()
        sidecar.terminate()
        wait_until(lambda: not _listens(port))
        while sidecar.poll() is None:
            sidecar.terminate()
            time.sleep(0.05)
        assert sidecar.returncode == 0
        assert 1.0 <= time.monotonic() - began_s < 60.0
    upstream.close()
    [event] = spooled(tmp_path)
    assert (event.truncated, event.response.body) == (True, b"a")


@pytest.mark.parametrize("grace_s", [0.1, 1.0, 4.0, 30.0, 600.0])
def test_sinks_that_hang_leave_time_to_leave(grace_s: float) -> None:
    assert 0.5 * grace_s < working_s(grace_s) < grace_s


@pytest.mark.slow
def test_a_killed_sidecar_leaves_a_spool_that_is_read_and_continued(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with process(upstream.url, tmp_path) as (sidecar, port):
        ask(port, post(b"{}", "x-request-id: first"))
        wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob("*.segment")))
        sidecar.kill()
        sidecar.wait()
    with process(upstream.url, tmp_path) as (sidecar, port):
        ask(port, post(b"{}", "x-request-id: second"))
        sidecar.terminate()
        assert sidecar.wait(120) == 0
    upstream.close()
    assert [event.request_id for event in spooled(tmp_path)] == ["first", "second"]


@pytest.mark.slow
def test_a_killed_shipper_comes_back_and_inference_never_notices(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with process(upstream.url, tmp_path, sinks="kafka") as (sidecar, port):
        wait_until(lambda: len(shippers(sidecar.pid)) == 1)
        [first] = shippers(sidecar.pid)
        os.kill(first, signal.SIGKILL)
        assert ask(port, post()).startswith(b"HTTP/1.1 200")
        wait_until(lambda: [pid for pid in shippers(sidecar.pid) if pid != first] != [])
        [second] = shippers(sidecar.pid)
        assert ask(port, post()).startswith(b"HTTP/1.1 200")
        sidecar.terminate()
        assert sidecar.wait(120) == 0
        assert not Path(f"/proc/{second}").exists()
    upstream.close()
    assert len(spooled(tmp_path)) == 2  # the broker never was there: the spool still holds both


def test_helpers_run_behind_the_proxy_and_the_shipper_behind_all(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with process(upstream.url, tmp_path, sinks="kafka") as (sidecar, _port):

        def priorities() -> dict[str, tuple[int, int]]:
            found = {}
            for child, module in helpers(sidecar.pid).items():
                with contextlib.suppress(OSError):
                    found[module] = (os.getpriority(os.PRIO_PROCESS, child), os.sched_getscheduler(child))
            return found

        ours = os.getpriority(os.PRIO_PROCESS, sidecar.pid)
        behind = {"recording.recorder": 5, "shipping.shipper": 10}
        expected = {f"logger_sidecar.{name}": (min(19, ours + steps), os.SCHED_BATCH) for name, steps in behind.items()}
        wait_until(lambda: priorities() == expected)
    upstream.close()


@pytest.mark.slow
def test_the_shipper_of_a_killed_sidecar_ends_by_itself(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with process(upstream.url, tmp_path, sinks="kafka") as (sidecar, _port):
        wait_until(lambda: len(shippers(sidecar.pid)) == 1 and (tmp_path / "kafka.cursor").exists())
        [shipper] = shippers(sidecar.pid)
        sidecar.kill()
        sidecar.wait()
        wait_until(lambda: has_ended(shipper))
    upstream.close()


def test_every_wrong_setting_is_named() -> None:
    environ = {
        "DRIFTLINE_SIDECAR_UPSTREAM": "ftp://model",
        "DRIFTLINE_SIDECAR_LISTEN_PORT": "70000",
        "DRIFTLINE_SIDECAR_SAMPLE_RATE": "2",
        "DRIFTLINE_SIDECAR_CAPTURE_HEADERS": "x-team, Authorization",
        "DRIFTLINE_SIDECAR_SPOOL_MAX_BYTES": "1000",
        "DRIFTLINE_SIDECAR_IDLE_TIMEOUT_S": "0",
        "DRIFTLINE_SIDECAR_MAX_BODY_BYTES": "-1",
        "DRIFTLINE_SIDECAR_NAMESPACE": "",
    }
    with pytest.raises(SettingsError) as caught:
        load(SidecarSettings, "SIDECAR", environ=environ)
    message = str(caught.value)
    for part in (
        "'ftp://model'",
        "listen_port is 70000",
        "sample_rate is 2.0",
        "'Authorization'",
        "segment_bytes is 16777216",
        "idle_timeout_s is 0.0",
        "max_body_bytes is -1",
        "namespace is empty",
    ):
        assert part in message
    assert "x-team" not in message


def test_the_shippers_settings_survive_their_way_through_the_environment() -> None:
    settings = ShipperSettings(
        bootstrap_servers=("[::1]:1", "b:2"),
        sinks=("file:///a,b?format=jsonl", "kafka"),
        parent_pid=7,
        sasl_username="u",
        linger_ms=3,
    )
    assert load(ShipperSettings, "SHIPPER", environ=environment_of(settings, "SHIPPER")) == settings
    with pytest.raises(SettingsError, match="sasl_mechanism"):
        load(ShipperSettings, "SHIPPER", environ={"DRIFTLINE_SHIPPER_SECURITY_PROTOCOL": "SASL_SSL"})
