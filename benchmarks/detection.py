"""Is what changed found, and how soon? Power beside the exact tests, delay beside river's detectors, known drift.

*Power*: windows of 500 rows against 2,000, drawn with a change; both a detector of ours, on the reference's bins, and
the exact test, on the rows, get the threshold that gives them exactly 5 % alarms on windows without it. *Delay*:
river's FriedmanDrift, a model's errors, every detector at its own defaults or promise. *Known drift*: NannyML's
car-loan data, which change half-way. A dummy that rolls dice stands in every table. *Together*: tests of several
columns where rows hang together, beside an oracle. *Seasonal*: windows beside the same hours of other weeks.

Tables of data that no package brings, each made where a folder with them is given: changes that people marked
(``--tcpd``), anomalies in streams (``--nab``), run lengths over several columns (``--wine``); each has its own file.
"""

import argparse
import csv
import json
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks import (
    detection_loans,
    detection_nab,
    detection_tcpd,
    detection_together,
    detection_wine,
    seasonal_streams,
)
from benchmarks.detection_series import watched
from benchmarks.equal_rates import RATE, found_at_rate
from benchmarks.harness import close
from benchmarks.peers.environments import python_of
from benchmarks.peers.running import ask
from benchmarks.windows import columns_of, prepared
from detectors.counts.binning import bin_numbers, count_numbers, full_edges
from detectors.counts.layout import ColumnLayout
from detectors.counts.reference_bins import numeric_cuts, representatives
from detectors.online.contract import Counted
from detectors.online.entries import SHARE_TESTS, ShareEntry
from detectors.online.share_bounds import ShareBounds
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.univariate.anderson_darling import anderson_darling
from detectors.univariate.cramer_von_mises import cramer_von_mises
from detectors.univariate.ks import ks
from driftline.results import WHOLE_WINDOW, Verdict
from tests.parts.missing import MissingPartError

Rows = NDArray[np.float64]
REFERENCE, WINDOW = 2000, 500

CHANGES: Mapping[str, Callable[[np.random.Generator, int], Rows]] = {
    "none": lambda rng, n: rng.normal(size=n),
    "shift of 0.15 sd": lambda rng, n: rng.normal(0.15, 1.0, n),
    "shift of -0.15 sd": lambda rng, n: rng.normal(-0.15, 1.0, n),
    "spread times 1.2": lambda rng, n: rng.normal(0.0, 1.2, n),
    "4 % four sd away": lambda rng, n: rng.normal(size=n) + 4.0 * (rng.random(n) < 0.04),
    "heavier tails": lambda rng, n: rng.standard_t(3, n),
    "skewed": lambda rng, n: (rng.gamma(4.0, size=n) - 4.0) / 2.0,
}


def _on_bins(before: Rows, now: Rows) -> ColumnSample:
    cuts = numeric_cuts(before)
    edges = full_edges(cuts)
    values = representatives(before, ColumnLayout("x", "numeric", cuts))
    return ColumnSample("x", "numeric", count_numbers(before, edges), count_numbers(now, edges), values)


def exact(before: Rows, now: Rows) -> dict[str, float]:
    """The exact tests' statistics of two samples of rows without ties, all from one order of the rows.

    As SciPy has them, which takes ten times as long: :func:`held_to_scipy` holds these to it.
    """
    order = np.argsort(np.concatenate((before, now)))
    from_before, rows, product = order < len(before), len(order), len(before) * len(now)
    gaps = (np.cumsum(from_before) / len(before) - np.cumsum(~from_before) / len(now))[:-1]
    ranks, squares = np.arange(1, rows), gaps**2
    return {
        "ks": float(np.abs(gaps).max()),
        "cramer_von_mises": float(squares.sum()) * product / rows**2,
        "anderson_darling": float((squares / (ranks * (rows - ranks))).sum()) * product,
    }


def held_to_scipy(before: Rows, now: Rows) -> float:
    """Raises AssertionError where SciPy finds other statistics; what it takes for a standard deviation of A squared.

    >>> import math
    >>> draws = [np.random.default_rng(seed).normal(size=(2, 60)) for seed in (1, 2)]
    >>> scales = [held_to_scipy(*draw) for draw in draws]
    >>> math.isclose(*scales)
    True
    """
    found = exact(before, now)
    cramer = stats.cramervonmises_2samp(before, now, method="asymptotic").statistic
    np.testing.assert_allclose(found["ks"], stats.ks_2samp(before, now, method="asymp").statistic)
    np.testing.assert_allclose(found["cramer_von_mises"], cramer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its p-value, which is not asked for, is capped
        # In deviations from its mean, which is 1.
        anderson = stats.anderson_ksamp([before, now], variant="right").statistic
    return (found["anderson_darling"] - 1.0) / float(anderson)


#: Ours, of counts on bins.
OURS: Mapping[str, Callable[[ColumnSample], Evidence]] = {
    "ks": ks,
    "cramer_von_mises": cramer_von_mises,
    "anderson_darling": anderson_darling,
}


def power(runs: int) -> tuple[dict[str, dict[str, float]], float, float]:
    """Per change, the share found by each; the smallest ratio of ours to the exact test's; and what is sure of it.

    The last is the smallest upper limit of a ratio, all limits right at once with 95 %: below 1 something is worse.
    """
    held_to_scipy(*(draw(np.random.default_rng(5), REFERENCE) for draw in list(CHANGES.values())[:2]))
    seen: dict[str, dict[str, list[float]]] = {change: {} for change in CHANGES}
    dice = np.random.default_rng(0)
    for change, draw in CHANGES.items():
        for run in range(runs):
            rng = np.random.default_rng((run, 17))
            before, now = rng.normal(size=REFERENCE), draw(rng, WINDOW)
            found, sample = seen[change], _on_bins(before, now)
            for name, statistic in exact(before, now).items():
                found.setdefault(name, []).append(OURS[name](sample).p_value or 0.0)
                found.setdefault(f"{name} exact", []).append(-statistic)
            found.setdefault("dummy", []).append(float(dice.random()))
    # What differs by rounding alone is equal.
    values = {change: {name: np.round(each, 10) for name, each in found.items()} for change, found in seen.items()}
    shares = {
        change: {name: float(found_at_rate(values["none"][name], each).mean()) for name, each in found.items()}
        for change, found in values.items()
    }
    pairs = [
        (change, name)
        for change in CHANGES
        for name in OURS
        if change != "none" and shares[change][f"{name} exact"] > 2 * RATE
    ]
    ratios = np.array([shares[change][name] / shares[change][f"{name} exact"] for change, name in pairs])
    errors = np.array([_ratio_error(values["none"], values[change], name) for change, name in pairs])
    sure = ratios + stats.norm.isf(0.05 / len(pairs)) * errors
    return shares, float(ratios.min()), float(sure.min())


def _ratio_error(quiet: Mapping[str, Rows], values: Mapping[str, Rows], name: str) -> float:
    """The standard error of one test's ratio, by drawing the windows anew, those of both tests and laws together."""
    rng, ratios = np.random.default_rng(3), []
    for _ in range(200):
        drawn = rng.integers(0, len(values[name]), len(values[name]))
        ours, exact = (
            found_at_rate(quiet[each][drawn], values[each][drawn]).mean() for each in (name, f"{name} exact")
        )
        ratios.append(ours / exact)
    return float(np.std(ratios))


# --- delay ------------------------------------------------------------------------------------------------------------
CALIBRATED, STABLE, STEP = 2000, 2500, 2
#: At most a false alarm in a hundred streams of 2,500 rows.
PROMISED_ROWS = 250_000
#: Streams of 2,500 stable rows with a false alarm of ADWIN's defaults: 10,000 FriedmanDrift streams of the published
#: table (arXiv 2603.13156).
ADWIN_RATE = 0.009
EQUAL = " at ADWIN's rate"
STRONGEST = "e_pooled"


def friedman(trials: int, null_streams: int, tests: Sequence[ShareEntry]) -> dict[str, dict[str, dict[str, Any]]]:
    """Per kind of drift and detector: streams with a false alarm, streams whose drift is found, and the mean delay."""
    with tempfile.TemporaryDirectory() as made:
        script = Path(__file__).parent / "peers" / "river_friedman.py"
        done = subprocess.run(
            [python_of("river"), script, made, str(trials)], capture_output=True, text=True, check=True, timeout=1800
        )
        said: dict[str, dict[str, list[list[int]]]] = json.loads(done.stdout.strip().splitlines()[-1])
        found: dict[str, dict[str, dict[str, Any]]] = {}
        dice = np.random.default_rng(1)
        equal = {entry.name: _equal_threshold(entry.make, null_streams) for entry in tests}
        for kind, theirs in said.items():
            streams = [np.load(Path(made) / f"{kind}-{trial}.npy") for trial in range(trials)]
            alarms = dict(theirs)
            for entry in tests:
                seen = [_watched(stream) for stream in streams]
                alarms[entry.name] = [_ours(entry.make, PROMISED_ROWS / STEP, *each) for each in seen]
                alarms[entry.name + EQUAL] = [_ours(entry.make, equal[entry.name], *each) for each in seen]
            alarms["dummy"] = [np.flatnonzero(dice.random(2 * STABLE) < 1 / PROMISED_ROWS).tolist() for _ in streams]
            found[kind] = {name: _delays(each) for name, each in alarms.items()}
        return found


def _watched(stream: Rows) -> tuple[ShareBounds, Rows]:
    """What a monitor watches of a column of numbers: bounds of its shares after calibration, and each row's hits."""
    column, shares, limits = watched(stream[:CALIBRATED])
    return limits, shares.members.T[bin_numbers(stream[CALIBRATED:], column.edges)]


def _ours(make: Callable[..., Any], threshold: float, limits: ShareBounds, hits: Rows) -> list[int]:
    """Rows at which it alarmed, until the first one after the change; two rows at a time."""
    test = make(limits, threshold, 1)
    state, found = test.start(), []
    for place in range(0, len(hits) - STEP + 1, STEP):
        before = state.alarms
        state = test.step(state, Counted(hits[place : place + STEP].sum(axis=0), STEP))
        if state.alarms > before:
            found.append(place + STEP - 1)
            if found[-1] >= STABLE:
                break
    return found


def _equal_threshold(make: Callable[..., Any], streams: int) -> float:
    """The evidence that as many stable streams reach as ADWIN's defaults alarm in; whatever the law, if continuous."""
    tops = []
    for number in range(streams):
        stream = np.random.default_rng((number, 29)).random(CALIBRATED + STABLE)
        limits, hits = _watched(stream)
        test, top = make(limits, np.inf, 1), -np.inf
        state = test.start()
        for place in range(0, STABLE, STEP):
            state = test.step(state, Counted(hits[place : place + STEP].sum(axis=0), STEP))
            top = max(top, test.log_evidence(state))
        tops.append(top)
    return float(np.exp(np.quantile(tops, 1.0 - ADWIN_RATE)))


def _delays(alarms: Sequence[Sequence[int]]) -> dict[str, Any]:
    early = sum(any(place < STABLE for place in each) for each in alarms)
    delays = [
        min(place for place in each if place >= STABLE) - STABLE for each in alarms if max(each, default=0) >= STABLE
    ]
    return {
        "false_alarms": early / len(alarms),
        "found": len(delays) / len(alarms),
        "delay_rows": float(np.mean(delays)) if delays else None,
    }


# --- known drift ------------------------------------------------------------------------------------------------------
def car_loans() -> list[list[object]]:
    """Ten chunks of 5,000 rows, of which the last five are drifted: how many columns each calls drifted."""
    (data,) = python_of("nannyml").parent.parent.glob("lib/python3*/site-packages/nannyml/datasets/data")
    before, after = (_loans(data / f"synthetic_car_loan_{part}.csv") for part in ("reference", "analysis"))
    chunks = [{name: values[at : at + 5000] for name, values in after.items()} for at in range(0, 50_000, 5000)]
    ready = prepared(before)
    ours = []
    for chunk in chunks:
        found = ready.evaluate(ready.count(columns_of(chunk))).results
        drifted = [
            result
            for result in found
            if result.detector in ("ks", "chi_square")
            and result.column != WHOLE_WINDOW
            and result.verdict is Verdict.DRIFTED
        ]
        ours.append(len(drifted))
    with tempfile.TemporaryDirectory() as made:
        # Each chunk is a stream of its own, so that the answers come apart.
        for place, chunk in enumerate(chunks):
            arrays = {f"reference/{name}": values for name, values in before.items()}
            arrays |= {f"windows/{name}": values[None, :] for name, values in chunk.items()}
            np.savez(Path(made) / f"{place}.npz", **arrays)
        said = ask("nannyml", Path(made), 60.0)
    dice = np.random.default_rng(2)
    theirs = [said.get(str(place), said).get("columns", "could not") for place in range(10)]
    rows: list[list[object]] = []
    for place in range(10):
        truth = "no" if place < 5 else "yes"
        rows.append([place + 1, truth, ours[place], theirs[place], int((dice.random(len(before)) < 0.01).sum())])
    return rows


def _loans(path: Path) -> dict[str, NDArray[Any]]:
    with path.open() as file:
        table = list(csv.DictReader(file))
    numeric = ("car_value", "debt_to_income_ratio", "loan_length", "driver_tenure")
    text = ("salary_range", "repaid_loan_on_prev_car", "size_of_downpayment")
    columns: dict[str, NDArray[Any]] = {
        name: np.array([float(row[name] or "nan") for row in table]) for name in numeric
    }
    return {**columns, **{name: np.array([row[name] for row in table]) for name in text}}


def _power(options: argparse.Namespace, figures: dict[str, Any], _against: dict[str, Any]) -> list[dict[str, Any]]:
    runs = 20 if options.quick else options.runs
    shares, figures["power_vs_exact_min"], figures["power_vs_exact_sure"] = power(runs)
    names = list(next(iter(shares.values())))
    return [
        {
            "title": f"Changes found at {RATE:.0%} false alarms ({runs} windows each)",
            "head": ["change", *names],
            "rows": [[change, *(f"{found[name]:.0%}" for name in names)] for change, found in shares.items()],
        }
    ]


def _friedman(options: argparse.Namespace, figures: dict[str, Any], against: dict[str, Any]) -> list[dict[str, Any]]:
    tests = [entry for entry in SHARE_TESTS if entry.name in options.tests]
    found = friedman(options.trials, options.null_streams, tests)
    rows = [
        [
            kind,
            name,
            f"{each['false_alarms']:.0%}",
            f"{each['found']:.0%}",
            "-" if each["delay_rows"] is None else f"{each['delay_rows']:.0f}",
        ]
        for kind, detectors in found.items()
        for name, each in detectors.items()
    ]
    ours = [name for entry in tests for name in (entry.name, entry.name + EQUAL)]
    adwin = {kind: found[kind]["ADWIN"]["delay_rows"] for kind in ("global, abrupt", "global, gradual")}
    for figure, ending in (("delay_vs_adwin", EQUAL), ("delay_vs_adwin_at_promise", "")):
        ratios = {kind: found[kind][STRONGEST + ending]["delay_rows"] / delay for kind, delay in adwin.items()}
        figures |= {figure: max(ratios.values()), f"{figure}_by_drift": ratios}
    figures["friedman"] = {kind: {name: each[name] for name in ours} for kind, each in found.items()}
    against["friedman"] = {
        kind: {name: each[name] for name in each if name not in ours} for kind, each in found.items()
    }
    title = f"FriedmanDrift, {options.trials} streams each, errors of a quadratic model"
    head = ["drift", "detector", "streams with a false alarm", "found", "mean delay in rows"]
    return [{"title": title, "head": head, "rows": rows}]


def _loans_table(
    _options: argparse.Namespace, _figures: dict[str, Any], _against: dict[str, Any]
) -> list[dict[str, Any]]:
    head = ["chunk", "drifted", "columns driftline calls drifted", "columns NannyML alerts", "dummy"]
    columns = {"title": "NannyML's car loans, seven columns", "head": head, "rows": car_loans()}
    return [columns, *detection_loans.tables()]


def _together(options: argparse.Namespace, figures: dict[str, Any], _against: dict[str, Any]) -> list[dict[str, Any]]:
    if options.quick:
        found, made = detection_together.table(options.together, ("mmd_features",), 2, 5)
    else:
        found, made = detection_together.table(options.together)
    figures |= found
    return [made]


def _seasonal(options: argparse.Namespace, figures: dict[str, Any], _against: dict[str, Any]) -> list[dict[str, Any]]:
    """Windows beside the same hours, moved: what is found with a season over what is found without."""
    found = seasonal_streams.every(1 if options.quick else options.seasons, change=True)
    of_noise = [[each["significant"] for each in seasons.values()] for seasons in found.values()]
    figures["seasonal_found_vs_none_min"] = min(min(others) / max(none, 1) for none, *others in of_noise)
    moves = ", ".join(f"{noise} by {moved:g} sd" for noise, (_, moved) in seasonal_streams.NOISES.items())
    return [seasonal_streams.table(f"Hourly windows beside the same hours of other weeks, moved: {moves}", found)]


#: Tables of data that are drawn, or come with a peer's package.
TABLES: Mapping[str, Callable[..., list[dict[str, Any]]]] = {
    "power": _power,
    "together": _together,
    "seasonal": _seasonal,
    "friedman": _friedman,
    "loans": _loans_table,
}
#: Tables of data that a folder has to hold, and how to get it.
FOLDERS = {
    "tcpd": "a clone of github.com/alan-turing-institute/TCPD",
    "nab": "a clone of github.com/numenta/NAB",
    "wine": "with winequality-white.csv and winequality-red.csv, of UCI",
}


def _of_folder(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    folder = getattr(options, name)
    if folder is None:
        return None
    if name == "wine":
        return detection_wine.table(folder, options.runs)
    return (detection_tcpd if name == "tcpd" else detection_nab).table(folder)


def main() -> None:
    """The tables that were asked for, close."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few draws and no peers; not for figures")
    parser.add_argument("--runs", type=int, default=250)
    parser.add_argument("--trials", type=int, default=10)
    several = list(detection_together.HANGING)
    parser.add_argument(
        "--together", nargs="+", choices=several, default=several, help="streams of that table, these alone"
    )
    parser.add_argument("--seasons", type=int, default=4, help="references of each stream of that table")
    parser.add_argument("--null-streams", type=int, default=400, help="to find the thresholds of equal false alarms")
    names = [entry.name for entry in SHARE_TESTS]
    parser.add_argument("--tests", nargs="*", choices=names, default=names, help=f"{STRONGEST} and others")
    parser.add_argument("--tables", nargs="*", choices=[*TABLES, *FOLDERS], help="these alone; no others are drawn")
    for name, told in FOLDERS.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help=told)
    options = parser.parse_args()
    wanted = options.tables or (["power"] if options.quick else list(TABLES))
    figures: dict[str, Any] = {}
    against: dict[str, Any] = {}
    tables: list[dict[str, Any]] = []
    for name in wanted:
        try:
            tables += TABLES[name](options, figures, against) if name in TABLES else []
        except (MissingPartError, subprocess.SubprocessError) as error:
            against[f"{name}_could_not_be_asked"] = str(error)[:300]
    tables += [made for name in FOLDERS if (made := _of_folder(name, options)) is not None]
    close("detection", figures, against, tables)


if __name__ == "__main__":
    main()
