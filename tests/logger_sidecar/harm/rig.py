"""What the harm tests share: the sidecar as a real process, a load whose every answer is looked at, and the figures.

Each test runs the same load without and with its fault, on two sidecars that are otherwise alike. That no request
failed is asserted; how long requests took is written into ``harm.txt`` in pytest's base directory, because a
clock on a busy machine proves nothing.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import uvloop

from driftline import names
from tests.parts.http import answers
from tests.parts.processes import PartProcess, free_ports

_SIDECAR = "from driftline.cli.app import main; main()"
_ECHO = Path(__file__).with_name("echo_server.py")
_CAPTURED = re.compile(rf'^{names.CAPTURE_EVENTS.name}\{{.*outcome="(\w+)",reason="(\w*)".*\}} (\S+)$', re.MULTILINE)
_opener = build_opener(ProxyHandler({}))


# --- processes ----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def echo_server(directory: Path, port: int | None = None) -> Iterator[int]:
    """A model server in a process of its own; yields its port."""
    port = port or free_ports(1)[0]
    with PartProcess([sys.executable, str(_ECHO), str(port)], directory / "echo.log") as process:
        process.wait_ready(lambda: accepts(port), 120)
        yield port


@dataclass(slots=True)
class SidecarProcess:
    """A sidecar that runs as people run it."""

    process: PartProcess
    port: int
    admin_port: int
    spool: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def metrics(self) -> str:
        with _opener.open(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    def outcomes(self) -> dict[str, int]:
        """What became of the inferences: "logged", or why not."""
        found: Counter[str] = Counter()
        for outcome, reason, count in _CAPTURED.findall(self.metrics()):
            found[reason or outcome] += round(float(count))
        return {name: count for name, count in found.items() if count}

    def running(self, module: str) -> list[int]:
        """The processes below it that run this module of the sidecar, such as ``recording.recorder``."""
        command = f"logger_sidecar.{module}".encode()
        return [pid for pid in _below(self.pid) if command in _command(pid)]

    def rss_bytes(self) -> int:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


def _below(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_below(child)]
    return found


def _command(pid: int) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


@contextlib.contextmanager
def sidecar_process(
    directory: Path,
    upstream_port: int,
    *,
    broker: str = "",
    inside: Sequence[str] = (),
    spool: Path | None = None,
    **settings: object,
) -> Iterator[SidecarProcess]:
    """A sidecar before this model server. ``broker``: where it ships to; ``inside``: a command that it is run by."""
    directory.mkdir(parents=True, exist_ok=True)
    port, admin_port, shipper_port = free_ports(3)
    spool = spool or directory / "spool"
    given = {
        "SIDECAR_UPSTREAM": f"http://127.0.0.1:{upstream_port}",
        "SIDECAR_LISTEN_HOST": "127.0.0.1",
        "SIDECAR_LISTEN_PORT": port,
        "SIDECAR_ADMIN_HOST": "127.0.0.1",
        "SIDECAR_ADMIN_PORT": admin_port,
        "SIDECAR_SPOOL_DIRECTORY": spool,
        "SIDECAR_SINKS": "kafka" if broker else "",
        "SIDECAR_DRAIN_TIMEOUT_S": 1,
        "SHIPPER_BOOTSTRAP_SERVERS": broker or "127.0.0.1:9",
        "SHIPPER_ADMIN_HOST": "127.0.0.1",
        "SHIPPER_ADMIN_PORT": shipper_port,
        "SHIPPER_REQUEST_TIMEOUT_S": 3,
        "SHIPPER_MAX_BACKOFF_S": 1,
        "SHIPPER_DRAIN_TIMEOUT_S": 1,
        **{name.upper(): value for name, value in settings.items()},
    }
    environ = {key: value for key, value in os.environ.items() if not key.startswith(names.ENV_PREFIX)}
    environ |= {f"{names.ENV_PREFIX}{key}": str(value) for key, value in given.items()}
    command = [*inside, sys.executable, "-c", _SIDECAR, "sidecar"]
    with PartProcess(command, directory / "sidecar.log", environ=environ) as process:
        process.wait_ready(lambda: answers(f"http://127.0.0.1:{admin_port}/healthz"), 120)
        yield SidecarProcess(process, port, admin_port, spool)


def accepts(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return False
    return True


# --- load ---------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Report:
    """How one load went. ``wrong``: answers that were not what the model server says, with what they were instead."""

    right: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    latencies_us: list[float] = field(default_factory=list)

    @property
    def median_us(self) -> float:
        return statistics.median(self.latencies_us)

    @property
    def p99_us(self) -> float:
        return sorted(self.latencies_us)[int(len(self.latencies_us) * 0.99)]


def drive(
    port: int,
    requests: int,
    *,
    tag: str,
    connections: int = 8,
    body_bytes: int = 1024,
    keep_on: Callable[[], bool] = lambda: True,
) -> Report:
    """Ask on so many connections, each in turn; request N has the id ``TAG-N``. Ends early when ``keep_on`` says no.

    An answer is right when its status is 200, its body is the request's and it names the request's id. A connection
    that breaks is made anew, the request is not repeated.
    """
    report = Report()
    numbers = iter(range(requests))

    async def client() -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for number in numbers:
            if not keep_on():
                break
            request_id = f"{tag}-{number}"
            body = json.dumps({"number": number, "pad": "x" * (body_bytes - 40)}).encode()
            began_s = time.perf_counter()
            try:
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", port)
                fault = await asyncio.wait_for(_ask(*streams, request_id, body), 120)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                fault = type(error).__name__
            report.latencies_us.append((time.perf_counter() - began_s) * 1e6)
            if fault:
                report.wrong[request_id] = fault
                if streams is not None:
                    streams[1].close()
                streams = None
            else:
                report.right.append(request_id)
        if streams is not None:
            streams[1].close()

    async def all_clients() -> None:
        await asyncio.gather(*(client() for _ in range(connections)))

    uvloop.run(all_clients())
    return report


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request_id: str, body: bytes) -> str:
    writer.write(
        f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: t\r\nX-Request-Id: {request_id}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    answered = await reader.readexactly(length)
    status = head.split(" ", 2)[1]
    if status != "200":
        return f"status {status}"
    if answered != body:
        return "another body"
    return "" if f"x-request-id: {request_id}\r\n" in head else "another id"


# --- figures ------------------------------------------------------------------------------------------------------
class Figures:
    """Collects what the tests found: printed, and appended to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def say(self, line: str) -> None:
        print(line)
        with self._file.open("a") as file:
            file.write(line + "\n")

    def compare(self, what: str, without: Sequence[Report], with_fault: Sequence[Report]) -> None:
        """Latencies with the fault against those without; medians over the rounds."""
        medians = [statistics.median(report.median_us for report in reports) for reports in (without, with_fault)]
        tails = [statistics.median(report.p99_us for report in reports) for reports in (without, with_fault)]
        asked = sum(len(report.latencies_us) for report in with_fault)
        failed = sum(len(report.wrong) for report in with_fault)
        self.say(
            f"{what}: {asked} requests, {failed} failed; median {medians[1]:.0f} us against {medians[0]:.0f} us "
            f"without (ratio {medians[1] / medians[0]:.2f}), p99 {tails[1]:.0f} against {tails[0]:.0f} us"
        )


def alternate(
    without: SidecarProcess, with_fault: SidecarProcess, *, rounds: int = 3, requests: int = 1000
) -> tuple[list[Report], list[Report]]:
    """The same load on both, in turn; asserts that every request was answered right on both."""
    found: tuple[list[Report], list[Report]] = ([], [])
    for number in range(rounds):
        for reports, sidecar in zip(found, (without, with_fault), strict=True):
            reports.append(drive(sidecar.port, requests, tag=f"r{number}"))
    for reports in found:
        assert [report.wrong for report in reports] == [{}] * rounds
    return found


def settled(read: Callable[[], Mapping[str, int]], total: int, timeout_s: float = 120.0) -> Mapping[str, int]:
    """The outcomes once they add up to ``total``: what was taken in is then written, or lost and counted."""
    deadline = time.monotonic() + timeout_s
    while sum((found := read()).values()) < total and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sum(found.values()) == total, found
    return found
