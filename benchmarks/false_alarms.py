"""How often is something called drifted when nothing is? Ours and the others' defaults on streams without change.

Every stream is drawn once and written to files; each peer reads the same files in an environment of its own
(``benchmarks/peers``). What could not be asked is said in its place. Closing figures: the largest share of windows that
driftline calls drifted, over the budget that its monitor names (one window in a hundred).
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from benchmarks import false_alarms_together, seasonal_streams, together_streams
from benchmarks.false_alarms_streams import CONTROL, STREAMS, Stream, write
from benchmarks.harness import close
from benchmarks.peers.asking import Columns, load
from benchmarks.peers.running import ASKED, ask
from benchmarks.windows import columns_of, prepared
from detectors.evaluating.catalogue import CATALOGUE
from driftline.results import WHOLE_WINDOW, Verdict

BUDGET = 0.01
#: Detectors of one column each; tests of several columns, on streams of several; windows beside the same hours.
PARTS = ("columns", "together", "seasonal")
# Of each detector, so many windows of one column: the ratio to the budget is known to a third or better.
_COLUMN_WINDOWS = 600
SEED = 7
OURS = tuple(entry.name for entry in CATALOGUE if ":" not in entry.name)


def driftline(directory: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Ours with its defaults, on every stream: windows called drifted, windows where anything was significant."""
    return {name: _one(*load(directory / f"{name}.npz"), STREAMS[name]) for name in names}


def over_references(names: Sequence[str], references: int, windows: int) -> dict[str, dict[str, Any]]:
    """The same over several references, each drawn anew with ``windows`` of its own: their luck is averaged."""
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for seed in range(SEED, SEED + references):
        with tempfile.TemporaryDirectory() as made:
            write(Path(made), seed, windows, names)
            for name, said in driftline(Path(made), names).items():
                found[name] = {figure: found[name].get(figure, 0) + count for figure, count in said.items()}
    return found


def _one(reference: Columns, windows: list[Columns], stream: Stream) -> dict[str, Any]:
    ready = prepared(reference, None, stream.rows_together, in_time=stream.in_time)
    drifted = significant = columns = 0
    for window in windows:
        found = ready.evaluate(ready.count(columns_of(window)))
        (whole,) = [result for result in found.results if (result.column, result.detector) == (WHOLE_WINDOW, "window")]
        drifted += whole.verdict is Verdict.DRIFTED
        significant += whole.verdict is not Verdict.OK
        columns += int(whole.statistic)
    return {
        "windows": len(windows),
        "whole": drifted,
        "any": significant,
        "columns": columns,
        "column_windows": len(windows) * len(reference),
    }


def each_detector(directory: Path, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """For every detector of ours, the share of column windows with a p-value of at most 1 %."""
    found: dict[str, dict[str, float]] = {}
    for name in names:
        reference, windows = load(directory / f"{name}.npz")
        stream = STREAMS[name]
        every = {"numeric": OURS, "categorical": OURS}
        ready = prepared(reference, every, stream.rows_together, in_time=stream.in_time)
        p_values: dict[str, list[float]] = {}
        for window in windows[: max(1, _COLUMN_WINDOWS // len(reference))]:
            for result in ready.evaluate(ready.count(columns_of(window))).results:
                if result.kind == "drift" and result.column != WHOLE_WINDOW and result.p_value is not None:
                    p_values.setdefault(result.detector, []).append(result.p_value)
        found[name] = {detector: float(np.mean(np.array(values) <= BUDGET)) for detector, values in p_values.items()}
    return found


def share(said: Mapping[str, Any], figure: str, of: str) -> str:
    """A share as a cell of a table, with what it is a share of."""
    if "failed" in said:
        return "could not: " + str(said["failed"])[:60].replace("|", "/").replace("\n", " ")
    if said[figure] is None or not said[of]:
        return "-"
    return f"{said[figure] / said[of]:.1%} of {said[of]}"


def tables(
    ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]], detectors: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Windows that are called drifted; and of each detector of ours."""
    head = ["stream", "driftline drifted", "driftline drifted or warning", *(f"{peer}: any column" for peer in peers)]
    whole = [peer for peer in ("evidently", "alibi-detect") if peer in peers]
    head += [{"evidently": "evidently: dataset", "alibi-detect": "alibi-detect: whole window"}[peer] for peer in whole]
    rows = []
    for name in ours:
        cells = [share(ours[name], "whole", "windows"), share(ours[name], "any", "windows")]
        cells += [share(said.get(name, said), "any", "windows") for said in peers.values()]
        cells += [share(peers[peer].get(name, peers[peer]), "whole", "windows") for peer in whole]
        rows.append([name, *cells])
    names = [name for name in OURS if any(name in found for found in detectors.values())]
    each = [
        [name, *(f"{found[one]:.1%}" if one in found else "-" for one in names)] for name, found in detectors.items()
    ]
    title = "Columns without drift that each detector gives a p-value of at most 1 %"
    return [
        {"title": "Windows without drift that are called drifted", "head": head, "rows": rows},
        {"title": title, "head": ["stream", *names], "rows": each},
    ]


def lowest(said: Mapping[str, Any]) -> float:
    """How many times over the budget a stream certainly is: the exact binomial limit (Clopper-Pearson), one-sided at
    5 % over all streams together. Above 1 the promise is broken; at most 1, what was seen is within chance.

    >>> round(lowest({"whole": 4, "windows": 300}), 2), round(lowest({"whole": 51, "windows": 300}), 1)
    (0.2, 11.5)
    """
    alarms, windows = int(said["whole"]), int(said["windows"])
    if alarms == 0:
        return 0.0
    return float(special.betaincinv(alarms, windows - alarms + 1, 0.05 / (len(STREAMS) - 1))) / BUDGET


def _of_columns(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Every stream of single columns, ours beside the peers': figures, the peers', tables."""
    windows = 3 if options.quick else options.windows
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        write(directory, SEED, windows, options.streams)
        ours = over_references(options.streams, options.references, windows)
        detectors = each_detector(directory, options.streams)
        peers = {}
        for peer in () if options.quick else options.peers:
            print(f"{peer} ...", file=sys.stderr, flush=True)
            peers[peer] = ask(peer, directory, options.peer_cpu_s)
    over, significant = (
        {name: found[word] / found["windows"] / BUDGET for name, found in ours.items() if name != CONTROL}
        for word in ("whole", "any")
    )
    figures: dict[str, Any] = {
        "false_alarm_rate_over_budget_max": max(over.values(), default=0.0),
        "false_alarm_rate_over_budget_sure": max((lowest(ours[name]) for name in over), default=0.0),
        "false_alarm_rate_over_budget": over,
        "with_warnings_over_budget": significant,
        "windows_per_stream": windows * options.references,
        "references": options.references,
    }
    if CONTROL in ours:
        figures["control_found"] = ours[CONTROL]["whole"] / ours[CONTROL]["windows"]
    against = {peer: _largest(said) for peer, said in peers.items()}
    return figures, against, tables(ours, peers, detectors)


def _beside_same_hours(references: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Windows with a seasonal baseline: the worst stream's share over the budget, and a table."""
    found = seasonal_streams.every(references, change=False)
    over = {
        f"{noise}, {season}": each["drifted"] / each["windows"] / BUDGET
        for noise, seasons in found.items()
        for season, each in seasons.items()
    }
    title = "Hourly windows beside the same hours of other weeks, without drift: called drifted + warned of"
    figures = {"seasonal_false_alarm_rate_over_budget_max": max(over.values()), "seasonal_over_budget": over}
    return figures, seasonal_streams.table(title, found)


def main() -> None:
    """Draw, ask everybody, close."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few windows and no peers; not for figures")
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--peer-cpu-s", type=float, default=3.0, help="per stream and peer")
    parser.add_argument("--streams", nargs="*", choices=list(STREAMS), default=list(STREAMS), help="these alone")
    parser.add_argument("--peers", nargs="*", choices=list(ASKED), default=list(ASKED), help="these alone")
    parser.add_argument("--references", type=int, default=1, help="ours alone, with so many windows of each")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="these alone")
    several = list(together_streams.STREAMS)
    parser.add_argument(
        "--together", nargs="+", choices=several, default=several, help="streams of that part, these alone"
    )
    parser.add_argument("--seasons", type=int, default=8, help="references of each stream of that part")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    against: dict[str, Any] = {}
    made: list[dict[str, Any]] = []
    if "columns" in options.parts:
        figures, against, made = _of_columns(options)
    if "together" in options.parts:
        tests = together_streams.TESTS[:1] if options.quick else together_streams.TESTS
        found, more = false_alarms_together.tables(options.together, tests, *((1, 3) if options.quick else (20, 10)))
        figures, made = {**figures, **found}, [*made, *more]
    if "seasonal" in options.parts:
        found, of_hours = _beside_same_hours(1 if options.quick else options.seasons)
        figures, made = {**figures, **found}, [*made, of_hours]
    close("false_alarms", figures, against, made)


def _largest(said: Mapping[str, Any]) -> object:
    if "failed" in said:
        return f"could not be asked: {said['failed']}"
    rates = {
        name: found["any"] / found["windows"]
        for name, found in said.items()
        if found.get("windows") and name != CONTROL
    }
    worst = max(rates, key=lambda name: rates[name])
    return {"windows_with_any_column_drifted_max": rates[worst], "on": worst}


if __name__ == "__main__":
    main()
