"""Vectors watched as wholes: from payloads and files to windows, what is found of them, and outliers among them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from detectors.baselines.history import KeptWindows
from detectors.baselines.reference import build_reference, load_reference
from detectors.counts.random_features import FURTHEST, VALUE_STEPS, encode
from detectors.counts.summary import WindowState, merge
from detectors.counts.watched_vectors import count_vector, distances, fit_vector
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.evaluating.job import expecting
from detectors.multivariate.mmd_features import chance_square, compare
from driftline.alarm_budget import columns_rate, together_rate
from driftline.cli.analysis import analyze
from driftline.columns import ColumnBatch
from driftline.errors import MonitorError, ReferenceDataError
from driftline.monitors import Monitor, parse_monitor
from driftline.results import WHOLE_WINDOW, Result, StreamKey, Verdict, WindowKey

KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
DIMENSION = 24


def monitor(more: str = "") -> Monitor:
    return parse_monitor(
        "model: m\ntask: binary\ncolumns: [{name: x, type: numeric}]\nreference: {path: r.parquet}\n"
        f"vectors: [{{name: e, dimension: {DIMENSION}}}]\n{more}",
        "m.yaml",
    )


def embeddings(rng: np.random.Generator, rows: int, second: float = 0.5) -> NDArray[np.float64]:
    """Two topics, and few directions that matter; ``second``: the share of the second topic."""
    means, directions = np.random.default_rng(0).normal(size=(2, DIMENSION)), np.random.default_rng(1)
    basis = directions.normal(size=(4, DIMENSION))
    topic = (rng.random(rows) < second).astype(np.intp)
    return means[topic] + rng.normal(size=(rows, 4)) @ basis * 0.3 + 0.1 * rng.normal(size=(rows, DIMENSION))


def frame(rng: np.random.Generator, rows: int, second: float = 0.5) -> pd.DataFrame:
    said = rng.choice(["0", "1"], rows)
    return pd.DataFrame({"x": rng.normal(size=rows), "e": list(embeddings(rng, rows, second)), "prediction": said})


def batch(data: pd.DataFrame) -> ColumnBatch:
    text = {"prediction": data["prediction"].to_numpy(dtype=object)}
    return ColumnBatch(len(data), {"x": data["x"].to_numpy()}, text, vectors={"e": np.stack([*data["e"]])})


REFERENCE = build_reference(frame(np.random.default_rng(2), 2000), monitor())
ENGINE = StatisticsEngine({"default/m": REFERENCE})
EVALUATOR = Evaluator(monitor(), REFERENCE, default_bridge())


def evaluate(rows: ColumnBatch) -> dict[str, Result]:
    found = EVALUATOR.evaluate(KEY, WindowState.from_bytes(ENGINE.observe(monitor(), None, rows))).results
    return {result.column: result for result in found if result.kind == "drift" and result.detector != "psi"}


def test_any_parts_give_the_same_bytes_and_files_keep_all(tmp_path: Path) -> None:
    rows = batch(frame(np.random.default_rng(3), 200))
    rows.vectors["e"][::9] = np.nan
    rows.vectors["e"][1::50, 0] = np.inf
    whole = ENGINE.observe(monitor(), None, rows)
    parts = [rows.take(np.arange(200)[place::3]) for place in range(3)]
    assert merge(WindowState.from_bytes(ENGINE.observe(monitor(), None, part)) for part in parts).to_bytes() == whole
    REFERENCE.save(tmp_path / "r.npz")
    again = StatisticsEngine({"default/m": load_reference(tmp_path / "r.npz")})
    assert again.observe(monitor(), None, rows) == whole


def test_another_mix_of_topics_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(4)
    found = evaluate(batch(frame(rng, 800, second=0.75)))
    assert found["e"].verdict is Verdict.DRIFTED
    assert found["e"].detector == "mmd_features"
    assert "e changed: at least" in found["e"].reason
    assert found[WHOLE_WINDOW].verdict is Verdict.DRIFTED
    assert "; e drifted" in found[WHOLE_WINDOW].reason
    quiet = evaluate(batch(frame(rng, 800)))
    assert {quiet[column].verdict for column in ("e", "e.distance", WHOLE_WINDOW)} == {Verdict.OK}


def test_vectors_of_another_model_are_far_from_all_centres_and_missing_ones_are_missing() -> None:
    rows = batch(frame(np.random.default_rng(5), 400))
    rows.vectors["e"][:] = np.roll(rows.vectors["e"], 1, axis=1)
    assert evaluate(rows)["e.distance"].verdict is Verdict.DRIFTED
    rows.vectors["e"][:] = np.nan
    found = evaluate(rows)
    assert found["e"].verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert found["e.distance"].verdict is Verdict.DRIFTED
    assert "e.distance" in evaluate(ColumnBatch(400, rows.numeric, rows.text))[WHOLE_WINDOW].reason


def test_without_a_change_the_features_keep_to_their_rate() -> None:
    rng = np.random.default_rng(6)
    known = REFERENCE.vectors["e"]
    expected = known.features.expected[""]
    furthest = chance_square(expected.spread)
    p_values = []
    for _ in range(60):
        rows = ColumnBatch(300, vectors={"e": embeddings(rng, 300)})
        p_values.append(compare(expected, count_vector("e", known, rows).values, furthest).evidence.p_value or 0.0)
    # A tenth of sixty: six, and four and a half standard deviations.
    assert np.count_nonzero(np.array(p_values) <= 0.1) <= 16


def test_rows_that_gave_the_centres_count_as_if_they_had_not() -> None:
    """They lie nearer to them than others do: counted as they are, a hundred rows of five hundred would alarm."""
    rng = np.random.default_rng(7)
    near, counted = [], []
    for _ in range(15):
        values = rng.normal(size=(1500, 40))
        fitted = fit_vector("e", ColumnBatch(500, vectors={"e": values[:500]}), {"": np.ones(500, dtype=bool)})
        others = distances(fitted.vector, values[500:])
        near.append(distances(fitted.vector, values[:500]).mean() - others.mean())
        counted.append(fitted.distances.mean() - others.mean())
    error = float(np.std(counted, ddof=1)) / np.sqrt(15)
    assert abs(np.mean(counted)) < 4.0 * error
    assert np.mean(near) < -4.0 * error


def test_numbers_keep_their_sizes_beside_each_other() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(300, 2)) * np.array([3.0, 0.3])
    vector = fit_vector("e", ColumnBatch(300, vectors={"e": values}), {"": np.ones(300, dtype=bool)}).vector
    placed = encode(vector.features.map.columns, ColumnBatch(300, vectors={"e": values})) / VALUE_STEPS
    assert placed.shape == (300, 2)
    assert float(placed[:, 0].std() / placed[:, 1].std()) == pytest.approx(
        values[:, 0].std() / values[:, 1].std(), rel=0.05
    )
    assert np.abs(placed).max() < FURTHEST


@pytest.mark.parametrize("values", [np.full((60, 3), 7.0), np.full((60, 3), np.inf), np.full((60, 3), 1e300)])
@pytest.mark.filterwarnings("error")
def test_odd_references_are_fitted(values: NDArray[np.float64]) -> None:
    values = np.concatenate((values, values[:1] * np.nan))
    fitted = fit_vector("e", ColumnBatch(61, vectors={"e": values}), {"": np.ones(61, dtype=bool)})
    assert len(fitted.distances) == 61
    assert np.isnan(fitted.distances[-1])


def test_rows_far_from_the_references_are_outliers_as_they_come() -> None:
    watched = monitor("detectors: {outliers: knn}")
    rng = np.random.default_rng(8)
    reference = build_reference(frame(rng, 1500), watched)
    engine = StatisticsEngine({"default/m": reference})
    assert reference.outliers is not None
    assert reference.outliers.columns == ("x", *(f"e[{place}]" for place in range(DIMENSION)))
    usual, odd = batch(frame(rng, 400)), batch(frame(rng, 20))
    odd.vectors["e"][:] = rng.normal(size=(20, DIMENSION))
    threshold = reference.outliers.threshold
    assert np.mean(engine.outlier_scores(watched, usual) > threshold) < 0.05
    assert (engine.outlier_scores(watched, odd) > threshold).all()
    one = odd.take(np.array([3]))
    assert engine.outlier_scores(watched, one)[0] == pytest.approx(engine.outlier_scores(watched, odd)[3])


def test_the_rate_is_split_over_columns_and_vectors() -> None:
    alone, both = monitor(), monitor("detectors: {multivariate: [mmd_features]}")
    assert (columns_rate(alone), together_rate(alone)) == (0.005, 0.005)
    assert (columns_rate(both), together_rate(both)) == (0.005, 0.0025)


def test_files_hold_vectors_as_lists_or_texts(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    before, now = frame(rng, 900), frame(rng, 700, second=0.8)
    before.to_parquet(tmp_path / "before.parquet")
    now.assign(e=[json.dumps(value.tolist()) for value in now["e"]]).to_csv(tmp_path / "now.csv", index=False)
    found = analyze(tmp_path / "before.parquet", tmp_path / "now.csv", monitor=monitor())
    results = {result.column: result for result in found.results if result.kind == "drift"}
    assert results["e"].verdict is Verdict.DRIFTED
    assert "| e |" in found.markdown()
    for column, fault in (
        ("[1, 2]", "no vector of 24 numbers"),
        ("words", "holds 'words' in row 0, which is no vector"),
    ):
        with pytest.raises(ReferenceDataError, match=fault):
            build_reference(before.assign(e=column), monitor())
    with pytest.raises(ReferenceDataError, match="column 'e' is missing"):
        build_reference(before.drop(columns="e"), monitor())


@pytest.mark.parametrize(
    ("vectors", "fault"),
    [
        ("[{name: x, dimension: 3}]", "vectors needs the name 'x', which is there already"),
        ("[{name: e, dimension: 3}, {name: e, dimension: 3}]", "vectors needs the name 'e'"),
        ("[{name: e}]", r"vectors\.e\.dimension: is required"),
    ],
)
def test_wrong_vectors_are_refused(vectors: str, fault: str) -> None:
    with pytest.raises(MonitorError, match=fault):
        parse_monitor(f"model: m\ntask: binary\ncolumns: [{{name: x, type: numeric}}]\nvectors: {vectors}", "m.yaml")


def test_a_reference_of_another_dimension_does_not_fit() -> None:
    other = monitor().model_copy(update={"vectors": (monitor().vectors[0].model_copy(update={"dimension": 3}),)})
    with pytest.raises(ReferenceDataError, match="vector 'e' has 24 numbers in it"):
        REFERENCE.require_fit(other)


def test_a_baseline_of_windows_is_their_vectors_too() -> None:
    moved = frame(np.random.default_rng(21), 1200, second=0.95)
    past, now = (ENGINE.observe(monitor(), None, batch(part)) for part in (moved[:600], moved[600:]))
    spec = {"path": "r", "baseline": "rolling", "windows": 1, "minimum_windows": 1, "skip": 0, "drifted": "keep"}
    watched = Monitor.model_validate({**monitor().model_dump(mode="json"), "reference": spec})
    before = WindowKey(KEY.stream, "", -3600.0, 0.0)
    history = KeptWindows({before: [past]}, {before: Verdict.DRIFTED})
    expected, _ = expecting(Evaluator(watched, REFERENCE, default_bridge()), KEY, history)
    for evaluator, verdict in ((expected, Verdict.OK), (EVALUATOR, Verdict.DRIFTED)):
        found = evaluator.evaluate(KEY, WindowState.from_bytes(now)).results
        (result,) = [each for each in found if each.column == "e" and each.kind == "drift"]
        assert result.verdict is verdict
