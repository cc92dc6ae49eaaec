"""The sequential test of accuracy over stored windows: which enter now, and who must be told.

A window enters once, when :meth:`detectors.evaluating.accuracy_tests.AccuracyTests.ready` says so and all before it
have entered. Time alone can make it ready, so every look asks, whether anything is due or not. What it entered with is
kept in its results and read again by a process that remembers nothing. Where the test stands is told with the window
that entered and with the newest closed one, which is what metrics and people see.

What comes after a window entered (labels, corrections, rows) changes its accuracy and not the test. A window that is
first seen when a later one has entered never does.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from detectors.counts.summary import Section
from detectors.evaluating.accuracy_tests import BUDGET, ENTERED, STANDING, AccuracyTests, LossFold
from detectors.evaluating.remembered import Place, Remembered, place_of, restarted_s
from driftline.results import DueWindow, LabelState, Result, StreamKey, WindowKey

#: The judged rows of a window; None where there are none.
ReadJudged = Callable[[WindowKey], Section | None]


class EntryStore(Protocol):
    """Where windows come from, and what entered before."""

    def stream_windows(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[DueWindow]:
        """Every window with a state that lies within [since_s, until_s], with its changes so far, oldest first."""
        ...

    def detector_results(
        self, stream: StreamKey, segment: str, prefix: str, since_s: float, until_s: float
    ) -> Sequence[Result]:
        """Newest results of detectors whose names begin so, of windows that begin in [since_s, until_s), by start."""
        ...


@dataclass(frozen=True, slots=True)
class _Memo:
    """Where a test stands, since which window, and which window it was told with."""

    fold: LossFold
    entered_s: float
    told: WindowKey | None = None


@dataclass(frozen=True, slots=True)
class AccuracyPlan:
    """Windows to evaluate, those that enter before all others, and what the test adds to the results of some."""

    due: tuple[DueWindow, ...]
    results: dict[WindowKey, tuple[Result, ...]] = field(default_factory=dict)
    memos: dict[Place, _Memo] = field(default_factory=dict)


class AccuracyStreams:
    """The tests of one monitor's streams."""

    def __init__(self, tests: AccuracyTests, store: EntryStore, read: ReadJudged) -> None:
        self._tests = tests
        self._store = store
        self._read = read
        self._memos: Remembered[_Memo] = Remembered()
        self._restart_s = tests.monitor.detectors.accuracy.restart

    @property
    def asked(self) -> bool:
        """Whether the monitor asks for a test."""
        return self._tests.asked

    def since_s(self, now_s: float, history_s: float) -> float:
        """From when on windows have to be looked at; ``history_s``: how far back delays are looked at."""
        return now_s - history_s if self._memos else restarted_s(now_s, self._restart_s)

    def plan(self, due: Sequence[DueWindow], labels: Sequence[LabelState], now_s: float) -> AccuracyPlan:
        """The due windows behind those that enter now; ``labels``: of all windows since :meth:`since_s`."""
        if not self.asked:
            return AccuracyPlan(tuple(due))
        closed_s = now_s - self._tests.monitor.windows.lateness
        groups: dict[Place, list[LabelState]] = defaultdict(list)
        for state in labels:
            window = state.window
            if window.rows > 0 and window.end_s <= closed_s and window.segment in self._tests.segments:
                groups[place_of(window.key, self._restart_s)].append(state)
        results: dict[WindowKey, tuple[Result, ...]] = {}
        memos = {}
        for place in sorted(groups):
            states = sorted(groups[place], key=lambda state: state.window.start_s)
            memo = self._advance(place, states, now_s, results)
            if memo is not None:
                memos[place] = memo
        known = {each.key for each in due}
        further = [each for place in memos for each in self._windows(place, results.keys() - known)]
        return AccuracyPlan((*further, *due), results, memos)

    def told(self, plan: AccuracyPlan, key: WindowKey) -> tuple[Result, ...]:
        """What the test adds to the results of a window that is evaluated."""
        if key in plan.results or not self._tests.asked or key.segment not in self._tests.segments:
            return plan.results.get(key, ())
        if kept := self._kept(key, ENTERED):
            return (*kept, *self._kept(key, STANDING), *self._kept(key, BUDGET))
        memo = plan.memos.get(place_of(key, self._restart_s))
        return () if memo is None else self._tests.results(memo.fold, key)

    def keep(self, plan: AccuracyPlan) -> None:
        """Everything planned is in the store now."""
        self._memos.keep(plan.memos)

    def _advance(
        self, place: Place, states: Sequence[LabelState], now_s: float, results: dict[WindowKey, tuple[Result, ...]]
    ) -> _Memo | None:
        memo = self._memos.take(place) or self._recalled(place)
        if memo is None:
            return None
        for state in states:
            key = state.window.key
            if key.start_s <= memo.entered_s:
                continue
            if not self._tests.ready(state, now_s):
                break
            counted = self._tests.entry(key.segment, self._read(key), state, now_s)
            memo = replace(memo, fold=self._tests.step(memo.fold, key, counted), entered_s=key.start_s, told=None)
            results[key] = (*self._tests.entered(key, counted), *self._tests.results(memo.fold, key))
        newest = states[-1].window.key
        if memo.told != newest and newest not in results:
            found = self._tests.results(memo.fold, newest)
            if [each.reason for each in found[:1]] != [each.reason for each in self._kept(newest, STANDING)]:
                results[newest] = found
        return replace(memo, told=newest)

    def _recalled(self, place: Place) -> _Memo | None:
        """What a process that remembers nothing reads of the past; None where nothing is watched."""
        stream, segment, began_s = place
        fold = self._tests.start(segment)
        if fold is None:
            return None
        until_s = began_s + self._restart_s
        kept = self._store.detector_results(stream, segment, ENTERED, began_s, until_s)
        recalled = self._tests.recalled(segment, kept)
        for key in sorted(recalled):
            fold = self._tests.step(fold, key, recalled[key])
        return _Memo(fold, max((key.start_s for key in recalled), default=float("-inf")))

    def _kept(self, key: WindowKey, prefix: str) -> Sequence[Result]:
        found = self._store.detector_results(key.stream, key.segment, prefix, key.start_s, key.end_s)
        return [result for result in found if result.window == key]

    def _windows(self, place: Place, keys: set[WindowKey]) -> list[DueWindow]:
        """These windows of a stream's segment, the oldest first, with their changes so far."""
        here = {key for key in keys if place_of(key, self._restart_s) == place}
        if not here:
            return []
        found = self._store.stream_windows(*place[:2], min(here).start_s, max(here).end_s)
        return [each for each in found if each.key in here]


class OrderedAccuracy:
    """The same for windows that come once, in order of time, with all of their labels: files and replays."""

    def __init__(self, tests: AccuracyTests) -> None:
        self._tests = tests
        self._folds: dict[Place, LossFold] = {}

    def next(self, key: WindowKey, section: Section | None) -> tuple[Result, ...]:
        """What all windows up to this one have come to; nothing where the monitor asks for nothing."""
        place = place_of(key, self._tests.monitor.detectors.accuracy.restart)
        fold = self._folds.get(place) or (self._tests.start(key.segment) if self._tests.asked else None)
        if fold is None:
            return ()
        counted = self._tests.entry(key.segment, section, None, key.end_s)
        self._folds[place] = self._tests.step(fold, key, counted)
        return (*self._tests.entered(key, counted), *self._tests.results(self._folds[place], key))
