"""Rankings from files: the same counts however the rows are cut, and what is wrong with them named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import build_reference, load_reference
from detectors.offline.files import OfflineWindows, Span, whole_queries
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor
from driftline.results import Result, StreamKey, Verdict

MONITOR = Monitor.model_validate(
    {
        "model": "search",
        "task": "ranking",
        "columns": [{"name": "price", "type": "numeric"}, {"name": "country", "type": "categorical"}],
        "prediction": {"column": "said"},
        "ranking": {"cutoff": 3, "query": "query"},
        "segments": ["country"],
        "reference": {"path": "r.csv", "label": "grade"},
    }
)


def rows(queries: int, seed: int, noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, queries)
    query = np.repeat(np.arange(queries), sizes)
    grade = rng.integers(0, 3, len(query)).astype(float)
    return pd.DataFrame(
        {
            "query": [f"q{number}" for number in query],
            "price": rng.gamma(2.0, size=len(query)),
            "country": np.repeat(rng.choice(["de", "fr"], queries), sizes),
            "said": grade + rng.normal(0.0, noise, len(query)),
            "grade": grade,
        }
    )


def found(frame: pd.DataFrame, piece: int, monitor: Monitor = MONITOR) -> dict[str, Result]:
    reference = build_reference(rows(500, 0, 0.5), MONITOR)
    windows = OfflineWindows(monitor, reference, StreamKey("default", "search", "", "stable"), Span(0.0, 1.0))
    cut = (frame.iloc[start : start + piece] for start in range(0, len(frame), piece))
    for part in whole_queries(cut, monitor):
        windows.add(part)
    return {result.detector: result for result in windows.evaluate().results if result.window.segment == ""}


def test_a_worse_order_warns_and_pieces_do_not_matter() -> None:
    frame = rows(300, 1, 5.0)
    whole = found(frame, len(frame))
    assert whole["ndcg@3"].verdict is Verdict.WARNING
    assert whole["ndcg@3"].coverage == 1.0
    assert found(frame, 101) == whole
    assert found(rows(300, 2, 0.5), 101)["ndcg@3"].verdict is Verdict.OK


def test_queries_that_wait_for_labels_are_told() -> None:
    frame = rows(60, 3, 0.5)
    frame.loc[frame.groupby("query").head(1).index[:40], "grade"] = np.nan
    result = found(frame, 1000)["ndcg@3"]
    assert result.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "40 only partly labelled" in result.reason
    assert "30 judged queries are needed" in result.reason


def test_a_reference_keeps_what_its_queries_were_judged_by(tmp_path: Path) -> None:
    reference = build_reference(rows(200, 0, 0.5), MONITOR)
    reference.save(tmp_path / "reference.npz")
    again = load_reference(tmp_path / "reference.npz")
    assert again.performance_layout == reference.performance_layout
    other = MONITOR.model_copy(update={"ranking": MONITOR.ranking.model_copy(update={"cutoff": 5})})
    with pytest.raises(ReferenceDataError, match="another 'ranking'"):
        again.require_fit(other)


def test_rows_that_do_not_say_their_query_are_refused() -> None:
    with pytest.raises(ReferenceDataError, match="column 'query' is missing"):
        build_reference(rows(50, 0, 0.5).drop(columns="query"), MONITOR)
    frame = rows(50, 0, 0.5)
    frame.loc[7, "query"] = None
    with pytest.raises(ReferenceDataError, match="row 7 has none"):
        build_reference(frame, MONITOR)
