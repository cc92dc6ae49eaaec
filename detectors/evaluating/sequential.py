"""Sequential tests of one monitor: windows of one stream in, one after the other, and what they have come to out.

The budget (``detectors.online.false_pages``, such as 1 in 90 days) is that of one stream. It is split evenly over the
columns and the segments that the reference knows: each test alarms at ``windows in that time * columns * segments``, so
that all of them together are expected to begin no more false alarms than that. The first test that the monitor names
decides; the others are shown beside it and end at a warning, or they would need a share, too. So do the classics, which
promise nothing (``classics.py``).

The tests compare with the monitor's own reference, whatever baseline its windows are compared with: a baseline that
follows the traffic would follow the drift.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.reference import Reference
from detectors.evaluating.classics import Classics, classics_of, level_of
from detectors.evaluating.hanging import over_time
from detectors.online.column_shares import ColumnShares, watched_shares
from detectors.online.contract import Counted, Onset
from detectors.online.entries import SHARE_TESTS
from detectors.online.of_windows import ClassicState
from detectors.online.share_bounds import bounds
from detectors.online.share_test import ShareState, ShareTest, Standing
from detectors.statistics.reasons import counted_as_one, percent
from detectors.statistics.wilson import difference
from driftline.durations import format_duration
from driftline.monitors import Monitor
from driftline.result_columns import ResultColumns, joined
from driftline.results import VERDICT_STATE, WHOLE_WINDOW, Interval, Result, Verdict, WindowKey

#: How results of sequential tests are called: this and the test's name.
PREFIX = "online:"
_CHOOSING_SEED = 20082


@dataclass(frozen=True, slots=True)
class Watched:
    """One column of one segment: its shares, those of the reference, and the monitor's tests of them."""

    column: str
    index: int
    shares: ColumnShares
    reference: Counted
    tests: tuple[tuple[str, ShareTest], ...]
    classics: Classics


@dataclass(frozen=True, slots=True)
class Fold:
    """What a stream's windows have come to: states by column and test, the windows' spans, alarms' beginnings.

    ``began_s``: starts of the windows in which an alarm of a deciding test began, oldest first.
    """

    states: tuple[tuple[ShareState, ...], ...]
    classics: tuple[tuple[ClassicState, ...], ...]
    spans: tuple[tuple[float, float], ...] = ()
    began_s: tuple[float, ...] = ()
    rows: int = 0


@dataclass(frozen=True, slots=True)
class SequentialTests:
    """The sequential tests that a monitor asks for; nothing where it asks for none or has no reference."""

    monitor: Monitor
    reference: Reference | None
    # A memo of what follows from the reference alone.
    _watched: dict[str, tuple[Watched, ...]] = field(default_factory=dict, init=False, repr=False)

    @property
    def asked(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.monitor.detectors.online.tests) and self.reference is not None

    @property
    def threshold(self) -> float:
        """The evidence at which a test of one column in one segment alarms."""
        segments = 1 if self.reference is None else len(self.reference.counts)
        return self.windows_per_alarm * max(1, len(self.monitor.watched())) * segments

    @property
    def windows_per_alarm(self) -> float:
        """Windows to a false alarm, on average at least, over all columns and segments of a stream."""
        return self.monitor.detectors.online.seconds_per_page / self.monitor.windows.size

    def watches(self, segment: str) -> bool:
        """Whether the reference has rows of the segment."""
        return bool(self.watched(segment))

    def watched(self, segment: str) -> tuple[Watched, ...]:
        """What is watched in a segment."""
        if segment not in self._watched:
            self._watched[segment] = tuple(self._made(segment))
        return self._watched[segment]

    def _made(self, segment: str) -> Sequence[Watched]:
        vector = None if self.reference is None else self.reference.counts.get(segment)
        if vector is None or self.reference is None or not self.asked:
            return []
        layout, spec = self.reference.layout, self.monitor.detectors.online
        names = [name for name, _ in self.monitor.watched()]
        families = len(names) * len(self.reference.counts)
        made = []
        for name in names:
            index = layout.index(name)
            if layout.columns[index].blank:
                continue
            counts = layout.counts(vector, index)
            rng = np.random.default_rng((_CHOOSING_SEED, index))
            shares, before = watched_shares(layout.columns[index], counts, rng)
            limits = bounds(before.hits, before.rows, confidence=spec.confidence, margin=spec.margin, families=families)
            limits = limits.with_ladders(shares.ladders)
            makers = {entry.name: entry.make for entry in SHARE_TESTS}
            promising = [test for test in spec.tests if test in makers]
            as_one = over_time(spec.rows_together, self.reference, segment, index)
            tests = tuple((test, makers[test](limits, self.threshold, as_one)) for test in promising)
            level = level_of(self.reference.representatives.get(name), counts)
            classics = classics_of(name, shares, level, spec.tests)
            made.append(Watched(name, index, shares, before, tests, classics))
        return made

    # --- the fold -------------------------------------------------------------------------------------------------
    def start(self, segment: str) -> Fold:
        """Before the first window."""
        watched = self.watched(segment)
        states = tuple(tuple(test.start() for _, test in each.tests) for each in watched)
        return Fold(states, tuple(each.classics.start() for each in watched))

    def step(self, fold: Fold, key: WindowKey, vector: NDArray[np.int64] | None) -> Fold:
        """One window further; ``vector``: its counts on the reference's layout, None without any."""
        watched, states, classics, began, most = self.watched(key.segment), [], [], False, 0
        for each, before, classic in zip(watched, fold.states, fold.classics, strict=True):
            seen, counts = Counted(np.zeros(len(each.shares.names)), 0), None
            if vector is not None and self.reference is not None:
                counts = self.reference.layout.counts(vector, each.index)
                seen = each.shares.of(counts)
            most = max(most, seen.rows)
            after = tuple(test.step(state, seen) for (_, test), state in zip(each.tests, before, strict=True))
            began = began or after[0].alarms > before[0].alarms
            states.append(after)
            classics.append(each.classics.step(classic, seen, counts))
        began_s = (*fold.began_s, key.start_s) if began else fold.began_s
        return Fold(tuple(states), tuple(classics), (*fold.spans, (key.start_s, key.end_s)), began_s, fold.rows + most)

    # --- what it has come to --------------------------------------------------------------------------------------
    def results(self, fold: Fold, key: WindowKey) -> tuple[Result, ...]:
        """One result per column and test after the newest window of the fold, and what is left of the budget."""
        found: list[Result] = []
        begins = [f"{moment(start_s)} UTC" for start_s, _ in fold.spans]
        for each, states, classics in zip(self.watched(key.segment), fold.states, fold.classics, strict=True):
            deciding = Verdict.OK
            for place, ((name, test), state) in enumerate(zip(each.tests, states, strict=True)):
                result = self._result(fold, key, each, name, test, state)
                if place == 0:
                    deciding = result.verdict
                elif result.verdict is Verdict.DRIFTED and deciding is not Verdict.DRIFTED:
                    result = replace(result, verdict=Verdict.WARNING)
                found.append(result)
            found += each.classics.results(classics, key, begins, PREFIX)
        return (*found, self._budget(fold, key)) if found else ()

    def _result(
        self, fold: Fold, key: WindowKey, each: Watched, name: str, test: ShareTest, state: ShareState
    ) -> Result:
        standing = state.alarm
        effect = None if standing is None else _effect(each, standing)
        verdict, reason = self._judge(fold, each, test, state, effect)
        return Result(
            window=key,
            column=each.column,
            detector=f"{PREFIX}{name}",
            kind="drift",
            statistic=way(test, state),
            direction="larger_is_worse",
            verdict=verdict,
            reason=reason,
            sample_size=int(state.rows[-1]) if len(state.rows) else 0,
            reference_size=each.reference.rows,
            effect=effect,
        )

    def _judge(
        self, fold: Fold, each: Watched, test: ShareTest, state: ShareState, effect: Interval | None
    ) -> tuple[Verdict, str]:
        needed, as_one = f"{test.threshold:,.0f} needed", counted_as_one(test.together)
        if fold.rows == 0:
            return Verdict.NOT_ENOUGH_EVIDENCE, f"{each.column}: not enough evidence, no window has rows"
        standing = state.alarm
        if standing is None or effect is None:
            evidence = test.evidence(state)
            return (
                Verdict.OK,
                f"{each.column} is as expected: evidence {spelt(evidence)} of {needed} for an alarm{as_one}",
            )
        share = _most_moved(each, standing)
        now = standing.hits[share] / max(standing.rows, 1)
        before = float(each.reference.hits[share]) / max(each.reference.rows, 1)
        moved = (
            f"{each.shares.names[share]} {'rose' if now > before else 'fell'} from {percent(before)} to {percent(now)}"
        )
        told = f"{each.column}: {moved} since {since(standing.onset, fold.spans)}"
        facts = f"evidence {spelt(test.evidence(state))} of {needed}{as_one}"
        smallest = self.monitor.detectors.minimum_effect
        if effect.value >= smallest:
            return Verdict.DRIFTED, f"{told}; {facts}"
        return (
            Verdict.WARNING,
            f"{told}, but little: {effect.value:.2g} is below the {smallest:g} that matters; {facts}",
        )

    def _budget(self, fold: Fold, key: WindowKey) -> Result:
        spec = self.monitor.detectors.online
        allowed, period_s = spec.pages, spec.period_s
        began = sum(begun > key.end_s - period_s for begun in fold.began_s)
        columns, segments = len(self.monitor.watched()), 1 if self.reference is None else len(self.reference.counts)
        split = f"{columns} column{'s' * (columns != 1)} and {segments} segment{'s' * (segments != 1)}"
        told = (
            f"{began} alarm{'s' * (began != 1)} began here in the last {format_duration(period_s)}; without any change "
            f"at most {allowed:g} expected, over {split}; each alarms at an evidence of {self.threshold:,.0f}"
        )
        return Result(
            window=key,
            column=WHOLE_WINDOW,
            detector=f"{PREFIX}{spec.tests[0]}",
            kind="budget",
            statistic=began / allowed,
            direction="larger_is_worse",
            verdict=Verdict.OK,
            reason=told,
            sample_size=0,
        )


def with_sequential(results: ResultColumns, sequential: Sequence[Result], drifted_columns: int) -> ResultColumns:
    """A window's results with those of the sequential tests: the whole window's verdict speaks for both."""
    if not sequential:
        return results
    name = next(result.detector for result in sequential if result.kind == "budget")
    deciding = [result for result in sequential if result.kind == "drift" and result.detector == name]
    standing = [result for result in deciding if result.verdict in (Verdict.WARNING, Verdict.DRIFTED)]
    drifted = sum(result.verdict is Verdict.DRIFTED for result in standing)
    verdict = Verdict.WARNING if standing else Verdict.NOT_ENOUGH_EVIDENCE
    verdict = Verdict.DRIFTED if drifted >= drifted_columns else verdict
    told = "; ".join(result.reason.partition(";")[0] for result in standing[:_TOLD])
    whole = results.places("drift", WHOLE_WINDOW) if standing else []
    changed = {
        place: replace(
            results[place],
            verdict=max((results.verdict[place], verdict), key=VERDICT_STATE.__getitem__),
            reason=f"{results.reason[place]}; over all windows so far: {told}",
        )
        for place in whole
    }
    return joined(results.window, (results.replaced(changed), sequential))


_TOLD = 3


def since(onset: Onset, spans: Sequence[tuple[float, float]]) -> str:
    """When a change began, in words: the start of the first window after it, and the range it may lie in.

    >>> since(Onset(1, 0, 1), [(0.0, 86400.0), (86400.0, 172800.0)])
    '1970-01-02 00:00 UTC (between 1970-01-01 00:00 and 1970-01-02 00:00)'
    """
    at, earliest, latest = (moment(spans[number][0]) for number in (onset.at, onset.earliest, onset.latest))
    if onset.reaches_back:
        return f"{at} UTC or earlier"
    return f"{at} UTC" if earliest == latest else f"{at} UTC (between {earliest} and {latest})"


def moment(seconds: float) -> str:
    """A time in UTC, to the minute."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _most_moved(each: Watched, standing: Standing) -> int:
    """The share that differs most from the reference since the change began; the bet may be on a rarer one."""
    now = np.array(standing.hits) / max(standing.rows, 1)
    return int(np.argmax(np.abs(now - each.reference.hits / max(each.reference.rows, 1))))


def _effect(each: Watched, standing: Standing) -> Interval:
    share = _most_moved(each, standing)
    hits, before = round(standing.hits[share]), round(float(each.reference.hits[share]))
    found = difference(hits, standing.rows, before, each.reference.rows)
    return found if found.value >= 0 else Interval(-found.value, -found.upper, -found.lower)


def way(test: ShareTest, state: ShareState) -> float:
    """How far the evidence is on its way to an alarm, in [0, ...): 1 is where an alarm begins; logarithmic."""
    return max(0.0, test.log_evidence(state)) / math.log(test.threshold)


def spelt(value: float) -> str:
    """Evidence in few digits."""
    return f"{value:.2g}" if value < 1000 else (f"{value:,.0f}" if value < 1e6 else f"{value:.0e}".replace("e+", "e"))


def faults_of(monitor: Monitor) -> Mapping[str, str]:
    """What is wrong with the budget of a monitor's sequential tests, by field."""
    tests = SequentialTests(monitor, None)
    if monitor.detectors.online.tests and tests.windows_per_alarm < 2.0:
        size = format_duration(monitor.windows.size)
        return {"false_pages": f"allows a false alarm in fewer than two windows of {size}; allow fewer"}
    return {}
