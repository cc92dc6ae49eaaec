"""Unary gRPC calls through the sidecar with logging on, against nginx's ``grpc_pass``, in one run.

Both ends are ``grpc_peers``, which costs next to nothing: ModelInfer with 1 or 16 KiB of tensor, 200 bytes of answer,
in a closed loop of 16 connections with one call each, one connection with 16 calls, and one with one. Ours writes its
spool and ships it to a real Kafka broker; nginx logs nothing. The proxy has one core to itself where there are two, and
its helpers run where everything else does (until 2026-11-22 they ran on the proxy's core). CPU is the proxy process's,
user and system, until what it took in is logged. Every measurement starts its contender afresh.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.builds import other_build
from benchmarks.harness import alternate, close, medians
from benchmarks.sidecar import SETTLE_S, WARM_UP_S, broker
from benchmarks.sidecar_contenders import Bench, Cores, Running, build_go, process, wait_for_port
from benchmarks.sidecar_watch import Watch

#: Bytes of a question, connections, calls at a time on each.
POINTS = {"1k_c16": (1024, 16, 1), "1k_s16": (1024, 1, 16), "1k_c1": (1024, 1, 1), "16k_c16": (16384, 16, 1)}
CLOSING = ("cpu_us", "children_cpu_us", "requests_per_s", "p50_us", "p99_us", "logged_share")
Contender = Callable[[], AbstractContextManager[Running]]


def main() -> None:
    """Measure all contenders in turn, print the figures and close with them."""
    chosen = _options()
    for program in ("nginx", "go", "java"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed")
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        peers = build_go(work, "grpc_peers")
        cores = Cores.of_this_machine()
        cores.leave_the_proxys()
        bench = Bench(work, cores, stack.enter_context(broker(work)))
        serve = [peers, "-serve", f"127.0.0.1:{bench.server_port}"]
        stack.enter_context(process(serve, bench.cores.others))
        wait_for_port(bench.server_port)
        contenders = _contenders(bench, chosen)
        table = {}
        for point in chosen.points or POINTS:
            print(f"--- {point}", flush=True)
            runs = {name: _bound(each, bench, peers, point, chosen.seconds) for name, each in contenders.items()}
            table[point] = medians(alternate(runs, chosen.rounds))
    _close(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not for figures")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each point; their median counts")
    parser.add_argument("--points", nargs="+", choices=list(POINTS), help="only these")
    parser.add_argument(
        "--compiled", type=other_build, metavar="PYTHON", help="interpreter of the compiled environment"
    )
    parser.add_argument("--also", action="append", default=[], metavar="NAME=PYTHON", help="one more sidecar")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.seconds, chosen.rounds, chosen.points = 0.5, 1, chosen.points or ["1k_c16"]
    return chosen


def _contenders(bench: Bench, chosen: argparse.Namespace) -> dict[str, Contender]:
    pythons = {"sidecar": Path(sys.executable)}
    if chosen.compiled:
        pythons["sidecar_compiled"] = chosen.compiled
    pythons |= {name: Path(python) for name, _, python in (each.partition("=") for each in chosen.also)}
    contenders: dict[str, Contender] = {
        "direct": bench.direct,
        "nginx": bench.nginx_grpc,
        **{name: _sidecar(bench, python.absolute()) for name, python in pythons.items()},
    }
    return contenders


def _sidecar(bench: Bench, python: Path) -> Contender:
    return lambda: bench.sidecar(python)


def _bound(
    contender: Contender, bench: Bench, peers: Path, point: str, seconds: float
) -> Callable[[], Mapping[str, float]]:
    size, connections, streams = POINTS[point]
    command = [str(peers), "-bytes", str(size), "-connections", str(connections), "-streams", str(streams)]
    pin = ["taskset", "-c", bench.cores.others] if bench.cores.others else []

    def drive(port: int, length_s: float) -> dict[str, float]:
        asked = [*pin, *command, "-address", f"127.0.0.1:{port}", "-seconds", str(length_s)]
        done = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, timeout=length_s + 60)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def run() -> Mapping[str, float]:
        with contender() as running:
            running.place()
            drive(running.port, WARM_UP_S)
            Watch(running).settle(SETTLE_S)
            running.place()
            watch = Watch(running)
            found = drive(running.port, seconds)
            watch.settle(SETTLE_S)
            requests = found.pop("requests")
            return {**found, **watch.figures(requests)}

    return run


def _close(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    ours: dict[str, object] = {}
    others: dict[str, object] = {}
    for point, contenders in table.items():
        for name, figures in contenders.items():
            kept = {key: figures[key] for key in CLOSING if key in figures}
            print(f"{point:<10}{name:<20}" + "  ".join(f"{key} {value:,.4g}" for key, value in kept.items()))
            is_ours = name not in ("direct", "nginx")
            (ours if is_ours else others)[f"{name}_{point}"] = kept
            if is_ours:
                ours[f"{name}_cpu_vs_nginx_{point}"] = ratio = figures["cpu_us"] / contenders["nginx"]["cpu_us"]
                print(f"{point:<10}{name:<20}{ratio:.2f} times nginx's CPU")
    close("grpc_sidecar", ours, others)


if __name__ == "__main__":
    main()
