"""Labels: joined to their predictions whenever they come, counted by what became of them.

The newest observation wins, whatever the order of arrival; of two with the same time, the one that arrived last.
Labels and predictions are compared as class names (``collector.store.spelling.class_name``), numbers of a regression as
numbers. Of several events with one request id, the newest gets the label; of several predictions with one business
key, those that the monitor says.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from collector.labels.classes import label_classes
from collector.labels.effects import (
    AMBIGUOUS,
    CORRECTED,
    DUPLICATE,
    ERASED,
    EXPIRED,
    FORBIDDEN,
    INVALID,
    JOINED,
    PENDING,
    UNKNOWN_MODEL,
    WAITING_FULL,
    WITHDRAWN,
    LabelEffects,
)
from collector.labels.first import FirstLabels
from collector.labels.judging import Change, Judgement, changes_by_row, is_wrong, monitor_name
from collector.labels.keys import key_is_subject
from collector.labels.plain import PlainLabels, UsableLabels, plain_labels
from collector.labels.queries import changes_by_query, queries_of
from collector.labels.readings import Reading, Usable, beside, read_label
from collector.labels.scanning import label_scanner
from collector.ports import WindowStatistics
from collector.store.erased import ErasedBook, nothing_erased
from collector.store.keys import (
    KeyedPrediction,
    any_waiting_keyed,
    expired_keyed,
    joinable_keyed,
    keyed_predictions,
    waiting_count,
    waiting_keyed,
)
from collector.store.labels import (
    LabelledRow,
    expired_labels,
    joinable_labels,
    pending_labels,
    rows_to_label,
    save_labels,
)
from collector.store.states import StateBook
from collector.store.transaction import StateKey, Transaction
from collector.store.unmonitored import UNKNOWN, UnmonitoredModels
from collector.store.waiting import KeyedLabel, LabelKey, PendingLabel, let_wait, wait_no_longer
from driftline.columns import JudgedBatch
from driftline.events import Label
from driftline.monitors import Monitor

_SWEEP_LIMIT = 10_000


class _Item(NamedTuple):
    """A label on its way to a prediction; one label may be for several, and counts once."""

    label: PendingLabel
    counts: bool


class LabelBook:
    """Applies labels inside a transaction, to rows, window states and counters.

    ``at_once`` false: label by label always, which is slower and leaves the same store.
    """

    def __init__(
        self,
        statistics: WindowStatistics,
        monitors: Mapping[str, Monitor],
        erased: ErasedBook | None = None,
        *,
        at_once: bool = True,
        unmonitored: UnmonitoredModels | None = None,
    ) -> None:
        """``erased``: followed by whoever begins the transaction. ``unmonitored`` None: none is counted by its name."""
        self._unmonitored = unmonitored or UnmonitoredModels(0, ())
        self._erased = erased or nothing_erased()
        self._first = FirstLabels(statistics, monitors) if at_once else None
        self._statistics = statistics
        self._monitors = monitors
        self._scanner = label_scanner()
        self._classes = label_classes(monitors, statistics)

    def refuse(
        self,
        labels: Sequence[Label],
        now_s: float,
        effects: LabelEffects,
        allowed: Callable[[str], bool] = lambda _name: True,
    ) -> tuple[UsableLabels, dict[int, list[str]]]:
        """The usable labels, normalised, and the faults of the others by their places in ``labels``; counts those."""
        plain: list[PlainLabels] = []
        if self._first is not None:
            plain = plain_labels(labels, self._monitors, allowed, now_s, self._scanner, self._classes)
        left = np.ones(len(labels), dtype=np.bool_)
        for group in plain:
            left[group.places] = False
        others: list[tuple[int, Usable]] = []
        faults: dict[int, list[str]] = {}
        for place in np.flatnonzero(left).tolist():
            reading = self._read_one(labels[place], now_s, effects, allowed)
            if reading.usable is None:
                faults[place] = reading.faults
            else:
                others.append((place, reading.usable))
        return UsableLabels(plain, others), faults

    def _read_one(self, label: Label, now_s: float, effects: LabelEffects, allowed: Callable[[str], bool]) -> Reading:
        name = f"{label.namespace}/{label.model}"
        if not allowed(name):
            effects.count(UNKNOWN, UNKNOWN, FORBIDDEN)
            return Reading(None, [f"model '{name}' is not among those that the sender may label"])
        monitor = self._monitors.get(name)
        reading = read_label(label, monitor, now_s, self._classes.get(name, ()))
        if reading.usable is None and monitor is None:
            effects.count(*self._unmonitored.named(label.namespace, label.model), UNKNOWN_MODEL)
        elif reading.usable is None:
            effects.count(label.namespace, label.model, INVALID)
        return reading

    def apply(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        labels: UsableLabels,
        effects: LabelEffects,
    ) -> dict[int, str]:
        """Join labels to stored predictions; those without one begin to wait.

        Answers why labels could not even wait, by their places.
        """
        refused: dict[int, str] = {}
        if not labels:
            return refused
        left = self._not_erased(labels, effects)
        by_key = [(place, label) for place, label in left.others if isinstance(label, KeyedLabel)]
        items, keyed = self._resolve(transaction, by_key, refused, effects) if by_key else ([], [])
        items.extend(
            (place, _Item(label, counts=True)) for place, label in left.others if isinstance(label, PendingLabel)
        )
        taken = {item.label.key for _, item in items}
        items.extend(self._join_first(transaction, states, partition, left.plain, taken, effects))
        if not items and not keyed:
            return refused
        items.sort(key=lambda item: item[0])
        found = [item for _, item in items]
        rows = rows_to_label(transaction, [item.label.key for item in found])
        self._join(transaction, states, partition, [item for item in found if item.label.key in rows], rows, effects)
        waiting = [(place, item.label) for place, item in items if item.label.key not in rows and item.counts]
        room = self._room(transaction, [label for _, label in waiting] + [label for _, label in keyed])
        self._wait(transaction, waiting, room, refused, effects)
        self._wait_for_key(transaction, keyed, room, refused, effects)
        return refused

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

    def join_waiting_keys(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        predictions: Sequence[KeyedPrediction],
        effects: LabelEffects,
    ) -> None:
        """Join the labels that waited for the business keys of ``predictions``, which have just been stored."""
        by_model: dict[tuple[str, str], set[str]] = {}
        for prediction in predictions:
            by_model.setdefault((prediction.namespace, prediction.model), set()).add(prediction.key)
        for (namespace, model), keys in sorted(by_model.items()):
            if any_waiting_keyed(transaction, namespace, model):
                waiting = waiting_keyed(transaction, namespace, model, keys)
                self._join_keyed(transaction, states, partition, waiting, effects)

    def sweep(
        self, transaction: Transaction, states: StateBook, partition: str, now_s: float, effects: LabelEffects
    ) -> None:
        """Join what two writers passed each other with, and let go of labels that waited too long."""
        self._join_pending(transaction, states, partition, joinable_labels(transaction, _SWEEP_LIMIT), effects)
        for monitor in self._monitors.values():
            namespace, model = monitor.namespace, monitor.model
            before_s = now_s - monitor.labels.timeout
            expired = expired_labels(transaction, namespace, model, before_s, _SWEEP_LIMIT)
            wait_no_longer(transaction, [label.key for label in expired])
            keyed = []
            if monitor.labels.key is not None:
                waiting = joinable_keyed(transaction, namespace, model, _SWEEP_LIMIT)
                self._join_keyed(transaction, states, partition, waiting, effects)
                keyed = expired_keyed(transaction, namespace, model, before_s, _SWEEP_LIMIT)
                wait_no_longer(transaction, [label.key for label in keyed])
            for _ in range(len(expired) + len(keyed)):
                effects.count(namespace, model, EXPIRED)

    def _not_erased(self, labels: UsableLabels, effects: LabelEffects) -> UsableLabels:
        """Labels without those of what was erased, which are counted and forgotten."""
        if not self._erased.anything():
            return labels
        plain = []
        for group in labels.plain:
            erased = self._erased.requests(group.namespace, group.model, group.keys.ids)
            effects.count(group.namespace, group.model, ERASED, int(erased.sum()))
            plain.append(group.take(~erased))
        others = []
        for place, label in labels.others:
            if self._is_erased(label):
                effects.count(label.key.namespace, label.key.model, ERASED)
            else:
                others.append((place, label))
        return UsableLabels([group for group in plain if len(group)], others)

    def _is_erased(self, label: Usable) -> bool:
        if isinstance(label, PendingLabel):
            return self._erased.request(*label.key[:3])
        monitor = self._monitors[f"{label.key.namespace}/{label.key.model}"]
        return key_is_subject(monitor) and self._erased.subject(*label.key[:3])

    def _join_first(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        groups: Sequence[PlainLabels],
        taken: Collection[LabelKey],
        effects: LabelEffects,
    ) -> Iterator[tuple[int, _Item]]:
        """Join at once what can be; answers the others, with their places. ``taken``: rows that have other labels."""
        for group in groups:
            left = np.ones(len(group), dtype=np.bool_)
            if self._first is not None:
                once = group.without_rivals(taken)
                left[once] = ~self._first.join(transaction, states, partition, group.take(once), effects)
            if left.any():
                yield from ((place, _Item(label, counts=True)) for place, label in group.take(left).one_by_one())

    # --- which prediction ---------------------------------------------------------------------------------------
    def _resolve(
        self,
        transaction: Transaction,
        labels: Sequence[tuple[int, Usable]],
        refused: dict[int, str],
        effects: LabelEffects,
    ) -> tuple[list[tuple[int, _Item]], list[tuple[int, KeyedLabel]]]:
        """Labels with their request ids, in their order, and those whose key no prediction has yet."""
        by_model: dict[tuple[str, str], set[str]] = {}
        for _, label in labels:
            if isinstance(label, KeyedLabel):
                by_model.setdefault((label.key.namespace, label.key.model), set()).add(label.key.key)
        known = {each: keyed_predictions(transaction, *each, keys) for each, keys in sorted(by_model.items())}
        items: list[tuple[int, _Item]] = []
        unknown: list[tuple[int, KeyedLabel]] = []
        for place, label in labels:
            if isinstance(label, PendingLabel):
                items.append((place, _Item(label, counts=True)))
                continue
            targets = self._targets(label, known[label.key.namespace, label.key.model].get(label.key.key, []))
            if targets is None:
                effects.count(label.key.namespace, label.key.model, AMBIGUOUS)
                refused[place] = f"key '{label.key.key}' has several predictions, and labels.key.several is 'refuse'"
            elif not targets:
                unknown.append((place, label))
            else:
                items.extend((place, _Item(_for(label, target), target is targets[0])) for target in targets)
        return items, unknown

    def _targets(self, label: KeyedLabel, predictions: Sequence[LabelKey]) -> Sequence[LabelKey] | None:
        """Those of the key's predictions that the label is for; None when the monitor refuses to choose."""
        monitor = self._monitors[f"{label.key.namespace}/{label.key.model}"]
        spec = monitor.labels.key
        if spec is None:
            return ()
        if not spec.per_row:
            predictions = [prediction for prediction in predictions if prediction.row == label.key.row]
        if spec.several == "newest":
            return predictions[:1]
        return None if spec.several == "refuse" and len(predictions) > 1 else predictions

    def _room(self, transaction: Transaction, labels: Sequence[PendingLabel | KeyedLabel]) -> Counter[str]:
        """How many more labels may wait, by monitor."""
        room: Counter[str] = Counter()
        for namespace, model in sorted({(label.key.namespace, label.key.model) for label in labels}):
            monitor = self._monitors[f"{namespace}/{model}"]
            room[monitor.name] = monitor.labels.maximum_waiting - waiting_count(
                transaction.connection, namespace, model
            )
        return room

    # --- waiting ------------------------------------------------------------------------------------------------
    def _wait(
        self,
        transaction: Transaction,
        labels: Sequence[tuple[int, PendingLabel]],
        room: Counter[str],
        refused: dict[int, str],
        effects: LabelEffects,
    ) -> None:
        known = pending_labels(transaction, [label.key for _, label in labels]) if labels else {}
        changed: dict[LabelKey, PendingLabel] = {}
        for place, label in labels:
            if self._begins_to_wait(known.get(label.key), label, room, place, refused, effects):
                known[label.key] = changed[label.key] = label
        let_wait(transaction, list(changed.values()))

    def _wait_for_key(
        self,
        transaction: Transaction,
        labels: Sequence[tuple[int, KeyedLabel]],
        room: Counter[str],
        refused: dict[int, str],
        effects: LabelEffects,
    ) -> None:
        by_model: dict[tuple[str, str], set[str]] = {}
        for _, label in labels:
            by_model.setdefault((label.key.namespace, label.key.model), set()).add(label.key.key)
        known = {
            old.key: old for each, keys in sorted(by_model.items()) for old in waiting_keyed(transaction, *each, keys)
        }
        changed = {}
        for place, label in labels:
            if self._begins_to_wait(known.get(label.key), label, room, place, refused, effects):
                known[label.key] = changed[label.key] = label
        let_wait(transaction, list(changed.values()))

    def _begins_to_wait(
        self,
        old: PendingLabel | KeyedLabel | None,
        new: PendingLabel | KeyedLabel,
        room: Counter[str],
        place: int,
        refused: dict[int, str],
        effects: LabelEffects,
    ) -> bool:
        """Whether ``new`` takes the place of ``old``; counts what becomes of it."""
        namespace, model = new.key.namespace, new.key.model
        outcome = _pending_outcome(old, new)
        if old is None:
            name = f"{namespace}/{model}"
            if room[name] <= 0:
                limit = self._monitors[name].labels.maximum_waiting
                refused[place] = (
                    f"{limit} labels of '{name}' wait for their predictions; labels.maximum_waiting is full"
                )
                effects.count(namespace, model, WAITING_FULL)
                return False
            room[name] -= 1
        effects.count(namespace, model, outcome)
        return old is None or new.observed_at_s >= old.observed_at_s

    # --- joining ------------------------------------------------------------------------------------------------
    def _join_keyed(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        waiting: Sequence[KeyedLabel],
        effects: LabelEffects,
    ) -> None:
        if not waiting:
            return
        items, unknown = self._resolve(transaction, list(enumerate(waiting)), {}, effects)
        found = [item for _, item in items]
        rows = rows_to_label(transaction, [item.label.key for item in found])
        self._join(transaction, states, partition, [item for item in found if item.label.key in rows], rows, effects)
        still = {label.key for _, label in unknown}
        wait_no_longer(transaction, [label.key for label in waiting if label.key not in still])

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
        joined = [_Item(label, counts=True) for label in waiting if label.key in rows]
        self._join(transaction, states, partition, joined, rows, effects)
        wait_no_longer(transaction, [item.label.key for item in joined])

    def _join(
        self,
        transaction: Transaction,
        states: StateBook,
        partition: str,
        items: Sequence[_Item],
        rows: Mapping[LabelKey, LabelledRow],
        effects: LabelEffects,
    ) -> None:
        judgements: list[Judgement] = []
        touched = {}
        queries = queries_of(transaction, self._monitors, [rows[item.label.key] for item in items])
        for label, counts in items:
            row = rows[label.key]
            before = row.effect()
            outcome = self._apply_one(row, label, judgements, effects)
            row.keep_change(before, label.received_at_s)
            if counts:
                effects.count(row.stream.namespace, row.stream.model, outcome)
            touched[label.key] = row
        save_labels(transaction, list(touched.values()))
        alone = [judgement for judgement in judgements if judgement.row.event_key not in queries]
        changes = {
            **changes_by_row(self._monitors, alone),
            **changes_by_query(self._monitors, queries, touched.values()),
        }
        self._judge(transaction, states, {StateKey(partition, window): found for window, found in changes.items()})

    def _apply_one(
        self, row: LabelledRow, label: PendingLabel, judgements: list[Judgement], effects: LabelEffects
    ) -> str:
        first = row.label_time_s is None
        if row.label_time_s is not None and label.observed_at_s < row.label_time_s:
            return DUPLICATE
        row.label_time_s = label.observed_at_s
        monitor = self._monitors[monitor_name(row)]
        text = beside(monitor, label.label, row.prediction)
        if text == row.label:
            return WITHDRAWN if first else DUPLICATE
        old, row.label = row.label, text
        if old is not None:
            judgements.append(Judgement(row, old, -1))
            effects.labelled(row, -1)
        row.wrong = None
        if text is None:
            return WITHDRAWN
        judgements.append(Judgement(row, text, +1))
        effects.labelled(row, +1)
        self._first_judgement(monitor, row, effects)
        if first:
            effects.first_label(row, label)
        return JOINED if first else CORRECTED

    @staticmethod
    def _first_judgement(monitor: Monitor, row: LabelledRow, effects: LabelEffects) -> None:
        row.wrong = is_wrong(monitor, row)
        if row.wrong is not None and not row.judged:
            row.judged = 1
            effects.judged(row)

    def _judge(self, transaction: Transaction, states: StateBook, changes: Mapping[StateKey, Change]) -> None:
        """Bring the statistics of every window up to date, one call per window."""
        states.load(changes, transaction.window_states)
        for key, (monitor, batch, changed) in changes.items():

            def judge(state: bytes | None, monitor: Monitor = monitor, batch: JudgedBatch = batch) -> bytes:
                return self._statistics.judge(monitor, state, batch)

            states.update(key, judge, changed)


def _pending_outcome(old: PendingLabel | KeyedLabel | None, new: PendingLabel | KeyedLabel) -> str:
    if old is None:
        return PENDING
    if new.observed_at_s < old.observed_at_s or new.label == old.label:
        return DUPLICATE
    return WITHDRAWN if new.label is None else CORRECTED


def _for(label: KeyedLabel, target: LabelKey) -> PendingLabel:
    return PendingLabel(target, label.label, label.observed_at_s, label.received_at_s)
