"""The window statistics that the collector keeps: rows in, bytes out, nothing remembered in between."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.reference import Reference
from detectors.counts.column_outcomes import count_outcomes
from detectors.counts.counting import count_rows, matrix
from detectors.counts.layout import Layout, blank_layout
from detectors.counts.many_states import plus_each
from detectors.counts.performance_counts import (
    PerformanceLayout,
    count_judged,
    count_judged_apart,
    count_strata,
    performance_layout,
)
from detectors.counts.random_features import count_features
from detectors.counts.summary import Section, WindowState
from detectors.counts.watched_vectors import count_vector, with_distances
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor


def window_layouts(monitor: Monitor, reference: Reference | None) -> tuple[Layout, PerformanceLayout]:
    """What a window of the monitor is counted on; raises ReferenceDataError when the reference does not fit."""
    if reference is None:
        return blank_layout(monitor), performance_layout(monitor)
    reference.require_fit(monitor)
    return reference.layout, reference.performance_layout


class StatisticsEngine:
    """Counts rows and judged predictions into window states (``WindowStatistics`` of the collector).

    ``references`` by ``Monitor.name``. A monitor without one still counts rows, missing and invalid values, and
    performance. The methods are pure: the same arguments give the same bytes. A reference that does not fit its monitor
    raises ReferenceDataError at the first call for that monitor.
    """

    def __init__(self, references: Mapping[str, Reference]) -> None:
        self._references = references
        # Only a memo: a monitor's layouts follow from the arguments, but fingerprints are not worth making twice.
        self._layouts: dict[str, tuple[Layout, PerformanceLayout]] = {}

    def observe(
        self,
        monitor: Monitor,
        state: bytes | None,
        rows: ColumnBatch,
        outlier_scores: NDArray[np.float64] | None = None,
    ) -> bytes:
        """The state with the rows counted in; ``state`` None starts a window. Raises StateError on foreign bytes.

        ``outlier_scores``: the rows' scores where they are known already; they are made here where not.
        """
        layout, performance = self._layout(monitor)
        reference = self._references.get(monitor.name)
        outliers = None if reference is None else reference.outliers
        if reference is not None:
            rows = with_distances(monitor, reference.vectors, rows)
        vector = count_rows(layout, monitor, rows, outliers, outlier_scores)
        counted = _read(state).plus(layout.fingerprint, Section(vector))
        if reference is not None and reference.performance:
            counted = counted.plus(performance.strata_fingerprint, count_strata(performance, monitor, rows))
        if reference is not None and reference.features is not None:
            features = reference.features.map
            counted = counted.plus(features.fingerprint, count_features(features, rows))
        for name, known in {} if reference is None else reference.vectors.items():
            counted = counted.plus(known.features.map.fingerprint, count_vector(name, known, rows))
        return counted.to_bytes()

    def judge(self, monitor: Monitor, state: bytes | None, judged: JudgedBatch) -> bytes:
        """The state with the judged predictions counted in, or out where their weight is -1."""
        _, layout = self._layout(monitor)
        return _read(state).plus(layout.fingerprint, count_judged(layout, judged)).to_bytes()

    def judge_rows(self, monitor: Monitor, state: bytes | None, rows: ColumnBatch, judged: JudgedBatch) -> bytes:
        """As :meth:`judge` for rows that come with their labels: how right they are is counted by columns, too."""
        reference = self._references.get(monitor.name)
        counted = _read(self.judge(monitor, state, judged.labelled(np.ones(rows.rows, dtype=bool))))
        if reference is not None and reference.outcomes is not None:
            layout = reference.outcomes.layout
            counted = counted.plus(layout.fingerprint, count_outcomes(layout, rows, judged))
        return counted.to_bytes()

    def judge_many(
        self, monitor: Monitor, states: Sequence[bytes | None], judged: JudgedBatch, counts: Sequence[int]
    ) -> list[bytes]:
        """Each state as :meth:`judge` would leave it with its share of the rows: the first ``counts[0]``, and so on."""
        _, layout = self._layout(monitor)
        return plus_each(states, layout.fingerprint, count_judged_apart(layout, judged, counts))

    def answers(self, monitor: Monitor) -> tuple[str, ...]:
        """The classes that the reference's predictions name, sorted; none without predictions or classes."""
        reference = self._references.get(monitor.name)
        columns = () if reference is None or monitor.predicts_numbers else reference.layout.columns
        return next((each.categories for each in columns if each.name == monitor.prediction.column), ())

    def outlier_scores(self, monitor: Monitor, rows: ColumnBatch) -> NDArray[np.float64]:
        """Score per row by the reference's outlier method, shape (rows,), at least 0; NaN where there is none."""
        reference = self._references.get(monitor.name)
        if reference is None or reference.outliers is None or rows.rows == 0:
            return np.full(rows.rows, np.nan)
        return reference.outliers.scores(matrix(rows, reference.outliers.columns))

    def _layout(self, monitor: Monitor) -> tuple[Layout, PerformanceLayout]:
        known = self._layouts.get(monitor.name)
        if known is None:
            known = window_layouts(monitor, self._references.get(monitor.name))
            self._layouts[monitor.name] = known
        return known


def _read(state: bytes | None) -> WindowState:
    return WindowState() if state is None else WindowState.from_bytes(state)
