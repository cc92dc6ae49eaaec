"""Whether the rows of a file are candidates of queries, and which column says of which.

>>> frame = pd.DataFrame({"qid": [1, 1, 2, 2], "relevance": [0, 2, 1, 0], "score": [0.1, 0.7, 0.3, 0.2]})
>>> ranking_roles(frame, target=None)
RankingRoles(query='qid', target='relevance')
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from detectors.counts.frames import as_numbers
from detectors.counts.ranking_counts import LARGEST_GRADE
from driftline.monitor_ranking import RankingSpec

_QUERIES = ("query", "query_id", "qid", "queryid", "search_id", "srch_id", "impression_id")
_GRADES = ("relevance", "grade", "rel", "relevance_grade", "relevance_label")
#: Grades are whole numbers up to here.
_MOST = 10
#: Candidates of a query, on average at least.
_FEWEST_CANDIDATES = 2.0


@dataclass(frozen=True, slots=True)
class RankingRoles:
    """Columns of a ranking; ``target``: how relevant a candidate was, None where nobody knows."""

    query: str
    target: str | None


def ranking_roles(
    frame: pd.DataFrame, target: str | None, query: str | None = None, *, certain: bool = False
) -> RankingRoles | None:
    """By the names of columns, where what they hold agrees; None where rows are no candidates.

    ``target``, ``query``: those that somebody named. A query that is named is one whatever it holds, and so is one of
    a usual name where it is ``certain`` that rows are candidates.
    """
    query = query or (_find(frame, _QUERIES) if certain else None)
    if query is not None:
        return RankingRoles(query, target or _find(frame, _GRADES))
    found, grades = _find(frame, _QUERIES), target or _find(frame, _GRADES)
    if found is None or grades is None or found == grades:
        return None
    return RankingRoles(found, grades) if _holds_queries(frame[found]) and _holds_grades(frame[grades]) else None


def ranking_spec(frame: pd.DataFrame, roles: RankingRoles) -> RankingSpec:
    """How queries are judged, by the grades that there are."""
    if roles.target is None:
        return RankingSpec(query=roles.query)
    grades = as_numbers(frame[roles.target])
    known = grades[np.isfinite(grades)]
    clicks = len(known) < len(grades) and bool(len(known)) and float(known.min()) >= RankingSpec().relevant_from
    large = bool(len(known)) and float(known.max()) > LARGEST_GRADE["exponential"]
    return RankingSpec(
        query=roles.query, gain="linear" if large else "exponential", unlabelled="irrelevant" if clicks else "wait"
    )


def _find(frame: pd.DataFrame, usual: tuple[str, ...]) -> str | None:
    known = {str(name).lower(): str(name) for name in frame.columns}
    return next((known[name] for name in usual if name in known), None)


def _holds_queries(series: pd.Series) -> bool:
    """Several rows of each, which stand together."""
    if series.isna().any() or not len(series):
        return False
    values = series.to_numpy()
    runs, distinct = 1 + int(np.count_nonzero(values[1:] != values[:-1])), int(series.nunique())
    return runs == distinct and len(values) >= _FEWEST_CANDIDATES * distinct


def _holds_grades(series: pd.Series) -> bool:
    if not types.is_numeric_dtype(series) and not types.is_bool_dtype(series):
        return False
    known = as_numbers(series.dropna())
    return bool(len(known) and (known == np.floor(known)).all() and known.min() >= 0.0 and 1 <= known.max() <= _MOST)
