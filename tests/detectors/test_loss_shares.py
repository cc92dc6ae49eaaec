"""What the sequential test of accuracy watches: lost rows against rows counted one by one, and bounds that hold."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from detectors.counts.performance_counts import PerformanceLayout, count_judged
from detectors.counts.summary import Section
from detectors.evaluating.loss_shares import QUANTILES, largest_mean, loss_bounds, loss_shares
from driftline.columns import JudgedBatch
from driftline.monitor_ranking import RankingSpec

ERRORS = PerformanceLayout("regression", "", (), (), 0.0, 0.5)


def judged(said: np.ndarray, truth: np.ndarray, query: np.ndarray | None = None) -> JudgedBatch:
    count = len(said)
    return JudgedBatch(said, np.full(count, np.nan), truth, np.ones(count, dtype=np.int64), query)


def errors(values: np.ndarray) -> Section:
    return count_judged(ERRORS, judged(values, np.zeros(len(values))))


@pytest.mark.parametrize(("task", "classes"), [("binary", ()), ("multiclass", ("a", "b"))])
def test_wrong_predictions_are_those_that_differ(task: str, classes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(1)
    said, truth = (rng.choice(["a", "b", "c"], 500).astype(object) for _ in range(2))
    layout = PerformanceLayout(task, "a", classes)
    lost = loss_shares(layout, None, None)
    found = lost.of(count_judged(layout, judged(said, truth)))
    wrong = (said == "a") != (truth == "a") if task == "binary" else said != truth
    assert (found.hits.tolist(), found.rows) == ([float(wrong.sum())], 500)


def test_errors_beyond_the_references_quantiles_are_those_counted_one_by_one() -> None:
    rng = np.random.default_rng(2)
    reference, window = rng.standard_t(3, 5000), 1.4 * rng.standard_t(3, 800)
    lost = loss_shares(ERRORS, errors(reference), None)
    found = lost.of(errors(window))
    cuts = [2.0 ** (size / 4.0 - 32.0) * 0.5 for size in lost.beyond]
    assert found.hits.tolist() == [float((np.abs(window) >= cut).sum()) for cut in cuts]
    expected = lost.of(errors(reference))
    for share, hits in zip(QUANTILES, expected.hits.tolist(), strict=True):
        assert hits / 5000 <= 1.0 - share + 1e-9  # the first bin's end behind the quantile
        assert hits / 5000 >= 0.8 * (1.0 - share) - 0.05
    assert lost.ladder.sum() == pytest.approx(1.0)
    assert (lost.ladder >= 0.0).all()
    assert lost.names[0] == f"errors above {cuts[0]:.4g}"


def test_what_is_no_number_is_an_error_beyond_any_size() -> None:
    lost = loss_shares(ERRORS, None, 1e6)
    found = lost.of(errors(np.array([1.0, np.nan, np.inf, 0.0])))
    assert (found.hits.tolist(), found.rows) == ([2.0], 4)


@pytest.mark.parametrize("tolerance", [1e-12, 0.3, 0.5, 7.0, 1e30])
def test_a_tolerance_counts_no_error_within_it(tolerance: float) -> None:
    sizes = np.array([0.0, 0.5, 0.99, 1.0, 1.2, 2.0]) * tolerance
    found = loss_shares(ERRORS, None, tolerance).of(errors(sizes))
    assert found.hits.tolist()[0] >= (1.0 if 1e-9 < tolerance < 1e9 else 0.0)
    assert found.hits.tolist()[0] <= (3.0 if tolerance > 1e-9 else 5.0)


def test_queries_lose_what_their_metric_lacks() -> None:
    layout = PerformanceLayout("ranking", ranking=RankingSpec(cutoff=2))
    score, label = np.array([2.0, 1.0, 2.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    section = count_judged(layout, judged(score, label, np.array([0, 0, 1, 1])))
    found = loss_shares(layout, None, None).of(section)
    assert found.rows == 2
    assert found.hits[0] == pytest.approx(1.0 - 1.0 / math.log2(3.0), abs=1e-4)
    assert loss_shares(layout, None, None).of(None).rows == 0


@pytest.mark.parametrize(("total", "rows"), [(0.0, 40), (3.5, 40), (39.0, 40), (40.0, 40), (123.4, 900)])
def test_the_largest_mean_is_where_the_relative_entropy_says(total: float, rows: int) -> None:
    found, mean = largest_mean(total, rows, 0.01), total / rows
    if mean == 1.0:
        assert found == 1.0
        return
    oracle = optimize.brentq(
        lambda other: rows * stats.entropy([mean, 1 - mean], [other, 1 - other]) + math.log(0.01), mean, 1 - 1e-12
    )
    assert found == pytest.approx(oracle, abs=1e-9)
    assert found >= stats.beta.ppf(0.99, math.floor(total) + 1, rows - math.floor(total)) - 1e-12 or total % 1


def test_the_largest_mean_holds_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(2000):
        values = rng.beta(0.3, 0.9, 60)  # mean 1/4, mostly near 0 and 1
        held += largest_mean(float(values.sum()), 60, 0.1) >= 0.25
    assert held / 2000 >= 0.9 - 4 * math.sqrt(0.09 / 2000)


def test_only_more_losses_are_a_change() -> None:
    section = PerformanceLayout("binary").empty()
    section.values[[0, 1]] = 1000, 900
    lost = loss_shares(PerformanceLayout("binary"), section, None)
    of_reference = loss_bounds(lost, lost.of(section), floor=None, confidence=0.99, margin=0.0, families=1)
    assert of_reference.lower.tolist() == [0.0]
    assert of_reference.upper[0] == pytest.approx(stats.binomtest(100, 1000).proportion_ci(0.99).high)
    floor = loss_bounds(lost, lost.of(None), floor=0.8, confidence=0.99, margin=0.05, families=3)
    assert floor.upper.tolist() == pytest.approx([0.25])
