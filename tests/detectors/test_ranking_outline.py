"""Rows that are candidates of queries are drafted as a ranking, and nothing else is."""

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import build_reference
from detectors.offline.outline import draft
from detectors.offline.outline_text import outline_text
from driftline.cli.analysis import analyze
from driftline.errors import ReferenceDataError
from driftline.monitors import Task, parse_monitor


def candidates(queries: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, queries)
    grade = rng.integers(0, 3, sizes.sum())
    return pd.DataFrame(
        {
            "query_id": np.repeat([f"q{seed}-{number}" for number in range(queries)], sizes),
            "country": np.repeat(rng.choice(["de", "fr"], queries), sizes),
            "price": rng.gamma(2.0, size=len(grade)),
            "score": grade + rng.normal(0.0, 0.5, len(grade)),
            "relevance": grade,
        }
    )


def test_queries_scores_and_grades_are_found_and_the_file_reads_back() -> None:
    frame = candidates()
    found = draft(frame, model="search", reference_path="r.parquet")
    monitor = found.monitor
    assert (monitor.task, monitor.ranking.query, monitor.prediction.column) == ("ranking", "query_id", "score")
    assert monitor.reference is not None
    assert monitor.reference.label == "relevance"
    assert [column.name for column in monitor.columns] == ["country", "price"]
    text = outline_text(found)
    assert parse_monitor(text, "m.yaml") == monitor
    assert "ranking: {query: query_id, cutoff: 10}" in text
    assert build_reference(frame, monitor).outcomes is not None


def test_clicks_and_large_grades_say_how_queries_are_judged() -> None:
    clicks = candidates()
    clicks["relevance"] = clicks.relevance.where(clicks.relevance == 1)
    spec = draft(clicks, model="m", reference_path="r").monitor.ranking
    assert (spec.unlabelled, spec.gain) == ("irrelevant", "exponential")
    sold = candidates().rename(columns={"relevance": "sold"})
    sold["sold"] *= 40
    spec = draft(sold, model="m", reference_path="r", target="sold", query="query_id").monitor.ranking
    assert (spec.unlabelled, spec.gain) == ("wait", "linear")


@pytest.mark.parametrize(
    ("change", "task"),
    [
        (lambda frame: frame.sample(frac=1.0, random_state=1), "binary"),  # queries do not stand together
        (lambda frame: frame.assign(query_id=np.arange(len(frame))), "binary"),  # of each query one row
        (lambda frame: frame.assign(relevance=frame.price), "binary"),  # no grades
        (lambda frame: frame.rename(columns={"query_id": "text"}), "binary"),
    ],
)
def test_other_tables_are_no_rankings(change, task: Task) -> None:
    assert draft(change(candidates()), model="m", reference_path="r").monitor.task == task


def test_what_is_said_holds() -> None:
    frame = candidates().rename(columns={"query_id": "session"})
    with pytest.raises(ReferenceDataError, match="which column tells queries apart"):
        draft(frame, model="m", reference_path="r", task="ranking")
    with pytest.raises(ReferenceDataError, match="the query column 'sesion' is missing"):
        draft(frame, model="m", reference_path="r", query="sesion")
    assert draft(frame, model="m", reference_path="r", query="session").monitor.task == "ranking"
    shuffled = candidates().sample(frac=1.0, random_state=1)
    assert draft(shuffled, model="m", reference_path="r", task="ranking").monitor.ranking.query == "query_id"
    assert draft(candidates(), model="m", reference_path="r", target="relevance", task="regression").monitor.task == (
        "regression"
    )


def test_two_files_of_candidates_are_compared_as_rankings() -> None:
    found = analyze(candidates(300), candidates(300, seed=1))
    (ndcg,) = [each for each in found.results if each.detector == "ndcg@10" and not each.window.segment]
    assert ndcg.coverage == 1.0
    unlabelled = analyze(candidates(300), candidates(300, seed=1).assign(relevance=np.nan))
    (ndcg,) = [each for each in unlabelled.results if each.detector == "ndcg@10" and not each.window.segment]
    assert "nothing is estimated before labels" in ndcg.reason
