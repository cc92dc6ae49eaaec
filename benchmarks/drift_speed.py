"""What detecting drift costs: arrays in, verdicts out, for 1,000 to a million rows of fifty columns, beside the others.

CPU seconds of one thread, in turns and as medians, because this machine's cores are shared; memory is the growth of the
resident set's peak over what was there before. Each peer is timed in an environment of its own, by itself, with
preparing the reference, because what each keeps of it differs; ours is prepared once and said apart.

``--compiled PYTHON`` measures the build of another environment as well, by the same script, in the same run.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import mmd_cpu
from benchmarks.builds import other_build
from benchmarks.false_alarms_streams import levels
from benchmarks.harness import close
from benchmarks.peers.running import ASKED, ask
from benchmarks.windows import Prepared, columns_of, prepared
from detectors.counts.counting import count_rows
from detectors.counts.summary import Section, WindowState
from driftline.columns import ColumnBatch

REFERENCE_ROWS = 100_000
# Different windows that are evaluated in turn.
_WINDOWS = 8
_CHECKOUT = Path(__file__).resolve().parents[1]
#: Figures where there is no compiled build, and why.
NOT_COMPILED = "no compiled build was given (--compiled PYTHON)"
#: What the closing line says of the compiled build, too.
OF_BUILDS = (
    "drift_1m_x_50_cpu_s",
    "drift_peak_mb",
    "drift_1m_x_50_with_10_of_text_cpu_s",
    "window_ms",
    "single_event_us",
)
_DRAWS = (
    lambda rng, rows: rng.normal(size=rows),
    lambda rng, rows: rng.lognormal(size=rows),
    lambda rng, rows: rng.random(rows),
    lambda rng, rows: rng.gamma(2.0, size=rows),
    lambda rng, rows: rng.poisson(3.0, rows).astype(float),
)


def table_of(rng: np.random.Generator, rows: int, text: int) -> dict[str, NDArray[Any]]:
    """Fifty columns, ``text`` of them categories."""
    numbers = {f"number {place}": _DRAWS[place % len(_DRAWS)](rng, rows) for place in range(50 - text)}
    return {**numbers, **{f"text {place}": levels(5 + 10 * place)(rng, rows) for place in range(text)}}


def cpu_s(work: Callable[[], object]) -> float:
    """CPU time of this process for one call, all threads."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def peak_mb(work: Callable[[], object]) -> float:
    """How far the resident set's peak rises over where it stood.

    What earlier work freed and the allocator kept is given back first: otherwise this work fills it, unseen.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc's
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_mb("VmRSS")
    work()
    return max(0.0, _status_mb("VmHWM") - before)


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def sizes(ready: Prepared, text: int, rows: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Per number of rows: counting and evaluating in CPU seconds, and memory."""
    found = {}
    for count in rows:
        batch = columns_of(table_of(np.random.default_rng(count), count, text))
        measured = [_once(ready, batch) for _ in range(rounds)]
        counted, judged = (statistics.median(each[place] for each in measured) for place in (0, 1))
        found[str(count)] = {
            "count_cpu_s": counted,
            "cpu_s": counted + judged,
            "peak_mb": max(each[2] for each in measured),
        }
        print(f"{count:>9,} rows, {text} of text: {found[str(count)]}", flush=True)
    return found


def _once(ready: Prepared, batch: ColumnBatch) -> tuple[float, float, float]:
    """CPU seconds of counting and of evaluating, and how far memory rose while counting."""
    states: list[bytes] = []
    spent: list[float] = []
    layout = ready.reference.layout

    def count() -> None:
        # Drift alone, as the peers are asked: the scores of outliers, which the collector adds, are another question.
        section = Section(count_rows(layout, ready.monitor, batch))
        states.append(WindowState().plus(layout.fingerprint, section).to_bytes())

    peak = peak_mb(lambda: spent.append(cpu_s(count)))
    return spent[0], cpu_s(lambda: ready.evaluate(states[0])), peak


def window_ms(ready: Prepared, rounds: int) -> float:
    """CPU milliseconds of evaluating one window from its counts: all that the store is given of it.

    Windows come in turn, as on traffic: what is kept of the one before serves only what they share.
    """
    tables = (table_of(np.random.default_rng(seed), 10_000, 10) for seed in range(_WINDOWS))
    states = [WindowState.from_bytes(ready.count(columns_of(table))) for table in tables]

    def evaluate_each() -> None:
        for state in states:
            ready.evaluate(state)

    evaluate_each()
    round_s = min(statistics.median(cpu_s(evaluate_each) for _ in range(5)) for _ in range(rounds))
    return 1000 * round_s / len(states)


def event_us(ready: Prepared, rounds: int) -> float:
    """CPU microseconds of counting a single row of fifty columns into a state."""
    batch = columns_of(table_of(np.random.default_rng(4), 1, 10))
    return 1e6 * min(cpu_s(lambda: [ready.count(batch) for _ in range(50)]) / 50 for _ in range(rounds))


def peers(rows: tuple[int, ...], limit_s: float) -> dict[str, Mapping[str, Any]]:
    """CPU seconds of one check by each peer."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        before = table_of(np.random.default_rng(1), REFERENCE_ROWS, 10)
        for count in rows:
            now = table_of(np.random.default_rng(count), count, 10)
            arrays = {f"reference/{name}": values for name, values in before.items()}
            arrays |= {f"windows/{name}": values[None, :] for name, values in now.items()}
            np.savez(directory / f"{count}.npz", **arrays)
        return {peer: ask(peer, directory, limit_s) for peer in ASKED}


def main() -> None:
    """Measure everything, close."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few thousand rows and no peers; not for figures")
    parser.add_argument("--peer-rows", type=int, nargs="*", default=[1_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--compiled", type=other_build, metavar="PYTHON", help="interpreter of an environment with another build"
    )
    parser.add_argument("--ours", action="store_true", help="only this build's figures, as one line of JSON at the end")
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(measured(quick=options.quick, rounds=options.rounds)), flush=True)
        return
    figures = dict(_asked(Path(sys.executable), {}, quick=options.quick, rounds=options.rounds))
    other = None if options.compiled is None else _of(options.compiled, quick=options.quick, rounds=options.rounds)
    figures |= {f"compiled_{name}": None if other is None else other[name] for name in OF_BUILDS}
    if other is None:
        figures["compiled_reason"] = NOT_COMPILED
    said = {} if options.quick else peers(tuple(options.peer_rows), 1.0)
    close(
        "drift_speed",
        figures,
        said and {peer: _cpu(answers) for peer, answers in said.items()},
        _table(figures["with_text"], None if other is None else other["with_text"], said),
    )


def measured(*, quick: bool, rounds: int) -> dict[str, Any]:
    """The figures of the build that runs this."""
    rows = (1_000, 3_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    rounds, reference_rows = (1, REFERENCE_ROWS // 10) if quick else (rounds, REFERENCE_ROWS)
    mixed = prepared(table_of(np.random.default_rng(1), reference_rows, 10))
    numeric = prepared(table_of(np.random.default_rng(1), reference_rows, 0))
    for ready, text in ((mixed, 10), (numeric, 0)):  # what is made once per reference
        ready.evaluate(ready.count(columns_of(table_of(np.random.default_rng(5), 5_000, text))))
    numbers, with_text = sizes(numeric, 0, rows, rounds), sizes(mixed, 10, rows, rounds)
    largest = str(rows[-1])
    return {
        "drift_1m_x_50_cpu_s": numbers[largest]["cpu_s"],
        "drift_peak_mb": numbers[largest]["peak_mb"],
        "drift_1m_x_50_with_10_of_text_cpu_s": with_text[largest]["cpu_s"],
        "window_ms": window_ms(mixed, rounds),
        "single_event_us": event_us(mixed, rounds),
        "mmd_5k_cpu_s": mmd_cpu.measured(500 if quick else 5_000),
        "numbers": numbers,
        "with_text": with_text,
    }


def _of(python: Path, *, quick: bool, rounds: int) -> Mapping[str, Any]:
    """The same figures of another environment's build."""
    program = "import sysconfig; print(sysconfig.get_path('platlib'))"
    installed = subprocess.run([python.absolute(), "-c", program], check=True, capture_output=True, text=True).stdout
    # What is installed there stands before the checkout, which has the benchmarks.
    environment = {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{installed.strip()}{os.pathsep}{_CHECKOUT}"}
    return _asked(python, environment, quick=quick, rounds=rounds)


def _asked(python: Path, environment: Mapping[str, str], *, quick: bool, rounds: int) -> Mapping[str, Any]:
    """The figures of a process of its own, whose products of matrices take one thread, as those of all parts do."""
    options = ["--ours", "--rounds", str(rounds), *(["--quick"] if quick else [])]
    command = [str(python.absolute()), "-m", "benchmarks.drift_speed", *options]
    environment = {**os.environ, **environment, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    print(done.stdout, end="", flush=True)
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _cpu(answers: Mapping[str, Any]) -> dict[str, Any]:
    if "failed" in answers:
        return {"could_not_be_asked": answers["failed"]}
    return {rows: found.get("cpu_s", found.get("failed")) for rows, found in answers.items()}


def _table(
    ours: Mapping[str, Mapping[str, float]],
    compiled: Mapping[str, Mapping[str, float]] | None,
    said: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    head = ["CPU s for one window of 50 columns", *(f"{int(rows):,} rows" for rows in ours)]
    builds = {"driftline, reference prepared": ours} | ({} if compiled is None else {"the same, compiled": compiled})
    lines = [[name, *(f"{found['cpu_s']:.4g}" for found in build.values())] for name, build in builds.items()]
    for peer, answers in said.items():
        cells = [answers.get(rows, answers) for rows in ours]
        lines.append([ASKED[peer], *(f"{cell['cpu_s']:.4g}" if "cpu_s" in cell else "-" for cell in cells)])
    return [{"title": "Cost of one check, 40 columns of numbers and 10 of text", "head": head, "rows": lines}]


if __name__ == "__main__":
    main()
