"""The evaluation job: due windows in, results out."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.delay_bias import adjusted_accuracy
from detectors.adapters.jax_arrays import told_place
from detectors.baselines.choosing import expectation
from detectors.baselines.history import WindowHistory
from detectors.baselines.reference import Reference
from detectors.counts.summary import Section, StateError, WindowState, merge
from detectors.evaluating.accuracy_streams import AccuracyStreams, EntryStore
from detectors.evaluating.accuracy_tests import AccuracyTests
from detectors.evaluating.control import Level, TestedWindows, level_of
from detectors.evaluating.evaluation import Evaluated, Evaluator, StateOfSegment, default_bridge
from detectors.evaluating.row_tables import (
    LabelledRows,
    RowStore,
    no_labelled_rows,
    stored_labelled_rows,
    stored_tables,
)
from detectors.evaluating.sequential import SequentialTests, with_sequential
from detectors.evaluating.streams import StreamFolds, StreamStore
from detectors.evaluating.table_catalogue import placed_names
from detectors.statistics.reasons import percent
from detectors.statistics.table_sample import TableSample
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.maturity import history_s, label_states
from driftline.monitors import Monitor
from driftline.result_columns import ResultColumns, joined
from driftline.results import ALL_ROWS, ColumnShape, DueWindow, LabelState, Result, WindowKey, WindowLabels

_log = logging.getLogger(__name__)


class WindowStore(WindowHistory, StreamStore, EntryStore, TestedWindows, RowStore, Protocol):
    """Where window counts come from and results go."""

    def due_windows(self, monitor: Monitor, now_s: float) -> Sequence[DueWindow]:
        """Closed windows of the monitor whose counts changed since they were last evaluated."""
        ...

    def window_states(self, key: WindowKey) -> Sequence[bytes]:
        """The states of the window, one per partition."""
        ...

    def label_windows(
        self, namespace: str, model: str, since_s: float, *, segments: bool = False
    ) -> Sequence[WindowLabels]:
        """Rows, labels and their delays of the model's windows that end after ``since_s``; with each segment's own."""
        ...

    def save_results(
        self,
        due: DueWindow,
        results: Sequence[Result],
        shapes: Sequence[ColumnShape],
        evaluated_at_s: float,
        labels: LabelState | None = None,
    ) -> None:
        """Keep what the window gave as its newest revision, and note that ``due.change`` is evaluated."""
        ...


class RunObserver(Protocol):
    """Told how the job goes (metrics, mostly)."""

    def ran(self, monitor: Monitor, at_s: float) -> None:
        """All due windows of the monitor were looked at."""
        ...

    def evaluated(self, seconds: float) -> None:
        """One window took this long."""
        ...


class EvaluationJob:
    """Evaluates the due windows of all monitors; ``references`` by ``Monitor.name``.

    Raises ReferenceDataError when a reference does not fit its monitor.
    """

    def __init__(
        self,
        store: WindowStore,
        references: Mapping[str, Reference],
        monitors: Sequence[Monitor],
        clock: Clock,
        observer: RunObserver | None = None,
    ) -> None:
        bridge = default_bridge()
        self._store = store
        self._clock = clock
        self._observer = observer
        self._first = 0
        self._evaluators = [Evaluator(monitor, references.get(monitor.name), bridge) for monitor in monitors]
        self._folds = [self._folds_of(evaluator) for evaluator in self._evaluators]
        self._accuracy = [self._accuracy_of(evaluator) for evaluator in self._evaluators]
        for monitor in monitors:
            if placed := placed_names(monitor):
                place = told_place(monitor.detectors.device)
                _log.info("monitor %s: %s are worked out on %s", monitor.name, ", ".join(placed), place)

    def _folds_of(self, evaluator: Evaluator) -> StreamFolds:
        def read(key: WindowKey) -> NDArray[np.int64] | None:
            return evaluator.counts(read_states(evaluator, key, self._store.window_states(key)))

        return StreamFolds(SequentialTests(evaluator.monitor, evaluator.reference), self._store, read)

    def _accuracy_of(self, evaluator: Evaluator) -> AccuracyStreams:
        def read(key: WindowKey) -> Section | None:
            return evaluator.judged(read_states(evaluator, key, self._store.window_states(key)))

        return AccuracyStreams(AccuracyTests(evaluator.monitor, evaluator.reference), self._store, read)

    def run_once(self) -> int:
        """Evaluate every window that is due now; returns how many were.

        Raises DriftlineError where one could not be; the models behind it come first then in the next round, so that
        one that fails every time keeps no other waiting.
        """
        count, models = 0, len(self._evaluators)
        for place in range(self._first, self._first + models):
            try:
                count += self._run_model(place % models)
            except DriftlineError:
                self._first = (place + 1) % models
                _log.warning("%s: its windows are not all evaluated", self._evaluators[place % models].monitor.name)
                raise
        return count

    def _run_model(self, place: int) -> int:
        evaluator, folds, accuracy = self._evaluators[place], self._folds[place], self._accuracy[place]
        now_s = self._clock()
        due_now = self._store.due_windows(evaluator.monitor, now_s)
        states = self._labels(evaluator.monitor, due_now, now_s, accuracy)
        entering = accuracy.plan(due_now, states, now_s)
        planned = folds.plan(entering.due, now_s)
        labels = {each.window.key: each for each in states if each.window.rows or not each.window.segment}
        for due in planned.due:
            whole = replace(due.key, segment=ALL_ROWS)  # for windows older than counts by segment
            sequential = planned.results.get(due.key, ())
            of_accuracy = accuracy.told(entering, due.key)
            self._run(evaluator, due, labels.get(due.key) or labels.get(whole), sequential, of_accuracy)
        folds.keep(planned)
        accuracy.keep(entering)
        if self._observer is not None:
            self._observer.ran(evaluator.monitor, now_s)
        return len(planned.due)

    def _labels(
        self, monitor: Monitor, due: Sequence[DueWindow], now_s: float, accuracy: AccuracyStreams
    ) -> Sequence[LabelState]:
        """How complete the labels of windows are; of segments where one is due, or its accuracy is tested."""
        if not due and not accuracy.asked:
            return []
        since_s = min(now_s - history_s(monitor), *(each.key.start_s for each in due), math.inf)
        if accuracy.asked:
            since_s = min(since_s, accuracy.since_s(now_s, history_s(monitor)))
        segments = accuracy.asked or any(each.key.segment != ALL_ROWS for each in due)
        windows = self._store.label_windows(monitor.namespace, monitor.model, since_s, segments=segments)
        return label_states(monitor, windows, now_s)

    def _run(
        self,
        evaluator: Evaluator,
        due: DueWindow,
        labels: LabelState | None,
        sequential: Sequence[Result],
        of_accuracy: Sequence[Result],
    ) -> None:
        started = time.perf_counter()
        level = level_of(evaluator.monitor, evaluator.reference, due.key, self._store)
        states = self._store.window_states(due.key)
        expected, baseline = expecting(evaluator, due.key, self._store)
        table = stored_tables(evaluator.monitor, evaluator.reference, self._store)(due.key, baseline)
        labelled = stored_labelled_rows(evaluator.monitor, self._store)
        found = evaluate_states(expected, due.key, states, level, table, self._part(evaluator, due.key), labelled)
        if self._observer is not None:
            self._observer.evaluated(time.perf_counter() - started)
        told = with_sequential(found.results, sequential, evaluator.monitor.detectors.drifted_columns)
        results = joined(due.key, (_told_provisional(told, labels), _adjusted(told, labels), of_accuracy))
        self._store.save_results(due, results, found.shapes, self._clock(), labels)

    def _part(self, evaluator: Evaluator, key: WindowKey) -> StateOfSegment:
        def read(segment: str) -> WindowState:
            of_segment = replace(key, segment=segment)
            return read_states(evaluator, of_segment, self._store.window_states(of_segment))

        return read


def _adjusted(results: ResultColumns, labels: LabelState | None) -> list[Result]:
    """What accuracy will be once the labels are there that come later, where it is known how these are."""
    accuracy = (results[place] for place, name in enumerate(results.detector) if name == "accuracy")
    found = (adjusted_accuracy(result, labels) for result in accuracy)
    return [result for result in found if result is not None]


def _told_provisional(results: ResultColumns, labels: LabelState | None) -> ResultColumns:
    """Accuracy that is not final says so."""
    if labels is None or labels.mature:
        return results
    known = "" if labels.maturity is None else f", {percent(labels.maturity)} of the labels should have come by now"
    of_labels = [results[place] if kind == "performance" else None for place, kind in enumerate(results.kind)]
    return results.replaced(
        {
            place: replace(result, reason=f"{result.reason}; provisional{known}")
            for place, result in enumerate(of_labels)
            if result is not None
        }
    )


def expecting(evaluator: Evaluator, key: WindowKey, history: WindowHistory) -> tuple[Evaluator, tuple[WindowKey, ...]]:
    """The evaluator with what this window is compared with, as its monitor's baseline has it; and the windows that
    are (none: the reference is).
    """
    if evaluator.reference is None:
        return evaluator, ()
    expected = expectation(evaluator.monitor, evaluator.reference, key, history)
    return evaluator.against(expected), expected.windows


def evaluate_states(
    evaluator: Evaluator,
    key: WindowKey,
    states: Sequence[bytes],
    level: Level | None = None,
    table: TableSample | None = None,
    part: StateOfSegment | None = None,
    labelled: LabelledRows = no_labelled_rows,
) -> Evaluated:
    """Merge the states and evaluate; a damaged state is left out and said so in the log."""
    return evaluator.evaluate(key, read_states(evaluator, key, states), table, level, part, labelled)


def read_states(evaluator: Evaluator, key: WindowKey, states: Sequence[bytes]) -> WindowState:
    """All states merged; a damaged one is left out and said so in the log."""
    readable = []
    for state in states:
        try:
            readable.append(WindowState.from_bytes(state))
        except StateError as error:
            _log.warning("window %s of %s: %s", key.start_s, evaluator.monitor.name, error)
    return merge(readable)
