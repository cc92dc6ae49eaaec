"""Embeddings from payloads to results: decoded, counted, scored, judged as they come; kept where that is asked for."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry

from collector.batches.loop import Collector
from collector.batches.payloads import PayloadWriter
from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.keeping.rolling import Roller
from detectors.baselines.reference import build_reference
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from driftline.cli.analysis import analyze
from driftline.cli.backtesting import Plan, backtest_payloads
from driftline.events import InferenceEvent
from driftline.monitors import Monitor, VectorSpec
from driftline.results import Result, StreamKey, Verdict
from driftline.testing import ListSource
from serving.decode_many import decode_many
from tests.collector.helpers import HOUR_S, START_S, Parts, drain, event, records
from tests.collector.payload_rows import read_payloads

DIMENSION, ROWS = 8, 20
MONITOR = Monitor.model_validate(
    {
        "model": "flights",
        "task": "binary",
        "columns": [{"name": "length", "type": "numeric"}],
        "prediction": {"column": "late"},
        "vectors": [{"name": "embedding", "dimension": DIMENSION}],
        "reference": {"path": "r.parquet"},
        "windows": {"size": "1h"},
        "detectors": {"outliers": "knn"},
    }
)


def embeddings(rng: np.random.Generator, rows: int, moved: float) -> np.ndarray:
    return rng.normal(size=(rows, DIMENSION)) + moved * np.eye(DIMENSION)[0]


def inference(rng: np.random.Generator, number: int, moved: float) -> InferenceEvent:
    """Twenty rows in a tensor, within the first hour of two or the second."""
    vectors = embeddings(rng, ROWS, moved)
    request = {
        "inputs": [
            {"name": "length", "shape": [ROWS], "datatype": "FP64", "data": rng.normal(size=ROWS).tolist()},
            {"name": "embedding", "shape": [ROWS, DIMENSION], "datatype": "FP32", "data": vectors.ravel().tolist()},
        ]
    }
    said = {"name": "late", "shape": [ROWS], "datatype": "BYTES", "data": rng.choice(["0", "1"], ROWS).tolist()}
    made = event(number, body=msgspec.json.encode(request))
    answer = msgspec.structs.replace(made.response, body=msgspec.json.encode({"outputs": [said]}))
    return msgspec.structs.replace(made, response=answer)


def reference_rows() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"length": rng.normal(size=1000), "late": rng.choice(["0", "1"], 1000)})
    return frame.assign(embedding=list(embeddings(rng, 1000, 0.0)))


@pytest.fixture
def embedded(parts: Parts) -> tuple[Parts, Any]:
    reference = build_reference(reference_rows(), MONITOR)
    parts.monitors, parts.registry = {MONITOR.name: MONITOR}, CollectorRegistry()
    statistics: Any = StatisticsEngine({MONITOR.name: reference})
    parts.statistics = statistics
    return parts, reference


def collector_of(parts: Parts, events: list[InferenceEvent]) -> Collector:
    source = ListSource(records(events), parts.store.position)
    wired = (parts.statistics, parts.monitors, parts.clock, parts.settings, parts.payloads, parts.metrics)
    return Collector(source, parts.store, decode_many, *wired)


def results(parts: Parts, since_s: float) -> dict[str, Result]:
    stream = StreamKey("default", "flights", "3", "stable")
    found = parts.store.results(stream, since_s, since_s + HOUR_S)
    return {result.column: result for result in found if result.kind in ("drift", "outlier")}


def test_embeddings_of_payloads_become_results_and_scores_and_are_not_in_the_store(embedded: tuple[Parts, Any]) -> None:
    parts, reference = embedded
    rng = np.random.default_rng(2)
    events = [inference(rng, number, moved=2.0 * (number >= 60)) for number in range(0, 120, 4)]
    drain(collector_of(parts, events))
    EvaluationJob(parts.store, {MONITOR.name: reference}, [MONITOR], parts.clock).run_once()
    quiet, changed = (results(parts, START_S + hour * HOUR_S) for hour in (0, 1))
    assert quiet["embedding"].verdict is Verdict.OK
    assert quiet["embedding"].sample_size == quiet["embedding.distance"].sample_size == 15 * ROWS
    assert changed["embedding"].verdict is Verdict.DRIFTED
    stream = StreamKey("default", "flights", "3", "stable")
    kept = parts.store.samples(stream, START_S, START_S + 2 * HOUR_S, 600)
    assert len(kept) == 30 * ROWS
    assert all(set(row.columns) == {"length"} for row in kept)
    scores = np.array([row.outlier_score for row in kept], dtype=np.float64)
    later = np.array([row.time_s >= START_S + HOUR_S for row in kept])
    assert np.median(scores[later]) > np.median(scores[~later])


def test_a_model_without_columns_is_watched_by_its_vectors(parts: Parts) -> None:
    monitor = MONITOR.model_copy(update={"columns": ()})
    reference = build_reference(reference_rows(), monitor)
    parts.monitors, parts.registry = {monitor.name: monitor}, CollectorRegistry()
    statistics: Any = StatisticsEngine({monitor.name: reference})
    parts.statistics = statistics
    rng = np.random.default_rng(2)
    drain(collector_of(parts, [inference(rng, number, moved=2.0 * (number >= 60)) for number in range(0, 120, 4)]))
    EvaluationJob(parts.store, {monitor.name: reference}, [monitor], parts.clock).run_once()
    quiet, changed = (results(parts, START_S + hour * HOUR_S) for hour in (0, 1))
    assert set(changed) == {"", "embedding", "embedding.distance", "late"}
    assert [each[""].verdict for each in (quiet, changed)] == [Verdict.OK, Verdict.DRIFTED]


def test_a_replay_changes_nothing(embedded: tuple[Parts, Any]) -> None:
    parts, _ = embedded
    rng = np.random.default_rng(3)
    events = [inference(rng, number, moved=0.0) for number in range(5)]
    drain(collector_of(parts, events))
    (key,) = parts.store.window_keys("default", "flights", START_S, START_S + HOUR_S)
    before = parts.store.window_states(key)
    drain(collector_of(parts, [*events, *events]))
    assert parts.store.window_states(key) == before


KEPT = MONITOR.model_copy(update={"vectors": (MONITOR.vectors[0].model_copy(update={"kept": True}),)})


def with_payloads(embedded: tuple[Parts, Any], directory: Path, monitor: Monitor) -> Parts:
    parts, _ = embedded
    parts.monitors, parts.payloads = {monitor.name: monitor}, PayloadWriter(directory)
    return parts


def payload_rows(parts: Parts, directory: Path, monitor: Monitor = KEPT) -> pa.Table:
    return read_payloads(directory, parts.store.payload_files(), monitor, 0.0, 2 * START_S)


def test_vectors_lie_beside_their_rows_where_that_is_asked_for(embedded: tuple[Parts, Any], tmp_path: Path) -> None:
    parts = with_payloads(embedded, tmp_path, KEPT)
    drain(collector_of(parts, [inference(np.random.default_rng(4), 0, moved=0.0)]))
    sent = embeddings(np.random.default_rng(4), ROWS, 0.0)
    table = payload_rows(parts, tmp_path)
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert np.array_equal(np.array(table["embedding"].to_pylist(), dtype=np.float32), sent.astype(np.float32))


def test_without_being_asked_for_they_are_not_in_the_files(embedded: tuple[Parts, Any], tmp_path: Path) -> None:
    parts = with_payloads(embedded, tmp_path, MONITOR)
    drain(collector_of(parts, [inference(np.random.default_rng(4), 0, moved=0.0)]))
    (file,) = tmp_path.rglob("*.parquet")
    assert "embedding" not in pq.read_schema(file).names


def test_a_vector_that_is_missing_or_of_another_length_is_null(embedded: tuple[Parts, Any], tmp_path: Path) -> None:
    parts = with_payloads(embedded, tmp_path, KEPT)
    without = inference(np.random.default_rng(5), 0, moved=0.0)
    other: dict[str, Any] = msgspec.json.decode(without.request.body)
    other["inputs"] = other["inputs"][:1]
    bare = msgspec.structs.replace(without.request, body=msgspec.json.encode(other))
    items = [msgspec.structs.replace(without, request=bare), inference(np.random.default_rng(6), 1, moved=0.0)]
    drain(collector_of(parts, items))
    found = payload_rows(parts, tmp_path)["embedding"].to_pylist()
    assert [value is None for value in found] == [True] * ROWS + [False] * ROWS


def test_vectors_stay_through_rolling_and_go_with_their_request(embedded: tuple[Parts, Any], tmp_path: Path) -> None:
    parts = with_payloads(embedded, tmp_path, KEPT)
    for number in range(20):
        source = ListSource(records([inference(np.random.default_rng(number), number, 0.0)], f"spool:{number}"))
        wired = (parts.statistics, parts.monitors, parts.clock, parts.settings, parts.payloads, parts.metrics)
        drain(Collector(source, parts.store, decode_many, *wired))
    before = payload_rows(parts, tmp_path)
    assert parts.payloads is not None
    assert Roller(parts.store, parts.payloads.files).run(START_S + 5 * HOUR_S) == 20
    assert payload_rows(parts, tmp_path).equals(before)
    (file,) = parts.store.payload_files()
    # A row's ten other columns, and its vector's numbers.
    assert parts.payloads.files.values(file.path) == 20 * ROWS * (10 + DIMENSION)
    eraser = Eraser(parts.store, SubjectHasher(), parts.clock, parts.payloads.files)
    eraser.erase(Selector("default", "flights", "request_id", "request-3"), "somebody")
    left = before.filter(pc.not_equal(before["_request_id"], "request-3"))
    assert len(left) == 19 * ROWS
    assert payload_rows(parts, tmp_path).equals(left)
    assert parts.payloads.sweep(parts.store.payload_files(), age_s=-1.0) == 0


def test_kept_rows_give_once_more_what_traffic_gave(embedded: tuple[Parts, Any], tmp_path: Path) -> None:
    """Counted anew from Parquet, in windows of another size too; float32 moves a vector's sums by a hair."""
    parts = with_payloads(embedded, tmp_path / "payloads", KEPT)
    _, reference = embedded
    rng = np.random.default_rng(2)
    items = [inference(rng, number, moved=2.0 * (number >= 60)) for number in range(0, 120, 4)]
    drain(collector_of(parts, items))
    EvaluationJob(parts.store, {KEPT.name: reference}, [KEPT], parts.clock).run_once()
    reference_rows().to_parquet(tmp_path / "r.parquet")
    root, plan = tmp_path / "payloads", Plan(null_windows=0)
    found = backtest_payloads(KEPT, tmp_path / "r.parquet", parts.store, root, plan, ["windows.size=2h"])
    as_it_stands, in_two_hours = (outcome.windows for outcome in found.outcomes)
    for hour, window in enumerate(as_it_stands):
        told = results(parts, START_S + hour * HOUR_S)
        assert window.verdict is told[""].verdict
        for result in window.results:
            if result.kind == "drift" and result.column == "embedding":
                assert result.p_value == pytest.approx(told["embedding"].p_value, rel=1e-3, abs=1e-12)
                assert result.sample_size == told["embedding"].sample_size
    assert [window.rows for window in in_two_hours] == [30 * ROWS]
    analysed = analyze(tmp_path / "r.parquet", next(root.rglob("*.parquet")), monitor=KEPT)
    assert "embedding" in {result.column for result in analysed.results}


def test_long_vectors_are_not_kept() -> None:
    with pytest.raises(ValueError, match="kept is for up to 4096 numbers, not 5000"):
        VectorSpec(name="embedding", dimension=5000, kept=True)
