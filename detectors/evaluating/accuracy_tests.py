"""A sequential test of accuracy: labelled windows of a stream in, one after the other, and what they have come to out.

Every window enters once, and what entered stays: whoever could take a window out again, or look at it a second time,
could make an alarm of any stream by waiting. Windows enter in order of time. One enters when its time limit
(``labels.maturity``) has come, with the labels that it then has; or earlier, when as many have come as ever do
(``labels.mature_share`` of those expected). Then each that is missing counts as right, which no label that comes later
can undo: the evidence is at most what the whole window would have given. A ranking waits for the time limit, because a
query's gain is known only with all of its labels; and so does a test that learns, to which a row that only counts as
right would teach that more are right.

So the promise is that of :mod:`detectors.online.share_test`, whatever labels come, in whatever order, however often
they are corrected: without a loss of accuracy at most ``detectors.accuracy.false_pages`` alarms are expected to begin,
over all segments of a stream together.

What entered is kept with the results of its window (detectors ``entered:...``): it is all that a test needs to know of
the past.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.baselines.reference import Reference
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section
from detectors.evaluating.engine import window_layouts
from detectors.evaluating.hanging import of_losses
from detectors.evaluating.loss_shares import LossShares, loss_bounds, loss_shares
from detectors.evaluating.sequential import moment, since, spelt, way
from detectors.online.contract import Counted
from detectors.online.entries import SHARE_TESTS
from detectors.online.share_test import ShareState, ShareTest, Standing
from detectors.statistics.reasons import counted_as_one, percent
from detectors.statistics.wilson import difference, wilson
from driftline.durations import format_duration
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, WHOLE_WINDOW, Interval, LabelState, Result, Verdict, WindowKey

#: How results are called: what entered (and the share's name), where the test stands, and its budget (and its name).
ENTERED, STANDING, BUDGET = "entered:", "accuracy_alarm:", "accuracy_budget:"
#: Parts of a query are whole numbers of these.
_STEPS = 1 << 16


@dataclass(frozen=True, slots=True)
class WatchedLosses:
    """What is watched of a segment: shares, what they are expected to be at most, and the monitor's test of them."""

    shares: LossShares
    reference: Counted
    test: ShareTest


@dataclass(frozen=True, slots=True)
class LossFold:
    """What the windows that entered have come to: the test's state, their spans, and when alarms began (starts)."""

    state: ShareState
    spans: tuple[tuple[float, float], ...] = ()
    began_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class AccuracyTests:
    """The sequential test of accuracy that a monitor asks for, segment by segment."""

    monitor: Monitor
    reference: Reference | None
    # A memo of what follows from the reference alone.
    _watched: dict[str, WatchedLosses | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def asked(self) -> bool:
        """Whether there is anything to do."""
        return self.monitor.detectors.accuracy.test is not None and bool(self.segments)

    @property
    def segments(self) -> Sequence[str]:
        """Those with something to compare with: with a floor all that the reference has, else where it has labels."""
        if self.monitor.detectors.accuracy.floor is None:
            return () if self.reference is None else tuple(self.reference.performance)
        return (ALL_ROWS,) if self.reference is None else tuple(self.reference.counts)

    @property
    def windows_per_alarm(self) -> float:
        """Windows to a false alarm, on average at least, over all segments of a stream."""
        return self.monitor.detectors.accuracy.seconds_per_page / self.monitor.windows.size

    @property
    def threshold(self) -> float:
        """The evidence at which the test of one segment alarms."""
        return self.windows_per_alarm * max(1, len(self.segments))

    @property
    def layout(self) -> PerformanceLayout:
        """How judged predictions are counted."""
        return window_layouts(self.monitor, self.reference)[1]

    def watched(self, segment: str) -> WatchedLosses | None:
        """What is watched in a segment; None where there is nothing to compare with."""
        if segment not in self._watched:
            self._watched[segment] = self._made(segment) if segment in self.segments else None
        return self._watched[segment]

    def _made(self, segment: str) -> WatchedLosses | None:
        spec = self.monitor.detectors.accuracy
        section = None if self.reference is None else self.reference.performance.get(segment)
        shares = loss_shares(self.layout, section, spec.tolerance)
        expected = shares.of(section)
        if not shares.names or (spec.floor is None and expected.rows == 0):
            return None
        limits = loss_bounds(
            shares,
            expected,
            floor=spec.floor,
            confidence=spec.confidence,
            margin=spec.margin,
            families=len(self.segments),
        )
        makers = {entry.name: entry.make for entry in SHARE_TESTS}
        as_one = of_losses(spec.rows_together, self.reference, segment)
        test = makers[str(spec.test)](limits, max(1.0, self.threshold), as_one)
        return WatchedLosses(shares, expected, test)

    # --- what enters ----------------------------------------------------------------------------------------------
    def ready(self, labels: LabelState, now_s: float) -> bool:
        """Whether a window may enter: its time limit has come, or its labels have."""
        spec = self.monitor.labels
        if now_s - labels.window.end_s >= spec.maturity:
            return True
        watched = self.watched(labels.window.segment)
        waits = self.monitor.task == "ranking" or (watched is not None and watched.test.learns)
        return not waits and labels.mature and labels.coverage >= spec.mature_share

    def entry(self, segment: str, section: Section | None, labels: LabelState | None, now_s: float) -> Counted:
        """What a window enters with; ``labels`` None: all that there will ever be."""
        watched = self.watched(segment)
        if watched is None:
            return Counted(np.zeros(0), 0)
        counted = watched.shares.of(section)
        if labels is None or now_s - labels.window.end_s >= self.monitor.labels.maturity:
            return counted
        return replace(counted, rows=max(counted.rows, math.ceil(labels.expected)))

    def entered(self, key: WindowKey, counted: Counted) -> list[Result]:
        """The results that keep what a window entered with."""
        watched = self.watched(key.segment)
        names = () if watched is None else watched.shares.names
        results = []
        for name, hits in zip(names, counted.hits.tolist(), strict=True):
            share = hits / counted.rows if counted.rows else 0.0
            told = f"{name}: {percent(share)} of {counted.rows}; the test of accuracy counts this window so, for good"
            results.append(_result(key, f"{ENTERED}{name}", Verdict.OK, share, told, counted.rows))
        return results

    def recalled(self, segment: str, kept: Sequence[Result]) -> dict[WindowKey, Counted]:
        """What windows entered with, of the results that :meth:`entered` made; not what another monitor kept."""
        watched = self.watched(segment)
        found: dict[WindowKey, dict[str, Result]] = {}
        for result in kept:
            found.setdefault(result.window, {})[result.detector.removeprefix(ENTERED)] = result
        names = () if watched is None else watched.shares.names
        return {key: _counted(names, by_name) for key, by_name in found.items() if all(map(by_name.get, names))}

    # --- the fold -------------------------------------------------------------------------------------------------
    def start(self, segment: str) -> LossFold | None:
        """Before the first window; None where nothing is watched."""
        watched = self.watched(segment)
        return None if watched is None else LossFold(watched.test.start())

    def step(self, fold: LossFold, key: WindowKey, counted: Counted) -> LossFold:
        """One window further."""
        watched = self.watched(key.segment)
        if watched is None:
            return fold
        state = watched.test.step(fold.state, counted)
        began_s = (*fold.began_s, key.start_s) if state.alarms > fold.state.alarms else fold.began_s
        return LossFold(state, (*fold.spans, (key.start_s, key.end_s)), began_s)

    # --- what it has come to ----------------------------------------------------------------------------------------
    def results(self, fold: LossFold, key: WindowKey) -> tuple[Result, ...]:
        """Where the test stands, told with a window, and what is left of the budget."""
        watched = self.watched(key.segment)
        if watched is None:
            return ()
        spec, state = self.monitor.detectors.accuracy, fold.state
        verdict, told, effect = self._judge(watched, fold)
        rows = int(state.rows[-1]) if len(state.rows) else 0
        found = _result(key, f"{STANDING}{spec.test}", verdict, way(watched.test, state), told, rows)
        return replace(found, effect=effect, reference_size=watched.reference.rows), self._budget(fold, key)

    def _judge(self, watched: WatchedLosses, fold: LossFold) -> tuple[Verdict, str, Interval | None]:
        if not fold.spans:
            return Verdict.NOT_ENOUGH_EVIDENCE, "not enough evidence, no window's labels are complete yet", None
        test, state = watched.test, fold.state
        newest = f"the newest window whose labels are complete is that of {moment(fold.spans[-1][0])} UTC"
        evidence = f"evidence {spelt(test.evidence(state))} of {test.threshold:,.0f} needed"
        as_one = counted_as_one(test.together)
        standing = state.alarm
        if standing is None:
            return Verdict.OK, f"accuracy is as expected: {evidence} for an alarm{as_one}; {newest}", None
        share = _most_lost(watched, standing)
        now = standing.hits[share] / max(standing.rows, 1)
        told = (
            f"accuracy fell: {watched.shares.names[share]} are {percent(now)} since "
            f"{since(standing.onset, fold.spans)}, {self._expected(watched, share)}; {evidence}{as_one}; {newest}"
        )
        return Verdict.WARNING, told, _excess(watched, standing, share, floor=self._floor)

    @property
    def _floor(self) -> float | None:
        return self.monitor.detectors.accuracy.floor

    def _expected(self, watched: WatchedLosses, share: int) -> str:
        most = percent(float(watched.test.bounds.upper[share]))
        if self._floor is not None:
            return f"at most {most} allowed"
        before = float(watched.reference.hits[share]) / max(watched.reference.rows, 1)
        told = f"{percent(before)} in the reference"
        return told if watched.test.learns else f"{told}, which allows {most}"

    def _budget(self, fold: LossFold, key: WindowKey) -> Result:
        spec, segments = self.monitor.detectors.accuracy, len(self.segments)
        began = sum(begun > key.end_s - spec.period_s for begun in fold.began_s)
        told = (
            f"{began} alarm{'s' * (began != 1)} began here in the last {format_duration(spec.period_s)}; "
            f"without any loss at most {spec.pages:g} expected, over {segments} segment{'s' * (segments != 1)}; "
            f"each alarms at an evidence of {self.threshold:,.0f}"
        )
        found = _result(key, f"{BUDGET}{spec.test}", Verdict.OK, began / spec.pages, told, 0)
        return replace(found, kind="budget")


def _result(key: WindowKey, detector: str, verdict: Verdict, statistic: float, told: str, rows: int) -> Result:
    return Result(
        window=key,
        column=WHOLE_WINDOW,
        detector=detector,
        kind="sequential",
        statistic=statistic,
        direction="larger_is_worse",
        verdict=verdict,
        reason=told,
        sample_size=rows,
    )


def _counted(names: Sequence[str], by_name: Mapping[str, Result]) -> Counted:
    kept = [by_name[name] for name in names]
    rows = kept[0].sample_size if kept else 0
    # Shares are kept; what was counted were whole rows, or whole steps of a query.
    return Counted(np.array([round(each.statistic * rows * _STEPS) / _STEPS for each in kept]), rows)


def _most_lost(watched: WatchedLosses, standing: Standing) -> int:
    """The share that is furthest above its bound since the change began."""
    now = np.array(standing.hits) / max(standing.rows, 1)
    return int(np.argmax(now - watched.test.bounds.upper))


def _excess(watched: WatchedLosses, standing: Standing, share: int, *, floor: float | None) -> Interval:
    """How much more is lost than expected."""
    hits, before = round(standing.hits[share]), watched.reference
    if floor is None:
        return difference(hits, standing.rows, round(float(before.hits[share])), before.rows)
    found = wilson(hits, standing.rows)
    return Interval(*(end - (1.0 - floor) for end in (found.value, found.lower, found.upper)))


def faults_of(monitor: Monitor) -> dict[str, str]:
    """What is wrong with the budget of a monitor's test of accuracy, by field."""
    tests = AccuracyTests(monitor, None)
    if monitor.detectors.accuracy.test is not None and tests.windows_per_alarm < 2.0:
        size = format_duration(monitor.windows.size)
        return {"false_pages": f"allows a false alarm in fewer than two windows of {size}; allow fewer"}
    return {}
