"""Traffic whose accuracy changed: on which columns' values, from labelled rows as they are stored."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.settings import CollectorSettings
from detectors.accuracy.explaining import BY_COLUMN, BY_VALUE
from detectors.baselines.reference import Reference, build_reference
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from detectors.offline.files import OfflineWindows, Span
from driftline.cli.backtesting import Plan, backtest_stored
from driftline.events import Label
from driftline.monitors import Monitor
from driftline.results import Result, StreamKey, Verdict, WindowKey
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, label, records

STREAM = StreamKey("default", "flights", "3", "stable")
HOUR = WindowKey(STREAM, "", START_S, START_S + HOUR_S)
MINUTES, ROWS = 30, 40


def watching(task: str = "binary", explained_rows: int = 5000) -> Monitor:
    columns = [{"name": "distance", "type": "numeric"}, {"name": "carrier", "type": "categorical"}]
    return Monitor.model_validate(
        {
            **MONITOR.model_dump(mode="json"),
            "task": task,
            "columns": columns,
            "segments": [],
            "reference": {"path": "r.parquet", "label": "truth"},
            "detectors": {"explained_rows": explained_rows},
            "slos": {"objectives": []},
        }
    )


def frame(seed: int, rows: int, *, broken: bool, task: str = "binary") -> pd.DataFrame:
    """Wrong one time in twenty; where ``broken``, one time in two for the carrier UA (a regression: off by six)."""
    rng = np.random.default_rng(seed)
    found = pd.DataFrame({"distance": rng.normal(500, 100, rows), "carrier": rng.choice(["AA", "UA", "DL"], rows)})
    worse = broken & (found.carrier == "UA").to_numpy()
    if task == "regression":
        found["late"] = rng.normal(10, 3, rows)
        found["truth"] = found.late + rng.normal(0, 1, rows) * np.where(worse, 6.0, 1.0)
    else:
        found["late"] = rng.choice(["0", "1"], rows)
        wrong = rng.random(rows) < np.where(worse, 0.5, 0.05)
        found["truth"] = np.where(wrong, np.where(found.late == "0", "1", "0"), found.late)
    found["score"] = rng.random(rows)
    return found


def put(parts: Parts, monitor: Monitor, rows: pd.DataFrame, every: int = 1) -> Reference:
    """Rows of half an hour, and a label for one in ``every`` of them."""
    known = build_reference(frame(1, 3000, broken=False, task=monitor.task), monitor)
    statistics: Any = StatisticsEngine({monitor.name: known})
    parts.monitors, parts.statistics, parts.registry = {monitor.name: monitor}, statistics, CollectorRegistry()
    minutes = [rows.iloc[start : start + ROWS].drop(columns="truth") for start in range(0, len(rows), ROWS)]
    drain(parts.collector(records([event(at, **part.to_dict("list")) for at, part in enumerate(minutes)])))
    sent: list[Label] = [
        label(at // ROWS, truth, row=at % ROWS) for at, truth in enumerate(rows.truth.tolist()) if at % every == 0
    ]
    parts.desk().submit(sent)
    EvaluationJob(parts.store, {monitor.name: known}, [monitor], parts.clock).run_once()
    return known


def explained(parts: Parts) -> list[Result]:
    found = parts.store.results(STREAM, HOUR.start_s, HOUR.end_s)
    return [each for each in found if each.detector in (BY_COLUMN, BY_VALUE)]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_column_that_broke_is_named_as_it_is_of_a_file(parts: Parts, task: str) -> None:
    monitor, rows = watching(task), frame(2, MINUTES * ROWS, broken=True, task=task)
    known = put(parts, monitor, rows)
    found = explained(parts)
    assert {each.column for each in found if each.detector == BY_COLUMN} == {"carrier"}
    worst = max(found, key=lambda each: abs(each.statistic))
    assert (worst.column, worst.detector, worst.verdict) == ("carrier=UA", BY_VALUE, Verdict.WARNING)
    offline = OfflineWindows(monitor, known, STREAM, Span(HOUR.start_s, HOUR.end_s))
    offline.add(rows)
    of_file = [each for each in offline.evaluate().results if each.detector in (BY_COLUMN, BY_VALUE)]
    assert sorted(found, key=repr) == sorted(of_file, key=repr)
    (replayed,) = backtest_stored(monitor, known, parts.store, Plan(null_windows=0)).outcomes[0].windows
    again = [each for each in replayed.results if each.detector in (BY_COLUMN, BY_VALUE)]
    assert sorted(again, key=repr) == sorted(found, key=repr)


def test_so_many_rows_are_looked_at_and_those_with_a_label(parts: Parts) -> None:
    monitor, rows = watching(explained_rows=300), frame(2, MINUTES * ROWS, broken=True)
    put(parts, monitor, rows, every=2)
    assert {each.sample_size for each in explained(parts)} == {300}
    columns, judged = parts.store.labelled_rows(monitor, HOUR, 10_000)
    assert columns.rows == len(judged.weight) == len(rows) // 2
    here = sorted(zip(columns.numeric["distance"], judged.prediction, judged.label, strict=True))
    labelled = rows.iloc[::2]
    assert here == sorted(zip(labelled.distance, labelled.late, labelled.truth, strict=True))
    first, _ = parts.store.labelled_rows(monitor, HOUR, 50)
    assert set(first.numeric["distance"]) <= set(columns.numeric["distance"])
    eraser = Eraser(parts.store, SubjectHasher(), parts.clock, None)
    eraser.erase(Selector("default", "flights", "request_id", "request-3"), "somebody")
    assert parts.store.labelled_rows(monitor, HOUR, 10_000)[0].rows == len(rows) // 2 - ROWS // 2


def test_corrected_and_withdrawn_labels_count_as_they_stand(parts: Parts) -> None:
    monitor, rows = watching(), frame(2, 2 * ROWS, broken=True)
    put(parts, monitor, rows)
    other = "1" if rows.truth[0] == "0" else "0"
    changes = [label(0, other, row=0, after_s=9000.0), label(0, None, row=1, after_s=9000.0)]
    parts.desk().submit(changes)
    columns, judged = parts.store.labelled_rows(monitor, HOUR, 10_000)
    standing = [(rows.distance[0], other), *zip(rows.distance[2:], rows.truth[2:], strict=True)]
    assert sorted(zip(columns.numeric["distance"], judged.label, strict=True)) == sorted(standing)


@pytest.mark.parametrize(
    ("monitor", "settings", "broken"),
    [
        (watching(explained_rows=0), CollectorSettings(), True),
        (watching(), CollectorSettings(store_columns=False), True),
        (watching(), CollectorSettings(), False),
    ],
    ids=["not asked for", "columns not kept", "nothing changed"],
)
def test_else_no_column_is_told_of(parts: Parts, monitor: Monitor, settings: CollectorSettings, broken: bool) -> None:
    parts.settings = settings
    put(parts, monitor, frame(2, MINUTES * ROWS, broken=broken))
    assert explained(parts) == []
