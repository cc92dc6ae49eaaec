"""Labels of rankings: a query is counted as a whole, whatever order its candidates' labels come in."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.store.store import Store
from detectors.baselines.reference import build_reference
from detectors.counts.performance_counts import performance_layout
from detectors.counts.ranking_counts import BARREN, LABELLED, PARTIAL, QUERIES, ranking_metrics
from detectors.counts.summary import WindowState, merge
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from detectors.offline.files import OfflineWindows, Span
from driftline.columns import JudgedBatch
from driftline.events import InferenceEvent, Label
from driftline.monitors import ColumnSpec, Monitor, SubjectSpec
from driftline.results import StreamKey, WindowKey
from tests.collector.helpers import HOUR_S, START_S, Parts, drain, event, label, records
from tests.parts.processes import wait_until

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
LIMIT_S = 120.0
SCORES = (0.9, 0.7, 0.5, 0.3)


def query(number: int) -> InferenceEvent:
    """Four candidates, best first; the first two are in shop a."""
    return event(number, shop=["a", "a", "b", "b"], relevance=list(SCORES))


@pytest.fixture
def ranked(parts: Parts) -> Parts:
    statistics: Any = StatisticsEngine({})
    return replace(parts, monitors={RANKING.name: RANKING}, statistics=statistics, registry=CollectorRegistry())


def graded(number: int, row: int, grade: float | None, after_s: float = 60.0) -> Label:
    return label(number, grade, after_s=after_s, row=row)


def counts(parts: Parts, segment: str = "") -> list[int]:
    states = parts.store.window_states(WindowKey(STREAM, segment, START_S, START_S + HOUR_S))
    section = merge(WindowState.from_bytes(state) for state in states).section(performance_layout(RANKING).fingerprint)
    return [0] * 15 if section is None else section.values.tolist()


def test_a_query_counts_once_its_last_candidate_has_a_label(ranked: Parts) -> None:
    drain(ranked.collector(records([query(1)])))
    desk = ranked.desk()
    desk.submit([graded(1, row, grade) for row, grade in ((0, 0.0), (1, 2.0), (2, 0.0))])
    assert [counts(ranked)[place] for place in (QUERIES, PARTIAL, LABELLED)] == [0, 1, 3]
    desk.submit([graded(1, 3, 1.0)])
    assert [counts(ranked)[place] for place in (QUERIES, PARTIAL, LABELLED)] == [1, 0, 4]
    desk.submit([graded(1, 3, None, after_s=70.0)])
    assert [counts(ranked)[place] for place in (QUERIES, PARTIAL, LABELLED)] == [0, 1, 3]


def test_a_segment_holds_the_query_with_its_own_candidates(ranked: Parts) -> None:
    drain(ranked.collector(records([query(1)])))
    ranked.desk().submit([graded(1, 0, 1.0), graded(1, 1, 0.0), graded(1, 2, 0.0), graded(1, 3, 0.0)])
    assert counts(ranked, "shop=a")[QUERIES] == 1
    assert [counts(ranked, "shop=b")[place] for place in (QUERIES, BARREN)] == [0, 1]


def test_a_query_of_which_candidates_were_erased_stays_counted_as_it_was(ranked: Parts) -> None:
    who = ColumnSpec(name="customer", type="categorical", drift=False)
    of_customers = RANKING.model_copy(
        update={"columns": (*RANKING.columns, who), "subject": SubjectSpec(column="customer")}
    )
    ranked.monitors = {RANKING.name: of_customers}
    shown = {"shop": ["a", "a", "b", "b"], "relevance": list(SCORES)}
    asked = [
        event(1, **shown, customer=["anna", "ben", "ben", "ben"]),
        event(2, **shown, customer=["ben"] * 4),
    ]
    drain(ranked.collector(records(asked)))
    desk = ranked.desk()
    desk.submit([graded(number, row, grade) for number in (1, 2) for row, grade in enumerate((0.0, 2.0, 0.0, 1.0))])
    before = counts(ranked)
    assert before[QUERIES] == 2
    eraser = Eraser(ranked.store, SubjectHasher(), ranked.clock, None)
    erased = eraser.erase(Selector("default", "flights", "subject", "anna"), "token:privacy")
    assert erased.removed["predictions"] == 1
    desk.submit([graded(1, 1, 0.0, 120.0), graded(1, 3, None, 120.0)])
    assert counts(ranked) == before
    # The other query goes on as before, and both labels of the first are kept with their rows.
    desk.submit([graded(2, 1, 0.0, 180.0), graded(2, 3, 0.0, 180.0)])
    after = counts(ranked)
    assert (after[QUERIES], after[BARREN], after[LABELLED]) == (1, 1, 8)
    assert min(after) >= 0


def test_what_stands_high_should_be_relevant(ranked: Parts) -> None:
    drain(ranked.collector(records([query(1)])))
    ranked.desk().submit([graded(1, row, grade) for row, grade in enumerate((3.0, 0.0, 0.0, 1.0))])
    assert ranked.judged() == {"correct": 1, "incorrect": 1}  # of the first two places; the others say nothing


@pytest.mark.parametrize("seed", range(3))
def test_any_order_with_corrections_and_early_labels_counts_as_the_last_labels_say(ranked: Parts, seed: int) -> None:
    shuffler = random.Random(seed)
    grades = {(number, row): float((7 * number + 3 * row + seed) % 3) for number in range(1, 7) for row in range(4)}
    sent = [graded(*place, grade, after_s=100.0) for place, grade in grades.items()]
    sent += [graded(number, row, 2.0, after_s=50.0) for number, row in list(grades)[::2]]
    sent += [graded(number, row, None, after_s=70.0) for number, row in list(grades)[::3]]
    shuffler.shuffle(sent)
    desk = ranked.desk()
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


class Pausing:
    """Statistics that wait where labels are judged: in the middle of a transaction that holds the query."""

    def __init__(self) -> None:
        self._engine = StatisticsEngine({})
        self.reached, self.go_on = threading.Event(), threading.Event()

    def judge(self, monitor: Monitor, state: bytes | None, judged: JudgedBatch) -> bytes:
        self.reached.set()
        assert self.go_on.wait(LIMIT_S)
        return self._engine.judge(monitor, state, judged)


def waiting(store: Store) -> int:
    """How many transactions wait for a row that another one holds."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return store.read(lambda connection: int(connection.execute(text(statement)).scalar_one()))


@pytest.mark.real
def test_two_writers_of_one_query_see_each_others_labels(postgres_store: str) -> None:
    """On PostgreSQL alone: SQLite has one writer at a time."""
    statistics: Any = StatisticsEngine({})
    store = Store(postgres_store, prepare=False)
    ready = Parts(store, statistics=statistics, monitors={RANKING.name: RANKING})
    drain(ready.collector(records([query(1)])))
    pausing: Any = Pausing()
    other = Store(postgres_store, prepare=False)
    first = replace(ready, store=other, statistics=pausing, registry=CollectorRegistry())
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(first.collector(records([graded(1, 0, 2.0), graded(1, 1, 0.0)], "spool:1")).run_once)
        wait_until(pausing.reached.is_set, LIMIT_S, "the first holds the query")
        two = threads.submit(ready.collector(records([graded(1, 2, 1.0), graded(1, 3, 0.0)], "spool:2")).run_once)
        wait_until(lambda: waiting(other) == 1, LIMIT_S, "the second waits for it")
        pausing.go_on.set()
        assert one.result(LIMIT_S) == two.result(LIMIT_S) == 2
    assert [counts(ready)[place] for place in (QUERIES, PARTIAL, LABELLED)] == [1, 0, 4]
    other.close()
    store.close()


def test_queries_of_traffic_explain_a_change_as_those_of_a_file_do(parts: Parts) -> None:
    """Shop b's order knows nothing; each query is of one shop."""
    known, rng = RANKING.model_dump(mode="json"), np.random.default_rng(5)
    monitor = Monitor.model_validate({**known, "reference": {"path": "r", "label": "grade"}})

    def shown(queries: int, broken: bool) -> pd.DataFrame:
        shop, grade = np.repeat(rng.choice(["a", "b"], queries), 4), rng.integers(0, 3, 4 * queries).astype(float)
        score = grade + rng.normal(0.0, 0.3, len(grade))
        score = np.where(broken & (shop == "b"), rng.normal(size=len(grade)), score)
        query = np.repeat(np.arange(queries), 4)
        return pd.DataFrame({"query": query, "shop": shop, "relevance": score, "grade": grade})

    reference, frame = build_reference(shown(800, broken=False), monitor), shown(300, broken=True)
    statistics: Any = StatisticsEngine({monitor.name: reference})
    parts.monitors, parts.statistics, parts.registry = {monitor.name: monitor}, statistics, CollectorRegistry()
    sent = [
        event(at, at_s=START_S + at, **frame.loc[frame["query"] == at, ["shop", "relevance"]].to_dict("list"))
        for at in range(300)
    ]
    drain(parts.collector(records(sent)))
    grades = [graded(at // 4, at % 4, grade) for at, grade in enumerate(frame.grade.tolist())]
    parts.desk().submit(grades)
    key = WindowKey(STREAM, "", START_S, START_S + HOUR_S)
    _, judged = parts.store.labelled_rows(monitor, key, 401)
    assert judged.query is not None
    assert np.bincount(judged.query).tolist() == [4] * 100  # whole queries, whatever the limit cuts
    EvaluationJob(parts.store, {monitor.name: reference}, [monitor], parts.clock).run_once()
    told = [each for each in parts.store.results(STREAM, key.start_s, key.end_s) if each.kind == "explanation"]
    offline = OfflineWindows(monitor, reference, STREAM, Span(key.start_s, key.end_s))
    offline.add(frame)
    of_file = [each for each in offline.evaluate().results if each.kind == "explanation"]
    assert max(told, key=lambda each: abs(each.statistic)).column == "shop=b"
    assert sorted(told, key=repr) == sorted(of_file, key=repr)
    eraser = Eraser(parts.store, SubjectHasher(), parts.clock, None)
    eraser.erase(Selector("default", "flights", "request_id", "request-7"), "token:privacy")
    assert parts.store.labelled_rows(monitor, key, 10_000)[0].rows == 4 * 299
