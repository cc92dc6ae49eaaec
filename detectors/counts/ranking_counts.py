"""Judged queries as counts that merge and can be taken out again: how well candidates were ranked by their scores.

A query is the unit: its metrics depend on all of its candidates at once, so whoever has a label for one of them takes
the query out as it was (weight -1) and puts it in as it is (+1). Each metric lies in [0, 1] and is rounded to steps of
2**-16, so that sums over queries, and of squares, are whole numbers.

Candidates with equal scores have no order. What is counted is the mean over all orders of theirs, in closed form:
nothing depends on the order of rows, and a model that gives every candidate the same score gets what chance gets.

Sources: K. Jaervelin, J. Kekaelaeinen, Cumulated gain-based evaluation of IR techniques, 2002; F. McSherry, M. Najork,
Computing information retrieval performance measures efficiently in the presence of tied scores, 2008.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.columns import JudgedBatch
from driftline.monitor_ranking import RankingSpec

#: Positions: queries that were judged, that cannot be (a candidate without a score, a label that is no grade), that
#: lack labels still, and that have no relevant candidate; rows with labels; per metric the sum and the sum of squares.
QUERIES, UNUSABLE, PARTIAL, BARREN, LABELLED, SUMS_AT = range(6)
METRICS = ("ndcg", "mrr", "map", "precision", "hit_rate")
SIZE = SUMS_AT + 2 * len(METRICS)
#: Metrics are rounded to this many steps.
RANK_STEPS = 1 << 16
#: Labels above this are no grades.
LARGEST_GRADE = {"exponential": 30.0, "linear": 1e9}


@dataclass(frozen=True, slots=True)
class _Queries:
    """Candidates of Q queries, each query's together: ``owner`` (which query), score, gain, and whether relevant."""

    owner: NDArray[np.intp]
    score: NDArray[np.float64]
    gain: NDArray[np.float64]
    relevant: NDArray[np.int64]
    count: int


@dataclass(frozen=True, slots=True)
class JudgedQueries:
    """Q queries in an order of their own, ``first``: the first row of each, ``weight``: as its rows have it.

    ``unusable``, ``partial``, ``barren``, ``complete``: which of them are so, shape (Q,); at most one is true.
    ``labelled``: rows with a label. ``steps``: the metrics of the complete ones in steps, shape (complete, METRICS).
    """

    owner: NDArray[np.intp]
    first: NDArray[np.intp]
    weight: NDArray[np.int64]
    unusable: NDArray[np.bool_]
    partial: NDArray[np.bool_]
    barren: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    labelled: NDArray[np.int64]
    steps: NDArray[np.int64]


def count_queries(spec: RankingSpec, judged: JudgedBatch) -> NDArray[np.int64]:
    """The queries as counts, shape (SIZE,), each times its weight. Candidates without a label have the label NaN."""
    values = np.zeros(SIZE, dtype=np.int64)
    if not len(judged.weight):
        return values
    found = judged_queries(spec, judged)
    parts = ((QUERIES, found.complete), (UNUSABLE, found.unusable), (PARTIAL, found.partial), (BARREN, found.barren))
    for place, chosen in parts:
        values[place] = found.weight[chosen].sum()
    values[LABELLED] = found.weight @ found.labelled
    values[SUMS_AT::2] = found.weight[found.complete] @ found.steps
    values[SUMS_AT + 1 :: 2] = found.weight[found.complete] @ (found.steps * found.steps)
    return values


def judged_queries(spec: RankingSpec, judged: JudgedBatch) -> JudgedQueries:
    """How each query was judged; there is at least one row."""
    owner, first = _owners(judged)
    score = np.asarray(judged.prediction, dtype=np.float64)
    label = np.asarray(judged.label, dtype=np.float64)
    known = ~np.isnan(label)
    is_grade = ~known | ((label >= 0.0) & (label <= LARGEST_GRADE[spec.gain]))
    usable = np.bincount(owner, ~(np.isfinite(score) & is_grade)) == 0
    labelled, size = np.bincount(owner, known).astype(np.int64), np.bincount(owner)
    waits = labelled < (size if spec.unlabelled == "wait" else np.minimum(size, 1))
    has_relevant = np.bincount(owner, known & (label >= spec.relevant_from)) > 0
    complete = usable & ~waits & has_relevant
    steps = np.zeros((0, len(METRICS)), dtype=np.int64)
    if complete.any():
        chosen = complete[owner]
        grades = np.where(known, label, 0.0)[chosen]
        gain = grades if spec.gain == "linear" else np.exp2(grades) - 1.0
        number = np.cumsum(complete)[owner[chosen]] - 1
        relevant = (grades >= spec.relevant_from).astype(np.int64)
        metrics = ranking_metrics(number, score[chosen], gain, relevant, spec.cutoff)
        steps = np.rint(metrics * RANK_STEPS).astype(np.int64)
    return JudgedQueries(
        owner=owner,
        first=first,
        weight=judged.weight[first],
        unusable=~usable & (labelled > 0),
        partial=usable & waits & (labelled > 0),
        barren=usable & ~waits & ~has_relevant,
        complete=complete,
        labelled=labelled,
        steps=steps,
    )


def _owners(judged: JudgedBatch) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Each row's query as a number from 0, and the first row of each: a query comes once with either weight."""
    query = np.arange(len(judged.weight)) if judged.query is None else judged.query
    _, first, owner = np.unique(2 * query + (judged.weight > 0), return_index=True, return_inverse=True)
    return owner.astype(np.intp), first


def ranking_metrics(
    owner: NDArray[np.intp],
    score: NDArray[np.float64],
    gain: NDArray[np.float64],
    relevant: NDArray[np.int64],
    cutoff: int,
) -> NDArray[np.float64]:
    """The :data:`METRICS` of each query, shape (queries, 5), in [0, 1].

    ``owner``: the query of each candidate, from 0 without gaps. Every query has a relevant candidate.

    >>> one = np.zeros(3, dtype=np.intp)
    >>> found = ranking_metrics(one, np.array([3.0, 2.0, 1.0]), np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1]), 2)
    >>> found.round(3).tolist()
    [[0.387, 0.5, 0.583, 0.5, 1.0]]
    """
    # Inside a group of equal scores in one order whatever came first: sums are rounded alike.
    order = np.lexsort((-gain, -score, owner))
    queries = _Queries(owner[order], score[order], gain[order], relevant[order], int(owner.max()) + 1)
    ties = _tie_groups(queries)
    sizes = np.bincount(queries.owner)
    discount = np.concatenate(([0.0], np.cumsum(1.0 / np.log2(np.arange(2, sizes.max() + 2)))))
    reached = discount[np.minimum(ties.end, cutoff)] - discount[np.minimum(ties.start, cutoff)]
    gained = _per_query(ties, ties.gain / ties.size * reached, queries.count)
    seen = np.minimum(ties.end, cutoff) - np.minimum(ties.start, cutoff)
    hits = _per_query(ties, ties.relevant / ties.size * seen, queries.count)
    first_hit, found = _first_relevant(ties, queries.count, cutoff)
    columns = (
        gained / _ideal(queries, discount, cutoff),
        first_hit,
        _average_precision(ties, queries.count),
        hits / np.minimum(sizes, cutoff),
        found,
    )
    return np.minimum(np.column_stack(columns), 1.0)


@dataclass(frozen=True, slots=True)
class _Ties:
    """Groups of candidates of one query with one score, in their order: places from ``start`` to before ``end``.

    ``gain``: of all of them together; ``relevant``: how many of them, ``before``: how many before them.
    """

    owner: NDArray[np.intp]
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    gain: NDArray[np.float64]
    relevant: NDArray[np.int64]
    before: NDArray[np.int64]

    @property
    def size(self) -> NDArray[np.intp]:
        return self.end - self.start


def _tie_groups(queries: _Queries) -> _Ties:
    rows = len(queries.owner)
    begins = np.flatnonzero(np.diff(queries.owner, prepend=-1))  # of queries
    new = np.diff(queries.score, prepend=np.nan) != 0.0
    new[begins] = True
    at = np.flatnonzero(new)
    owner = queries.owner[at]
    relevant = np.add.reduceat(queries.relevant, at)
    all_before = np.cumsum(relevant) - relevant
    return _Ties(
        owner=owner,
        start=at - begins[owner],
        end=np.append(at[1:], rows) - begins[owner],
        gain=_sums(np.cumsum(new) - 1, queries.gain, len(at)),
        relevant=relevant,
        before=all_before - all_before[np.searchsorted(at, begins)][owner],
    )


def _per_query(ties: _Ties, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return _sums(ties.owner, values, count)


def _sums(groups: NDArray[np.intp], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Sums by group, added in the order of rows, so that they are rounded alike whatever other groups there are."""
    return np.bincount(groups, values, count).astype(np.float64)


def _ideal(queries: _Queries, discount: NDArray[np.float64], cutoff: int) -> NDArray[np.float64]:
    """The largest discounted gain that each query's candidates allow."""
    gain = queries.gain[np.lexsort((-queries.gain, queries.owner))]
    begins = np.flatnonzero(np.diff(queries.owner, prepend=-1))
    place = np.arange(len(gain)) - begins[queries.owner]
    reached = discount[np.minimum(place + 1, cutoff)] - discount[np.minimum(place, cutoff)]
    return _sums(queries.owner, gain * reached, queries.count)


def _average_precision(ties: _Ties, count: int) -> NDArray[np.float64]:
    """Mean over all orders of ties of the precision at each relevant candidate, averaged over these."""
    harmonic = np.concatenate(([0.0], np.cumsum(1.0 / np.arange(1, ties.end.max() + 1))))
    inverse_places = harmonic[ties.end] - harmonic[ties.start]
    size, relevant = ties.size, ties.relevant
    # Of the others of the group, those that stand before a relevant one, divided by its place.
    others = (size - (ties.start + 1) * inverse_places) * (relevant - 1) / np.maximum(size - 1, 1)
    precision = relevant / size * ((ties.before + 1) * inverse_places + others)
    found: NDArray[np.float64] = _per_query(ties, precision, count) / _per_query(ties, relevant.astype(float), count)
    return found


def _first_relevant(ties: _Ties, count: int, cutoff: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per query the mean inverse place of the first relevant candidate, and how likely it is within the cutoff."""
    telling = np.flatnonzero((ties.relevant > 0) & (ties.before == 0))
    sizes, relevant, starts = ties.size[telling], ties.relevant[telling], ties.start[telling]
    inverse: NDArray[np.float64] = np.asarray(1.0 / (starts + 1.0), dtype=np.float64)
    within = (starts < cutoff).astype(np.float64)
    for at in np.flatnonzero(relevant < sizes).tolist():
        size, hits, start = int(sizes[at]), int(relevant[at]), int(starts[at])
        # Of the places inside the group, how likely each is the first that a relevant one has.
        left = size - np.arange(1, size - hits + 1)
        chances = hits / size * np.concatenate(([1.0], np.cumprod((left - hits + 1) / left)))
        places = start + np.arange(1, len(chances) + 1)
        inverse[at] = float((chances / places).sum())
        within[at] = float(chances[places <= cutoff].sum())
    owners = ties.owner[telling]
    return _sums(owners, inverse, count), _sums(owners, within, count)
