"""The sidecar with logging on, against nginx as a plain proxy and a Go proxy that logs as KServe's agent does.

All in one run, in turn: request bodies of 1 KiB to 4 MiB (a JSON tensor; the answer is 200 bytes), 1 and 16 connections
in a closed loop (wrk), and fixed rates with latency counted from when each request was due (``go_load``). Ours writes
its spool and ships it to a real Kafka broker; the Go agent posts its events to a sink. The proxy has one core to itself
where there are two. CPU is the proxy process's, user and system, until what it took in is logged; that of its children
(our recorder and shipper) is told apart. Every measurement starts its contender afresh.

What a request costs with logging on is asked in two ways, and both are in the closing line. In the closed loop each
contender is as busy as it can be: one that is done sooner is asked more, and one that logs drops what its helpers, on
the same core, cannot write any more (``logged``: the share that they wrote). So the work behind a request differs from
contender to contender and from run to run. At a fixed rate all get the same requests at the same moments, and all of
them are logged. That is what a deployment sees, and what stays the same from run to run; but every proxy costs more
there, for it sleeps between requests. The low rates are what the slowest contender, the Go agent, can do; at the busy
one our proxy and its helpers fill most of a core, and the agent is left out.
``stolen`` is the share of the machine's time that its host gave to others while this was measured.

``--soak`` adds ten minutes at full load with the broker dead, for each of both that log. ``--compiled PYTHON`` adds the
sidecar of another environment. ``--profile FILE`` samples our proxy with perf at 1 KiB instead of measuring.
"""

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks.harness import alternate, close, medians
from benchmarks.sidecar_contenders import Bench, Cores, Running, build_go
from benchmarks.sidecar_load import Load
from benchmarks.sidecar_profile import profile
from benchmarks.sidecar_soak import soak
from benchmarks.sidecar_watch import Watch
from driftline import names
from tests.parts.kafka import KafkaBroker

KIB = 1024
SIZES = {"1k": KIB, "16k": 16 * KIB, "256k": 256 * KIB, "4m": 4096 * KIB}
#: Requests a second, well below what any contender can do.
RATES = {"1k": 2000.0, "16k": 1000.0, "256k": 200.0, "4m": 20.0}
#: Requests a second that ours and its helpers can log on one core; the Go agent cannot take as many.
BUSY_RATES = {"1k": 5000.0}
CONNECTIONS = (16, 1)
WARM_UP_S = 0.5
SETTLE_S = 5.0
#: The discard port, where nothing listens: a broker that is dead.
NOBODY = "127.0.0.1:9"
#: Of what the table shows, what the closing line carries.
CLOSING = (
    *("cpu_us", "children_cpu_us", "requests_per_s", "added_p50_us", "added_p99_us", "peak_mib", "logged_share"),
    "stolen_share",
)
#: Figures where there is no compiled build, and why.
NOT_COMPILED = "no compiled build was given (--compiled PYTHON)"
Contender = Callable[[], AbstractContextManager[Running]]
#: Loads a port for so many seconds and says how that went.
Drive = Callable[[int, float], dict[str, float]]
#: By contender and point; a contender that cannot do a point has no figures for it.
Table = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. ``seconds``: of each measurement; ``rounds``: of each point."""

    seconds: float
    rounds: int
    sizes: Sequence[str]


def main() -> None:
    """Measure all contenders in turn, print the figures and close with them."""
    chosen = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    for program in ("nginx", "wrk", "go", "java"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed")
    plan = _plan(chosen)
    cores = Cores.of_this_machine()
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        go_agent, go_load = build_go(work, "go_agent"), build_go(work, "go_load")
        bench = Bench(work, cores, stack.enter_context(broker(work)))
        stack.enter_context(bench.model_server())
        loads = {size: Load(work, SIZES[size], go_load, cores.others) for size in SIZES}
        if chosen.profile:
            profile(lambda: bench.sidecar(Path(sys.executable)), loads["1k"], Path(chosen.profile))
            return
        contenders = _contenders(bench, go_agent, chosen.compiled)
        table = _measure_all(contenders, loads, plan)
        soaked = _soak(bench, go_agent, loads["1k"], chosen)
    print(_shown(table))
    figures = _headline(table, soaked)
    kept = {
        name: {point: {key: one[key] for key in CLOSING if key in one} for point, one in points.items()}
        for name, points in table.items()
    }
    ours = {name: points for name, points in kept.items() if name.startswith("sidecar")}
    close("sidecar", {**figures, **ours}, {name: points for name, points in kept.items() if name not in ours})


def _plan(chosen: argparse.Namespace) -> Plan:
    if chosen.quick:
        return Plan(1, 1, tuple(dict.fromkeys(("1k", *(chosen.sizes or ("256k",))))))
    return Plan(chosen.seconds, chosen.rounds, tuple(dict.fromkeys(("1k", *(chosen.sizes or SIZES)))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not for figures")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each point; their median counts")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), help="only these, and 1k, for the closing line")
    parser.add_argument(
        "--compiled", type=Path, metavar="PYTHON", help="interpreter of an environment with another build"
    )
    parser.add_argument("--soak", action="store_true", help="ten minutes at full load with the broker dead, each")
    parser.add_argument("--soak-seconds", type=float, default=600.0, help="another length of the soak")
    parser.add_argument("--profile", metavar="FILE", help="only sample our proxy at 1 KiB with perf, into this file")
    return parser.parse_args()


def _contenders(bench: Bench, go_agent: Path, compiled: Path | None) -> dict[str, Contender]:
    contenders: dict[str, Contender] = {
        "direct": bench.direct,
        "nginx": bench.nginx,
        "go_agent": lambda: bench.go_agent(go_agent, f"http://127.0.0.1:{bench.sink_port}"),
        "sidecar": lambda: bench.sidecar(Path(sys.executable)),
    }
    if compiled is not None:
        contenders["sidecar_compiled"] = lambda: bench.sidecar(compiled.absolute())
    return contenders


@contextlib.contextmanager
def broker(work: Path) -> Iterator[str]:
    """A Kafka broker with the topic of events; gives its address."""
    directory = work / "kafka"
    directory.mkdir()
    started = KafkaBroker(directory)
    started.start()
    try:
        # A broker's own limit is 1 MiB per message; an operator who logs larger bodies raises it.
        admin = KafkaAdminClient(bootstrap_servers=[started.bootstrap])
        limits = {"max.message.bytes": "16777216", "retention.bytes": "1073741824", "segment.bytes": "134217728"}
        admin.create_topics([NewTopic(names.TOPIC_INFERENCE, 1, 1, topic_configs=limits)])
        admin.close()
        yield started.bootstrap
    finally:
        started.kill()


# --- measuring ----------------------------------------------------------------------------------------------------
def _measure_all(contenders: Mapping[str, Contender], loads: Mapping[str, Load], plan: Plan) -> Table:
    table: Table = {name: {} for name in contenders}
    for size in plan.sizes:
        for point, drive in _points(loads[size], size).items():
            print(f"--- {point}", flush=True)
            left_out = "go_agent" if point == _rate_point(size, BUSY_RATES) else ""
            able = {name: contender for name, contender in contenders.items() if name != left_out}
            runs = {name: _bound(contender, drive, plan.seconds) for name, contender in able.items()}
            for name, measured in medians(alternate(runs, plan.rounds)).items():
                table[name][point] = measured
    for found in table.values():
        for point, figures in found.items():
            for percentile in ("p50_us", "p99_us"):
                figures[f"added_{percentile}"] = figures[percentile] - table["direct"][point][percentile]
    return table


def _points(load: Load, size: str) -> dict[str, Drive]:
    def closed(connections: int) -> Drive:
        return lambda port, seconds: load.closed(port, connections, seconds)

    def fixed(rate: float) -> Drive:
        return lambda port, seconds: load.fixed_rate(port, rate, seconds)

    points = {f"{size}_c{connections}": closed(connections) for connections in CONNECTIONS}
    return points | {_rate_point(size, rates): fixed(rates[size]) for rates in (RATES, BUSY_RATES) if size in rates}


def _rate_point(size: str, rates: Mapping[str, float]) -> str:
    return f"{size}_rate{rates[size]:.0f}" if size in rates else ""


def _bound(contender: Contender, drive: Drive, seconds: float) -> Callable[[], Mapping[str, float]]:
    def run() -> Mapping[str, float]:
        with contender() as running:
            drive(running.port, WARM_UP_S)  # connections, buffers, the first segment
            Watch(running).settle(SETTLE_S)
            watch = Watch(running)
            found = drive(running.port, seconds)
            watch.settle(SETTLE_S)
            requests = found.pop("requests")
            return {**found, **watch.figures(requests)}

    return run


def _soak(
    bench: Bench, go_agent: Path, load: Load, chosen: argparse.Namespace
) -> Mapping[str, Mapping[str, float | None]]:
    if not chosen.soak:
        return {}
    python = Path(chosen.compiled).absolute() if chosen.compiled else Path(sys.executable)
    contenders: dict[str, Contender] = {
        # With the bound that the settings have: the spool must be full for most of the time.
        "sidecar": lambda: bench.sidecar(python, broker=NOBODY, spool_max_bytes=512 << 20),
        "go_agent": lambda: bench.go_agent(go_agent, f"http://{NOBODY}"),
    }
    found = {}
    for name, contender in contenders.items():
        print(f"--- soak of {name}", flush=True)
        found[name] = soak(contender, load, chosen.soak_seconds)
        print(found[name], flush=True)
    return found


# --- figures ------------------------------------------------------------------------------------------------------
def _headline(table: Table, soaked: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    def cpu(point: str, name: str, against: str = "nginx") -> float | None:
        has_both = point in table.get(name, {}) and point in table[against]
        return table[name][point]["cpu_us"] / table[against][point]["cpu_us"] if has_both else None

    def of_nginx(points: Sequence[str]) -> dict[str, dict[str, float | None]]:
        others = [name for name in table if name not in ("direct", "nginx")]
        return {point: {name: cpu(point, name) for name in others if point in table[name]} for point in points}

    sidecar, agent = table["sidecar"]["1k_c16"], table["go_agent"]["1k_c16"]
    rate, busy = _rate_point("1k", RATES), _rate_point("1k", BUSY_RATES)
    figures: dict[str, Any] = {
        "cpu_vs_nginx_1k": cpu("1k_c16", "sidecar"),
        "cpu_vs_nginx_256k": cpu("256k_c16", "sidecar"),
        "cpu_vs_go_agent_1k": cpu("1k_c16", "sidecar", "go_agent"),
        "cpu_with_shipper_vs_go_agent_1k": (sidecar["cpu_us"] + sidecar.get("children_cpu_us", 0.0)) / agent["cpu_us"],
        # At the fixed rate: in a closed loop each would be measured at a load of its own.
        "p99_added_vs_go_agent": table["sidecar"][rate]["added_p99_us"] / table["go_agent"][rate]["added_p99_us"],
        "compiled_cpu_vs_nginx_1k": cpu("1k_c16", "sidecar_compiled"),
        "cpu_vs_nginx_1k_equal_rate": cpu(busy, "sidecar"),
        "compiled_cpu_vs_nginx_1k_equal_rate": cpu(busy, "sidecar_compiled"),
        "cpu_vs_nginx_closed_loop": of_nginx([point for point in table["nginx"] if point.endswith("_c16")]),
        "cpu_vs_nginx_at_equal_rates": of_nginx([point for point in table["nginx"] if "_rate" in point]),
        "rss_growth_mb": None,
    }
    if "sidecar_compiled" not in table:
        figures["compiled_cpu_vs_nginx_1k_reason"] = NOT_COMPILED
    if soaked:
        figures["rss_growth_mb"] = soaked["sidecar"]["growth_mb"]
        figures["soak"] = soaked
    else:
        figures["rss_growth_mb_reason"] = "not soaked (--soak)"
    return figures


_COLUMNS = (
    ("CPU us/req", "cpu_us"),
    ("children", "children_cpu_us"),
    ("per shipped", "cpu_us_per_shipped"),
    ("req/s", "requests_per_s"),
    ("p50 us", "p50_us"),
    ("p99 us", "p99_us"),
    ("+p50", "added_p50_us"),
    ("+p99", "added_p99_us"),
    ("RSS MiB", "rss_mib"),
    ("peak", "peak_mib"),
    ("logged", "logged_share"),
    ("stolen", "stolen_share"),
)


def _shown(table: Table) -> str:
    head = f"{'':<14}{'':<18}" + "".join(f"{title:>13}" for title, _ in _COLUMNS)
    lines = [head]
    for point in table["direct"]:
        for name, found in table.items():
            if point not in found:
                continue
            cells = (found[point].get(figure) for _, figure in _COLUMNS)
            shown = "".join(f"{'-' if cell is None else f'{cell:,.4g}':>13}" for cell in cells)
            lines.append(f"{point:<14}{name:<18}{shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
