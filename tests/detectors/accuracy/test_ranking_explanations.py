"""Which queries explain a change of a ranking: by columns that say something of a query, from counts that add up."""

import math

import numpy as np
import pandas as pd
import pytest

from detectors.accuracy.explaining import BY_COLUMN, BY_SEGMENT, BY_VALUE
from detectors.baselines.reference import Reference, build_reference
from detectors.counts.summary import WindowState
from detectors.offline.files import OfflineWindows, Span
from driftline.monitors import Monitor
from driftline.results import Result, StreamKey, Verdict, WindowKey

STREAM = StreamKey("default", "search", "", "stable")
KEY = WindowKey(STREAM, "", 0.0, 1.0)
MONITOR = Monitor.model_validate(
    {
        "model": "search",
        "task": "ranking",
        "columns": [
            {"name": "price", "type": "numeric"},
            {"name": "country", "type": "categorical"},
            {"name": "words", "type": "numeric"},
        ],
        "prediction": {"column": "said"},
        "ranking": {"cutoff": 3, "query": "query"},
        "segments": ["country"],
        "reference": {"path": "r.csv", "label": "grade"},
    }
)


def rows(queries: int, seed: int, *, broken: str = "nothing") -> pd.DataFrame:
    """Queries of three to eight candidates; where ``broken`` says, scores that know nothing."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, queries)
    country, words = rng.choice(["de", "fr", "it"], queries), rng.integers(1, 30, queries).astype(float)
    bad = {
        "nothing": np.zeros(queries, dtype=bool),
        "country": country == "fr",
        "words": words > 20,
        "everything": rng.random(queries) < 0.3,
    }[broken]
    grade = rng.integers(0, 3, sizes.sum()).astype(float)
    noise = rng.normal(0.0, 0.5, len(grade))
    return pd.DataFrame(
        {
            "query": np.repeat(np.arange(queries), sizes),
            "price": rng.gamma(2.0, size=len(grade)),
            "country": np.repeat(country, sizes),
            "words": np.repeat(words, sizes),
            "said": np.where(np.repeat(bad, sizes), rng.normal(0.0, 1.0, len(grade)), grade + noise),
            "grade": grade,
        }
    )


BEFORE = rows(1500, 0)
REFERENCE = build_reference(BEFORE, MONITOR)


def windows(frame: pd.DataFrame, pieces: int = 1, reference: Reference = REFERENCE) -> OfflineWindows:
    counted = OfflineWindows(MONITOR, reference, STREAM, Span(0.0, 1.0))
    for queries in np.array_split(frame["query"].unique(), pieces):
        counted.add(frame[frame["query"].isin(queries)])
    return counted


def told(frame: pd.DataFrame) -> list[Result]:
    found = windows(frame).evaluate().results
    return [each for each in found if each.detector in (BY_COLUMN, BY_SEGMENT, BY_VALUE)]


def ndcg(frame: pd.DataFrame) -> pd.Series:
    """NDCG of each query that has something relevant, from its rows."""

    def of(candidates: pd.DataFrame) -> float:
        gains = 2.0 ** candidates.grade.to_numpy() - 1.0
        discount = 1.0 / np.log2(np.arange(2, len(gains) + 2))
        kept, best = gains[np.argsort(-candidates.said.to_numpy())][:3], np.sort(gains)[::-1][:3]
        return float(kept @ discount[: len(kept)] / (best @ discount[: len(best)]))

    relevant = frame.groupby("query").filter(lambda candidates: candidates.grade.max() >= 1.0)
    return pd.Series({query: of(candidates) for query, candidates in relevant.groupby("query")})


def test_columns_that_say_something_of_a_query_are_grouped_and_their_queries_counted() -> None:
    assert REFERENCE.outcomes is not None
    layout = REFERENCE.outcomes.layout
    assert [column.name for column in layout.columns] == ["country", "words"]
    frame = rows(400, 1)
    section = WindowState.from_bytes(windows(frame).states()[KEY][0]).section(layout.fingerprint)
    assert section is not None
    values, country = ndcg(frame), frame.groupby("query").country.first()
    table = dict(zip(layout.columns[0].names, layout.table(section, 0).tolist(), strict=True))
    for name in ("de", "fr", "it"):
        count, total, _ = table[f"country={name}"]
        mine = values[country[values.index] == name]
        assert count == len(mine)
        assert total / 512.0 == pytest.approx(mine.sum(), abs=len(mine) / 1024.0)
    assert table["country missing"] == [0, 0, 0]


def test_a_query_whose_candidates_differ_counts_as_missing_in_any_order() -> None:
    assert REFERENCE.outcomes is not None
    frame = rows(60, 2)
    frame.loc[frame.groupby("query").head(1).index[:10], "country"] = "se"
    states = [windows(part).states()[KEY] for part in (frame, frame.iloc[::-1])]
    assert states[0] == states[1] == windows(frame, pieces=7).states()[KEY]
    layout = REFERENCE.outcomes.layout
    section = WindowState.from_bytes(states[0][0]).section(layout.fingerprint)
    assert section is not None
    assert 5 <= layout.table(section, 0)[-1, 0] <= 10  # but for those with nothing relevant


@pytest.mark.parametrize(
    ("broken", "value", "verdict"), [("country", "country=fr", Verdict.WARNING), ("words", "words from 2", Verdict.OK)]
)
def test_the_queries_that_broke_are_named(broken: str, value: str, verdict: Verdict) -> None:
    found = told(rows(900, 3, broken=broken))
    assert (found[0].detector, found[0].column) == (BY_COLUMN, broken)
    assert found[0].reason.startswith("ndcg@3 changed by -")
    assert (found[1].detector, found[1].verdict) == (BY_VALUE, verdict)  # a third of many words is no half
    assert found[1].column.startswith(value)
    assert "of the judged queries" in found[1].reason


def test_nothing_is_told_where_all_queries_are_alike_or_few() -> None:
    runs = 60
    false = sum(bool(told(rows(300, 100 + run, broken="everything"))) for run in range(runs))
    assert false <= 0.01 * runs + 4 * math.sqrt(0.01 * runs)
    assert told(rows(900, 4)) == []
    assert told(rows(80, 5, broken="country")) == []
