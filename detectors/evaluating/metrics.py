"""The newest results as Prometheus metrics, read when scraped."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from detectors.evaluating.accuracy_tests import STANDING
from driftline import names
from driftline.clock import Clock
from driftline.metric_families import counter_family, cumulated, gauge_family, histogram_family
from driftline.monitors import Monitor
from driftline.results import VERDICT_STATE, WHOLE_WINDOW, Result, StreamKey, Verdict

#: As old as what was read may be, where this process evaluated nothing since: another one may have.
REFRESH_S = 5.0
_Read = tuple[Sequence[Result], Mapping[tuple[StreamKey, Verdict], int]]


class ResultReader(Protocol):
    """Where results are kept."""

    def newest_results(self) -> Sequence[Result]:
        """All results of the newest evaluated window of every stream and segment."""
        ...

    def verdict_counts(self) -> Mapping[tuple[StreamKey, Verdict], int]:
        """Windows by their first verdict on drift, over all rows."""
        ...


class ResultsCollector(Collector):
    """A Prometheus collector over results; register it with a registry of its own.

    Also remembers, for the evaluation job that tells it (``RunObserver``), when it ran and how long windows took.
    The store is read anew once windows were evaluated, and else every ``refresh_s`` seconds: scrapes are many, and
    short of time.
    """

    def __init__(self, reader: ResultReader, clock: Clock, refresh_s: float = REFRESH_S) -> None:
        self._reader = reader
        self._clock = clock
        self._refresh_s = refresh_s
        self._reading = threading.Lock()
        self._read: _Read | None = None
        self._due_s = 0.0
        self._evaluated_any = False
        self._lock = threading.Lock()
        self._ran_at_s: dict[tuple[str, str], float] = {}
        self._bounds = names.DETECTORS_EVALUATION.buckets_s
        self._durations = [0] * (len(self._bounds) + 1)
        self._total_s = 0.0

    def ran(self, monitor: Monitor, at_s: float | None = None) -> None:
        """The monitor's windows were looked at (now, when no time is given)."""
        with self._lock:
            self._ran_at_s[monitor.namespace, monitor.model] = self._clock() if at_s is None else at_s
            if self._evaluated_any:
                self._evaluated_any, self._due_s = False, 0.0

    def evaluated(self, seconds: float) -> None:
        """One window took this long to evaluate."""
        with self._lock:
            self._durations[bisect_left(self._bounds, seconds)] += 1
            self._total_s += seconds
            self._evaluated_any = True

    def collect(self) -> Iterator[Metric]:
        """All metrics, as the store has them, or had them a moment ago."""
        results, verdicts = self._known()
        yield from _drift_metrics(results)
        yield from _window_metrics(results)
        yield from _performance_metrics(results)
        yield from _accuracy_test_metrics(results)
        yield _windows(verdicts)
        yield from self._job()

    def _known(self) -> _Read:
        with self._reading:
            with self._lock:
                known = self._read if time.monotonic() < self._due_s else None
                # Before reading: what is evaluated meanwhile is read once more.
                self._due_s = time.monotonic() + self._refresh_s
            if known is None:
                known = self._newest()
            return known

    def _newest(self) -> _Read:
        try:
            self._read = (self._reader.newest_results(), self._reader.verdict_counts())
        except BaseException:
            self._due_s = 0.0
            raise
        return self._read

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the store."""
        return ()

    def _job(self) -> Iterator[Metric]:
        with self._lock:
            ran_at_s, durations, total_s = dict(self._ran_at_s), list(self._durations), self._total_s
        last_run = gauge_family(names.DETECTORS_LAST_RUN)
        for labels, at_s in sorted(ran_at_s.items()):
            last_run.add_metric(labels, at_s)
        yield last_run
        histogram = histogram_family(names.DETECTORS_EVALUATION)
        histogram.add_metric([], buckets=cumulated(self._bounds, durations), sum_value=total_s)
        yield histogram


def _windows(counts: Mapping[tuple[StreamKey, Verdict], int]) -> Metric:
    family = counter_family(names.WINDOWS_EVALUATED)
    # Every verdict of a known stream is there from the start: a rate over a series that just began misses one.
    for stream in sorted({stream for stream, _ in counts}):
        for verdict in Verdict:
            family.add_metric([*_stream(stream), verdict.value], counts.get((stream, verdict), 0))
    return family


def _drift_metrics(results: Sequence[Result]) -> Iterator[Metric]:
    statistic, p_value = gauge_family(names.DRIFT_STATISTIC), gauge_family(names.DRIFT_P_VALUE)
    effect, state = gauge_family(names.DRIFT_EFFECT), gauge_family(names.DRIFT_STATE)
    for result in results:
        if result.kind not in ("drift", "quality"):
            continue
        labels = [*_segment(result), result.column, result.detector]
        state.add_metric(labels, VERDICT_STATE[result.verdict])
        if result.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
            continue  # there is no statistic, and a zero would look like one
        statistic.add_metric(labels, result.statistic)
        if result.p_value is not None:
            p_value.add_metric(labels, result.p_value)
        if result.effect is not None:
            effect.add_metric(labels, result.effect.value)
    yield from (statistic, p_value, effect, state)


def _window_metrics(results: Sequence[Result]) -> Iterator[Metric]:
    drifted, rows = gauge_family(names.DRIFTED_COLUMNS), gauge_family(names.WINDOW_ROWS)
    outliers, spent = gauge_family(names.OUTLIER_RATIO), gauge_family(names.ALARM_BUDGET_SPENT)
    for result in results:
        if result.kind == "drift" and result.column == WHOLE_WINDOW:
            drifted.add_metric(_segment(result), result.statistic)
            rows.add_metric(_segment(result), result.sample_size)
        elif result.kind == "outliers" and result.sample_size:
            outliers.add_metric(_segment(result), result.statistic)
        elif result.kind == "budget":
            spent.add_metric([*_segment(result), result.detector], result.statistic)
    yield from (drifted, rows, outliers, spent)


def _performance_metrics(results: Sequence[Result]) -> Iterator[Metric]:
    value, lower = gauge_family(names.PERFORMANCE), gauge_family(names.PERFORMANCE_LOWER)
    upper, coverage = gauge_family(names.PERFORMANCE_UPPER), gauge_family(names.LABEL_COVERAGE)
    covered: dict[tuple[str, ...], float] = {}
    for result in results:
        if result.kind != "performance":
            continue
        if result.coverage is not None:  # what is estimated without labels has none
            covered[tuple(_segment(result))] = result.coverage
        if result.effect is not None:
            labels = [*_segment(result), result.detector]
            value.add_metric(labels, result.effect.value)
            lower.add_metric(labels, result.effect.lower)
            upper.add_metric(labels, result.effect.upper)
    for labels_, share in covered.items():
        coverage.add_metric(labels_, share)
    yield from (value, lower, upper, coverage)


def _accuracy_test_metrics(results: Sequence[Result]) -> Iterator[Metric]:
    alarm, evidence = gauge_family(names.ACCURACY_ALARM), gauge_family(names.ACCURACY_EVIDENCE)
    for result in results:
        if result.kind == "sequential" and result.detector.startswith(STANDING):
            labels = [*_segment(result), result.detector.removeprefix(STANDING)]
            alarm.add_metric(labels, float(result.verdict is Verdict.WARNING))
            evidence.add_metric(labels, result.statistic)
    yield from (alarm, evidence)


def _stream(stream: StreamKey) -> list[str]:
    return [stream.namespace, stream.model, stream.version, stream.variant]


def _segment(result: Result) -> list[str]:
    return [*_stream(result.window.stream), result.window.segment]
