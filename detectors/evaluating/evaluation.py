"""One window evaluated from its counts: drift, quality, outliers, performance, and the shapes to draw.

Every window ends in results, however odd: empty, one row, all missing, constant, only unseen values, counted on an
older reference, or without a reference at all. What cannot be said is said to be "not enough evidence".
"""

from collections.abc import Callable, Mapping, Sequence
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
from detectors.evaluating.catalogue import detector
from detectors.evaluating.control import Level, controlled
from detectors.evaluating.decision import ColumnEvidence, Rule, decide, decide_window, window_p_value
from detectors.evaluating.engine import window_layouts
from detectors.evaluating.quality import Share, column_shares, outlier_share, share_results
from detectors.evaluating.shapes import Axis, column_shape
from detectors.evaluating.together import columns_rate, find, together_results
from detectors.statistics.brownian_bridge import AreaNulls, absolute_bridges, area_nulls
from detectors.statistics.effect_size import effect_size
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.power import detectable_effect
from detectors.statistics.reasons import Margin, drift_reason, movement, not_enough
from detectors.statistics.table_sample import TableSample
from detectors.statistics.tables import GROUPS, group_starts
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, VERDICT_STATE, WHOLE_WINDOW, ColumnShape, Result, Verdict, WindowKey

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
    _groups: dict[tuple[str, str], NDArray[np.intp]] = field(default_factory=dict, init=False, repr=False)
    _nulls: dict[tuple[str, str], AreaNulls] = field(default_factory=dict, init=False, repr=False)
    _points: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _axes: dict[str, dict[str, Axis]] = field(default_factory=dict, init=False, repr=False)

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
        samples = self._samples(key.segment, vector)
        spec = self.monitor.detectors
        together = find(spec, self.reference, self._points, key.segment, state, table)
        whole = together_results(key, together, spec, self.monitor.windows.minimum_rows)
        drift = self._drift(key, vector, samples, self._older(state), whole, level)
        shares = self._shares(key.segment, vector, samples)
        rate, minimum_rows = self.monitor.detectors.false_alarm_rate, self.monitor.windows.minimum_rows
        quality = share_results(key, shares, rate, minimum_rows)
        axes = self._axes.setdefault(key.segment, {})
        shapes = tuple(column_shape(sample, axes) for sample in samples.values()) if vector[ROWS] else ()
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
        for memo in ("_measures", "_groups", "_nulls", "_points", "_axes"):
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
        return "" if known.issuperset(state.sections) else " (others were counted on an older reference)"

    def _expected(self, segment: str) -> NDArray[np.int64] | None:
        return None if self.reference is None else self.reference.counts.get(segment)

    def _samples(self, segment: str, vector: NDArray[np.int64]) -> Mapping[str, ColumnSample]:
        """Every column that has a reference in this segment, side by side with the window."""
        expected = self._expected(segment)
        if expected is None or self.reference is None or vector[ROWS] <= 0:
            return {}
        samples = {}
        for index, column in enumerate(self._layout.columns):
            samples[column.name] = ColumnSample(
                column=column.name,
                kind=column.kind,
                reference=self._layout.counts(expected, index),
                current=self._layout.counts(vector, index),
                values=self.reference.representatives.get(column.name, _UNNAMED),
                categories=column.categories,
                groups=self._column_groups(segment, column.name, self._layout.counts(expected, index)),
                nulls=self._column_nulls(segment, column.name, self._layout.counts(expected, index)),
            )
        return {name: sample for name, sample in samples.items() if not self._blank(name)}

    def _column_groups(self, segment: str, name: str, counts: NDArray[np.int64]) -> NDArray[np.intp] | None:
        if self.reference is None or name not in self.reference.representatives:
            return None
        if (segment, name) not in self._groups:
            self._groups[segment, name] = group_starts(counts[1:-2], GROUPS)
        return self._groups[segment, name]

    def _column_nulls(self, segment: str, name: str, counts: NDArray[np.int64]) -> AreaNulls | None:
        values = None if self.reference is None else self.reference.representatives.get(name)
        if values is None:
            return None
        if (segment, name) not in self._nulls:
            self._nulls[segment, name] = area_nulls(counts, values, self.bridge)
        return self._nulls[segment, name]

    def _blank(self, name: str) -> bool:
        return self._layout.columns[self._layout.index(name)].blank

    # --- drift ----------------------------------------------------------------------------------------------------
    def _drift(
        self,
        key: WindowKey,
        vector: NDArray[np.int64],
        samples: Mapping[str, ColumnSample],
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
        if not samples:
            return [*self._no_drift(key, rows, f"the reference has no rows of {key.segment}"), *together]
        watched = [samples[name] for name, _ in self.monitor.watched()]
        columns = [self._evidence(sample) for sample in watched]
        spec = self.monitor.detectors
        rate = columns_rate(spec) if level is None else level.rate
        rule = Rule(rate, spec.minimum_effect, spec.drifted_columns, spec.control.inside)
        verdicts = decide(columns, rule)
        results = []
        for sample, found, given in zip(watched, columns, verdicts, strict=True):
            results.extend(self._column_results(key, sample, found, given, rule.false_alarm_rate / len(columns)))
        window = self._window_result(key, columns, verdicts, rule, rows, together[:1])
        if level is None:
            return [*results, *together, window]
        return [*results, *together, *controlled(window, level, window_p_value(columns, rule))]

    def _evidence(self, sample: ColumnSample) -> ColumnEvidence:
        spec = self.monitor.detectors
        names = spec.numeric if sample.kind == "numeric" else spec.categorical
        seen = sample.together(spec.rows_together)
        evidence = tuple((name, detector(name)(seen)) for name in names)
        return ColumnEvidence(sample.column, evidence, effect_size(seen))

    def _column_results(
        self, key: WindowKey, sample: ColumnSample, found: ColumnEvidence, verdicts: Sequence[Verdict], rate: float
    ) -> list[Result]:
        matters = self.monitor.detectors.minimum_effect
        # Only a quiet column is asked what its quiet is worth, and only where its interval does not say it already.
        asked = Verdict.OK in verdicts and found.effect.upper >= matters
        independent = sample.together(self.monitor.detectors.rows_together)
        margin = Margin(matters, detectable_effect(independent, rate) if asked else 0.0)
        what = "" if set(verdicts) == {Verdict.OK} else movement(sample)
        return [
            Result(
                window=key,
                column=sample.column,
                detector=name,
                kind="drift",
                statistic=evidence.statistic,
                direction=evidence.direction,
                verdict=verdict,
                reason=drift_reason(sample, what, name, evidence, found.effect, verdict, margin),
                sample_size=sample.current_rows,
                reference_size=sample.reference_rows,
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
        deciding = [given[0] for given in verdicts if given]
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
            verdict=max([decide_window(deciding, rule), *whole], key=VERDICT_STATE.__getitem__),
            reason=f"{count}{': ' if named else ''}{named}{_all_of_them(whole)}; {rows} rows{against}",
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
    def _shares(self, segment: str, vector: NDArray[np.int64], samples: Mapping[str, ColumnSample]) -> list[Share]:
        expected = self._expected(segment)
        before = np.zeros_like(vector) if expected is None else expected
        shares: list[Share] = []
        for index, column in enumerate(self._layout.columns):
            sample = samples.get(column.name) or ColumnSample(
                column.name,
                column.kind,
                self._layout.counts(before, index),
                self._layout.counts(vector, index),
                categories=column.categories,
            )
            invalid = self._layout.invalid(vector, index), self._layout.invalid(before, index)
            ruled = any(invalid) or self._has_rules(column.name)
            shares.extend(column_shares(sample, invalid if ruled else None))
        if self.reference is not None and self.reference.outliers is not None:
            counts = [int(counted[place]) for counted in (vector, before) for place in (OUTLIERS, SCORED)]
            hits, scored, hits_before, scored_before = counts
            outlier_rate = self.monitor.detectors.outlier_rate
            method = self.reference.outliers.name
            shares.append(outlier_share(method, hits, scored, hits_before, scored_before, outlier_rate))
        return shares

    def _has_rules(self, name: str) -> bool:
        rules = {column.name: column for column in self.monitor.columns}
        rule = rules.get(name)
        return rule is not None and (
            rule.required or rule.minimum is not None or rule.maximum is not None or rule.allowed is not None
        )

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


def _all_of_them(verdicts: Sequence[Verdict]) -> str:
    return "; all columns together drifted" if Verdict.DRIFTED in verdicts else ""


_UNNAMED: NDArray[np.float64] = np.empty(0)
