"""Intervals of ten, thirty and a hundred labels: how often they hold what a million labels show."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from detectors.accuracy.performance import measure
from detectors.counts.performance_counts import PerformanceLayout, count_judged
from detectors.statistics.bounded_mean import bounded_mean, exact_share
from detectors.statistics.wilson import wilson
from driftline.columns import JudgedBatch

Draw = Callable[[np.random.Generator, int], JudgedBatch]
LAYOUTS = {
    "binary": PerformanceLayout("binary", "1"),
    "multiclass": PerformanceLayout("multiclass", "", ("a", "b", "c")),
    "regression": PerformanceLayout("regression"),
}
RUNS, LABELS = 150, (10, 30, 100)


def of_scores(low: float, high: float, power: float = 1.0) -> Draw:
    """Scores whose right values follow a beta law, and are told to this power."""

    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        right = rng.beta(low, high, rows)
        score, truth = right**power, rng.random(rows) < right
        said, label = ((score > 0.5).astype(int).astype(str), truth.astype(int).astype(str))
        return JudgedBatch(said.astype(object), score, label.astype(object), np.ones(rows, dtype=np.int64))

    return draw


def of_classes(rng: np.random.Generator, rows: int) -> JudgedBatch:
    names = np.array(["a", "b", "c"], dtype=object)
    truth = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    said = np.where(rng.random(rows) < 0.85, truth, rng.integers(0, 3, rows))
    score = np.clip(rng.normal(0.85, 0.1, rows), 0.0, 1.0)
    return JudgedBatch(names[said], score, names[truth], np.ones(rows, dtype=np.int64))


def of_errors(errors: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        truth = 2.0 * rng.normal(size=rows)
        return JudgedBatch(truth + errors(rng, rows), np.full(rows, np.nan), truth, np.ones(rows, dtype=np.int64))

    return draw


LAWS: dict[str, tuple[str, Draw]] = {
    "honest scores": ("binary", of_scores(2.0, 3.0)),
    "rare positives": ("binary", of_scores(1.0, 9.0)),
    "sure scores": ("binary", of_scores(0.5, 0.5)),
    "scores too high": ("binary", of_scores(2.0, 3.0, 0.5)),
    "classes": ("multiclass", of_classes),
    "normal errors": ("regression", of_errors(lambda rng, rows: rng.normal(size=rows))),
    "one-sided errors": ("regression", of_errors(lambda rng, rows: rng.exponential(size=rows))),
    "even errors": ("regression", of_errors(lambda rng, rows: rng.uniform(-1.0, 1.0, rows))),
}


@pytest.mark.parametrize("law", LAWS)
def test_few_labels_say_as_little_as_they_know(law: str) -> None:
    task, draw = LAWS[law]
    layout = LAYOUTS[task]
    many = count_judged(layout, draw(np.random.default_rng(1), 300_000))
    truth = {one.name: one.interval.value for one in measure(layout, many, np.random.default_rng(0))}
    for labels in LABELS:
        rng, held = np.random.default_rng(labels), dict[str, list[bool]]()
        for run in range(RUNS):
            for one in measure(layout, count_judged(layout, draw(rng, labels)), np.random.default_rng(run)):
                ends = one.interval.lower - 1e-3, one.interval.upper + 1e-3
                held.setdefault(one.name, []).append(ends[0] <= truth[one.name] <= ends[1])
        for name, found in held.items():
            if "[" in name or ("macro" in name and labels == 10):  # of ten labels a class is often not there
                continue
            # Square roots of means of squares of one-sided errors are the hardest.
            expected = 0.91 if name in ("rmse", "bias") else 0.94
            least = expected - 3.5 * np.sqrt(expected * (1.0 - expected) / len(found))
            assert np.mean(found) >= least, (labels, name, np.mean(found))


@pytest.mark.parametrize("trials", [10, 30, 100])
def test_shares_are_held_whatever_they_are(trials: int) -> None:
    hits = np.arange(trials + 1)
    ends = [exact_share(each, trials) for each in hits]
    rough = [wilson(each, trials) for each in hits]
    shares = np.linspace(0.002, 0.998, 499)
    held = np.array([[one.lower <= share <= one.upper for one in ends] for share in shares])
    roughly = np.array([[one.lower <= share <= one.upper for one in rough] for share in shares])
    chances = stats.binom.pmf(hits, trials, shares[:, None])
    assert (held * chances).sum(axis=1).min() >= 0.95
    assert (roughly * chances).sum(axis=1).min() < 0.935  # why it is not Wilson's
    for each, one in zip(hits, ends, strict=True):
        found = stats.binomtest(int(each), trials).proportion_ci(method="exact")
        assert (one.lower, one.upper) == pytest.approx((found.low, found.high))


def test_a_mean_of_zeros_and_ones_is_a_share() -> None:
    for hits in (0, 1, 7, 29, 30):
        found, share = bounded_mean(30, float(hits), float(hits)), exact_share(hits, 30)
        assert (found.value, found.lower, found.upper) == pytest.approx((share.value, share.lower, share.upper))


def test_what_is_known_of_the_scatter_widens_a_mean() -> None:
    plain, known = bounded_mean(30, 3.0, 0.3), bounded_mean(30, 3.0, 0.3, least_variance=0.09)
    assert known.lower < plain.lower < plain.upper < known.upper
    assert bounded_mean(30, 3.0, 0.3, least_variance=10.0).upper < 1.0
