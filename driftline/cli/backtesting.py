"""The past once more, under a monitor as it stands or as it might be: which pages would have fired, when, and why.

The same code as in production: counts on the reference's bins, evaluation against the baseline that each window would
have had then, the counters that follow, and the embedded evaluation of the objectives on these, step by step.

Of the objectives, drift is replayed, and correctness of classifications; the others (availability, latency, capture,
data quality, the correctness of regressions and rankings) follow from single requests and rows, which window counts do
not hold.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from alerts.evaluator import Sample
from alerts.options import SCRAPES_PER_LOOK
from alerts.replaying import Raised, raised
from alerts.slo import READINGS_PER_DELAY, objectives
from collector.store.store import Store
from detectors.baselines.reference import Reference, build_reference
from detectors.counts.frames import load_frame, seconds_of
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.evaluation import default_bridge
from detectors.offline.files import OfflineWindows, Span, pieces, whole_queries
from detectors.offline.injection import Injection, into_counts, into_rows
from detectors.offline.null_windows import drifted_by_chance
from detectors.offline.replaying import Replayed, replay
from detectors.statistics.wilson import wilson
from driftline import names
from driftline.errors import ReferenceDataError, SettingsError
from driftline.monitors import Monitor, dump_monitor, parse_monitor
from driftline.results import ALL_ROWS, Interval, StreamKey, Verdict, WindowKey

States = Mapping[WindowKey, Sequence[bytes]]
#: Objectives that window counts can tell of.
REPLAYED = ("drift", "correctness")
STEPS_PER_WINDOW = 12
#: A replay decides no oftener than counters are scraped, and in no more steps than these.
_SHORTEST_STEP_S, _MOST_STEPS = 15.0, 50_000
_SEED = 20130101


@dataclass(frozen=True, slots=True)
class Plan:
    """What to replay: from when to when, since when it is known to have changed, and what is put into it.

    ``null_windows``: windows that are drawn from the reference to estimate false alarms; 0: none.
    """

    since_s: float = -math.inf
    until_s: float = math.inf
    changed_at_s: float | None = None
    injections: tuple[Injection, ...] = ()
    null_windows: int = 200

    @property
    def quiet_until_s(self) -> float:
        """When the part ends that nothing is known to have changed in."""
        known = [injection.from_s for injection in self.injections]
        return min([*known, math.inf if self.changed_at_s is None else self.changed_at_s])


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that would have been told: as delivered, until when, how long after the change, and on what evidence.

    ``delay_s`` is None where it was told before the change, or none is known.
    """

    raised: Raised
    delay_s: float | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many windows, as a share with its 95 % interval."""

    hits: int
    windows: int

    @property
    def interval(self) -> Interval:
        """The share with Wilson's interval."""
        return wilson(self.hits, self.windows)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one monitor would have made of the history.

    ``quiet``: drifted windows of those before the change; ``by_chance``: of windows drawn from the reference;
    ``found``: of those after the change, None where none is known. ``first_drifted_s``: from the change to the
    evaluation of the first drifted window.
    """

    title: str
    monitor: Monitor
    windows: tuple[Replayed, ...]
    fired: tuple[Fired, ...]
    quiet: Share
    by_chance: Share
    found: Share | None
    first_drifted_s: float | None

    @property
    def quiet_alerts(self) -> int:
        """Alerts told before the change."""
        return sum(fired.delay_s is None for fired in self.fired)


@dataclass(frozen=True, slots=True)
class Backtest:
    """Every outcome, the monitor as it stands first; and what to know when reading it."""

    name: str
    source: str
    plan: Plan
    outcomes: tuple[Outcome, ...]
    caveats: tuple[str, ...]


def backtest_files(
    monitor: Monitor,
    reference: Path,
    files: Sequence[Path],
    time_column: str,
    plan: Plan,
    changes: Sequence[str] = (),
) -> Backtest:
    """Replay the rows of files, cut into the monitor's windows by a column of times; ``changes`` as ``PATH=VALUE``.

    Raises ReferenceDataError for rows that cannot be used, MonitorError for changes that make no monitor.
    """
    expected = load_frame(reference)
    outcomes = []
    for title, each in _variations(monitor, changes):
        check_detectors(each)
        built = build_reference(expected, each)
        states = counted(each, built, files, time_column, plan)
        outcomes.append(_outcome(title, each, built, states, plan))
    source = ", ".join(str(file) for file in files)
    return Backtest(monitor.name, source, plan, tuple(outcomes), _caveats(monitor, outcomes))


def backtest_stored(
    monitor: Monitor, reference: Reference, store: Store, plan: Plan, changes: Sequence[str] = ()
) -> Backtest:
    """Replay the windows that the store has; their size and their columns are what they were.

    Raises SettingsError where there are none, or where a change would need rows.
    """
    keys = store.window_keys(monitor.namespace, monitor.model, plan.since_s, plan.until_s)
    states = {key: tuple(store.window_states(key)) for key in keys if key.segment == ALL_ROWS}
    if not states:
        raise SettingsError("backtest", [f"the store holds no windows of {monitor.name} in that time"])
    states = {key: _injected(reference, key, found, plan) for key, found in states.items()}
    outcomes = []
    for title, each in _variations(monitor, changes):
        check_detectors(each)
        if (each.windows.size, each.columns) != (monitor.windows.size, monitor.columns):
            raise SettingsError("backtest", ["--set changes windows.size or columns, which needs rows: give --files"])
        outcomes.append(_outcome(title, each, reference, states, plan))
    return Backtest(monitor.name, "the store", plan, tuple(outcomes), _caveats(monitor, outcomes))


def counted(
    monitor: Monitor, reference: Reference, files: Sequence[Path], time_column: str, plan: Plan
) -> dict[WindowKey, tuple[bytes, ...]]:
    """The windows of the files' rows, with what the plan puts into them."""
    rng = np.random.default_rng(_SEED)
    stream = StreamKey(monitor.namespace, monitor.model, "", "stable")
    windows = OfflineWindows(monitor, reference, stream, Span(0.0, 1.0, time_column))
    for file in files:
        for piece in whole_queries(pieces(file), monitor):
            times_s = seconds_of(piece, time_column)
            for injection in plan.injections:
                piece = into_rows(piece, times_s, injection, rng)  # noqa: PLW2901 - one change after the other
            windows.add(piece[(times_s >= plan.since_s) & (times_s < plan.until_s)])
    if not windows.rows:
        raise ReferenceDataError("the files have no rows in that time")
    return windows.states()


def _injected(reference: Reference, key: WindowKey, states: Sequence[bytes], plan: Plan) -> tuple[bytes, ...]:
    found = tuple(states)
    for place, injection in enumerate(plan.injections):
        if key.start_s >= injection.from_s:
            # The same change whichever windows are replayed beside this one.
            rng = np.random.default_rng([_SEED, place, int(abs(key.start_s))])
            found = tuple(into_counts(reference, state, injection, rng) for state in found)
    return found


def changed(monitor: Monitor, changes: Sequence[str]) -> Monitor:
    """The monitor with values set by their paths, such as ``detectors.minimum_effect=0.2`` or
    ``slos.objectives.drift.target=0.95``; raises MonitorError naming what is wrong, SettingsError for no assignment.
    """
    data: dict[str, Any] = yaml.safe_load(dump_monitor(monitor))
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise SettingsError("backtest", [f"--set '{change}' is not PATH=VALUE"])
        _set(data, path, yaml.safe_load(value))
    return parse_monitor(yaml.safe_dump(data), "--set")


def _set(data: dict[str, Any], path: str, value: object) -> None:
    *steps, last = path.split(".")
    place: Any = data
    for step in steps:
        if isinstance(place, list):
            named = [each for each in place if isinstance(each, dict) and step in (each.get("kind"), each.get("name"))]
            if not named:
                raise SettingsError("backtest", [f"--set {path}: there is no '{step}'"])
            place = named[0]
        else:
            place = place.setdefault(step, {})
    if not isinstance(place, dict):
        raise SettingsError("backtest", [f"--set {path}: '{last}' cannot be set there"])
    place[last] = value


def _variations(monitor: Monitor, changes: Sequence[str]) -> list[tuple[str, Monitor]]:
    stands = [("as it stands", monitor)]
    return [*stands, (f"with {', '.join(changes)}", changed(monitor, changes))] if changes else stands


def _outcome(title: str, monitor: Monitor, reference: Reference, states: States, plan: Plan) -> Outcome:
    windows = tuple(replay(monitor, reference, states))
    quiet_until_s = plan.quiet_until_s
    judged = [window for window in windows if window.verdict is not Verdict.NOT_ENOUGH_EVIDENCE]
    before = [window for window in judged if window.key.end_s <= quiet_until_s]
    after = [window for window in judged if window.key.start_s >= quiet_until_s]
    late_s = monitor.windows.lateness
    first = next((window for window in after if window.verdict is Verdict.DRIFTED), None)
    return Outcome(
        title=title,
        monitor=monitor,
        windows=windows,
        fired=tuple(_fired(each, windows, quiet_until_s, late_s) for each in _alerts(monitor, windows)),
        quiet=_drifted(before),
        by_chance=_by_chance(monitor, reference, judged, plan),
        found=None if math.isinf(quiet_until_s) else _drifted(after),
        first_drifted_s=None if first is None else first.key.end_s + late_s - quiet_until_s,
    )


def _drifted(windows: Sequence[Replayed]) -> Share:
    return Share(sum(window.verdict is Verdict.DRIFTED for window in windows), len(windows))


def _by_chance(monitor: Monitor, reference: Reference, judged: Sequence[Replayed], plan: Plan) -> Share:
    if not plan.null_windows or not judged:
        return Share(0, 0)
    rows = int(np.median([window.rows for window in judged]))
    rng = np.random.default_rng(_SEED)
    hits = drifted_by_chance(monitor, reference, default_bridge(), rows, plan.null_windows, rng)
    return Share(hits, plan.null_windows)


def _fired(found: Raised, windows: Sequence[Replayed], quiet_until_s: float, late_s: float) -> Fired:
    """The alert with what its drifted windows said, the newest before it first."""
    starts_at_s = found.alert.starts_at_s
    known = [window for window in windows if window.key.end_s + late_s <= starts_at_s and window.drifted]
    evidence = tuple(result.reason for window in known[-1:] for result in window.drifted[:3])
    delay_s = starts_at_s - quiet_until_s if starts_at_s >= quiet_until_s else None
    return Fired(found, delay_s, evidence if found.alert.labels[names.SLO] == "drift" else ())


# --- counters through time -----------------------------------------------------------------------------------------
def _alerts(monitor: Monitor, windows: Sequence[Replayed]) -> list[Raised]:
    kept = tuple(slo for slo in monitor.slos.objectives if slo.kind in REPLAYED)
    if not kept or not windows:
        return []
    delay_s = monitor.labels.expected_delay
    begin_s = windows[0].key.start_s
    end_s = windows[-1].key.end_s + monitor.windows.lateness + max(delay_s, monitor.windows.size)
    step_s = _step_s(monitor, end_s - begin_s)
    wanted = objectives(
        monitor.model_copy(update={"slos": monitor.slos.model_copy(update={"objectives": kept})}), step_s
    )
    counters = Counters(tuple(windows), monitor.windows.lateness, delay_s)
    return raised(wanted, counters.at, begin_s, end_s, step_s)


def _step_s(monitor: Monitor, span_s: float) -> float:
    """Small enough that no objective's windows grow by it, as far as the number of steps allows."""
    labels_s = monitor.labels.expected_delay / (READINGS_PER_DELAY * SCRAPES_PER_LOOK)
    wanted_s = min(monitor.windows.size / STEPS_PER_WINDOW, labels_s)
    return max(wanted_s, _SHORTEST_STEP_S, span_s / _MOST_STEPS)


class Counters:
    """What the parts would have exported: windows by verdict once they are evaluated, labels as they come.

    Labels are taken to come evenly, each ``delay_s`` after its prediction. ``windows`` are sorted by their starts.
    """

    def __init__(self, windows: Sequence[Replayed], lateness_s: float, delay_s: float) -> None:
        self._delay_s = delay_s
        self._streams = []
        for stream in sorted({window.key.stream for window in windows}):
            mine = [window for window in windows if window.key.stream == stream]
            labels = dict(
                zip(names.STREAM, (stream.namespace, stream.model, stream.version, stream.variant), strict=True)
            )
            evaluated = {
                verdict: [window.key.end_s + lateness_s for window in mine if window.verdict is verdict]
                for verdict in Verdict
            }
            self._streams.append((labels, evaluated, _Arriving.of(mine)))

    def at(self, now_s: float) -> Iterable[Sample]:
        """Every counter as it stood."""
        for labels, evaluated, arriving in self._streams:
            for verdict, times_s in evaluated.items():
                told = {**labels, names.VERDICT: verdict.value}
                yield Sample(names.WINDOWS_EVALUATED.name, told, float(bisect_right(times_s, now_s)))
            judged, correct = arriving.by(now_s - self._delay_s)
            for outcome, value in ((names.OUTCOME_CORRECT, correct), (names.OUTCOME_INCORRECT, judged - correct)):
                yield Sample(names.JUDGED_PREDICTIONS.name, {**labels, names.OUTCOME: outcome}, math.floor(value))


@dataclass(frozen=True, slots=True)
class _Arriving:
    """Predictions with a label, and how many of them were right, added up over windows in their order."""

    starts_s: tuple[float, ...]
    size_s: float
    judged: tuple[int, ...]
    correct: tuple[int, ...]

    @classmethod
    def of(cls, windows: Sequence[Replayed]) -> "_Arriving":
        """The sums before each window, and after the last."""
        first = windows[0].key
        return cls(
            tuple(window.key.start_s for window in windows),
            first.end_s - first.start_s,
            tuple(itertools.accumulate((window.judged for window in windows), initial=0)),
            tuple(itertools.accumulate((window.correct for window in windows), initial=0)),
        )

    def by(self, time_s: float) -> tuple[float, float]:
        """Both sums over predictions made until then."""
        place = bisect_right(self.starts_s, time_s) - 1
        if place < 0:
            return 0.0, 0.0
        share = min(1.0, (time_s - self.starts_s[place]) / self.size_s)
        judged, correct = (
            sums[place] + share * (sums[place + 1] - sums[place]) for sums in (self.judged, self.correct)
        )
        return judged, correct


def _caveats(monitor: Monitor, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    found = []
    left = [slo.kind for slo in monitor.slos.objectives if slo.kind not in REPLAYED]
    if monitor.predicts_numbers:
        left += [slo.kind for slo in monitor.slos.objectives if slo.kind == "correctness"]
    if left:
        found.append(f"Not replayed, because window counts do not hold them: {', '.join(left)}.")
    if outcomes and not any(slo.kind in REPLAYED for slo in monitor.slos.objectives):
        found.append("The monitor has neither a drift nor a correctness objective: windows may drift, nobody is told.")
    short = sum(window.verdict is Verdict.NOT_ENOUGH_EVIDENCE for window in outcomes[0].windows)
    if short:
        found.append(f"{short} of {len(outcomes[0].windows)} windows have too few rows, or none on this reference.")
    return tuple(found)
