"""Tests of rows on traffic: rows of stored windows beside those that the reference keeps."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.settings import CollectorSettings
from detectors.baselines.reference import Reference, build_reference
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.job import EvaluationJob
from driftline.cli.backtesting import Plan, backtest_stored
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from driftline.results import ALL_COLUMNS, Result, StreamKey, Verdict
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, records

STREAM = StreamKey("default", "flights", "3", "stable")
NAMES = ("mmd", "energy", "pca_reconstruction")
ROWS = 20


def watching(kept_rows: int = 200, names: tuple[str, ...] = NAMES, **detectors: object) -> Monitor:
    return Monitor.model_validate(
        {
            **MONITOR.model_dump(mode="json"),
            "columns": [
                {"name": "distance", "type": "numeric"},
                {"name": "weight", "type": "numeric"},
                {"name": "carrier", "type": "categorical"},
            ],
            "reference": {"path": "r.parquet"},
            "detectors": {"multivariate": names, "kept_rows": kept_rows, **detectors},
        }
    )


def columns(rng: np.random.Generator, rows: int, together: float) -> dict[str, list[Any]]:
    values = rng.normal(size=(rows, 2))
    values[:, 1] = together * values[:, 0] + np.sqrt(1 - together**2) * values[:, 1]
    return {
        "distance": values[:, 0].tolist(),
        "weight": values[:, 1].tolist(),
        "carrier": rng.choice(["AA", "UA"], rows, p=[0.8, 0.2]).tolist(),
        "late": rng.choice(["0", "1"], rows).tolist(),
        "score": rng.random(rows).tolist(),
    }


def events(together: float, first: int = 0) -> list[InferenceEvent]:
    """Half an hour from minute ``first`` on, twenty rows a minute."""
    rng = np.random.default_rng(first)
    return [event(number, **columns(rng, ROWS, together)) for number in range(first, first + 30)]


def reference(monitor: Monitor) -> Reference:
    return build_reference(pd.DataFrame(columns(np.random.default_rng(7), 2000, 0.0)), monitor)


def evaluated(parts: Parts, monitor: Monitor, *items: InferenceEvent) -> Reference:
    known = reference(monitor)
    parts.monitors, parts.registry = {monitor.name: monitor}, CollectorRegistry()
    statistics: Any = StatisticsEngine({monitor.name: known})
    parts.statistics = statistics
    drain(parts.collector(records(items)))
    EvaluationJob(parts.store, {monitor.name: known}, [monitor], parts.clock).run_once()
    return known


def together(parts: Parts, hour: int = 0, segment: str = "") -> list[Result]:
    found = parts.store.results(STREAM, START_S + hour * HOUR_S, START_S + (hour + 1) * HOUR_S)
    kept = [each for each in found if each.column == ALL_COLUMNS and each.window.segment == segment]
    return sorted(kept, key=lambda each: NAMES.index(each.detector))


def test_what_no_column_shows_alone_is_found_in_traffic(parts: Parts) -> None:
    monitor = watching()
    known = evaluated(parts, monitor, *events(0.0), *events(0.9, first=60))
    quiet, changed = together(parts, 0), together(parts, 1)
    assert [each.detector for each in quiet] == list(NAMES)
    assert {each.verdict for each in quiet} == {Verdict.OK}
    assert changed[0].verdict is Verdict.DRIFTED
    assert all(each.p_value is not None and each.p_value < 0.01 for each in changed[:2])  # rows by each database's hash
    assert {(each.sample_size, each.reference_size) for each in (*quiet, *changed)} == {(200, 200)}
    replayed = backtest_stored(monitor, known, parts.store, Plan(null_windows=0)).outcomes[0].windows
    shown = [[each for each in window.results if each.column == ALL_COLUMNS] for window in replayed]
    assert shown == [quiet, changed]
    segment = together(parts, 1, "carrier=AA")
    assert segment[0].verdict is Verdict.DRIFTED
    assert segment[0].sample_size == 200
    assert 100 < together(parts, 1, "carrier=UA")[0].sample_size < 200


def test_a_replay_gives_the_same_answer_and_an_erasure_one_without_the_erased(parts: Parts) -> None:
    monitor = watching(names=("energy",), kept_rows=300)
    known = evaluated(parts, monitor, *events(0.0)[:10])
    before = together(parts)
    job = EvaluationJob(parts.store, {monitor.name: known}, [monitor], parts.clock)
    drain(parts.collector(records(events(0.0)[:10][::-1], "another:0")))
    job.run_once()
    assert together(parts) == before
    eraser = Eraser(parts.store, SubjectHasher(), parts.clock, None)
    eraser.erase(Selector("default", "flights", "request_id", "request-3"), "somebody")
    drain(parts.collector(records(events(0.0, first=40)[:3], "third:0")))  # the window is due once more
    job.run_once()
    assert together(parts)[0].sample_size == (10 - 1 + 3) * ROWS


@pytest.mark.parametrize(
    ("monitor", "settings", "why"),
    [
        (watching(kept_rows=0), CollectorSettings(), "the monitor keeps none for it (detectors.kept_rows)"),
        (watching(), CollectorSettings(store_columns=False), "0 rows of it are kept with their columns, 100 needed"),
    ],
    ids=["not asked for", "columns not kept"],
)
def test_without_rows_the_answer_says_why(
    parts: Parts, monitor: Monitor, settings: CollectorSettings, why: str
) -> None:
    parts.settings = settings
    evaluated(parts, monitor, *events(0.9))
    found = together(parts)
    assert len(found) == len(NAMES)
    assert {each.verdict for each in found} == {Verdict.NOT_ENOUGH_EVIDENCE}
    assert all(why in each.reason for each in found)


def against(**baseline: object) -> Monitor:
    spec = {"path": "r.parquet", "windows": 1, "minimum_windows": 1, "skip": 0, "drifted": "keep", **baseline}
    monitor = watching(names=("mmd",), kept_rows=300)
    return Monitor.model_validate({**monitor.model_dump(mode="json"), "reference": spec})


def test_a_rolling_baseline_is_rows_of_the_windows_before(parts: Parts) -> None:
    monitor = against(baseline="rolling")
    known = evaluated(parts, monitor, *events(0.9), *events(0.9, first=60))
    (first,), (second,) = together(parts, 0), together(parts, 1)
    assert first.verdict is Verdict.DRIFTED  # as nothing was before it, the file is compared with
    assert second.verdict is Verdict.OK
    assert second.reason.endswith("; against 300 rows of the baseline")
    assert together(parts, 1, "carrier=AA")[0].verdict is Verdict.OK
    replayed = backtest_stored(monitor, known, parts.store, Plan(null_windows=0)).outcomes[0].windows
    shown = [[each for each in window.results if each.column == ALL_COLUMNS] for window in replayed]
    assert shown == [[first], [second]]


def test_where_rows_of_the_baseline_are_gone_the_file_remains_and_the_reason_says_so(parts: Parts) -> None:
    parts.settings = CollectorSettings(store_columns=False)
    monitor = against(baseline="rolling")
    evaluated(parts, monitor, *events(0.9))
    parts.settings = CollectorSettings()
    drain(parts.collector(records(events(0.9, first=60), "later:0")))
    EvaluationJob(parts.store, {monitor.name: reference(monitor)}, [monitor], parts.clock).run_once()
    (second,) = together(parts, 1)
    assert second.verdict is Verdict.DRIFTED
    assert second.reason.endswith(
        "; against the reference file, as 0 rows of the baseline are kept with their columns, 100 needed"
    )


def test_a_variant_is_compared_with_rows_of_the_other(parts: Parts) -> None:
    canary = [
        msgspec.structs.replace(each, variant="canary", id=f"canary-{each.id}", request_id=f"canary-{each.request_id}")
        for each in events(0.9, first=10)
    ]
    evaluated(parts, against(baseline="variant"), *events(0.9), *canary)
    (stable,) = together(parts)
    found = parts.store.results(replace(STREAM, variant="canary"), START_S, START_S + HOUR_S)
    (beside,) = [each for each in found if each.column == ALL_COLUMNS and not each.window.segment]
    assert (stable.verdict, beside.verdict) == (Verdict.DRIFTED, Verdict.OK)
    assert beside.reason.endswith("; against 300 rows of the baseline")


def test_a_segment_that_the_reference_lacks_has_no_rows_to_compare_with(parts: Parts) -> None:
    new = [
        event(each, **{**columns(np.random.default_rng(each), ROWS, 0.0), "carrier": ["DL"] * 20}) for each in (1, 2)
    ]
    evaluated(parts, watching(names=("mmd",)), *new)
    assert "the reference has no rows of it" in together(parts, 0, "carrier=DL")[0].reason


def test_more_rows_are_needed_than_may_be_kept() -> None:
    with pytest.raises(ValueError, match=r"kept_rows 50 is below windows\.minimum_rows 100"):
        watching(kept_rows=50)
