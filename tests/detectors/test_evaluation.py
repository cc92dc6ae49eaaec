"""Whole windows: from rows to verdicts, odd ones included."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from detectors.baselines.reference import build_reference
from detectors.counts.summary import WindowState
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluated, Evaluator, default_bridge
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor, parse_monitor
from driftline.results import WHOLE_WINDOW, Result, StreamKey, Verdict, WindowKey

MONITOR = """
model: toy
task: binary
columns:
  - {name: temp, type: numeric, maximum: 200, required: true}
  - {name: steady, type: numeric}
  - {name: city, type: categorical}
prediction: {score: score}
segments: [city]
reference: {path: toy.parquet, label: label}
windows: {size: 1h, minimum_rows: 50}
"""
KEY = WindowKey(StreamKey("default", "toy", "1", "stable"), "", 0.0, 3600.0)


def monitor() -> Monitor:
    return parse_monitor(MONITOR, "toy.yaml")


def frame(rng: np.random.Generator, rows: int, shift: float = 0.0) -> pd.DataFrame:
    score = rng.random(rows)
    return pd.DataFrame(
        {
            "temp": rng.normal(60.0 + shift, 10.0, rows),
            "steady": np.full(rows, 7.0),
            "city": rng.choice(["Oslo", "Rome", "Lima"], rows, p=[0.5, 0.3, 0.2]),
            "prediction": (score > 0.5).astype(int),
            "score": score,
            "label": (rng.random(rows) < score).astype(int),
        }
    )


def batch(data: pd.DataFrame) -> ColumnBatch:
    return ColumnBatch(
        len(data),
        {name: data[name].to_numpy(dtype=np.float64) for name in ("temp", "steady", "score")},
        {
            "city": data["city"].to_numpy(dtype=object),
            "prediction": data["prediction"].astype(str).to_numpy(dtype=object),
        },
    )


def judged(data: pd.DataFrame) -> JudgedBatch:
    text: list[NDArray[np.object_]] = [
        data[name].astype(str).to_numpy(dtype=object) for name in ("prediction", "label")
    ]
    return JudgedBatch(text[0], data["score"].to_numpy(dtype=np.float64), text[1], np.ones(len(data), dtype=np.int64))


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    reference = build_reference(frame(np.random.default_rng(1), 4000), monitor())
    return Evaluator(monitor(), reference, default_bridge())


def evaluate(
    evaluator: Evaluator, rows: ColumnBatch, labels: JudgedBatch | None = None, key: WindowKey = KEY
) -> Evaluated:
    assert evaluator.reference is not None
    engine = StatisticsEngine({"default/toy": evaluator.reference})
    state = engine.observe(evaluator.monitor, None, rows)
    if labels is not None:
        state = engine.judge(evaluator.monitor, state, labels)
    return evaluator.evaluate(key, WindowState.from_bytes(state))


def only(evaluated: Evaluated, column: str, detector: str) -> Result:
    (found,) = [result for result in evaluated.results if (result.column, result.detector) == (column, detector)]
    return found


def test_a_window_like_the_reference_is_ok(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(2), 900)
    found = evaluate(evaluator, batch(data), judged(data))
    assert only(found, WHOLE_WINDOW, "window").verdict is Verdict.OK
    assert {result.verdict for result in found.results} == {Verdict.OK}
    assert only(found, WHOLE_WINDOW, "accuracy").coverage == 1.0
    assert all(result.reason for result in found.results)


@pytest.mark.parametrize(("rows", "judged_by"), [(3, False), (29, False), (30, True)])
def test_beside_a_handful_of_reference_rows_nothing_is_ok(rows: int, judged_by: bool) -> None:
    reference = build_reference(frame(np.random.default_rng(1), rows), monitor())
    data = batch(frame(np.random.default_rng(2), 900))
    found = evaluate(Evaluator(monitor(), reference, default_bridge()), data)
    drift = [result for result in found.results if result.kind == "drift"]
    assert ({result.verdict for result in drift} == {Verdict.NOT_ENOUGH_EVIDENCE}) is not judged_by
    window = only(found, WHOLE_WINDOW, "window")
    assert (f"the reference has {rows} rows, 30 are needed" in window.reason) is not judged_by


def test_where_no_column_is_watched_nothing_is_said_of_columns(evaluator: Evaluator) -> None:
    columns = tuple(column.model_copy(update={"drift": False}) for column in evaluator.monitor.columns)
    watched = evaluator.monitor.model_copy(update={"columns": columns})
    assert watched.reference is not None
    watched = watched.model_copy(update={"reference": watched.reference.model_copy(update={"predictions": False})})
    found = evaluate(
        Evaluator(watched, evaluator.reference, default_bridge()), batch(frame(np.random.default_rng(2), 900))
    )
    (window,) = [result for result in found.results if result.kind == "drift"]
    assert window.verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_what_was_kept_of_one_window_is_not_told_of_the_next(evaluator: Evaluator) -> None:
    """Axes, laws and shares that follow from the reference are kept; windows in any order give the same."""
    rng = np.random.default_rng(8)
    windows = [batch(frame(rng, rows, shift)) for rows, shift in ((40, 0.0), (3000, -18.0), (200, 5.0), (3000, 0.0))]
    windows.append(replace(windows[0], numeric={"temp": np.full(40, np.nan), "steady": np.arange(40.0)}, text={}))
    apart = [evaluate(Evaluator(monitor(), evaluator.reference, default_bridge()), rows) for rows in windows]
    assert [evaluate(evaluator, rows) for rows in [*windows, *windows]] == [*apart, *apart]


def test_a_colder_window_is_drifted_and_says_how_far(evaluator: Evaluator) -> None:
    found = evaluate(evaluator, batch(frame(np.random.default_rng(3), 912, shift=-18.0)))
    moved = only(found, "temp", "ks")
    assert moved.verdict is Verdict.DRIFTED
    assert moved.reason.startswith("temp moved down: median ")
    assert "912 rows" in moved.reason
    assert moved.effect is not None
    assert moved.effect.lower <= moved.effect.value <= moved.effect.upper
    window = only(found, WHOLE_WINDOW, "window")
    assert (window.verdict, window.statistic) == (Verdict.DRIFTED, 1.0)
    assert window.reason == "1 of 5 columns drifted: temp; 912 rows"


def test_a_shift_too_small_to_matter_is_a_warning_however_certain(evaluator: Evaluator) -> None:
    found = evaluate(evaluator, batch(frame(np.random.default_rng(4), 30_000, shift=1.2)))
    assert only(found, "temp", "ks").verdict is Verdict.WARNING
    assert only(found, WHOLE_WINDOW, "window").verdict is Verdict.WARNING


def test_values_that_go_missing_are_drift_and_a_quality_warning(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(5), 600)
    data.loc[:199, "temp"] = np.nan
    found = evaluate(evaluator, batch(data))
    assert only(found, "temp", "ks").verdict is Verdict.DRIFTED
    assert only(found, "temp", "ks").reason.startswith("temp went missing: 0 % -> 33.3 %")
    assert only(found, "temp", "missing_rate").verdict is Verdict.WARNING
    assert only(found, "temp", "invalid_rate").verdict is Verdict.WARNING


def test_categories_never_seen_before_are_drift(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(6), 600)
    data.loc[:149, "city"] = "Atlantis"
    found = evaluate(evaluator, batch(data))
    assert only(found, "city", "chi_square").verdict is Verdict.DRIFTED
    assert "unseen values 0 % -> 25 %" in only(found, "city", "chi_square").reason
    assert only(found, "city", "unseen_rate").verdict is Verdict.WARNING


def test_a_constant_column_that_moves_is_drift(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(7), 600)
    data["steady"] = 8.0
    found = evaluate(evaluator, batch(data))
    assert [only(found, "steady", name).verdict for name in ("ks", "psi", "wasserstein")] == [Verdict.DRIFTED] * 3


def test_far_rows_raise_the_outlier_ratio(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(8), 600)
    data.loc[:59, "temp"] = 150.0
    found = only(evaluate(evaluator, batch(data)), WHOLE_WINDOW, "mahalanobis")
    assert found.statistic >= 0.1
    assert found.verdict is Verdict.WARNING


def test_accuracy_clearly_below_the_reference_is_a_warning(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(9), 800)
    data["label"] = 1 - data["prediction"]
    found = only(evaluate(evaluator, batch(data), judged(data)), WHOLE_WINDOW, "accuracy")
    assert found.verdict is Verdict.WARNING
    assert found.statistic == 0.0
    assert "the intervals are apart, it is worse" in found.reason


def test_without_labels_accuracy_is_not_enough_evidence(evaluator: Evaluator) -> None:
    found = only(evaluate(evaluator, batch(frame(np.random.default_rng(10), 100))), WHOLE_WINDOW, "accuracy")
    assert (found.verdict, found.coverage) == (Verdict.NOT_ENOUGH_EVIDENCE, 0.0)


def test_a_segment_is_compared_with_its_own_reference(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(11), 900)
    key = WindowKey(KEY.stream, "city=Rome", 0.0, 3600.0)
    rome = data[data["city"] == "Rome"]
    found = evaluate(evaluator, batch(rome), key=key)
    assert only(found, WHOLE_WINDOW, "window").verdict is Verdict.OK
    assert evaluator.reference is not None
    assert only(found, "city", "chi_square").reference_size == evaluator.reference.counts["city=Rome"][0]


def test_a_segment_unknown_to_the_reference_is_not_enough_evidence(evaluator: Evaluator) -> None:
    key = WindowKey(KEY.stream, "city=Atlantis", 0.0, 3600.0)
    found = evaluate(evaluator, batch(frame(np.random.default_rng(12), 100)), key=key)
    assert only(found, WHOLE_WINDOW, "window").verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "no rows of city=Atlantis" in only(found, WHOLE_WINDOW, "window").reason


def _odd_batches() -> dict[str, ColumnBatch]:
    rng = np.random.default_rng(13)
    usual = batch(frame(rng, 200))
    everything_missing = ColumnBatch(200)
    infinite = ColumnBatch(200, {**usual.numeric, "temp": np.tile([np.inf, -np.inf], 100)}, usual.text)
    unseen = ColumnBatch(200, usual.numeric, {**usual.text, "city": np.full(200, "Atlantis", dtype=object)})
    huge = ColumnBatch(200, {**usual.numeric, "temp": np.full(200, 1e308)}, usual.text)
    wrong_types = ColumnBatch(
        200,
        {"city": np.arange(200.0)},
        {"temp": np.array(["warm"] * 200, dtype=object), "prediction": np.array([None] * 200, dtype=object)},
    )
    return {
        "empty": ColumnBatch(0),
        "one row": usual.take(np.array([0], dtype=np.intp)),
        "everything missing": everything_missing,
        "infinite": infinite,
        "only unseen": unseen,
        "huge": huge,
        "wrong types": wrong_types,
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", _odd_batches())
def test_every_odd_window_ends_in_results(evaluator: Evaluator, name: str) -> None:
    found = evaluate(evaluator, _odd_batches()[name])
    window = only(found, WHOLE_WINDOW, "window")
    expected = Verdict.NOT_ENOUGH_EVIDENCE if name in ("empty", "one row") else Verdict.DRIFTED
    assert window.verdict is expected
    for result in found.results:
        assert np.isfinite(result.statistic), result
        assert result.p_value is None or 0.0 <= result.p_value <= 1.0, result
    for shape in found.shapes:
        assert len(shape.bins) == len(shape.reference) == len(shape.current) <= 20
        assert sum(shape.current) == pytest.approx(1.0)
        assert sum(shape.reference) == pytest.approx(1.0)


def test_a_monitor_without_a_reference_still_counts_rows_missing_and_performance() -> None:
    bare = monitor()
    evaluator = Evaluator(bare, None, default_bridge())
    data = frame(np.random.default_rng(14), 300)
    engine = StatisticsEngine({})
    state = engine.judge(bare, engine.observe(bare, None, batch(data)), judged(data))
    found = evaluator.evaluate(KEY, WindowState.from_bytes(state))
    assert only(found, WHOLE_WINDOW, "window").verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert only(found, WHOLE_WINDOW, "window").sample_size == 300
    assert only(found, WHOLE_WINDOW, "accuracy").statistic == pytest.approx(
        (data["prediction"] == data["label"]).mean()
    )
    assert only(found, "temp", "missing_rate").statistic == 0.0


def test_rows_counted_on_an_older_reference_are_named(evaluator: Evaluator) -> None:
    older = build_reference(frame(np.random.default_rng(15), 500), monitor())
    engine = StatisticsEngine({"default/toy": older})
    state = engine.observe(monitor(), None, batch(frame(np.random.default_rng(16), 200)))
    found = evaluator.evaluate(KEY, WindowState.from_bytes(state))
    window = only(found, WHOLE_WINDOW, "window")
    assert window.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "older reference" in window.reason


def test_the_same_window_gives_the_same_results_every_time(evaluator: Evaluator) -> None:
    data = frame(np.random.default_rng(17), 300)
    assert evaluate(evaluator, batch(data), judged(data)) == evaluate(evaluator, batch(data), judged(data))
