"""Who takes part in the sidecar benchmark, each as processes of its own, started afresh for every measurement.

The proxy has one core to itself where there are two; its helpers, the load, the model server, the broker, the sink and
the benchmark share the others. Ours can also be had with its helpers on the proxy's core.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.builds import code_of
from driftline import names
from tests.parts.processes import free_ports

_ANSWER = '{"model_name":"iris","outputs":[{"name":"y","shape":[1],"datatype":"FP32","data":[0.1]}],"pad":"%s"}'
_DRIFTLINE = "from driftline.cli.app import main; main()"
_DELIVERED = re.compile(
    rf'^{names.SHIPPER_EVENTS.name}{{[^}}]*outcome="{names.OUTCOME_DELIVERED}"[^}}]*}} (\S+)$', re.MULTILINE
)
_CAPTURED = re.compile(rf'^{names.CAPTURE_EVENTS.name}{{[^}}]*outcome="(\w+)"[^}}]*}} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores a proxy may use, and which everything else; None where there are no two."""

    proxy: str | None
    others: str | None

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """The first core for the proxy."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2 or shutil.which("taskset") is None:
            return cls(None, None)
        return cls(str(usable[0]), ",".join(map(str, usable[1:])))

    def leave_the_proxys(self) -> None:
        """Have this process, and what it starts from now on, run on the others."""
        if self.others is not None:
            os.sched_setaffinity(0, _numbers(self.others))

    def move_helpers(self, pid: int) -> None:
        """Have all that this process has started so far run on the others.

        A helper starts on its parent's core; one that was started anew is moved the next time.
        """
        if self.others is None:
            return
        for helper in descendants(pid):
            for thread in _threads(helper):
                with contextlib.suppress(OSError):  # it may have ended
                    os.sched_setaffinity(thread, _numbers(self.others))


@dataclass(frozen=True, slots=True)
class Running:
    """One contender that runs. ``pid``: the proxy's process; 0 where there is none (direct).

    ``place``: to be called before each load; sees to it that its helpers run where they should. ``logged``,
    ``delivered``: how many events it says it has written down, and its sink has taken; None: it does not say.
    """

    port: int
    pid: int
    place: Callable[[], None] = lambda: None
    logged: Callable[[], int | None] = lambda: None
    delivered: Callable[[], int | None] = lambda: None


class Bench:
    """What contenders need: a scratch directory, the model server's ports, the sink's and the broker's addresses."""

    def __init__(self, work: Path, cores: Cores, broker: str) -> None:
        self.work = work
        self.cores = cores
        self.broker = broker
        self.server_port = free_ports(1)[0]
        self.sink_port = free_ports(1)[0]
        self._number = 0

    def directory(self) -> Path:
        """A new one."""
        self._number += 1
        made = self.work / f"run-{self._number}"
        made.mkdir()
        return made

    @contextlib.contextmanager
    def model_server(self) -> Iterator[None]:
        """A model server that reads each request whole and answers 200 bytes, and a sink that takes every event."""
        directory = self.directory()
        inner = f"127.0.0.1:{free_ports(1)[0]}"
        answer = _ANSWER % ("a" * 100)
        # Long bodies are read whole before the answer is made: nginx answers a plain "return" while they still come.
        conf = f"""
            server {{ listen 127.0.0.1:{self.server_port};
              location / {{ default_type application/json; return 200 '{answer}'; }}
              location /whole/ {{ client_body_buffer_size 8m; proxy_pass_request_body off; proxy_http_version 1.1;
                proxy_set_header Content-Length ""; proxy_set_header Connection ""; proxy_pass http://inner; }} }}
            upstream inner {{ server {inner}; keepalive 64; keepalive_requests 1000000000; }}
            server {{ listen {inner}; location / {{ default_type application/json; return 200 '{answer}'; }} }}
            server {{ listen 127.0.0.1:{self.sink_port}; location / {{ return 204; }} }}
        """
        with self._nginx(directory, conf, self.server_port, self.cores.others):
            yield

    @contextlib.contextmanager
    def direct(self) -> Iterator[Running]:
        """No proxy at all."""
        yield Running(self.server_port, 0)

    @contextlib.contextmanager
    def nginx(self) -> Iterator[Running]:
        """As a plain proxy: one worker, kept connections, bodies streamed, no log."""
        port = free_ports(1)[0]
        conf = f"""
            upstream model {{ server 127.0.0.1:{self.server_port}; keepalive 64; keepalive_requests 1000000000; }}
            server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://model; proxy_http_version 1.1;
              proxy_set_header Connection ""; proxy_request_buffering off; }} }}
        """
        with self._nginx(self.directory(), conf, port, self.cores.proxy) as worker:
            yield Running(port, worker)

    @contextlib.contextmanager
    def nginx_grpc(self) -> Iterator[Running]:
        """As ``nginx``, for gRPC."""
        port = free_ports(1)[0]
        conf = f"""
            upstream model {{ server 127.0.0.1:{self.server_port}; keepalive 64; keepalive_requests 1000000000; }}
            server {{ listen 127.0.0.1:{port} http2; http2_max_concurrent_streams 1024;
              location / {{ grpc_pass grpc://model; }} }}
        """
        with self._nginx(self.directory(), conf, port, self.cores.proxy) as worker:
            yield Running(port, worker)

    @contextlib.contextmanager
    def go_agent(self, program: Path, sink: str) -> Iterator[Running]:
        """The Go proxy that logs as KServe's agent does, to ``sink``."""
        port = free_ports(1)[0]
        command = [str(program), "-listen", f"127.0.0.1:{port}", "-upstream", f"http://127.0.0.1:{self.server_port}"]
        with process(
            [*command, "-sink", sink], self.cores.proxy, {"GOMAXPROCS": "1"} if self.cores.proxy else {}
        ) as pid:
            wait_for_port(port)
            yield Running(port, pid)

    @contextlib.contextmanager
    def sidecar(
        self, python: Path, *, broker: str | None = None, spool_max_bytes: int = 4 << 30, one_core: bool = False
    ) -> Iterator[Running]:
        """Ours: every inference logged, the spool on this machine's disk, shipped to ``broker`` (None: the bench's).

        ``one_core``: its helpers stay on the proxy's core, as in a container with one CPU.
        """
        broker = self.broker if broker is None else broker
        directory, (port, admin_port, shipper_port) = self.directory(), free_ports(3)
        environ = {
            **code_of(python),
            # As the image sets it: without a bound, threads that free each other's bodies keep them.
            "MALLOC_ARENA_MAX": "2",
            "DRIFTLINE_SIDECAR_UPSTREAM": f"http://127.0.0.1:{self.server_port}",
            "DRIFTLINE_SIDECAR_LISTEN_HOST": "127.0.0.1",
            "DRIFTLINE_SIDECAR_LISTEN_PORT": str(port),
            "DRIFTLINE_SIDECAR_ADMIN_HOST": "127.0.0.1",
            "DRIFTLINE_SIDECAR_ADMIN_PORT": str(admin_port),
            "DRIFTLINE_SIDECAR_SPOOL_DIRECTORY": str(directory / "spool"),
            "DRIFTLINE_SIDECAR_SPOOL_MAX_BYTES": str(spool_max_bytes),
            "DRIFTLINE_SIDECAR_SINKS": "kafka",
            "DRIFTLINE_SHIPPER_BOOTSTRAP_SERVERS": broker,
            "DRIFTLINE_SHIPPER_ADMIN_HOST": "127.0.0.1",
            "DRIFTLINE_SHIPPER_ADMIN_PORT": str(shipper_port),
        }
        try:
            with process([python, "-c", _DRIFTLINE, "sidecar"], self.cores.proxy, environ, directory) as pid:
                wait_for_port(port)
                wait_for_port(shipper_port)
                yield Running(
                    port,
                    pid,
                    place=lambda: None if one_core else self.cores.move_helpers(pid),
                    logged=lambda: _total(_CAPTURED, admin_port, names.OUTCOME_LOGGED),
                    delivered=lambda: _total(_DELIVERED, shipper_port),
                )
        finally:
            shutil.rmtree(directory, ignore_errors=True)  # up to four gigabytes each

    @contextlib.contextmanager
    def _nginx(self, directory: Path, servers: str, port: int, cores: str | None) -> Iterator[int]:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
        conf = directory / "nginx.conf"
        conf.write_text(
            f"daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log;\n"
            "events { worker_connections 4096; }\n"
            "http { access_log off; keepalive_requests 1000000000; client_max_body_size 0; "
            f"{paths}\n{servers}\n}}\n"
        )
        with process(["nginx", "-c", conf, "-e", directory / "error.log"], cores) as pid:
            wait_for_port(port)
            yield children(pid)[0]


@contextlib.contextmanager
def process(
    command: Sequence[str | Path], cores: str | None, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[int]:
    """A program on these cores; asked to end with SIGTERM, and killed with all its group when it does not."""
    # The kernel ends it, too, when the benchmark is killed and cannot.
    ends_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    pinned = [*ends_with_us, *(["taskset", "-c", cores] if cores else []), *command]
    started = subprocess.Popen(
        pinned, env={**os.environ, **(environ or {})}, cwd=cwd, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield started.pid
    finally:
        started.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(0.5)  # what is still in a spool is of no use: nobody waits for it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait(30)


def build_go(work: Path, name: str) -> Path:
    """The program of ``benchmarks/NAME``, built into ``work``; ends the benchmark when Go is not there."""
    if shutil.which("go") is None:
        sys.exit("go is not installed; on Debian: apt-get install golang-go")
    program = work / name
    source = Path(__file__).parent / name / "main.go"
    subprocess.run(["go", "build", "-o", program, source], check=True, timeout=600, cwd=work)
    return program


def children(pid: int) -> list[int]:
    """The processes that this one has started and that run."""
    found = []
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            found += [int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    """All processes below this one that run."""
    return [below for child in children(pid) for below in (child, *descendants(child))]


def wait_for_port(port: int) -> None:
    """Return once something listens there."""
    for _ in range(600):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return []


def _numbers(cores: str) -> set[int]:
    return {int(core) for core in cores.split(",")}


def _total(pattern: re.Pattern[str], port: int, first: str | None = None) -> int | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    found = [match.groups() for match in pattern.finditer(text)]
    return round(sum(float(groups[-1]) for groups in found if first is None or groups[0] == first))
