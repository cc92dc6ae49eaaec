"""How many rows until several columns together are called changed, and how many until they are for nothing? Wines.

The reference is half of the white wines of "Wine Quality" (P. Cortez and others, 2009; UCI, CC BY 4.0): eleven columns,
4,898 rows. Streams are drawn from the other half, where nothing changes, or from the red ones. A folder with
``winequality-white.csv`` and ``winequality-red.csv`` is what is needed (UCI, or any of the many repositories that keep
them, with commas or semicolons): ``python -m benchmarks.detection --tables wine --wine FOLDER``.

alibi-detect's notebook asks its online detectors for a false alarm in 50 rows on average and reports mean run lengths.
Ours average the evidence over the columns, whose expectation after n rows is at most n, too; so an alarm at 50 promises
at most one in 50 rows whatever the wine. The last column's threshold is set so that white runs are as long as theirs.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection_series import watched
from detectors.counts.binning import bin_numbers
from detectors.online.contract import Counted
from detectors.online.entries import SHARE_TESTS, ShareEntry

Rows = NDArray[np.float64]
PROMISED = 50.0
#: Runs that nothing ends are cut here.
LONGEST = 400
#: Mean run lengths without and with red wine (alibi-detect, doc/source/examples/cd_online_wine.ipynb; 250 runs).
PUBLISHED = {
    "alibi-detect MMDDriftOnline, published": (48.5, 6.0),
    "alibi-detect LSDDDriftOnline, published": (51.6, 4.3),
}


def table(folder: Path, runs: int) -> dict[str, Any]:
    """Mean run lengths, per test at the promise and where white runs are as long as the published ones."""
    white, red = (load(folder / f"winequality-{kind}.csv") for kind in ("white", "red"))
    rng = np.random.default_rng(41)
    order = rng.permutation(len(white))
    reference, quiet = white[order[: len(white) // 2]], white[order[len(white) // 2 :]]
    rows: list[list[object]] = []
    for entry in SHARE_TESTS:
        paths = {
            kind: [_evidence(entry, reference, drawn[rng.permutation(len(drawn))[:LONGEST]]) for _ in range(runs)]
            for kind, drawn in (("white", quiet), ("red", red))
        }
        equal = _equal(paths["white"], 48.5)
        for name, threshold in (
            (f"{entry.name}, promise of 50", PROMISED),
            (f"{entry.name}, white runs of 48.5", equal),
        ):
            lengths = {kind: [_length(path, threshold) for path in found] for kind, found in paths.items()}
            cut = sum(length >= LONGEST for length in lengths["white"])
            more = f" or more ({cut} of {runs} never ended)" if cut else ""
            rows.append([name, f"{np.mean(lengths['white']):.1f}{more}", f"{np.mean(lengths['red']):.1f}"])
    rows += [[name, f"{quiet_rows:.1f}", f"{red_rows:.1f}"] for name, (quiet_rows, red_rows) in PUBLISHED.items()]
    tosses = rng.geometric(1.0 / PROMISED, (2, runs)).mean(axis=1)
    rows.append(["dummy: dice", *(f"{mean:.1f}" for mean in tosses)])
    title = f"Wines, eleven columns together, row by row, {runs} runs of each"
    return {"title": title, "head": ["detector", "rows to a false alarm", "rows until red wine is found"], "rows": rows}


def load(path: Path) -> Rows:
    """The eleven measured columns, without the quality."""
    text = path.read_text()
    table = list(csv.reader(text.splitlines(), delimiter=";" if ";" in text.partition("\n")[0] else ","))
    return np.array([[float(cell) for cell in row[:11]] for row in table[1:]])


def _evidence(entry: ShareEntry, reference: Rows, stream: Rows) -> Rows:
    """The logarithm of the mean evidence of all columns after each row."""
    logs = np.array([_of_column(entry, before, after) for before, after in zip(reference.T, stream.T, strict=True)])
    found: Rows = np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))
    return found


def _of_column(entry: ShareEntry, before: Rows, after: Rows) -> Rows:
    column, shares, limits = watched(before)
    test = entry.make(limits, np.inf, 1)
    state, found = test.start(), []
    for hits in shares.members.T[bin_numbers(after, column.edges)]:
        state = test.step(state, Counted(hits, 1))
        found.append(test.log_evidence(state))
    return np.array(found)


def _length(path: Rows, threshold: float) -> int:
    """Rows until the evidence reached the threshold; all where it never did."""
    reached = np.flatnonzero(path >= np.log(threshold))
    return int(reached[0]) + 1 if len(reached) else len(path)


def _equal(paths: list[Rows], wanted: float) -> float:
    """The threshold at which runs are so long on average."""
    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2.0
        longer = np.mean([_length(path, float(np.exp(middle - 25.0))) for path in paths]) > wanted
        low, high = (low, middle) if longer else (middle, high)
    return float(np.exp(high - 25.0))
