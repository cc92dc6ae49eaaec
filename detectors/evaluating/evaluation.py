"""One window evaluated from its counts: drift, quality, outliers, performance, and the shapes to draw.

Every window ends in results, however odd: empty, one row, all missing, constant, only unseen values, counted on an
older reference, or without a reference at all. What cannot be said is said to be "not enough evidence".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.before_labels import Window, before_label_results
from detectors.accuracy.explaining import explanations
from detectors.accuracy.performance import Expected, expected_performance, performance_results
from detectors.baselines.choosing import Expectation
from detectors.baselines.reference import Reference
from detectors.counts.layout import OUTLIERS, ROWS, SCORED, Layout
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section, WindowState
from detectors.evaluating.blocks import SegmentBlocks, Watched, segment_blocks
from detectors.evaluating.control import Level, controlled
from detectors.evaluating.decision import ColumnEvidence, Rule, decide, decide_window, window_p_value
from detectors.evaluating.engine import window_layouts
from detectors.evaluating.quality import Share, column_shares, share_results
from detectors.evaluating.together import columns_rate, deciding, find, together_results
from detectors.statistics.brownian_bridge import absolute_bridges
from detectors.statistics.power import detectable_effect
from detectors.statistics.reasons import Margin, drift_reason, movement, not_enough
from detectors.statistics.table_sample import TableSample
from driftline.monitors import Monitor
from driftline.results import (
    ALL_COLUMNS,
    ALL_ROWS,
    VERDICT_STATE,
    WHOLE_WINDOW,
    ColumnShape,
    Result,
    Verdict,
    WindowKey,
)

_BRIDGE_SEED = 20130101
#: What was counted of one segment of a window.
StateOfSegment = Callable[[str], WindowState]


def default_bridge() -> NDArray[np.float32]:
    """The table of Brownian bridges that every evaluation shares; always the same."""
    return absolute_bridges(np.random.default_rng(_BRIDGE_SEED))


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one window gave."""

    results: tuple[Result, ...]
    shapes: tuple[ColumnShape, ...]


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
    # Memos of what follows from the reference alone.
    _measures: dict[str, Expected | None] = field(default_factory=dict, init=False, repr=False)
    _blocks: dict[str, SegmentBlocks] = field(default_factory=dict, init=False, repr=False)
    _points: dict[tuple[str, str], float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        layout, performance_layout = window_layouts(self.monitor, self.reference)
        object.__setattr__(self, "_layout", layout)
        object.__setattr__(self, "_performance_layout", performance_layout)
        if self.reference is not None and not self.told:
            object.__setattr__(self, "told", self.reference.told)

    def evaluate(
        self,
        key: WindowKey,
        state: WindowState,
        table: TableSample | None = None,
        level: Level | None = None,
        part: StateOfSegment | None = None,
    ) -> Evaluated:
        """Results and shapes of a window whose partitions' states are merged into ``state``.

        ``table``: rows of the window beside the reference's, for detectors of all columns that need rows.
        ``level``: what control across windows leaves to this one. ``part``: the same window of a segment, for a window
        of all rows whose change of accuracy segments may explain.
        """
        section = state.section(self._layout.fingerprint)
        vector = np.zeros(self._layout.size, dtype=np.int64) if section is None else section.values
        watched = self._beside(key.segment, vector)
        together = find(self.monitor, self.reference, self._points, key.segment, state, table)
        whole = together_results(key, together, self.monitor)
        drift = self._drift(key, vector, watched, self._older(state), whole, level)
        shares = self._shares(key.segment, vector)
        rate, minimum_rows = self.monitor.detectors.false_alarm_rate, self.monitor.windows.minimum_rows
        quality = share_results(key, shares, rate, minimum_rows)
        shapes = () if watched is None else watched.shapes()
        performance = (*self._performance(key, state, int(vector[ROWS])), *self._explanations(key, state, part))
        return Evaluated((*drift, *quality, *performance), shapes)

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
        for memo in ("_measures", "_blocks", "_points"):
            object.__setattr__(other, memo, getattr(self, memo))
        return other

    def counts(self, state: WindowState) -> NDArray[np.int64] | None:
        """What was counted on the reference's bins; None where nothing was."""
        section = state.section(self._layout.fingerprint)
        return None if section is None else section.values

    def _older(self, state: WindowState) -> str:
        """A remark when part of the window was counted before the reference was rebuilt."""
        judged = self._performance_layout
        known = {self._layout.fingerprint, judged.fingerprint, judged.strata_fingerprint}
        if self.reference is not None and self.reference.features is not None:
            known.add(self.reference.features.map.fingerprint)
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
            self._blocks[segment] = segment_blocks(self._layout, expected, values, self.bridge)
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
    ) -> list[Result]:
        rows = int(vector[ROWS])
        minimum_rows = self.monitor.windows.minimum_rows
        if rows < minimum_rows:
            return [*self._no_drift(key, rows, f"{rows} rows of {minimum_rows} needed{older}"), *together]
        if self.reference is None:
            return [*self._no_drift(key, rows, "there is no reference"), *together]
        if beside is None:
            return [*self._no_drift(key, rows, f"the reference has no rows of {key.segment}"), *together]
        spec = self.monitor.detectors
        found = beside.evidence(spec)
        columns = [found[name] for name, _ in self.monitor.watched()]
        rate = columns_rate(self.monitor) if level is None else level.rate
        rule = Rule(rate, spec.minimum_effect, spec.drifted_columns, spec.control.inside)
        verdicts = decide(columns, rule)
        results = []
        for column, given in zip(columns, verdicts, strict=True):
            results.extend(self._column_results(key, beside, column, given, rule.false_alarm_rate / len(columns)))
        window = self._window_result(key, columns, verdicts, rule, rows, deciding(together))
        if level is None:
            return [*results, *together, window]
        return [*results, *together, *controlled(window, level, window_p_value(columns, rule))]

    def _column_results(
        self, key: WindowKey, beside: Watched, found: ColumnEvidence, verdicts: Sequence[Verdict], rate: float
    ) -> list[Result]:
        column, spec = found.column, self.monitor.detectors
        reference_rows, rows = beside.sizes(column)
        detectable, what = 0.0, ""
        # Only a quiet column is asked what its quiet is worth, and only where its interval does not say it already.
        if Verdict.OK in verdicts and found.effect.upper >= spec.minimum_effect:
            detectable = detectable_effect(beside.sample(column).together(spec.rows_together), rate)
        if set(verdicts) != {Verdict.OK}:
            what = movement(beside.sample(column))
        margin = Margin(spec.minimum_effect, detectable)
        return [
            Result(
                window=key,
                column=column,
                detector=name,
                kind="drift",
                statistic=evidence.statistic,
                direction=evidence.direction,
                verdict=verdict,
                reason=drift_reason(column, rows, what, name, evidence, found.effect, verdict, margin),
                sample_size=rows,
                reference_size=reference_rows,
                p_value=evidence.p_value,
                effect=found.effect,
            )
            for (name, evidence), verdict in zip(found.evidence, verdicts, strict=True)
        ]

    def _window_result(
        self,
        key: WindowKey,
        columns: Sequence[ColumnEvidence],
        verdicts: Sequence[tuple[Verdict, ...]],
        rule: Rule,
        rows: int,
        together: Sequence[Result],
    ) -> Result:
        first = [given[0] for given in verdicts if given]
        whole = [result.verdict for result in together if result.verdict is not Verdict.NOT_ENOUGH_EVIDENCE]
        drifted = [
            column for column, given in zip(columns, verdicts, strict=True) if given and given[0] is Verdict.DRIFTED
        ]
        drifted.sort(key=lambda column: -column.effect.value)
        named = ", ".join(column.column for column in drifted)
        count = (
            f"{len(drifted)} of {len(columns)} columns drifted" if drifted else f"no column of {len(columns)} drifted"
        )
        against = f"; against {self.told}" if self.told else ""
        return Result(
            window=key,
            column=WHOLE_WINDOW,
            detector="window",
            kind="drift",
            statistic=float(len(drifted)),
            direction="larger_is_worse",
            verdict=max([decide_window(first, rule), *whole], key=VERDICT_STATE.__getitem__),
            reason=f"{count}{': ' if named else ''}{named}{_drifted_together(together)}; {rows} rows{against}",
            sample_size=rows,
            reference_size=0 if self.reference is None else int(self.reference.counts[key.segment][ROWS]),
            effect=max((column.effect for column in columns), key=lambda effect: effect.value, default=None),
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
    def _shares(self, segment: str, vector: NDArray[np.int64]) -> list[Share]:
        expected = self._expected(segment)
        before = np.zeros_like(vector) if expected is None else expected
        shares = list(column_shares(self.monitor, self._layout, vector, before))
        if self.reference is not None and self.reference.outliers is not None:
            counts = [int(counted[place]) for counted in (vector, before) for place in (OUTLIERS, SCORED)]
            method, rate = self.reference.outliers.name, self.monitor.detectors.outlier_rate
            hits, scored, hits_before, scored_before = counts
            shares.append(Share(WHOLE_WINDOW, method, "outliers", hits, scored, hits_before, scored_before, rate))
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

    def _explanations(self, key: WindowKey, state: WindowState, part: StateOfSegment | None) -> list[Result]:
        if part is None or self.reference is None or key.segment != ALL_ROWS:
            return []
        layout = self._performance_layout

        def judged(segment: str) -> Section | None:
            return (part(segment) if segment != ALL_ROWS else state).section(layout.fingerprint)

        return explanations(key, layout, self.reference.performance, judged, self.monitor.segments)


def _drifted_together(together: Sequence[Result]) -> str:
    drifted = [result.column for result in together if result.verdict is Verdict.DRIFTED]
    named = ["all columns together" if column == ALL_COLUMNS else column for column in drifted]
    return f"; {' and '.join(named)} drifted" if named else ""
