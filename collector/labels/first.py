"""First labels of their predictions, all at once: what most labels are, judged and counted in columns.

A label that corrects or withdraws, a judgement, one of several for the same row, one whose prediction is not certain at
a glance, and those of rankings go label by label (``collector.labels.book``). Both ways leave the same store.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.labels.effects import JOINED, LabelEffects
from collector.labels.judging import allowed_error
from collector.labels.plain import PlainLabels
from collector.ports import WindowStatistics
from collector.store.counts import DELAY, LABELLED, WRONG_DELAY
from collector.store.spelling import class_name
from collector.store.states import StateBook
from collector.store.transaction import Span, StateKey, Transaction, WindowRef, total
from collector.store.unlabelled import (
    LabelledError,
    Unlabelled,
    objects,
    save_first_labels,
    streams_by_number,
    unlabelled_rows,
)
from driftline import names
from driftline.columns import CodedTexts, JudgedBatch
from driftline.maturity import LAST_CLASS
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, StreamKey


@dataclass(frozen=True, slots=True)
class _Joined:
    """Rows of one monitor with their labels; ``wrong`` -1: cannot be said.

    ``windows``: each row's window, as a place in ``refs``. ``members``: each segment's rows, and all under ALL_ROWS.
    """

    found: Unlabelled
    labels: CodedTexts
    wrong: NDArray[np.int64]
    windows: NDArray[np.intp]
    refs: Sequence[WindowRef]
    members: Mapping[str, NDArray[np.intp]]


class FirstLabels:
    """Joins labels that are the first of their rows, inside a transaction."""

    def __init__(self, statistics: WindowStatistics, monitors: Mapping[str, Monitor]) -> None:
        self._statistics = statistics
        self._monitors = monitors
        # Whose last labels were, in part, for rows that had one: a hint where to look first, and no more.
        self._labelled_again: set[str] = set()

    def join(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        labels: PlainLabels,
        effects: LabelEffects,
    ) -> NDArray[np.bool_]:
        """Join those for which this way is made; answers which. No two may be of one row."""
        streams = streams_by_number(transaction, labels.namespace, labels.model)
        monitor = self._monitors[f"{labels.namespace}/{labels.model}"]
        chosen = np.zeros(len(labels), dtype=np.bool_)
        try:
            joined = self._keep(transaction, monitor, labels, list(streams), look=monitor.name in self._labelled_again)
        except LabelledError:
            self._labelled_again.add(monitor.name)
            joined = self._keep(transaction, monitor, labels, list(streams), look=True)
        if joined is None:
            return chosen
        chosen[joined.found.places] = True
        observed_s = labels.observed_s[joined.found.places]
        _count(monitor, streams, joined, effects)
        _count_delays(monitor, joined, observed_s, labels.received_s, effects)
        self._judge(transaction, states, partition, monitor, joined)
        return chosen

    def _keep(
        self, transaction: Transaction, monitor: Monitor, labels: PlainLabels, stream_ids: Sequence[int], *, look: bool
    ) -> _Joined | None:
        """Store the first labels among these; raises LabelledError where that shows only then, unless ``look``."""
        few = monitor.task == "binary"
        asked = (labels.keys, labels.rows, stream_ids, labels.received_s)
        found = unlabelled_rows(transaction, *asked, look=look, few=few)
        if look and not found.others_labelled:
            self._labelled_again.discard(monitor.name)
        if not len(found):
            return None
        texts = labels.texts.take(found.places)
        joined = _Joined(found, texts, _wrong(monitor, found, texts), *_windows(found), _members(found))
        known = joined.wrong >= 0
        values = {
            "observed_at_s": labels.observed_s[found.places],
            "received_at_s": np.full(len(found), labels.received_s),
            "wrong": joined.wrong if known.all() else _nullable(joined.wrong),
            "judged": known.astype(np.int64),
        }
        save_first_labels(transaction, found, labels.rows[found.places], texts, values)
        return joined

    def _judge(
        self, transaction: Transaction, states: StateBook, partition: str, monitor: Monitor, joined: _Joined
    ) -> None:
        changes = list(_changes(partition, joined))
        states.load([key for key, _ in changes], transaction.window_states)
        if not changes:
            return
        judged = _judged(monitor, joined, np.concatenate([rows for _, rows in changes]))
        counts = [len(rows) for _, rows in changes]

        def judge(stored: list[bytes | None]) -> list[bytes]:
            return self._statistics.judge_many(monitor, stored, judged, counts)

        states.update_many([key for key, _ in changes], judge, counts)


def _windows(found: Unlabelled) -> tuple[NDArray[np.intp], list[WindowRef]]:
    columns = [found.numbers[name] for name in ("stream_id", "window_start_s", "window_end_s")]
    # Rows of a window mostly follow each other, so that only the first of each such run has to be sorted.
    heads = np.flatnonzero(_differ(columns))
    runs = [column[heads] for column in columns]
    order = np.lexsort(runs)
    runs = [run[order] for run in runs]
    new = _differ(runs)
    windows = np.empty(len(order), dtype=np.intp)
    windows[order] = np.cumsum(new) - 1
    firsts = zip(*(run[new].tolist() for run in runs), strict=True)
    refs = [WindowRef(int(stream), ALL_ROWS, start_s, end_s) for stream, start_s, end_s in firsts]
    return np.repeat(windows, np.diff(heads, append=len(found))), refs


def _differ(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Which rows differ from the one before them, the first one among them."""
    new = np.ones(len(columns[0]), dtype=np.bool_)
    new[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        new[1:] |= column[1:] != column[:-1]
    return new


def _wrong(monitor: Monitor, found: Unlabelled, labels: CodedTexts) -> NDArray[np.int64]:
    """1 where the label contradicts the prediction, -1 where that cannot be said (see ``judging.is_wrong``)."""
    absent = found.predictions.codes < 0
    if monitor.task == "binary":
        positive = class_name(monitor.prediction.positive)
        wrong = np.asarray(found.predictions.are(positive) != labels.are(positive), dtype=np.int64)
    elif monitor.task == "multiclass":
        both = CodedTexts.joined([found.predictions, labels]).codes
        wrong = np.asarray(both[: len(labels)] != both[len(labels) :], dtype=np.int64)
    elif (tolerance := allowed_error(monitor)) is None:
        return np.full(len(found), -1, dtype=np.int64)
    else:
        with np.errstate(invalid="ignore"):
            wrong = (~(np.abs(_floats(found.predictions) - _floats(labels)) <= tolerance)).astype(np.int64)
    wrong[absent] = -1
    return wrong


def _judged(monitor: Monitor, joined: _Joined, rows: NDArray[np.intp]) -> JudgedBatch:
    weight = np.ones(len(rows), dtype=np.int64)
    predictions, labels = joined.found.predictions.take(rows), joined.labels.take(rows)
    score = joined.found.numbers["score"][rows]
    if monitor.task == "regression":
        return JudgedBatch(_floats(predictions), score, _floats(labels), weight)
    return JudgedBatch(predictions, score, labels, weight)


def _members(found: Unlabelled) -> dict[str, NDArray[np.intp]]:
    members: dict[str, list[NDArray[np.intp]]] = {ALL_ROWS: [np.arange(len(found), dtype=np.intp)]}
    for segments in sorted(found.segments.texts):
        if segments != "[]":
            rows = np.flatnonzero(found.segments.are(segments))
            for segment in msgspec.json.decode(segments, type=list[str]):
                members.setdefault(segment, []).append(rows)
    return {segment: np.concatenate(parts) for segment, parts in members.items() if any(map(len, parts))}


def _changes(partition: str, joined: _Joined) -> Iterator[tuple[StateKey, NDArray[np.intp]]]:
    """Every window and segment whose statistics change, with its rows: those that have a prediction."""
    known = joined.found.predictions.codes >= 0
    for segment, members in joined.members.items():
        rows = members[known[members]]
        rows = rows[np.argsort(joined.windows[rows], kind="stable")]
        ends = np.flatnonzero(np.diff(joined.windows[rows], append=-1)) + 1
        start = 0
        for end in ends.tolist():
            ref = _within(joined.refs[joined.windows[rows[start]]], segment)
            yield StateKey(partition, ref), rows[start:end]
            start = end


def _count(monitor: Monitor, streams: Mapping[int, StreamKey], joined: _Joined, effects: LabelEffects) -> None:
    """Outcomes, right and wrong by stream, labelled rows by stream and window."""
    effects.count(monitor.namespace, monitor.model, JOINED, len(joined.found))
    stream_ids = joined.found.numbers["stream_id"]
    for number in {ref.stream_id for ref in joined.refs}:
        here = joined.wrong[stream_ids == number]
        stream = streams[int(number)]
        effects.spans.setdefault(int(number), Span()).labelled_rows += len(here)
        labels = (stream.namespace, stream.model, stream.version, stream.variant)
        for wrong, outcome in ((0, names.OUTCOME_CORRECT), (1, names.OUTCOME_INCORRECT)):
            if found := int(np.count_nonzero(here == wrong)):
                effects.totals[total(names.JUDGED_PREDICTIONS, *labels, outcome)] += found
    for segment, rows in joined.members.items():
        for place, labelled in _counted(joined.windows[rows]):
            effects.windows[_within(joined.refs[place], segment), LABELLED] += labelled


def _counted(codes: NDArray[np.intp] | NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Each of these small whole numbers with how often it is there, ascending."""
    counts = np.bincount(codes)
    found = np.flatnonzero(counts)
    return zip(found.tolist(), counts[found].tolist(), strict=True)


def _count_delays(
    monitor: Monitor,
    joined: _Joined,
    observed_s: NDArray[np.float64],
    received_s: float,
    effects: LabelEffects,
) -> None:
    """How long labels took, for the histogram until they were known, by window until they came."""
    times_s = joined.found.numbers["time_s"]
    effects.delays_s.append((monitor.namespace, monitor.model, np.maximum(0.0, observed_s - times_s)))
    several = LAST_CLASS + 1
    coded = joined.windows * several + delay_classes(received_s - times_s)
    for segment, rows in joined.members.items():
        for kind, some in ((DELAY, rows), (WRONG_DELAY, rows[joined.wrong[rows] == 1])):
            for code, count in _counted(coded[some]):
                effects.windows[_within(joined.refs[code // several], segment), f"{kind}{code % several}"] += count


def _within(window: WindowRef, segment: str) -> WindowRef:
    """The same window of a segment."""
    return window._replace(segment=segment) if segment else window


def delay_classes(delays_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class of each delay, as ``driftline.maturity.class_of`` says."""
    numbers = np.ceil(2.0 * np.log2(np.maximum(delays_s, 1.0)) - 1e-9)
    return np.where(delays_s <= 1.0, 0, np.minimum(numbers, LAST_CLASS)).astype(np.int64)


def _nullable(wrong: NDArray[np.int64]) -> NDArray[np.object_]:
    return objects([None if value < 0 else value for value in wrong.tolist()])


def _floats(values: CodedTexts) -> NDArray[np.float64]:
    known: NDArray[np.float64] = np.array([*map(float, values.texts), np.nan])
    return known[values.codes]
