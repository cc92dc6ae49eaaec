"""Do 95 % intervals of accuracy hold the truth, with few labels as with many, and are they no wider than they must be?

Labels are drawn from laws whose metrics are known: of classes from the table of chances, of errors from SciPy's
moments, of scores from millions of draws by NumPy alone. Each draw goes the way of a window's labels: counted,
measured. *Held*: how often the interval has the truth in it, give or take a thousandth (scores are counted in bins).
*Width*: the mean width of intervals over that of the range in which 19 of 20 estimates fall.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from benchmarks.harness import close
from detectors.accuracy.performance import measure
from detectors.accuracy.regression import tail_weight
from detectors.counts.performance_counts import PerformanceLayout, count_judged
from driftline.columns import JudgedBatch

Rows = NDArray[np.float64]
LABELS = (10, 30, 100, 1000)
LABEL_SD = 2.0
_WITHIN = 1e-3
_ORACLE_ROWS = 2_000_000


@dataclass(frozen=True, slots=True)
class Law:
    """Where labels come from: ``draw`` so many of them, and what is true of them all, by metric.

    ``reference_rows``: labelled rows of a reference beside them, another one every ten draws.
    """

    kind: str
    layout: PerformanceLayout
    draw: Callable[[np.random.Generator, int], JudgedBatch]
    truth: Mapping[str, float]
    reference_rows: int = 0


def _batch(said: Rows, score: Rows, label: Rows) -> JudgedBatch:
    return JudgedBatch(said, score, label, np.ones(len(said), dtype=np.int64))


# --- classes ----------------------------------------------------------------------------------------------------------
def classes(shares: Sequence[float], right: Sequence[float], kind: str) -> Law:
    """Classes that are so frequent and recognised so often; what is wrong is said as often as it occurs."""
    often = np.array(shares)
    chances = np.zeros((len(often), len(often)))
    for place, hit in enumerate(right):
        others = np.where(np.arange(len(often)) == place, 0.0, often)
        chances[place] = often[place] * (1.0 - hit) * others / others.sum()
        chances[place, place] = often[place] * hit
    names = np.array([f"c{place:02}" for place in range(len(often))], dtype=object)

    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        cells = rng.choice(chances.size, rows, p=chances.ravel())
        return _batch(names[cells % len(names)], np.full(rows, np.nan), names[cells // len(names)])

    hits, there, said = np.diagonal(chances), chances.sum(axis=1), chances.sum(axis=0)
    f1, precision, recall = 2.0 * hits / (there + said), hits / said, hits / there
    truth = {
        "accuracy": hits.sum(),
        "f1_macro": f1.mean(),
        "precision_macro": precision.mean(),
        "recall_macro": recall.mean(),
        "f1_weighted": there @ f1,
        "precision_weighted": there @ precision,
    }
    return Law(kind, PerformanceLayout("multiclass", "", tuple(names.tolist())), draw, truth)


# --- scores -----------------------------------------------------------------------------------------------------------
def scores(low: float, high: float, power: float = 1.0) -> Law:
    """Scores whose right values follow a beta law, and are told to this power."""

    def rows_of(rng: np.random.Generator, rows: int) -> tuple[Rows, Rows]:
        right = rng.beta(low, high, rows)
        return right**power, (rng.random(rows) < right).astype(np.float64)

    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        score, truth = rows_of(rng, rows)
        names = np.array(["0", "1"], dtype=object)
        return _batch(names[(score > 0.5).astype(int)], score, names[truth.astype(int)])

    return Law(
        "scores",
        PerformanceLayout("binary", "1"),
        draw,
        _true_of_scores(*rows_of(np.random.default_rng(1), _ORACLE_ROWS)),
    )


def _true_of_scores(score: Rows, truth: Rows) -> dict[str, float]:
    said = score > 0.5
    hits, positives = float(truth[said].sum()), float(truth.sum())
    negatives = len(truth) - positives
    ranks = float(stats.rankdata(score)[truth > 0].sum())
    happened = np.where(truth > 0, score, 1.0 - score)
    bins = np.minimum((score * 10).astype(int), 9)
    gaps = np.bincount(bins, truth - score, minlength=10)
    return {
        "accuracy": float((said == (truth > 0)).mean()),
        "precision": hits / float(said.sum()),
        "recall": hits / positives,
        "f1": 2.0 * hits / (float(said.sum()) + positives),
        "auc": (ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives),
        "brier": float(((score - truth) ** 2).mean()),
        "log_loss": float(-np.log(np.maximum(happened, 1e-15)).mean()),
        "calibration_error": float(np.abs(gaps).sum() / len(truth)),
    }


# --- errors -----------------------------------------------------------------------------------------------------------
def errors(law: Any, kind: str = "errors") -> Law:
    """Errors of a law of SciPy's, apart from labels, which are normal."""

    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        truth = rng.normal(0.0, LABEL_SD, rows)
        return _batch(truth + law.rvs(size=rows, random_state=rng), np.full(rows, np.nan), truth)

    def size(share: float) -> float:
        top = max(abs(law.ppf(1e-6)), abs(law.ppf(1.0 - 1e-6)))
        return float(optimize.brentq(lambda x: law.cdf(x) - law.cdf(-x) - share, 0.0, top))

    square = float(law.moment(2))
    truth = {
        "mae": float(law.expect(abs)),
        "rmse": math.sqrt(square),
        "bias": float(law.mean()),
        "median_absolute_error": size(0.5),
        "p90_absolute_error": size(0.9),
        "r2": 1.0 - square / LABEL_SD**2,
    }
    return Law(kind, PerformanceLayout("regression"), draw, truth)


RARE, HEAVY = "a class of 1 to 5 %", "log-normal errors"
KNOWN, REFERENCE_ROWS = "log-normal errors, beside 2,000 labelled reference rows", 2000
LAWS: Mapping[str, Callable[[], Law]] = {
    "scores that are right": partial(scores, 2.0, 3.0),
    "rare positives": partial(scores, 1.0, 9.0),
    "sure scores": partial(scores, 0.5, 0.5),
    "scores too high": partial(scores, 2.0, 3.0, 0.5),
    "scores much too high": partial(scores, 6.0, 4.0, 0.3),
    "three classes": partial(classes, (0.5, 0.3, 0.2), (0.9, 0.9, 0.9), "frequent classes"),
    "ten classes": partial(classes, (0.1,) * 10, (0.85,) * 10, "frequent classes"),
    "two classes, one of 5 %": partial(classes, (0.95, 0.05), (0.95, 0.5), RARE),
    "three classes, one of 5 %": partial(classes, (0.6, 0.35, 0.05), (0.9, 0.9, 0.6), RARE),
    "three classes, one of 1 %": partial(classes, (0.7, 0.29, 0.01), (0.9, 0.8, 0.3), RARE),
    "five classes, one of 3 %": partial(classes, (0.5, 0.25, 0.15, 0.07, 0.03), (0.95, 0.9, 0.8, 0.7, 0.5), RARE),
    "normal": lambda: errors(stats.norm()),
    "normal, biased": lambda: errors(stats.norm(2.0)),
    "even": lambda: errors(stats.uniform(-1.0, 2.0)),
    "one-sided, exponential": lambda: errors(stats.expon()),
    "Laplace": lambda: errors(stats.laplace()),
    "Student's, five degrees of freedom": lambda: errors(stats.t(5)),
    "log-normal": lambda: errors(stats.lognorm(1.0), HEAVY),
    "log-normal, with a reference": lambda: replace(errors(stats.lognorm(1.0), KNOWN), reference_rows=REFERENCE_ROWS),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Of the intervals of one metric: how many held the truth, and their width in units of the estimates' range."""

    held: float
    width: float


def watched(law: Law, labels: int, runs: int, seed: int) -> dict[str, Found]:
    """What intervals of so many labels do, by metric; those that are told in nine of ten draws."""
    rng, seen = np.random.default_rng((labels, seed)), dict[str, list[tuple[float, float, float]]]()
    tail = 0.0
    for run in range(runs):
        if law.reference_rows and run % 10 == 0:
            tail = tail_weight(count_judged(law.layout, law.draw(rng, law.reference_rows)))
        counted = count_judged(law.layout, law.draw(rng, labels))
        for one in measure(law.layout, counted, np.random.default_rng(run), tail):
            ends = one.interval
            seen.setdefault(one.name, []).append((ends.value, ends.lower, ends.upper))
    found = {}
    for name, true in law.truth.items():
        told = np.array(seen.get(name, []))
        if len(told) < 0.9 * runs:
            continue
        values, lower, upper = told.T
        held = (lower - _WITHIN <= true) & (true <= upper + _WITHIN)
        low, high = np.quantile(values, [0.025, 0.975])
        width = float((upper - lower).mean() / (high - low)) if high - low > _WITHIN else math.nan
        found[name] = Found(float(held.mean()), width)
    return found


def main() -> None:
    """The share held, of the worst law, and the width, over all laws, per metric and number of labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--labels", type=int, nargs="*", default=LABELS)
    parser.add_argument("--laws", nargs="*", choices=LAWS, default=list(LAWS))
    options = parser.parse_args()
    found: dict[tuple[str, str], dict[int, dict[str, Found]]] = {}
    for name in options.laws:
        law = LAWS[name]()
        for labels in options.labels:
            for metric, one in watched(law, labels, options.runs, list(LAWS).index(name)).items():
                found.setdefault((law.kind, metric), {}).setdefault(labels, {})[name] = one
    rows = [
        [f"{metric}, {kind}", *(_cell(laws.get(labels, {})) for labels in options.labels)]
        for (kind, metric), laws in found.items()
    ]
    worst = [one.held for laws in found.values() for each in laws.values() for one in each.values()]
    title = f"95 % intervals that hold the truth, worst law; mean width of all laws ({options.runs} draws of each)"
    close(
        "intervals",
        {"held_min": min(worst), "held_min_by_kind": _least(found)},
        {},
        [{"title": title, "head": ["metric, of", *options.labels], "rows": rows}],
    )


def _cell(laws: Mapping[str, Found]) -> str:
    if not laws:
        return "-"
    widths = [one.width for one in laws.values() if math.isfinite(one.width)]
    width = f"{np.mean(widths):.2f}" if widths else "-"
    return f"{min(one.held for one in laws.values()):.1%} ({width})"


def _least(found: Mapping[tuple[str, str], Mapping[int, Mapping[str, Found]]]) -> dict[str, float]:
    least: dict[str, float] = {}
    for (kind, _), laws in found.items():
        for each in laws.values():
            for one in each.values():
                least[kind] = min(least.get(kind, 1.0), one.held)
    return least


if __name__ == "__main__":
    main()
