"""One window evaluated from its counts: drift, quality, outliers, performance, and the shapes to draw.

Every window ends in results, however odd: empty, one row, all missing, constant, only unseen values, counted on an
older reference, or without a reference at all. What cannot be said is said to be "not enough evidence".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.before_labels import Window, before_label_results
from detectors.accuracy.explaining import changed, column_explanations, explanations
from detectors.accuracy.performance import Expected, expected_performance, performance_results
from detectors.baselines.choosing import Expectation
from detectors.baselines.reference import Reference
from detectors.counts.column_outcomes import count_outcomes
from detectors.counts.layout import OUTLIERS, ROWS, SCORED, Layout
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section, WindowState
from detectors.evaluating.blocks import SegmentBlocks, Watched, segment_blocks
from detectors.evaluating.column_results import ColumnVerdicts, column_verdicts
from detectors.evaluating.control import Level, controlled
from detectors.evaluating.decision import Rule, decide_window, lacking_reference, window_p_value
from detectors.evaluating.engine import window_layouts
from detectors.evaluating.hanging import of_columns, told_of_window
from detectors.evaluating.quality import Share, Shares, SharesAsked, SharesBeside, share_results, shares_asked
from detectors.evaluating.row_tables import LabelledRows, no_labelled_rows
from detectors.evaluating.together import deciding, find, together_results
from detectors.statistics.brownian_bridge import absolute_bridges
from detectors.statistics.reasons import not_enough
from detectors.statistics.table_sample import TableSample
from driftline.alarm_budget import columns_rate
from driftline.monitors import Monitor
from driftline.result_columns import ResultColumns, joined
from driftline.results import (
    ALL_COLUMNS,
    ALL_ROWS,
    VERDICT_STATE,
    WHOLE_WINDOW,
    Result,
    Verdict,
    WindowKey,
)
from driftline.shape_columns import ShapeColumns

_BRIDGE_SEED = 20130101
_VALUE = attrgetter("value")
#: What was counted of one segment of a window.
StateOfSegment = Callable[[str], WindowState]


def default_bridge() -> NDArray[np.float32]:
    """The table of Brownian bridges that every evaluation shares; always the same."""
    return absolute_bridges(np.random.default_rng(_BRIDGE_SEED))


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one window gave."""

    results: ResultColumns
    shapes: ShapeColumns


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates windows of one monitor; made once, because what follows from monitor and reference is prepared.

    ``told``: what windows are compared with, in words; empty where it is the monitor's own reference. Raises
    ReferenceDataError when the reference does not fit the monitor.
    """

    monitor: Monitor
    reference: Reference | None
    bridge: NDArray[np.float32]
    told: str = ""
    _layout: Layout = field(init=False, repr=False)
    _performance_layout: PerformanceLayout = field(init=False, repr=False)
    _asked: SharesAsked = field(init=False, repr=False)
    # Memos of what follows from the reference alone.
    _measures: dict[str, Expected | None] = field(default_factory=dict, init=False, repr=False)
    _blocks: dict[str, SegmentBlocks] = field(default_factory=dict, init=False, repr=False)
    _shares_before: dict[str, SharesBeside] = field(default_factory=dict, init=False, repr=False)
    _points: dict[tuple[str, str], float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        layout, performance_layout = window_layouts(self.monitor, self.reference)
        object.__setattr__(self, "_layout", layout)
        object.__setattr__(self, "_performance_layout", performance_layout)
        object.__setattr__(self, "_asked", shares_asked(self.monitor, layout))
        if self.reference is not None and not self.told:
            object.__setattr__(self, "told", self.reference.told)

    def evaluate(
        self,
        key: WindowKey,
        state: WindowState,
        table: TableSample | None = None,
        level: Level | None = None,
        part: StateOfSegment | None = None,
        labelled: LabelledRows = no_labelled_rows,
    ) -> Evaluated:
        """Results and shapes of a window whose partitions' states are merged into ``state``.

        ``table``: rows of the window beside the reference's, for detectors of all columns that need rows.
        ``level``: what control across windows leaves to this one. ``part``: the same window of a segment, for a window
        of all rows whose change of accuracy segments may explain. ``labelled``: some of its labelled rows, which are
        asked for where accuracy changed and counts do not say on which columns' values.
        """
        section = state.section(self._layout.fingerprint)
        vector = np.zeros(self._layout.size, dtype=np.int64) if section is None else section.values
        watched = self._beside(key.segment, vector)
        together = find(self.monitor, self.reference, self._points, key.segment, state, table)
        whole = together_results(key, together, self.monitor)
        drift = self._drift(key, vector, watched, self._older(state), whole, level)
        rate, minimum_rows = self.monitor.detectors.false_alarm_rate, self.monitor.windows.minimum_rows
        quality = share_results(key, self._shares(key.segment, vector), rate, minimum_rows)
        shapes = ShapeColumns() if watched is None else watched.shapes()
        performance = self._performance(key, state, int(vector[ROWS]))
        explained = [*self._by_segment(key, state, part), *self._by_column(key, state, labelled)]
        return Evaluated(joined(key, (*drift, quality, performance, explained)), shapes)

    def against(self, expected: Expectation) -> "Evaluator":
        """The same for windows that are compared with something else."""
        if expected.reference is self.reference:
            return self._telling(expected.told) if expected.told else self
        other = Evaluator(self.monitor, expected.reference, self.bridge, expected.told)
        object.__setattr__(other, "_points", self._points)  # of the file, whatever the counts are compared with
        return other

    def _telling(self, told: str) -> "Evaluator":
        # What follows from the reference is the same, and shared.
        other = Evaluator(self.monitor, self.reference, self.bridge, told)
        for memo in ("_measures", "_blocks", "_shares_before", "_points"):
            object.__setattr__(other, memo, getattr(self, memo))
        return other

    def counts(self, state: WindowState) -> NDArray[np.int64] | None:
        """What was counted on the reference's bins; None where nothing was."""
        section = state.section(self._layout.fingerprint)
        return None if section is None else section.values

    def judged(self, state: WindowState) -> Section | None:
        """What was counted of judged predictions; None where nothing was."""
        return state.section(self._performance_layout.fingerprint)

    def _older(self, state: WindowState) -> str:
        """A remark when part of the window was counted before the reference was rebuilt."""
        judged = self._performance_layout
        known = {self._layout.fingerprint, judged.fingerprint, judged.strata_fingerprint}
        if self.reference is not None and self.reference.features is not None:
            known.add(self.reference.features.map.fingerprint)
        if self.reference is not None and self.reference.outcomes is not None:
            known.add(self.reference.outcomes.layout.fingerprint)
        if self.reference is not None:
            known.update(vector.features.map.fingerprint for vector in self.reference.vectors.values())
        return "" if known.issuperset(state.sections) else " (others were counted on an older reference)"

    def _expected(self, segment: str) -> NDArray[np.int64] | None:
        return None if self.reference is None else self.reference.counts.get(segment)

    def _beside(self, segment: str, vector: NDArray[np.int64]) -> Watched | None:
        """Every watched column beside the reference; None without rows, or without a reference of the segment."""
        expected = self._expected(segment)
        if expected is None or self.reference is None or vector[ROWS] <= 0:
            return None
        if segment not in self._blocks:
            values = self.reference.representatives
            self._blocks[segment] = segment_blocks(self._layout, expected, values, self.bridge, self.monitor)
        return self._blocks[segment].beside(vector)

    # --- drift ----------------------------------------------------------------------------------------------------
    def _drift(
        self,
        key: WindowKey,
        vector: NDArray[np.int64],
        beside: Watched | None,
        older: str,
        together: Sequence[Result],
        level: Level | None,
    ) -> list[Sequence[Result]]:
        rows = int(vector[ROWS])
        minimum_rows = self.monitor.windows.minimum_rows
        if rows < minimum_rows:
            return [self._no_drift(key, rows, f"{rows} rows of {minimum_rows} needed{older}"), together]
        if self.reference is None:
            return [self._no_drift(key, rows, "there is no reference"), together]
        if beside is None:
            return [self._no_drift(key, rows, f"the reference has no rows of {key.segment}"), together]
        if lacking := lacking_reference(int(self.reference.counts[key.segment][ROWS]), minimum_rows):
            return [self._no_drift(key, rows, lacking), together]
        spec = self.monitor.detectors
        rate = columns_rate(self.monitor) if level is None else level.rate
        rule = Rule(rate, spec.minimum_effect, spec.drifted_columns, spec.control.inside)
        as_one = of_columns(spec.rows_together, self.reference, key.segment, rows)
        columns = column_verdicts(key, beside, as_one, rule)
        window = self._window_result(key, columns, rule, rows, deciding(together))
        whole = [window] if level is None else controlled(window, level, window_p_value(columns.p_values, rule))
        return [columns.results, together, whole]

    def _window_result(
        self, key: WindowKey, columns: ColumnVerdicts, rule: Rule, rows: int, together: Sequence[Result]
    ) -> Result:
        whole = [result.verdict for result in together if result.verdict is not Verdict.NOT_ENOUGH_EVIDENCE]
        moved = columns.drifted()
        named = ", ".join(columns.columns[place] for place in moved)
        all_columns = len(columns.columns)
        count = f"{len(moved)} of {all_columns} columns drifted" if moved else f"no column of {all_columns} drifted"
        hanging = told_of_window(self.monitor.detectors.rows_together, *columns.hanging)
        against = f"{hanging}; against {self.told}" if self.told else hanging
        return Result(
            window=key,
            column=WHOLE_WINDOW,
            detector="window",
            kind="drift",
            statistic=float(len(moved)),
            direction="larger_is_worse",
            verdict=max([decide_window(columns.deciding, rule), *whole], key=VERDICT_STATE.__getitem__),
            reason=f"{count}{': ' if named else ''}{named}{_drifted_together(together)}; {rows} rows{against}",
            sample_size=rows,
            reference_size=0 if self.reference is None else int(self.reference.counts[key.segment][ROWS]),
            effect=max(columns.effects, key=_VALUE, default=None),
        )

    def _no_drift(self, key: WindowKey, rows: int, why: str) -> list[Result]:
        spec = self.monitor.detectors
        first = {"numeric": spec.numeric[:1], "categorical": spec.categorical[:1]}
        named = [(name, chosen) for name, kind in self.monitor.watched() for chosen in first[kind]]
        return [
            Result(
                window=key,
                column=column,
                detector=chosen,
                kind="drift",
                statistic=0.0,
                direction="larger_is_worse",
                verdict=Verdict.NOT_ENOUGH_EVIDENCE,
                reason=not_enough(column, why),
                sample_size=rows,
            )
            for column, chosen in [*named, (WHOLE_WINDOW, "window")]
        ]

    # --- shares and performance -------------------------------------------------------------------------------------
    def _shares(self, segment: str, vector: NDArray[np.int64]) -> Shares:
        expected = self._expected(segment)
        before = np.zeros_like(vector) if expected is None else expected
        if segment not in self._shares_before:
            self._shares_before[segment] = self._asked.beside(before)
        shares = self._shares_before[segment].shares(vector)
        if self.reference is not None and self.reference.outliers is not None:
            counts = [int(counted[place]) for counted in (vector, before) for place in (OUTLIERS, SCORED)]
            method, rate = self.reference.outliers.name, self.monitor.detectors.outlier_rate
            hits, scored, hits_before, scored_before = counts
            shares.add(WHOLE_WINDOW, Share(method, "outliers", rate, hits, scored, hits_before, scored_before))
        return shares

    def _expected_performance(self, segment: str) -> Expected | None:
        if segment not in self._measures:
            section = None if self.reference is None else self.reference.performance.get(segment)
            self._measures[segment] = expected_performance(self._performance_layout, section)
        return self._measures[segment]

    def _performance(self, key: WindowKey, state: WindowState, rows: int) -> list[Result]:
        layout = self._performance_layout
        expected = self._expected_performance(key.segment)
        minimum_rows = self.monitor.windows.minimum_rows
        judged = state.section(layout.fingerprint)
        found = performance_results(key, layout, judged, expected, rows, minimum_rows)
        reference = None if self.reference is None else self.reference.performance.get(key.segment)
        window = Window(key, judged, state.section(layout.strata_fingerprint), rows, minimum_rows)
        return [*found, *before_label_results(window, layout, reference, expected)]

    def _by_segment(self, key: WindowKey, state: WindowState, part: StateOfSegment | None) -> list[Result]:
        if part is None or self.reference is None or key.segment != ALL_ROWS:
            return []
        layout = self._performance_layout

        def judged(segment: str) -> Section | None:
            return (part(segment) if segment != ALL_ROWS else state).section(layout.fingerprint)

        return explanations(key, layout, self.reference.performance, judged, self.monitor.segments)

    def _by_column(self, key: WindowKey, state: WindowState, labelled: LabelledRows) -> list[Result]:
        if self.reference is None or self.reference.outcomes is None or key.segment != ALL_ROWS:
            return []
        known, now = self.reference.outcomes, state.section(self.reference.outcomes.layout.fingerprint)
        if now is not None:
            return column_explanations(key, known, now)
        whole = self.reference.performance.get(ALL_ROWS)
        found = labelled(key) if changed(self._performance_layout, whole, self.judged(state)) else None
        if found is None:
            return []
        rows, judged = found
        of_rows = known.of_columns(rows.names())
        return column_explanations(key, of_rows, count_outcomes(of_rows.layout, rows, judged))


def _drifted_together(together: Sequence[Result]) -> str:
    drifted = [result.column for result in together if result.verdict is Verdict.DRIFTED]
    named = ["all columns together" if column == ALL_COLUMNS else column for column in drifted]
    return f"; {' and '.join(named)} drifted" if named else ""
