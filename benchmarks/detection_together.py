"""Power of tests of several columns where rows hang together, beside an oracle's: the same test, of independent rows.

The oracle has as many independent rows of the same law as those that are looked at are worth. The first column
moves, the further the fewer rows that is. Two shares are told of either: at the threshold that gives 5 % alarms on
windows without the change, and at a p-value of at most 5 %.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_rates import RATE, found_at_rate
from benchmarks.together_streams import ROWS, STREAMS, TESTS, TableStream, asked, oracle

#: Where rows are independent, tests are those of one row that counts as one.
HANGING = tuple(name for name, stream in STREAMS.items() if stream.as_one > 1)

Rows = NDArray[np.float64]
_SEED = 37
#: The move, in standard errors of the mean of as many independent rows as a window's are worth.
_ERRORS = 3.5
#: Where p-values are equal the statistic decides, which is far smaller than one by this.
_TIES = 1e-9


def moved(stream: TableStream, rows: Rows) -> Rows:
    """The rows with their first column moved."""
    by = np.zeros(rows.shape[1])
    by[0] = _ERRORS / np.sqrt(ROWS / stream.as_one)
    return np.asarray(rows + by)


def found(name: str, test: str, references: int, windows: int) -> dict[str, float]:
    """Shares found by ours and by the oracle, at equal false alarms and at the p-value."""
    stream, done = STREAMS[name], partial(moved, STREAMS[name])
    ours: list[list[tuple[float, float]]] = [[], []]
    theirs: list[list[tuple[float, float]]] = [[], []]
    for reference in range(references):
        rng = np.random.default_rng((_SEED, reference))
        rows = stream.draw(rng, (10 + windows) * ROWS)
        told = [
            (1.0 if each.p_value is None else each.p_value, each.statistic)
            for each in asked(np.vstack((rows, done(rows[10 * ROWS :]))), test, budget=2.0 * RATE)
        ]
        for change, of_windows in enumerate((told[:windows], told[windows:])):
            ours[change] += of_windows
            change_of = done if change else np.asarray
            theirs[change] += [oracle(stream, test, rng, change_of, RATE) for _ in range(windows)]
    said = {}
    for who, (before, after) in (("ours", ours), ("oracle", theirs)):
        quiet, seen = (np.array([p - _TIES * statistic for p, statistic in values]) for values in (before, after))
        said[who] = float(found_at_rate(quiet, seen).mean())
        said[f"{who} at p"] = float(np.mean([p <= RATE for p, _ in after]))
    return said


def table(
    names: Sequence[str] = HANGING, tests: Sequence[str] = TESTS, references: int = 80, windows: int = 3
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and the table."""
    shares = {name: {test: found(name, test, references, windows) for test in tests} for name in names}
    ratios = {
        f"{name}, {test}": each["ours"] / each["oracle"]
        for name, of in shares.items()
        for test, each in of.items()
        if each["oracle"] > 2 * RATE
    }
    rows = [
        [
            name,
            *("{ours:.0%} ({oracle:.0%}); {ours at p:.0%} ({oracle at p:.0%})".format_map(of[test]) for test in tests),
        ]
        for name, of in shares.items()
    ]
    title = (
        f"First column moved where rows hang together: found at {RATE:.0%} false alarms (by an oracle's independent "
        f"rows); at p-values of at most {RATE:.0%}; {references * windows} windows"
    )
    figures = {"together_power_vs_oracle_min": min(ratios.values()), "together_power_vs_oracle": ratios}
    return figures, {"title": title, "head": ["stream", *tests], "rows": rows}
