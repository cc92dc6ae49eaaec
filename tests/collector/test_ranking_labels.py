"""Labels of rankings: a query is counted as a whole, whatever order its candidates' labels come in."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from collector.labels.desk import LabelDesk
from detectors.counts.performance_counts import performance_layout
from detectors.counts.ranking_counts import BARREN, LABELLED, PARTIAL, QUERIES, ranking_metrics
from detectors.counts.summary import WindowState, merge
from detectors.evaluating.engine import StatisticsEngine
from driftline import names
from driftline.events import InferenceEvent, Label
from driftline.monitors import Monitor
from driftline.results import StreamKey, WindowKey
from tests.collector.helpers import HOUR_S, START_S, Parts, drain, event, label, records

RANKING = Monitor.model_validate(
    {
        "model": "flights",
        "task": "ranking",
        "columns": [{"name": "shop", "type": "categorical"}],
        "prediction": {"column": "relevance"},
        "ranking": {"cutoff": 2},
        "segments": ["shop"],
        "windows": {"size": "1h"},
        "labels": {"timeout": "2h"},
    }
)
STREAM = StreamKey("default", "flights", "3", "stable")
SCORES = (0.9, 0.7, 0.5, 0.3)


def query(number: int) -> InferenceEvent:
    """Four candidates, best first; the first two are in shop a."""
    return event(number, shop=["a", "a", "b", "b"], relevance=list(SCORES))


@pytest.fixture
def ranked(parts: Parts) -> Parts:
    statistics: Any = StatisticsEngine({})
    return replace(parts, monitors={RANKING.name: RANKING}, statistics=statistics, registry=CollectorRegistry())


def desk_of(parts: Parts) -> LabelDesk:
    return LabelDesk(parts.store, parts.statistics, parts.monitors, parts.clock, parts.metrics)


def graded(number: int, row: int, grade: float | None, after_s: float = 60.0) -> Label:
    return label(number, grade, after_s=after_s, row=row)


def counts(parts: Parts, segment: str = "") -> list[int]:
    states = parts.store.window_states(WindowKey(STREAM, segment, START_S, START_S + HOUR_S))
    section = merge(WindowState.from_bytes(state) for state in states).section(performance_layout(RANKING).fingerprint)
    return [0] * 15 if section is None else section.values.tolist()


def test_a_query_counts_once_its_last_candidate_has_a_label(ranked: Parts) -> None:
    drain(ranked.collector(records([query(1)])))
    desk = desk_of(ranked)
    desk.submit([graded(1, row, grade) for row, grade in ((0, 0.0), (1, 2.0), (2, 0.0))])
    assert [counts(ranked)[place] for place in (QUERIES, PARTIAL, LABELLED)] == [0, 1, 3]
    desk.submit([graded(1, 3, 1.0)])
    assert [counts(ranked)[place] for place in (QUERIES, PARTIAL, LABELLED)] == [1, 0, 4]
    desk.submit([graded(1, 3, None, after_s=70.0)])
    assert [counts(ranked)[place] for place in (QUERIES, PARTIAL, LABELLED)] == [0, 1, 3]


def test_a_segment_holds_the_query_with_its_own_candidates(ranked: Parts) -> None:
    drain(ranked.collector(records([query(1)])))
    desk_of(ranked).submit([graded(1, 0, 1.0), graded(1, 1, 0.0), graded(1, 2, 0.0), graded(1, 3, 0.0)])
    assert counts(ranked, "shop=a")[QUERIES] == 1
    assert [counts(ranked, "shop=b")[place] for place in (QUERIES, BARREN)] == [0, 1]


def test_what_stands_high_should_be_relevant(ranked: Parts) -> None:
    drain(ranked.collector(records([query(1)])))
    desk_of(ranked).submit([graded(1, row, grade) for row, grade in enumerate((3.0, 0.0, 0.0, 1.0))])
    judged = {
        key.labels[4]: value
        for key, value in ranked.store.totals().items()
        if key.metric == names.JUDGED_PREDICTIONS.name
    }
    assert judged == {"correct": 1, "incorrect": 1}  # of the first two places; the others say nothing


@pytest.mark.parametrize("seed", range(3))
def test_any_order_with_corrections_and_early_labels_counts_as_the_last_labels_say(ranked: Parts, seed: int) -> None:
    shuffler = random.Random(seed)
    grades = {(number, row): float((7 * number + 3 * row + seed) % 3) for number in range(1, 7) for row in range(4)}
    sent = [graded(*place, grade, after_s=100.0) for place, grade in grades.items()]
    sent += [graded(number, row, 2.0, after_s=50.0) for number, row in list(grades)[::2]]
    sent += [graded(number, row, None, after_s=70.0) for number, row in list(grades)[::3]]
    shuffler.shuffle(sent)
    desk = desk_of(ranked)
    desk.submit(sent[:10])
    drain(ranked.collector(records([query(number) for number in range(1, 7)])))
    for start in range(10, len(sent), 7):
        desk.submit(sent[start : start + 7])
    expected = np.array([[grades[number, row] for row in range(4)] for number in range(1, 7)])
    some = (expected >= 1.0).any(axis=1)
    found = ranking_metrics(
        np.repeat(np.arange(int(some.sum())), 4),
        np.tile(SCORES, int(some.sum())),
        2.0 ** expected[some].ravel() - 1.0,
        (expected[some].ravel() >= 1.0).astype(np.int64),
        2,
    )
    values = counts(ranked)
    assert values[:5] == [int(some.sum()), 0, 0, int((~some).sum()), 24]
    assert values[5::2] == np.rint(found * 65536).astype(int).sum(axis=0).tolist()
