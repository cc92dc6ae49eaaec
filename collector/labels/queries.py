"""Labels of rankings: which place a candidate had, and what statistics count of the queries whose labels changed.

A query's metrics depend on all of its labels together. So where one changes, the query is taken out of the statistics
of its window as it was, and put in as it is; in a segment, with its candidates of that segment.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from collector.labels.judging import Change, monitor_name
from collector.store.labels import LabelledRow
from collector.store.queries import candidates_of, partly_erased
from collector.store.transaction import Transaction, WindowRef
from driftline.columns import JudgedBatch
from driftline.monitors import Monitor

#: Candidates by the key of their event, with the labels that they had before a batch; none where some were erased.
Queries = Mapping[str, Sequence[LabelledRow]]
#: A query's candidates in one window, their labels before, and now.
_Relabelled = tuple[Sequence[LabelledRow], Sequence[str | None], Sequence[str | None]]


def queries_of(transaction: Transaction, monitors: Mapping[str, Monitor], rows: Sequence[LabelledRow]) -> Queries:
    """The queries that ``rows`` are candidates of, where they are of a ranking; notes each row's ``rank`` on it.

    A query of which candidates were erased stays counted as it was: nobody knows any more with what it was counted in,
    so it cannot be taken out.
    """
    ranked = [row for row in rows if monitors[monitor_name(row)].task == "ranking"]
    if not ranked:
        return {}
    found: dict[str, Sequence[LabelledRow]] = {**candidates_of(transaction, ranked)}
    for row in ranked:
        mine = _score(row)
        row.rank = 1 + sum(_score(other) > mine for other in found[row.event_key])
    for event_key in partly_erased(transaction, sorted(found)):
        found[event_key] = ()
    return found


def changes_by_query(
    monitors: Mapping[str, Monitor], queries: Queries, touched: Iterable[LabelledRow]
) -> dict[WindowRef, Change]:
    """What the new labels of ``touched`` rows change in each window, where these are candidates of ``queries``."""
    candidates = [row for row in touched if row.event_key in queries]
    of_streams = {row.stream_id: monitors[monitor_name(row)] for row in candidates}
    labels = {(row.event_key, row.row): row.label for row in candidates}
    by_window: dict[WindowRef, list[_Relabelled]] = {}
    for event_key in sorted({row.event_key for row in candidates}):
        members: dict[WindowRef, list[LabelledRow]] = {}
        for row in queries[event_key]:
            for window in row.windows():
                members.setdefault(window, []).append(row)
        for window, rows in members.items():
            before = [row.label for row in rows]
            after = [labels.get((event_key, row.row), row.label) for row in rows]
            if before != after:
                by_window.setdefault(window, []).append((rows, before, after))
    return {
        window: Change(of_streams[window.stream_id], _batch(found), _changed(found))
        for window, found in by_window.items()
    }


def _batch(found: Sequence[_Relabelled]) -> JudgedBatch:
    scores, labels, weights, numbers = [], [], [], []
    for number, (rows, before, after) in enumerate(found):
        for weight, texts in ((-1, before), (1, after)):
            scores += [_score(row) for row in rows]
            labels += [np.nan if text is None else float(text) for text in texts]
            weights += [weight] * len(rows)
            numbers += [number] * len(rows)
    return JudgedBatch(
        prediction=np.array(scores),
        score=np.full(len(scores), np.nan),
        label=np.array(labels),
        weight=np.array(weights, dtype=np.int64),
        query=np.array(numbers, dtype=np.int64),
    )


def _changed(found: Sequence[_Relabelled]) -> int:
    return sum(old != new for _, before, after in found for old, new in zip(before, after, strict=True))


def _score(row: LabelledRow) -> float:
    return float(row.prediction or "nan")
