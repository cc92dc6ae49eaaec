"""Results grouped as people read them: stream, window, column. Pure functions over frozen results."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, WHOLE_WINDOW, Interval, Result, Verdict, WindowKey

_SEVERITY = {Verdict.NOT_ENOUGH_EVIDENCE: 0, Verdict.OK: 1, Verdict.WARNING: 2, Verdict.DRIFTED: 3}
#: The metric that stands for "is it right?", the first that a window has.
HEADLINE_METRICS = ("accuracy", "f1", "auc", "mae", "rmse", "r2", "ndcg")


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """What was found about one column of one window, over all its detectors; the deciding result first."""

    column: str
    results: tuple[Result, ...]

    @property
    def deciding(self) -> Result:
        """The result that speaks for the column: of those with the worst verdict the one that the monitor names first.

        Without a monitor, one with an effect, then that of the smallest p-value.
        """
        return self.results[0]

    @property
    def verdict(self) -> Verdict:
        """The column's verdict."""
        return self.deciding.verdict

    @property
    def effect(self) -> Interval | None:
        """How far the column moved, 0 to 1, from the first result that says."""
        return next((result.effect for result in self.results if result.effect is not None), None)

    @property
    def effect_size(self) -> float:
        """The value of :attr:`effect`; 0 where none is known."""
        return 0.0 if self.effect is None else self.effect.value

    @property
    def p_value(self) -> float | None:
        """The deciding p-value, where there is one."""
        return next((result.p_value for result in self.results if result.p_value is not None), None)


@dataclass(frozen=True, slots=True)
class Measure:
    """A performance metric of one window: value, interval and label coverage, never the bare number.

    ``interval`` is None where the detector gave none (too few labels).
    """

    name: str
    value: float
    interval: Interval | None
    coverage: float | None
    labelled: int
    reference: float | None
    result: Result


@dataclass(frozen=True, slots=True)
class WindowView:
    """One window of one segment with everything found about it."""

    key: WindowKey
    verdict: Verdict
    rows: int
    columns: tuple[ColumnFinding, ...]
    measures: tuple[Measure, ...]
    quality: tuple[Result, ...]
    outliers: tuple[Result, ...]
    whole: Result | None
    #: Which columns and segments explain that accuracy changed.
    explanations: tuple[Result, ...] = ()
    #: What the sequential test of accuracy counts of this window, and where it stands.
    sequential: tuple[Result, ...] = ()
    #: What is spent of budgets for false alarms over time.
    budgets: tuple[Result, ...] = ()

    @property
    def drifted(self) -> tuple[ColumnFinding, ...]:
        """The drifted columns, largest effect first."""
        return tuple(finding for finding in self.columns if finding.verdict is Verdict.DRIFTED)

    @property
    def against(self) -> str:
        """What the window was compared with, in its own words; empty where it was compared with nothing."""
        told = "" if self.whole is None else self.whole.reason
        return told.partition("; against ")[2].partition(";")[0]

    @property
    def lacking(self) -> str:
        """Why the window cannot be judged, in its own words; empty where it was."""
        return "" if self.whole is None else self.whole.reason.partition("not enough evidence: ")[2]

    @property
    def headline(self) -> Measure | None:
        """The measure that stands for the window's accuracy."""
        by_name = {measure.name.partition("@")[0]: measure for measure in self.measures if measure.labelled > 0}
        return next((by_name[name] for name in HEADLINE_METRICS if name in by_name), None)


@dataclass(frozen=True, slots=True)
class History:
    """The windows of a stream, oldest first, and those of its segments."""

    windows: tuple[WindowView, ...]
    segments: dict[str, tuple[WindowView, ...]]

    @property
    def newest(self) -> WindowView | None:
        """The newest evaluated window of all rows."""
        return self.windows[-1] if self.windows else None

    @property
    def newest_judged(self) -> WindowView | None:
        """The newest window that had enough rows to be judged."""
        return next(
            (window for window in reversed(self.windows) if window.verdict is not Verdict.NOT_ENOUGH_EVIDENCE), None
        )

    @property
    def newest_labelled(self) -> WindowView | None:
        """The newest window with labels."""
        return next((window for window in reversed(self.windows) if window.headline is not None), None)

    @property
    def explained(self) -> tuple[Result, ...]:
        """What explains the change of accuracy in the newest window where something does."""
        return next((window.explanations for window in reversed(self.windows) if window.explanations), ())

    def drifted_since_s(self) -> float | None:
        """Start of the unbroken run of drifted windows that ends with the newest; None when that is not drifted."""
        since = None
        for window in reversed(self.windows):
            if window.verdict is not Verdict.DRIFTED:
                break
            since = window.key.start_s
        return since

    def window(self, start_s: float) -> WindowView | None:
        """The window of all rows that starts at ``start_s`` (to the second)."""
        return next((window for window in self.windows if int(window.key.start_s) == int(start_s)), None)


def group(results: Iterable[Result], monitor: Monitor | None = None) -> History:
    """Results of one stream as its history; ``monitor``: which says what detector decides of a column."""
    by_window: dict[WindowKey, list[Result]] = defaultdict(list)
    for result in results:
        by_window[result.window].append(result)
    views = [_view(key, found, monitor) for key, found in sorted(by_window.items(), key=lambda item: item[0].start_s)]
    segments: dict[str, list[WindowView]] = defaultdict(list)
    for view in views:
        if view.key.segment != ALL_ROWS:
            segments[view.key.segment].append(view)
    return History(
        windows=tuple(view for view in views if view.key.segment == ALL_ROWS),
        segments={name: tuple(found) for name, found in sorted(segments.items())},
    )


def worst_first(findings: Sequence[ColumnFinding]) -> tuple[ColumnFinding, ...]:
    """Columns by verdict, then by effect, largest first."""
    return tuple(
        sorted(findings, key=lambda finding: (-_SEVERITY[finding.verdict], -finding.effect_size, finding.column))
    )


def findings_of(results: Iterable[Result], monitor: Monitor | None) -> tuple[ColumnFinding, ...]:
    """Drift results of one window as one finding per column, worst first."""
    by_column: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_column[result.column].append(result)
    order = _orders(monitor)
    return worst_first([ColumnFinding(name, _deciding_first(found, order(name))) for name, found in by_column.items()])


def measure_of(result: Result) -> Measure:
    """A performance result as a measure.

    An ``effect`` that holds the statistic is its interval; any other is a difference and is not shown as one.
    """
    effect = result.effect
    holds = effect is not None and effect.lower - 1e-9 <= result.statistic <= effect.upper + 1e-9
    return Measure(
        name=result.detector,
        value=result.statistic,
        interval=effect if holds else None,
        coverage=result.coverage,
        labelled=result.sample_size,
        reference=result.reference_value,
        result=result,
    )


def _view(key: WindowKey, results: Sequence[Result], monitor: Monitor | None) -> WindowView:
    of_kind: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        of_kind[result.kind].append(result)
    whole = next((result for result in of_kind["drift"] if result.column == WHOLE_WINDOW), None)
    columns = findings_of((result for result in of_kind["drift"] if result.column != WHOLE_WINDOW), monitor)
    return WindowView(
        key=key,
        verdict=_verdict(whole, columns),
        rows=_rows(results),
        columns=columns,
        measures=tuple(measure_of(result) for result in of_kind["performance"]),
        quality=tuple(of_kind["quality"]),
        outliers=tuple(of_kind["outliers"]),
        whole=whole,
        explanations=tuple(of_kind["explanation"]),
        sequential=tuple(of_kind["sequential"]),
        budgets=tuple(of_kind["budget"]),
    )


def _verdict(whole: Result | None, columns: Sequence[ColumnFinding]) -> Verdict:
    if whole is not None:
        return whole.verdict
    verdicts = [finding.verdict for finding in columns]
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.NOT_ENOUGH_EVIDENCE)


def _rows(results: Sequence[Result]) -> int:
    # These kinds count labelled rows only; every other kind counts rows of the window.
    labelled = ("performance", "explanation", "sequential")
    sizes = [result.sample_size for result in results if result.kind not in labelled]
    return max(sizes, default=max((result.sample_size for result in results), default=0))


def _orders(monitor: Monitor | None) -> Callable[[str], Sequence[str]]:
    """The detectors of a column in the order in which the monitor names them."""
    if monitor is None:
        return lambda _column: ()
    detectors, kinds = monitor.detectors, dict(monitor.watched())
    of_kind = {"numeric": detectors.numeric, "categorical": detectors.categorical}
    return lambda column: of_kind[kinds[column]] if column in kinds else detectors.multivariate


def _deciding_first(results: Sequence[Result], detectors: Sequence[str]) -> tuple[Result, ...]:
    places = {name: place for place, name in enumerate(detectors)}

    def order(result: Result) -> tuple[int, int, bool, float, str]:
        p_value = 1.0 if result.p_value is None else result.p_value
        place = places.get(result.detector, len(places))
        return (-_SEVERITY[result.verdict], place, result.effect is None, p_value, result.detector)

    return tuple(sorted(results, key=order))
