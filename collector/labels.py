"""Labels: joined to their predictions whenever they come, counted by what became of them.

The newest observation wins, whatever the order of arrival; of two with the same time, the one that arrived last.
Labels and predictions are compared as class names (``collector.values.class_name``), numbers of a regression as
numbers. Of several events with one request id, the newest gets the label.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from collector.database import clean, key_text
from collector.ports import WindowStatistics
from collector.states import StateBook
from collector.store_labels import (
    LabelKey,
    LabelledRow,
    PendingLabel,
    drop_pending,
    expired_labels,
    joinable_labels,
    pending_labels,
    rows_to_label,
    save_labels,
    save_pending,
)
from collector.transaction import Span, StateKey, TotalKey, Transaction, total
from collector.values import class_name, number_text
from driftline import names
from driftline.columns import JudgedBatch
from driftline.events import Label, label_faults
from driftline.monitors import Monitor

JOINED = "joined"
PENDING = "pending"
DUPLICATE = "duplicate"
CORRECTED = "corrected"
WITHDRAWN = "withdrawn"
EXPIRED = "expired"
INVALID = "invalid"
UNKNOWN_MODEL = "unknown_model"
#: Stands for namespaces and models that no monitor knows: anybody can send any name, metrics must stay bounded.
UNKNOWN = "unknown"

_SWEEP_LIMIT = 10_000
_LAST_ROW = 2**31 - 1


@dataclass(slots=True)
class LabelEffects:
    """What labels did, to be counted in the same transaction (``totals``, ``spans``) and after it (``delays_s``)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    totals: Counter[TotalKey] = field(default_factory=Counter)
    spans: dict[int, Span] = field(default_factory=dict)
    delays_s: list[tuple[str, str, float]] = field(default_factory=list)

    def count(self, namespace: str, model: str, outcome: str) -> None:
        """One label of a monitored model, or of ``UNKNOWN``, ended like this."""
        self.outcomes[outcome] += 1
        self.totals[total(names.LABELS, namespace, model, outcome)] += 1

    def judged(self, row: LabelledRow) -> None:
        """The row's first label says whether it was right; counted once and never revised."""
        outcome = names.OUTCOME_INCORRECT if row.wrong else names.OUTCOME_CORRECT
        stream = row.stream
        labels = (stream.namespace, stream.model, stream.version, stream.variant, outcome)
        self.totals[total(names.JUDGED_PREDICTIONS, *labels)] += 1

    def labelled(self, row: LabelledRow, count: int) -> None:
        """The row has one label more or less."""
        self.spans.setdefault(row.stream_id, Span()).labelled_rows += count


@dataclass(frozen=True, slots=True)
class _Judgement:
    row: LabelledRow
    label: str
    weight: int


class LabelBook:
    """Applies labels inside a transaction, to rows, window states and counters."""

    def __init__(self, statistics: WindowStatistics, monitors: Mapping[str, Monitor]) -> None:
        self._statistics = statistics
        self._monitors = monitors

    def refuse(
        self, labels: Sequence[Label], now_s: float, effects: LabelEffects
    ) -> tuple[list[PendingLabel], list[list[str]]]:
        """The usable labels, normalised, and for each given label its faults (empty: none); counts the refused."""
        usable: list[PendingLabel] = []
        faults: list[list[str]] = []
        for label in labels:
            monitor = self._monitors.get(f"{label.namespace}/{label.model}")
            found = label_faults(label)
            if label.row > _LAST_ROW:
                found.append(f"row {label.row} is above {_LAST_ROW}")
            if monitor is None:
                found.append(f"model '{label.namespace}/{label.model}' has no monitor")
                effects.count(UNKNOWN, UNKNOWN, UNKNOWN_MODEL)
            elif not found:
                usable.extend(self._normalised(monitor, label, now_s, found))
            if monitor is not None and found:
                effects.count(label.namespace, label.model, INVALID)
            faults.append(found)
        return usable, faults

    def apply(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        labels: Sequence[PendingLabel],
        effects: LabelEffects,
    ) -> None:
        """Join labels to stored predictions; those without one begin to wait."""
        if not labels:
            return
        rows = rows_to_label(transaction, [label.key for label in labels])
        self._join(transaction, states, partition, [label for label in labels if label.key in rows], rows, effects)
        self._wait(transaction, [label for label in labels if label.key not in rows], effects)

    def join_waiting(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        keys: Sequence[LabelKey],
        effects: LabelEffects,
    ) -> None:
        """Join the labels that were there before the predictions ``keys``, which have just been stored."""
        if not keys:
            return
        waiting = pending_labels(transaction, keys)
        if waiting:
            self._join_pending(transaction, states, partition, list(waiting.values()), effects)

    def sweep(
        self, transaction: Transaction, states: StateBook, partition: str, now_s: float, effects: LabelEffects
    ) -> None:
        """Join what two writers passed each other with, and let go of labels that waited too long."""
        self._join_pending(transaction, states, partition, joinable_labels(transaction, _SWEEP_LIMIT), effects)
        for monitor in self._monitors.values():
            before_s = now_s - monitor.labels.timeout
            expired = expired_labels(transaction, monitor.namespace, monitor.model, before_s, _SWEEP_LIMIT)
            for _ in expired:
                effects.count(monitor.namespace, monitor.model, EXPIRED)
            drop_pending(transaction, [label.key for label in expired])

    # --- steps --------------------------------------------------------------------------------------------------
    def _normalised(self, monitor: Monitor, label: Label, now_s: float, faults: list[str]) -> Iterable[PendingLabel]:
        try:
            text = number_text(label.value) if monitor.task == "regression" else class_name(label.value)
        except ValueError:
            faults.append(f"value '{label.value}' is not a number, which a regression's label must be")
            return
        key = LabelKey(label.namespace, label.model, key_text(label.request_id), label.row)
        yield PendingLabel(key, None if text is None else clean(text), label.observed_at_s, now_s)

    def _wait(self, transaction: Transaction, labels: Sequence[PendingLabel], effects: LabelEffects) -> None:
        waiting = pending_labels(transaction, [label.key for label in labels]) if labels else {}
        changed: dict[LabelKey, PendingLabel] = {}
        for label in labels:
            old = waiting.get(label.key)
            outcome = _pending_outcome(old, label)
            effects.count(label.key.namespace, label.key.model, outcome)
            if old is None or label.observed_at_s >= old.observed_at_s:
                waiting[label.key] = changed[label.key] = label
        save_pending(transaction, list(changed.values()))

    def _join_pending(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        waiting: Sequence[PendingLabel],
        effects: LabelEffects,
    ) -> None:
        if not waiting:
            return
        rows = rows_to_label(transaction, [label.key for label in waiting])
        joined = [label for label in waiting if label.key in rows]
        self._join(transaction, states, partition, joined, rows, effects)
        drop_pending(transaction, [label.key for label in joined])

    def _join(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        labels: Sequence[PendingLabel],
        rows: Mapping[LabelKey, LabelledRow],
        effects: LabelEffects,
    ) -> None:
        judgements: list[_Judgement] = []
        touched = {}
        for label in labels:
            row = rows[label.key]
            outcome = self._apply_one(row, label, judgements, effects)
            effects.count(row.stream.namespace, row.stream.model, outcome)
            touched[label.key] = row
        save_labels(transaction, list(touched.values()))
        self._judge(transaction, states, partition, judgements)

    def _apply_one(
        self, row: LabelledRow, label: PendingLabel, judgements: list[_Judgement], effects: LabelEffects
    ) -> str:
        first = row.label_time_s is None
        if row.label_time_s is not None and label.observed_at_s < row.label_time_s:
            return DUPLICATE
        row.label_time_s = label.observed_at_s
        if label.label == row.label:
            return WITHDRAWN if first else DUPLICATE
        old, row.label = row.label, label.label
        if old is not None:
            judgements.append(_Judgement(row, old, -1))
            effects.labelled(row, -1)
        row.wrong = None
        if label.label is None:
            return WITHDRAWN
        judgements.append(_Judgement(row, label.label, +1))
        effects.labelled(row, +1)
        self._first_judgement(row, effects)
        if first:
            delay_s = max(0.0, label.observed_at_s - row.time_s)
            effects.delays_s.append((row.stream.namespace, row.stream.model, delay_s))
        return JOINED if first else CORRECTED

    def _first_judgement(self, row: LabelledRow, effects: LabelEffects) -> None:
        monitor = self._monitors.get(f"{row.stream.namespace}/{row.stream.model}")
        row.wrong = None if monitor is None else _is_wrong(monitor, row)
        if row.wrong is not None and not row.judged:
            row.judged = 1
            effects.judged(row)

    def _judge(
        self, transaction: Transaction, states: StateBook, partition: str, judgements: Sequence[_Judgement]
    ) -> None:
        """Bring the statistics of every window of every judged row up to date, one call per window."""
        by_window: dict[StateKey, list[_Judgement]] = {}
        for judgement in judgements:
            if judgement.row.prediction is not None:
                for window in judgement.row.windows():
                    by_window.setdefault(StateKey(partition, window), []).append(judgement)
        states.load(by_window, transaction.window_states)
        for key, judged in by_window.items():
            stream = judged[0].row.stream
            monitor = self._monitors[f"{stream.namespace}/{stream.model}"]
            batch = _judged_batch(monitor, judged)

            def judge(state: bytes | None, monitor: Monitor = monitor, batch: JudgedBatch = batch) -> bytes:
                return self._statistics.judge(monitor, state, batch)

            states.update(key, judge, len(judged))


def _pending_outcome(old: PendingLabel | None, new: PendingLabel) -> str:
    if old is None:
        return PENDING
    if new.observed_at_s < old.observed_at_s or new.label == old.label:
        return DUPLICATE
    return WITHDRAWN if new.label is None else CORRECTED


def _is_wrong(monitor: Monitor, row: LabelledRow) -> int | None:
    if row.prediction is None or row.label is None:
        return None
    if monitor.task != "regression":
        return int(row.prediction != row.label)
    tolerance = next((slo.tolerance for slo in monitor.slos.objectives if slo.kind == "correctness"), None)
    if tolerance is None:
        return None
    return int(not abs(float(row.prediction) - float(row.label)) <= tolerance)


def _judged_batch(monitor: Monitor, judged: Sequence[_Judgement]) -> JudgedBatch:
    predictions = [judgement.row.prediction for judgement in judged]
    labels = [judgement.label for judgement in judged]
    scores = [np.nan if judgement.row.score is None else judgement.row.score for judgement in judged]
    weight = np.array([judgement.weight for judgement in judged], dtype=np.int64)
    score = np.array(scores, dtype=np.float64)
    if monitor.task == "regression":
        numbers = np.array([float(value or "nan") for value in predictions], dtype=np.float64)
        return JudgedBatch(numbers, score, np.array([float(label) for label in labels], dtype=np.float64), weight)
    return JudgedBatch(np.array(predictions, dtype=np.object_), score, np.array(labels, dtype=np.object_), weight)
