"""CPU per request of the sidecar with logging on, against nginx as a plain proxy, at 1 KiB per request.

The load is wrk with 16 connections; the model server is nginx answering 200 bytes. CPU is the proxy's own, user and
system, all its threads and processes; for the direct run it is the model server's, to show what the rest costs.
With ``DRIFTLINE_BENCH_KAFKA=HOST:PORT`` the sidecar ships to that broker too, and the shipper's CPU is told apart.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.harness import alternate, close, cpu_seconds, medians, options

CONNECTIONS = 16
ANSWER = '{"model_name":"iris","outputs":[{"name":"y","shape":[1],"datatype":"FP32","data":[0.1]}],"pad":"' + "a" * 100
LOAD = """
wrk.method = "POST"
wrk.path = "/v2/models/iris/infer"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"inputs":[{"name":"x","shape":[1,158],"datatype":"FP32","data":[' .. string.rep("0.123,", 157) .. '0.1]}]}'
"""
_SIDECAR = """
import sys
from pathlib import Path
from driftline.clock import system_clock
from logger_sidecar.server import run
from logger_sidecar.settings import ShipperSettings, SidecarSettings
upstream, port, spool, rate, kafka = sys.argv[1:]
settings = SidecarSettings(
    upstream=upstream, listen_host="127.0.0.1", listen_port=int(port), admin_host="127.0.0.1", admin_port=0,
    spool_directory=Path(spool), spool_max_bytes=4 << 30, sample_rate=float(rate), sinks=("kafka",) if kafka else (),
)
shipper = ShipperSettings(bootstrap_servers=(kafka,), admin_host="127.0.0.1", admin_port=0) if kafka else None
sys.exit(run(settings, shipper, system_clock))
"""


def main() -> None:
    """Measure all contenders in turn and print the figures."""
    chosen = options(__doc__)
    seconds, rounds = (1, 1) if chosen.quick else (3, 4)
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed; on Debian: apt-get install {program}")
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server_port = _free_port()
        server = stack.enter_context(_nginx(work / "server", _server_conf(server_port)))
        proxy_port = _free_port()
        proxy = stack.enter_context(_nginx(work / "proxy", _proxy_conf(proxy_port, server_port)))
        kafka = os.environ.get("DRIFTLINE_BENCH_KAFKA", "")
        contenders: dict[str, Callable[[], Mapping[str, float]]] = {
            "direct": lambda: _measure(work, server_port, seconds, {"cpu_us_per_request": server}),
            "nginx": lambda: _measure(work, proxy_port, seconds, {"cpu_us_per_request": proxy}),
        }
        ours = {"sidecar_logging": ("1", ""), "sidecar_sampled_out": ("0", "")}
        if kafka:
            ours["sidecar_logging_and_kafka"] = ("1", kafka)
        for name, (rate, broker) in ours.items():
            pid, port = stack.enter_context(_sidecar(work / name, server_port, rate, broker))
            contenders[name] = _ours(work, port, seconds, pid)
        found = medians(alternate(contenders, rounds))
    figures = {name: found[name] for name in ours}
    ratio = found["sidecar_logging"]["cpu_us_per_request"] / found["nginx"]["cpu_us_per_request"]
    print(f"CPU per request with logging on: {ratio:.2f} times nginx")
    close("sidecar", {**figures, "cpu_against_nginx": ratio}, {"direct": found["direct"], "nginx": found["nginx"]})


def _ours(work: Path, port: int, seconds: int, pid: int) -> Callable[[], Mapping[str, float]]:
    def run() -> Mapping[str, float]:
        watched = {"cpu_us_per_request": [pid]}
        if children := _children(pid):
            watched["shipper_cpu_us_per_request"] = children
        return _measure(work, port, seconds, watched)

    return run


def _measure(work: Path, port: int, seconds: int, watched: Mapping[str, list[int]]) -> dict[str, float]:
    script = work / "load.lua"
    script.write_text(LOAD)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "--latency", "-s", str(script)]
    url = f"http://127.0.0.1:{port}"
    subprocess.run([*command, "-d1", url], check=True, capture_output=True, timeout=30)  # warms connections up
    before = {name: cpu_seconds(pids) for name, pids in watched.items()}
    done = subprocess.run(
        [*command, f"-d{seconds}", url], check=True, capture_output=True, text=True, timeout=seconds + 30
    )
    # What was taken in is also written: wait until the spool's thread had its turn.
    time.sleep(0.2)
    used = {name: cpu_seconds(pids) - before[name] for name, pids in watched.items()}
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        sys.exit(f"requests failed:\n{done.stdout}")
    requests = int(_find(r"(\d+) requests in", done.stdout))
    return {
        **{name: value * 1e6 / requests for name, value in used.items()},
        "requests_per_s": float(_find(r"Requests/sec:\s+([\d.]+)", done.stdout)),
        "p99_us": _microseconds(_find(r"\n +99% +(\S+)", done.stdout)),
    }


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        sys.exit(f"wrk said nothing like {pattern!r}:\n{text}")
    return found[1]


def _microseconds(text: str) -> float:
    number = float(text.rstrip("mus"))
    return number * {"us": 1.0, "ms": 1e3}.get(text.lstrip("0123456789."), 1e6)


# --- processes ----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _sidecar(work: Path, server_port: int, rate: str, kafka: str) -> Iterator[tuple[int, int]]:
    port = _free_port()
    upstream = f"http://127.0.0.1:{server_port}"
    process = subprocess.Popen([sys.executable, "-c", _SIDECAR, upstream, str(port), str(work), rate, kafka])
    try:
        _wait_for_port(port)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def _nginx(directory: Path, server: str) -> Iterator[list[int]]:
    directory.mkdir()
    paths = "".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = directory / "nginx.conf"
    conf.write_text(
        f"daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {paths}\n{server}\n}}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(conf), "-e", str(directory / "error.log")])
    try:
        _wait_for_port(int(_find(r"listen 127\.0\.0\.1:(\d+)", server)))
        yield _children(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _server_conf(port: int) -> str:
    answer = ANSWER + '"}'
    return (
        f"server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{answer}'; }} }}"
    )


def _proxy_conf(port: int, server_port: int) -> str:
    return (
        f"upstream model {{ server 127.0.0.1:{server_port}; keepalive 64; keepalive_requests 1000000000; }}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://model; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; } }'
    )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _wait_for_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
