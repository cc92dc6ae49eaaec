"""Metrics of rankings against scikit-learn and against every order of ties; their intervals by simulation."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from detectors.accuracy.ranking import ranking_measures
from detectors.counts import ranking_counts as at
from detectors.counts.performance_counts import PerformanceLayout, count_judged
from detectors.counts.ranking_counts import METRICS, ranking_metrics
from detectors.statistics.bounded_mean import bounded_mean
from driftline.columns import JudgedBatch
from driftline.monitor_ranking import RankingSpec

CUTOFF = 4


def queries(count: int, seed: int, *, scores: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores and grades of some queries; ``scores``: so many different ones, for ties."""
    rng = np.random.default_rng(seed)
    found = []
    for size in rng.integers(2, 12, size=count):
        said = rng.random(size) if scores is None else rng.integers(0, scores, size).astype(float)
        grades = rng.integers(0, 4, size).astype(float)
        grades[rng.integers(size)] = 2.0
        found.append((said, grades))
    return found


def metrics_of(found: list[tuple[np.ndarray, np.ndarray]], gain: str = "exponential") -> np.ndarray:
    owner = np.repeat(np.arange(len(found)), [len(said) for said, _ in found])
    said, grades = (np.concatenate(parts) for parts in zip(*found, strict=True))
    worth = grades if gain == "linear" else 2.0**grades - 1.0
    return ranking_metrics(owner, said, worth, (grades >= 1.0).astype(np.int64), CUTOFF)


def batch(found: list[tuple[np.ndarray, np.ndarray]], weight: int = 1, start: int = 0) -> JudgedBatch:
    rows = sum(len(said) for said, _ in found)
    owner = np.repeat(np.arange(len(found)), [len(said) for said, _ in found]) + start
    said, grades = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return JudgedBatch(said, np.full(rows, np.nan), grades, np.full(rows, weight, dtype=np.int64), owner)


@pytest.mark.parametrize("scores", [None, 3])
def test_ndcg_is_that_of_scikit_learn_ties_included(scores: int | None) -> None:
    found = queries(60, seed=1, scores=scores)
    ours = metrics_of(found, "linear")[:, METRICS.index("ndcg")]
    theirs = [ndcg_score(grades[None], said[None], k=CUTOFF) for said, grades in found]
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_average_precision_is_that_of_scikit_learn() -> None:
    found = queries(60, seed=2)
    ours = metrics_of(found)[:, METRICS.index("map")]
    theirs = [average_precision_score(grades >= 1.0, said) for said, grades in found]
    assert ours == pytest.approx(theirs, abs=1e-12)


def one_order(grades: np.ndarray) -> list[float]:
    """The metrics of candidates in this order, by their definitions."""
    gains = 2.0**grades - 1.0
    discounts = 1.0 / np.log2(np.arange(2, len(grades) + 2))
    relevant = grades >= 1.0
    places = np.flatnonzero(relevant) + 1
    top = slice(0, CUTOFF)
    return [
        (gains * discounts)[top].sum() / (np.sort(gains)[::-1] * discounts)[top].sum(),
        1.0 / places[0],
        float(np.mean(np.arange(1, len(places) + 1) / places)),
        relevant[top].sum() / min(CUTOFF, len(grades)),
        float(relevant[top].any()),
    ]


def test_ties_give_the_mean_over_all_their_orders() -> None:
    cases = [
        (np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), np.array([0.0, 0.0, 2.0, 0.0, 1.0, 0.0])),
        (np.array([3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0]), np.array([0.0, 0.0, 0.0, 3.0, 0.0, 1.0, 2.0])),
        (np.array([2.0, 2.0, 1.0, 1.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])),
    ]
    for said, grades in cases:
        orders = [
            one_order(grades[list(order)])
            for order in itertools.permutations(range(len(said)))
            if (np.diff(said[list(order)]) <= 0.0).all()
        ]
        assert metrics_of([(said, grades)])[0] == pytest.approx(np.mean(orders, axis=0), abs=1e-12)


def test_a_query_taken_out_as_it_was_and_put_in_as_it_is_counts_as_it_is() -> None:
    layout = PerformanceLayout("ranking")
    found, others = queries(40, seed=3, scores=5), queries(40, seed=3, scores=5)
    for said, grades in others[:25]:
        grades[: len(said) // 2] = np.nan
    both = count_judged(layout, batch(others)).plus(count_judged(layout, batch(others, weight=-1)))
    assert not both.values.any()
    changed = count_judged(layout, batch(others)).plus(count_judged(layout, batch(others[:25], weight=-1)))
    changed = changed.plus(count_judged(layout, batch(found[:25])))
    assert changed.values.tolist() == count_judged(layout, batch(found)).values.tolist()


def test_queries_that_cannot_be_judged_are_counted_by_why() -> None:
    cases = [
        (np.array([2.0, 1.0]), np.array([1.0, 0.0])),  # judged
        (np.array([2.0, 1.0]), np.array([np.nan, 0.0])),  # partly labelled
        (np.array([2.0, 1.0]), np.array([np.nan, np.nan])),  # not labelled
        (np.array([2.0, 1.0]), np.array([0.0, 0.5])),  # nothing relevant
        (np.array([2.0, np.nan]), np.array([1.0, 0.0])),
        (np.array([2.0, np.inf]), np.array([1.0, 0.0])),
        (np.array([2.0, 1.0]), np.array([1.0, -1.0])),
        (np.array([2.0, 1.0]), np.array([1.0, 1e6])),
    ]
    waiting = count_judged(PerformanceLayout("ranking"), batch(cases)).values
    assert waiting[: at.SUMS_AT].tolist() == [1, 4, 1, 1, 13]
    clicks = PerformanceLayout("ranking", ranking=RankingSpec(unlabelled="irrelevant"))
    assert count_judged(clicks, batch(cases)).values[: at.SUMS_AT].tolist() == [1, 4, 0, 2, 13]


def test_a_model_that_says_the_same_of_all_gets_what_chance_gets() -> None:
    found = [(np.zeros(10), np.eye(10)[place]) for place in range(10)]
    measures = {one.name: one for one in ranking_measures(LAYOUT, count_judged(LAYOUT, batch(found)))}
    assert measures["hit_rate@4"].interval.value == pytest.approx(0.4, abs=1e-4)
    assert measures["mrr"].interval.value == pytest.approx(np.mean(1.0 / np.arange(1, 11)), abs=1e-4)
    assert measures["nothing_relevant_rate"].interval.value == 0.0


LAYOUT = PerformanceLayout("ranking", ranking=RankingSpec(cutoff=CUTOFF))


@pytest.mark.slow
@pytest.mark.parametrize("queries_each", [10, 30, 300])
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_intervals_hold_the_true_mean_as_often_as_they_say(queries_each: int, noise: float) -> None:
    rng = np.random.default_rng(4)
    runs, size, count = 600, 8, 20_000
    grades = rng.integers(0, 4, (count, size)).astype(float)
    grades[np.arange(count), rng.integers(0, size, count)] = 3.0
    said = grades + rng.normal(0.0, noise, grades.shape)
    owner = np.repeat(np.arange(count), size)
    values = ranking_metrics(owner, said.ravel(), 2.0 ** grades.ravel() - 1.0, (grades.ravel() >= 2.0) * 1, CUTOFF)
    drawn = values[rng.integers(0, len(values), (runs, queries_each))]
    for place, name in enumerate(METRICS):
        truth = values[:, place].mean()
        found = [bounded_mean(queries_each, run.sum(), (run**2).sum()) for run in drawn[:, :, place]]
        covered = np.mean([one.lower <= truth <= one.upper for one in found])
        assert covered >= 0.945 - 4.0 * np.sqrt(0.05 * 0.95 / runs), name
