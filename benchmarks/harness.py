"""What all benchmarks share: running contenders in turn, reading a process's CPU time, and the closing line of JSON."""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: The number of a process's own clock is made of these, as clock_getcpuclockid(3) makes it.
_PID_SHIFT, _SCHEDULED = 3, 2
# For a program of another environment: what is installed there must not be hidden by this checkout.
INSTALLED = {"PYTHONPATH": ""}
#: Where an interpreter that was installed by the system, or by the official images, has its home.
_ORIGINS = {"/usr": "the system (/usr)", "/usr/local": "/usr/local, as in the official images"}


def cpu_seconds(pids: list[int]) -> float:
    """User and system time that these processes have used, all threads, to the nanosecond; OSError where one is gone.

    ``/proc/PID/stat`` goes in steps of 10 ms: 5 us a request where two thousand were sent, 220 where 46. What it says
    of user and system time apart is a sample of the kernel's clock, of a few dozen ticks in two seconds.
    """
    return sum(time.clock_gettime((~pid << _PID_SHIFT) | _SCHEDULED) for pid in pids)


def alternate(
    contenders: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int, first: int = 0
) -> dict[str, dict[str, list[float]]]:
    """Run every contender once per round, in turn, so that a change of the machine's mood meets them all.

    Each round has an order of its own, the same in every run; ``first``: the number of the first one. Returns, per
    contender and figure, the values of all rounds.
    """
    values: dict[str, dict[str, list[float]]] = {name: {} for name in contenders}
    for number in range(first, first + rounds):
        for name in random.Random(number).sample(list(contenders), len(contenders)):
            for figure, value in contenders[name]().items():
                values[name].setdefault(figure, []).append(value)
            newest = "  ".join(f"{figure} {found[-1]:,.2f}" for figure, found in values[name].items())
            print(f"round {number - first + 1}/{rounds}  {name:<28} {newest}", flush=True)
    return values


def medians(values: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, float]]:
    """The median of each figure of each contender."""
    return {
        name: {figure: statistics.median(found) for figure, found in figures.items()}
        for name, figures in values.items()
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "python_build": python_build(),
        "system": f"{platform.system()} {platform.release()}",
        "load_1min": round(os.getloadavg()[0], 2),
        "ns_per_addition": round(min(_ns_per_addition() for _ in range(25)), 1),
        "ns_per_method_call": round(min(_ns_per_method_call() for _ in range(25)), 1),
    }


def python_build() -> str:
    """How the interpreter was built, as far as it says.

    Not all say it: Debian's is built with a profile, and its configuration does not tell. So what a build does with a
    loop of its own is measured beside it (``ns_per_addition``, ``ns_per_method_call``).
    """
    said = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    options = [option for option in ("--enable-optimizations", "--with-lto") if option in said]
    is_library = "/libpython" in Path("/proc/self/maps").read_text()
    return "; ".join(
        (
            platform.python_compiler(),
            f"its configuration says {' '.join(options)}" if options else "its configuration names no optimisation",
            "in a shared library" if is_library else "in its executable",
            f"of {_ORIGINS.get(sys.base_prefix, 'a place of its own')}",
        )
    )


def _ns_per_addition() -> float:
    """What the interpreter takes for one turn of a loop now: neighbours on the same cores make CPU time longer too."""
    began_s, total = time.thread_time(), 0
    for number in range(20_000):
        total += number
    return (time.thread_time() - began_s) / 20_000 * 1e9


def _ns_per_method_call() -> float:
    """The same for a method of Python that reads and sets an attribute: what most of our code is made of."""
    counted = _Counted()
    began_s = time.thread_time()
    for number in range(20_000):
        counted.add(number)
    return (time.thread_time() - began_s) / 20_000 * 1e9


class _Counted:
    """A method and an attribute."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> int:
        """Add it."""
        self.total += number
        return self.total


def close(
    benchmark: str,
    figures: Mapping[str, Any],
    against: Mapping[str, Any],
    tables: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Print the closing line: ``figures`` are ours, ``against`` the others', measured in the same run.

    ``tables``: each with a ``title``, a ``head`` and ``rows`` of cells, for people.
    """
    line = {"benchmark": benchmark, "figures": _rounded(figures), "against": _rounded(against), "machine": machine()}
    print(json.dumps({**line, "tables": list(tables)} if tables else line))


def options(description: str | None) -> argparse.Namespace:
    """The options every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not for figures")
    return parser.parse_args()


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
