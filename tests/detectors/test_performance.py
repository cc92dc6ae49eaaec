"""Performance metrics from counts against scikit-learn on the rows, and their verdicts."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from detectors.accuracy.classification import f1
from detectors.accuracy.performance import expected_performance, measure, performance_results
from detectors.counts.performance_counts import PerformanceLayout, count_judged
from detectors.counts.summary import Section
from driftline.columns import JudgedBatch
from driftline.results import LEFT_OUT, Interval, StreamKey, Verdict, WindowKey

KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
BINARY, REGRESSION = PerformanceLayout("binary", "1"), PerformanceLayout("regression")


def binary(rows: int, seed: int = 0, flip: float = 0.0) -> tuple[JudgedBatch, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = (
        np.round(rng.beta(2, 3, rows) * 200 - 0.5) / 200 + 0.5 / 200
    )  # middles of bins: no rounding by the histogram
    truth = rng.random(rows) < np.where(rng.random(rows) < flip, 1 - score, score)
    said = score > 0.5
    batch = JudgedBatch(
        said.astype(int).astype(str).astype(object),
        score,
        truth.astype(int).astype(str).astype(object),
        np.ones(rows, dtype=np.int64),
    )
    return batch, truth, said, score


def measured(layout: PerformanceLayout, section: Section) -> dict[str, Interval]:
    return {found.name: found.interval for found in measure(layout, section, np.random.default_rng(0))}


def test_binary_metrics_agree_with_scikit_learn() -> None:
    batch, truth, said, score = binary(3000)
    found = measured(BINARY, count_judged(BINARY, batch))
    oracle = {
        "accuracy": metrics.accuracy_score(truth, said),
        "precision": metrics.precision_score(truth, said),
        "recall": metrics.recall_score(truth, said),
        "f1": metrics.f1_score(truth, said),
        "auc": metrics.roc_auc_score(truth, score),
        "brier": metrics.brier_score_loss(truth, score),
        "log_loss": metrics.log_loss(truth, score),
    }
    for name, value in oracle.items():
        assert found[name].value == pytest.approx(value, abs=2e-5), name
        assert found[name].lower < value < found[name].upper, name
    assert set(found) == {*oracle, "calibration_error"}
    assert 0.0 <= found["calibration_error"].value < 0.06


def test_multiclass_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth, said = rng.choice(["a", "b", "c"], 800), rng.choice(["a", "b", "c"], 800, p=[0.6, 0.3, 0.1])
    layout = PerformanceLayout("multiclass", "", ("a", "b", "c"))
    batch = JudgedBatch(said.astype(object), np.full(800, np.nan), truth.astype(object), np.ones(800, dtype=np.int64))
    found = measured(layout, count_judged(layout, batch))
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(truth, said))
    for mean in ("macro", "weighted"):
        assert found[f"f1_{mean}"].value == pytest.approx(metrics.f1_score(truth, said, average=mean))
        assert found[f"precision_{mean}"].value == pytest.approx(metrics.precision_score(truth, said, average=mean))
    assert found["recall_macro"].value == pytest.approx(metrics.recall_score(truth, said, average="macro"))
    for place, name in enumerate("abc"):
        recalls = metrics.recall_score(truth, said, average=None)
        assert found[f"recall[{name}]"].value == pytest.approx(recalls[place])
        assert found[f"recall[{name}]"].lower < recalls[place] < found[f"recall[{name}]"].upper


def test_regression_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(100, 20, 500)
    said = truth + rng.standard_t(4, 500) + 0.3
    batch = JudgedBatch(said, np.full(500, np.nan), truth, np.ones(500, dtype=np.int64))
    found = measured(REGRESSION, count_judged(REGRESSION, batch))
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(truth, said), rel=1e-12)
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(truth, said), rel=1e-12)
    assert found["bias"].value == pytest.approx((said - truth).mean(), rel=1e-12)
    assert found["r2"].value == pytest.approx(metrics.r2_score(truth, said), rel=1e-9)
    sizes = np.abs(said - truth)
    assert found["median_absolute_error"].value == pytest.approx(np.median(sizes), rel=0.05)
    assert found["p90_absolute_error"].value == pytest.approx(np.quantile(sizes, 0.9), rel=0.05)
    bootstrap = stats.bootstrap((np.abs(said - truth),), np.mean, rng=np.random.default_rng(0)).confidence_interval
    assert (found["mae"].lower, found["mae"].upper) == pytest.approx((bootstrap.low, bootstrap.high), rel=0.03)


def test_intervals_hold_the_true_value_about_nineteen_times_in_twenty() -> None:
    truth = measured(BINARY, count_judged(BINARY, binary(100_000, seed=99)[0]))
    held = dict.fromkeys(("accuracy", "precision", "recall", "f1", "auc", "brier"), 0)
    for seed in range(150):
        found = measured(BINARY, count_judged(BINARY, binary(300, seed=seed)[0]))
        for name in held:
            held[name] += found[name].lower <= truth[name].value <= found[name].upper
    assert all(133 <= count <= 150 for count in held.values()), held


def test_no_hit_among_few_does_not_say_that_there_are_none() -> None:
    found = f1(0, 3, 9)
    share = 1.0 - 0.025 ** (1 / 12)  # twelve misses in a row are as likely as that
    assert (found.value, found.lower, found.upper) == pytest.approx((0.0, 0.0, 2 * share / (1 + share)))


@pytest.mark.parametrize("true_f1", [0.2, 0.5, 0.8])
def test_f1_of_thirty_cases_is_held_as_often_as_it_says(true_f1: float) -> None:
    share = true_f1 / (2 - true_f1)
    intervals = [f1(hits, 30 - hits, 0) for hits in range(31)]
    holds = np.array([each.lower <= true_f1 <= each.upper for each in intervals])
    assert stats.binom.pmf(np.arange(31), 30, share) @ holds > 0.93


def test_regression_intervals_hold_the_true_value_about_nineteen_times_in_twenty() -> None:
    truth = {"mae": np.sqrt(2 / np.pi), "rmse": 1.0, "bias": 0.0, "r2": 0.75}
    truth |= {"median_absolute_error": stats.norm.ppf(0.75), "p90_absolute_error": stats.norm.ppf(0.95)}
    held = dict.fromkeys(truth, 0)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        errors, labels = rng.normal(size=200), 2.0 * rng.normal(size=200)
        batch = JudgedBatch(labels + errors, np.full(200, np.nan), labels, np.ones(200, dtype=np.int64))
        for name, interval in measured(REGRESSION, count_judged(REGRESSION, batch)).items():
            held[name] += interval.lower <= truth[name] <= interval.upper
    assert all(180 <= count <= 200 for count in held.values()), held


def test_coverage_and_the_reference_are_told_with_the_verdict() -> None:
    before = expected_performance(BINARY, count_judged(BINARY, binary(5000)[0]))
    now = count_judged(BINARY, binary(300, seed=1, flip=0.8)[0])
    (found, *_) = performance_results(KEY, BINARY, now, before, rows=1000, minimum_rows=100)
    assert (found.detector, found.coverage, found.sample_size) == ("accuracy", 0.3, 300)
    assert found.verdict is Verdict.WARNING
    assert found.reference_value is not None
    assert "300 of 1000 rows with labels" in found.reason


def test_few_labels_are_shown_but_not_judged() -> None:
    now = count_judged(BINARY, binary(20)[0])
    for found in performance_results(KEY, BINARY, now, None, rows=1000, minimum_rows=100):
        assert found.verdict is Verdict.NOT_ENOUGH_EVIDENCE
        assert found.effect is not None


def test_errors_that_no_number_holds_are_left_out_and_counted() -> None:
    batch = JudgedBatch(
        np.array([1.0, np.nan, np.inf, 1e300]),
        np.full(4, np.nan),
        np.array([0.0, 1.0, 1.0, 0.0]),
        np.ones(4, dtype=np.int64),
    )
    section = count_judged(REGRESSION, batch)
    assert section.values[:2].tolist() == [1, 3]
    assert measured(REGRESSION, section)["mae"].value == 1.0
    for rest in (section, count_judged(REGRESSION, batch.take(slice(1, 4)))):
        reasons = [found.reason for found in performance_results(KEY, REGRESSION, rest, None, rows=4, minimum_rows=1)]
        assert all(reason.endswith(f"; 3 labelled rows are {LEFT_OUT}") for reason in reasons)


def test_labels_of_classes_that_the_reference_lacks_are_told_beside_the_accuracy_they_lower() -> None:
    layout = PerformanceLayout("multiclass", "", ("a", "b"))

    def told(*truth: str) -> tuple[float, str]:
        said = np.full(len(truth), "a", dtype=object)
        weight = np.ones(len(truth), dtype=np.int64)
        section = count_judged(layout, JudgedBatch(said, np.full(len(truth), np.nan), np.array(truth, object), weight))
        found = performance_results(KEY, layout, section, None, rows=len(truth), minimum_rows=1)[0]
        return found.statistic, found.reason

    assert "the reference does not have" not in told("a", "b")[1]
    accuracy, reason = told("a", "aa", "a", "c")
    assert accuracy == 0.5
    assert "2 labels are of classes that the reference does not have" in reason
    assert "1 label is of a class that the reference does not have" in told("a", "aa")[1]
