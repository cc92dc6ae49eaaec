"""False alarms of the tests of several columns, on streams whose rows hang together and on independent ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.together_streams import RATE, ROWS, STREAMS, TESTS, asked
from driftline.monitor_detectors import AUTO, RowsTogether
from driftline.results import Verdict

_SEED = 31


def alarms(name: str, test: str, said: RowsTogether, references: int, windows: int) -> dict[str, int]:
    """Windows called drifted, and those where anything was significant, over references each drawn anew."""
    drifted = significant = 0
    for reference in range(references):
        rows = STREAMS[name].draw(np.random.default_rng((_SEED, reference)), (10 + windows) * ROWS)
        verdicts = [result.verdict for result in asked(rows, test, said)]
        drifted += sum(verdict is Verdict.DRIFTED for verdict in verdicts)
        significant += sum(verdict is not Verdict.OK for verdict in verdicts)
    return {"drifted": drifted, "significant": significant, "windows": references * windows}


def every(
    names: Sequence[str], tests: Sequence[str], said: RowsTogether, references: int, windows: int
) -> dict[str, dict[str, dict[str, int]]]:
    """Per stream and test."""
    return {name: {test: alarms(name, test, said, references, windows) for test in tests} for name in names}


def over_budget(found: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, float]]:
    """The share of windows called drifted over the share that the monitor leaves to the test."""
    return {
        name: {test: each["drifted"] / each["windows"] / RATE for test, each in tests.items()}
        for name, tests in found.items()
    }


def table(
    title: str, found: Mapping[str, Mapping[str, Mapping[str, int]]], tests: Sequence[str] = TESTS
) -> dict[str, Any]:
    """Windows drifted, and drifted or warning, as cells."""
    rows = [
        [name, *(f"{each[test]['drifted']} + {each[test]['significant'] - each[test]['drifted']}" for test in tests)]
        for name, each in found.items()
    ]
    return {"title": title, "head": ["stream", *tests], "rows": rows}


def tables(
    names: Sequence[str], tests: Sequence[str], references: int, windows: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Figures and tables: as the reference shows, and, of fewer references, as if rows were independent."""
    fewer = max(1, references // 10)
    auto = every(names, tests, AUTO, references, windows)
    independent = every(names, tests, 1, fewer, windows)
    over = over_budget(auto)
    figures = {
        "together_false_alarm_rate_over_budget_max": max(max(each.values()) for each in over.values()),
        "together_false_alarm_rate_over_budget": over,
        "together_windows_per_stream": references * windows,
    }
    said = f"windows without drift called drifted + warned of, budget {RATE:.1%}"
    return figures, [
        table(f"All columns together, {said}: of {references * windows} windows", auto, tests),
        table(f"The same with `rows_together: 1`: of {fewer * windows} windows", independent, tests),
    ]
