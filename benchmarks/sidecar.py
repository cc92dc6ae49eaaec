"""The sidecar with logging on, against nginx as a plain proxy and a Go proxy that logs as KServe's agent does.

All in one run, in turn: request bodies of 1 KiB to 4 MiB (a JSON tensor; the answer is 200 bytes), 1 and 16 connections
in a closed loop (wrk), and fixed rates with latency counted from when each request was due (``go_load``). Ours writes
its spool and ships it to a real Kafka broker; the Go agent posts its events to a sink. CPU is the proxy process's, user
and system, until what it took in is logged; that of its children (our recorder and shipper) is told apart.

Where there are two cores the proxy has one to itself, and everything else has the others: load, model server, broker,
sink, this benchmark, and our helpers, which are moved there before each load. ``sidecar`` and ``sidecar_compiled`` are
measured so, as nginx is, which has no helpers. ``sidecar_one_core`` and ``sidecar_compiled_one_core`` are the same
programs with their helpers on the proxy's core, as in a container with one CPU: there the helpers take the core from
the proxy and empty its caches, and what that costs is in the proxy's figure, too. All figures of runs until 2026-11-22
were of one core, whatever they are called; and the broker and the benchmark ran on either core then.

A machine with neighbours gives no two seconds alike. So a ratio is the median of paired ratios: what a request cost a
contender, in times of what it cost nginx in the same round. Every measurement starts its contender afresh, but for
1 KiB in the closed loop: there all contenders are started together, and one after the other is loaded for a second
while the rest idle, in a few rounds with an order of their own; then all are started afresh. How far the ratios are
spread is in the closing line (``spread``). Points that tell less have one round: one connection from 16 KiB on, fixed
rates from 256 KiB on. A run without a soak takes a quarter of an hour.

What a request costs with logging on is asked in two ways, and both are in the closing line. In the closed loop each
contender is as busy as it can be: one that is done sooner is asked more, and one that logs drops what its helpers
cannot write any more (``logged``: the share that they wrote). So the work behind a request differs from contender to
contender and from run to run. At a fixed rate all get the same requests at the same moments, and all of them are
logged. That is what a deployment sees; but every proxy costs more there, for it sleeps between requests. The low rates
are what the slowest contender, the Go agent, can do; at the busy one our proxy and its helpers would fill most of one
core, and the agent is left out.
``stolen`` is the share of the machine's time that its host gave to others while this was measured.

``--soak`` adds ten minutes at full load with the broker dead, for each of both that log. ``--compiled PYTHON`` adds the
sidecar of another environment. ``--profile FILE`` samples our proxy with perf at 1 KiB instead of measuring.
"""

import argparse
import contextlib
import functools
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

from benchmarks.builds import other_build
from benchmarks.harness import alternate, close
from benchmarks.sidecar_contenders import Bench, Cores, Running, build_go
from benchmarks.sidecar_figures import Rounds, Table, Values, cpu_ratios, middle, shown, spreads, table_of
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
#: What the closing line's first ratios are of, and how often all contenders are started for it, and loaded each time.
MAIN_POINT = "1k_c16"
MAIN_STARTS = 4
MAIN_ROUNDS = 3
MAIN_S = 1.0
WARM_UP_S = 0.5
SETTLE_S = 5.0
#: The discard port, where nothing listens: a broker that is dead.
NOBODY = "127.0.0.1:9"
#: Of what the table shows, what the closing line carries.
CLOSING = (
    *(
        "cpu_us",
        "cpu_vs_nginx",
        "children_cpu_us",
        "requests_per_s",
        "added_p50_us",
        "added_p99_us",
        "peak_mib",
        "logged_share",
    ),
    "stolen_share",
)
#: How the names of contenders end whose helpers run on the proxy's core.
ONE_CORE = "_one_core"
#: For those who read the closing line alone.
PLACEMENT = f"the proxy alone on its core, as nginx is; *{ONE_CORE}: its helpers on the same core"
#: Figures where there is no compiled build, and why.
NOT_COMPILED = "no compiled build was given (--compiled PYTHON)"
Contender = Callable[[], AbstractContextManager[Running]]
#: Loads a port for so many seconds and says how that went.
Drive = Callable[[int, float], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: the seconds of each measurement, the rounds of each point, the starts for the main one."""

    seconds: float
    rounds: int
    main_starts: int
    sizes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Point:
    """One load: how long, how often. ``starts``: of all contenders together; 0: each is started for each measurement.

    ``without``: contenders whose name ends so are not asked.
    """

    drive: Drive
    seconds: float
    rounds: int
    starts: int = 0
    without: tuple[str, ...] = (ONE_CORE,)


def main() -> None:
    """Measure all contenders in turn, print the figures and close with them."""
    chosen = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    for program in ("nginx", "wrk", "go", "java"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed")
    plan = _plan(chosen)
    cores = Cores.of_this_machine()
    cores.leave_the_proxys()
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
        rounds = _measure_all(contenders, loads, plan)
        soaked = _soak(bench, go_agent, loads["1k"], chosen)
    table = table_of(rounds)
    print(shown(table))
    figures = _headline(rounds, table, soaked)
    kept = {
        name: {point: {key: one[key] for key in CLOSING if key in one} for point, one in points.items()}
        for name, points in table.items()
    }
    ours = {name: points for name, points in kept.items() if name.startswith("sidecar")}
    close("sidecar", {**figures, **ours}, {name: points for name, points in kept.items() if name not in ours})


def _plan(chosen: argparse.Namespace) -> Plan:
    if chosen.quick:
        return Plan(1, 1, 1, tuple(dict.fromkeys(("1k", *(chosen.sizes or ("256k",))))))
    return Plan(
        chosen.seconds,
        chosen.rounds,
        chosen.main_starts,
        tuple(dict.fromkeys(("1k", *(chosen.sizes or SIZES)))),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not for figures")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each point; their median counts")
    parser.add_argument("--main-starts", type=int, default=MAIN_STARTS, help="of all, for 1 KiB in the closed loop")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), help="only these, and 1k, for the closing line")
    parser.add_argument(
        "--compiled", type=other_build, metavar="PYTHON", help="interpreter of an environment with another build"
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
    }
    pythons = {"sidecar": Path(sys.executable)}
    if compiled is not None:
        pythons["sidecar_compiled"] = compiled
    for name, python in pythons.items():
        contenders[name] = functools.partial(bench.sidecar, python)
        contenders[name + ONE_CORE] = functools.partial(bench.sidecar, python, one_core=True)
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
def _measure_all(contenders: Mapping[str, Contender], loads: Mapping[str, Load], plan: Plan) -> Rounds:
    rounds = {}
    for size in plan.sizes:
        for name, point in _points(loads[size], size, plan).items():
            print(f"--- {name}", flush=True)
            asked = {each: made for each, made in contenders.items() if not each.endswith(point.without)}
            rounds[name] = _together(asked, point) if point.starts else _apart(asked, point)
    return rounds


def _points(load: Load, size: str, plan: Plan) -> dict[str, Point]:
    def closed(connections: int) -> Drive:
        return lambda port, seconds: load.closed(port, connections, seconds)

    def fixed(rate: float) -> Drive:
        return lambda port, seconds: load.fixed_rate(port, rate, seconds)

    few = plan.rounds if size == "1k" else 1
    points = {
        f"{size}_c16": Point(closed(16), plan.seconds, plan.rounds),
        f"{size}_c1": Point(closed(1), plan.seconds, few),
    }
    if size in RATES:
        rounds = plan.rounds if size in ("1k", "16k") else 1
        points[_rate_point(size, RATES)] = Point(fixed(RATES[size]), plan.seconds, rounds)
    if size in BUSY_RATES:
        points[_rate_point(size, BUSY_RATES)] = Point(
            fixed(BUSY_RATES[size]), plan.seconds, plan.rounds, without=("go_agent",)
        )
    if MAIN_POINT in points:
        points[MAIN_POINT] = Point(closed(16), MAIN_S, MAIN_ROUNDS, plan.main_starts, ())
    return points


def _rate_point(size: str, rates: Mapping[str, float]) -> str:
    return f"{size}_rate{rates[size]:.0f}" if size in rates else ""


def _apart(contenders: Mapping[str, Contender], point: Point) -> Values:
    def run(contender: Contender) -> Mapping[str, float]:
        with contender() as running:
            _warm(running, point)
            return _measured(running, point)

    return alternate({name: functools.partial(run, each) for name, each in contenders.items()}, point.rounds)


def _together(contenders: Mapping[str, Contender], point: Point) -> Values:
    values: Values = {name: {} for name in contenders}
    for start in range(point.starts):
        with contextlib.ExitStack() as stack:
            running = {name: stack.enter_context(contender()) for name, contender in contenders.items()}
            for each in running.values():
                _warm(each, point)
            runs = {name: functools.partial(_measured, each, point) for name, each in running.items()}
            for name, figures in alternate(runs, point.rounds, start * point.rounds).items():
                for figure, found in figures.items():
                    values[name].setdefault(figure, []).extend(found)
    return values


def _warm(running: Running, point: Point) -> None:
    running.place()
    point.drive(running.port, WARM_UP_S)  # connections, buffers, the first segment
    Watch(running).settle(SETTLE_S)


def _measured(running: Running, point: Point) -> Mapping[str, float]:
    running.place()
    watch = Watch(running)
    found = point.drive(running.port, point.seconds)
    watch.settle(SETTLE_S)
    requests = found.pop("requests")
    return {**found, **watch.figures(requests)}


def _soak(
    bench: Bench, go_agent: Path, load: Load, chosen: argparse.Namespace
) -> Mapping[str, Mapping[str, float | None]]:
    if not chosen.soak:
        return {}
    python = chosen.compiled or Path(sys.executable)
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
def _headline(rounds: Rounds, table: Table, soaked: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    def cpu(point: str, name: str, against: str = "nginx") -> float | None:
        return middle(cpu_ratios(rounds, point, name, against))

    def of_nginx(points: Sequence[str]) -> dict[str, dict[str, float | None]]:
        others = [name for name in table if name not in ("direct", "nginx")]
        return {point: {name: cpu(point, name) for name in others if point in table[name]} for point in points}

    sidecar, agent = table["sidecar"][MAIN_POINT], table["go_agent"][MAIN_POINT]
    rate, busy = _rate_point("1k", RATES), _rate_point("1k", BUSY_RATES)
    figures: dict[str, Any] = {
        "placement": PLACEMENT,
        "cpu_vs_nginx_1k": cpu(MAIN_POINT, "sidecar"),
        "cpu_vs_nginx_1k_one_core": cpu(MAIN_POINT, "sidecar" + ONE_CORE),
        "cpu_vs_nginx_256k": cpu("256k_c16", "sidecar"),
        "cpu_vs_go_agent_1k": cpu(MAIN_POINT, "sidecar", "go_agent"),
        "cpu_with_shipper_vs_go_agent_1k": (sidecar["cpu_us"] + sidecar.get("children_cpu_us", 0.0)) / agent["cpu_us"],
        # At the fixed rate: in a closed loop each would be measured at a load of its own.
        "p99_added_vs_go_agent": table["sidecar"][rate]["added_p99_us"] / table["go_agent"][rate]["added_p99_us"],
        "compiled_cpu_vs_nginx_1k": cpu(MAIN_POINT, "sidecar_compiled"),
        "compiled_cpu_vs_nginx_1k_one_core": cpu(MAIN_POINT, "sidecar_compiled" + ONE_CORE),
        "cpu_vs_nginx_1k_equal_rate": cpu(busy, "sidecar"),
        "cpu_vs_nginx_1k_equal_rate_one_core": cpu(busy, "sidecar" + ONE_CORE),
        "compiled_cpu_vs_nginx_1k_equal_rate": cpu(busy, "sidecar_compiled"),
        "compiled_cpu_vs_nginx_1k_equal_rate_one_core": cpu(busy, "sidecar_compiled" + ONE_CORE),
        "spread": spreads(rounds, (MAIN_POINT, busy)),
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


if __name__ == "__main__":
    main()
