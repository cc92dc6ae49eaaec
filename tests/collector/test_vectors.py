"""Embeddings from payloads to results: decoded, counted, scored and judged as they come; not kept."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from collector.batches.loop import Collector
from detectors.baselines.reference import build_reference
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from driftline.results import Result, StreamKey, Verdict
from driftline.testing import ListSource
from serving.decode_many import decode_many
from tests.collector.helpers import HOUR_S, START_S, Parts, drain, event, records

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


@pytest.fixture
def embedded(parts: Parts) -> tuple[Parts, Any]:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"length": rng.normal(size=1000), "late": rng.choice(["0", "1"], 1000)})
    reference = build_reference(frame.assign(embedding=list(embeddings(rng, 1000, 0.0))), MONITOR)
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


def test_embeddings_of_payloads_become_results_and_scores_and_are_not_kept(embedded: tuple[Parts, Any]) -> None:
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


def test_a_replay_changes_nothing(embedded: tuple[Parts, Any]) -> None:
    parts, _ = embedded
    rng = np.random.default_rng(3)
    events = [inference(rng, number, moved=0.0) for number in range(5)]
    drain(collector_of(parts, events))
    (key,) = parts.store.window_keys("default", "flights", START_S, START_S + HOUR_S)
    before = parts.store.window_states(key)
    drain(collector_of(parts, [*events, *events]))
    assert parts.store.window_states(key) == before
