"""The past once more, under a monitor as it stands or as it might be: which pages would have fired, when, and why.

The same code as in production: counts on the reference's bins, evaluation against the baseline that each window would
have had then, the counters that follow, and the embedded evaluation of the objectives on these, step by step.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from collector.store.store import Store
from detectors.baselines.reference import Reference
from detectors.baselines.rows_in_order import TogetherRows, compares_same_hours
from detectors.counts.frame_times import seconds_of
from detectors.counts.frames import load_frame
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.evaluation import default_bridge
from detectors.evaluating.row_tables import (
    LabelledRows,
    TableOfWindow,
    no_labelled_rows,
    no_table,
    stored_labelled_rows,
    stored_tables,
)
from detectors.evaluating.table_catalogue import needs_rows
from detectors.offline.files import OfflineWindows, Span, pieces, whole_queries
from detectors.offline.in_time import reference_in_time
from detectors.offline.injection import Injection, into_counts, into_rows
from detectors.offline.null_windows import drifted_by_chance
from detectors.offline.replaying import Replayed, replay
from detectors.statistics.wilson import wilson
from driftline.cli.backtest_alerts import REPLAYED
from driftline.cli.backtest_changes import variations
from driftline.cli.backtest_incidents import Incident, replayed_incidents
from driftline.cli.payload_rows import TIME, as_monitored, payload_frames
from driftline.errors import ReferenceDataError, SettingsError
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, Interval, StreamKey, Verdict, WindowKey

States = Mapping[WindowKey, Sequence[bytes]]
_SEED = 20130101
#: What a monitor says of other things than how rows are read: variations of it have the same rows.
_NOT_READ_BY = {"slos", "windows", "detectors", "labels"}


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
class Rows:
    """Rows to be counted: where they come from, in words, and in pieces that hold each query of a ranking whole."""

    source: str
    frames: Callable[[], Iterable[pd.DataFrame]]
    time_column: str


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many windows, or predictions, as a share with its 95 % interval."""

    hits: int
    windows: int

    @property
    def interval(self) -> Interval:
        """The share with Wilson's interval."""
        return wilson(self.hits, self.windows)


@dataclass(frozen=True, slots=True)
class Part:
    """What windows of the same rows, before or after a change, would have shown.

    ``drifted``: of the windows that had rows enough; ``right``: of the predictions with a label; ``alarms``: those of
    the deciding sequential test that began, over ``seconds`` of windows.
    """

    drifted: Share
    right: Share
    alarms: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one segment, before the change and, where one is known, after it."""

    name: str
    before: Part
    after: Part | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one monitor would have made of the history.

    ``windows``: those of all rows. ``before``, ``after``: of them, on both sides of the change; all are before it where
    none is known. ``by_chance``: drifted windows of those drawn from the reference. ``first_drifted_s``: from the
    change to the evaluation of the first drifted window.
    """

    title: str
    monitor: Monitor
    windows: tuple[Replayed, ...]
    incidents: tuple[Incident, ...]
    before: Part
    after: Part | None
    by_chance: Share
    first_drifted_s: float | None
    segments: tuple[Segment, ...] = ()

    @property
    def quiet(self) -> Share:
        """Drifted windows of those before the change."""
        return self.before.drifted

    @property
    def found(self) -> Share | None:
        """Drifted windows of those after the change, None where none is known."""
        return None if self.after is None else self.after.drifted

    @property
    def quiet_incidents(self) -> tuple[Incident, ...]:
        """Those that began before the change; all where none is known."""
        return tuple(incident for incident in self.incidents if incident.delay_s is None)


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

    def frames() -> Iterator[pd.DataFrame]:
        named = ((as_monitored(piece, monitor) for piece in pieces(file)) for file in files)
        return (piece for each in named for piece in whole_queries(each, monitor))

    source = ", ".join(str(file) for file in files)
    return _backtest_rows(monitor, reference, Rows(source, frames, time_column), plan, changes)


def backtest_payloads(
    monitor: Monitor, reference: Path, store: Store, root: Path | str, plan: Plan, changes: Sequence[str] = ()
) -> Backtest:
    """Replay the rows that the collector keeps as Parquet below ``root``, counted anew; they have no labels.

    Raises as :func:`backtest_files`.
    """

    def frames() -> Iterator[pd.DataFrame]:
        return payload_frames(store, root, monitor, plan.since_s, plan.until_s)

    return _backtest_rows(monitor, reference, Rows(f"the rows below {root}", frames, TIME), plan, changes)


def _backtest_rows(monitor: Monitor, reference: Path, rows: Rows, plan: Plan, changes: Sequence[str]) -> Backtest:
    expected = load_frame(reference)
    outcomes: list[Outcome] = []
    known: dict[str, Mapping[str, TogetherRows]] = {}
    for title, each in variations(monitor, changes):
        check_detectors(each)
        built = reference_with(known, expected, each)
        windows = counted(each, built, rows, plan)
        outcomes.append(_outcome(title, each, built, windows.states(), plan, windows.table))
    return Backtest(monitor.name, rows.source, plan, tuple(outcomes), _caveats(monitor, outcomes))


def reference_with(known: dict[str, Mapping[str, TogetherRows]], expected: pd.DataFrame, monitor: Monitor) -> Reference:
    """The monitor's reference; how its rows hang together is asked once of all monitors that read them alike."""
    # Rows as wholes are read where somebody asks for tests of them, hours of the week as windows lie in them.
    window_s = monitor.windows.size if compares_same_hours(monitor) else None
    read_by = f"{monitor.model_dump_json(exclude=_NOT_READ_BY)} {bool(monitor.detectors.multivariate)} {window_s}"
    built = reference_in_time(expected, monitor, together=known.get(read_by))
    known[read_by] = built.together
    return built


def backtest_stored(
    monitor: Monitor, reference: Reference, store: Store, plan: Plan, changes: Sequence[str] = ()
) -> Backtest:
    """Replay the windows that the store has; their size and their columns are what they were.

    Raises SettingsError where there are none, or where a change would need rows.
    """
    keys = store.window_keys(monitor.namespace, monitor.model, plan.since_s, plan.until_s)
    states = {key: tuple(store.window_states(key)) for key in keys}
    if not states:
        raise SettingsError("backtest", [f"the store holds no windows of {monitor.name} in that time"])
    states = {key: _injected(reference, key, found, plan) for key, found in states.items()}
    outcomes = []
    for title, each in variations(monitor, changes):
        check_detectors(each)
        if _counted_by(each) != _counted_by(monitor):
            changed = "--set changes windows.size, columns or detectors.kept_rows"
            raise SettingsError("backtest", [f"{changed}, which needs rows: give --files, or --payloads"])
        # What is put in is put into counts; rows stay as they are and would say that nothing was.
        table = no_table if plan.injections else stored_tables(each, reference, store)
        labelled = no_labelled_rows if plan.injections else stored_labelled_rows(each, store)
        outcomes.append(_outcome(title, each, reference, states, plan, table, labelled))
    return Backtest(monitor.name, "the store", plan, tuple(outcomes), _caveats(monitor, outcomes))


def _counted_by(monitor: Monitor) -> tuple[object, ...]:
    """What windows, and the reference, were made by."""
    return monitor.windows.size, monitor.columns, monitor.detectors.kept_rows


def counted(monitor: Monitor, reference: Reference, rows: Rows, plan: Plan) -> OfflineWindows:
    """The windows of the rows, with what the plan puts into them."""
    rng = np.random.default_rng(_SEED)
    stream = StreamKey(monitor.namespace, monitor.model, "", "stable")
    windows = OfflineWindows(monitor, reference, stream, Span(0.0, 1.0, rows.time_column))
    for piece in rows.frames():
        times_s = seconds_of(piece, rows.time_column)
        for injection in plan.injections:
            piece = into_rows(piece, times_s, injection, rng)  # noqa: PLW2901 - one change after the other
        windows.add(piece[(times_s >= plan.since_s) & (times_s < plan.until_s)])
    if not windows.rows:
        raise ReferenceDataError(f"{rows.source} has no rows in that time")
    return windows


def _injected(reference: Reference, key: WindowKey, states: Sequence[bytes], plan: Plan) -> tuple[bytes, ...]:
    found = tuple(states)
    for place, injection in enumerate(plan.injections):
        if key.start_s >= injection.from_s:
            # The same change whichever windows are replayed beside this one.
            rng = np.random.default_rng([_SEED, place, int(abs(key.start_s))])
            found = tuple(into_counts(reference, state, injection, rng) for state in found)
    return found


def _outcome(
    title: str,
    monitor: Monitor,
    reference: Reference,
    states: States,
    plan: Plan,
    table: TableOfWindow,
    labelled: LabelledRows = no_labelled_rows,
) -> Outcome:
    replayed = replay(monitor, reference, states, table, labelled)
    windows = tuple(window for window in replayed if window.key.segment == ALL_ROWS)
    quiet_until_s = plan.quiet_until_s
    judged = [window for window in windows if window.verdict is not Verdict.NOT_ENOUGH_EVIDENCE]
    after = (window for window in judged if window.key.start_s >= quiet_until_s)
    first = next((window for window in after if window.verdict is Verdict.DRIFTED), None)
    before, behind = _parts(windows, quiet_until_s)
    return Outcome(
        title=title,
        monitor=monitor,
        windows=windows,
        incidents=replayed_incidents(monitor, windows, quiet_until_s),
        before=before,
        after=behind,
        by_chance=_by_chance(monitor, reference, judged, plan),
        first_drifted_s=None if first is None else first.key.end_s + monitor.windows.lateness - quiet_until_s,
        segments=_segments(replayed, quiet_until_s),
    )


def _segments(windows: Sequence[Replayed], quiet_until_s: float) -> tuple[Segment, ...]:
    names_ = sorted({window.key.segment for window in windows} - {ALL_ROWS})
    mine = {name: [window for window in windows if window.key.segment == name] for name in names_}
    return tuple(Segment(name, *_parts(found, quiet_until_s)) for name, found in mine.items())


def _parts(windows: Sequence[Replayed], quiet_until_s: float) -> tuple[Part, Part | None]:
    """Windows that end before the change, and those that begin after it."""
    began: set[WindowKey] = set()
    stands: dict[StreamKey, bool] = {}
    for window in windows:
        alarm = window.sequential in (Verdict.WARNING, Verdict.DRIFTED)
        if alarm and not stands.get(window.key.stream, False):
            began.add(window.key)
        stands[window.key.stream] = alarm
    before = _part([window for window in windows if window.key.end_s <= quiet_until_s], began)
    if math.isinf(quiet_until_s):
        return before, None
    return before, _part([window for window in windows if window.key.start_s >= quiet_until_s], began)


def _part(windows: Sequence[Replayed], began: Collection[WindowKey]) -> Part:
    known = [window for window in windows if window.verdict is not Verdict.NOT_ENOUGH_EVIDENCE]
    return Part(
        drifted=Share(sum(window.verdict is Verdict.DRIFTED for window in known), len(known)),
        right=Share(sum(window.correct for window in windows), sum(window.judged for window in windows)),
        alarms=sum(window.key in began for window in windows),
        seconds=sum(window.key.end_s - window.key.start_s for window in windows),
    )


def _by_chance(monitor: Monitor, reference: Reference, judged: Sequence[Replayed], plan: Plan) -> Share:
    if not plan.null_windows or not judged:
        return Share(0, 0)
    rows = int(np.median([window.rows for window in judged]))
    rng = np.random.default_rng(_SEED)
    hits = drifted_by_chance(monitor, reference, default_bridge(), rows, plan.null_windows, rng)
    return Share(hits, plan.null_windows)


def _caveats(monitor: Monitor, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    found = []
    left = [slo.kind for slo in monitor.slos.objectives if slo.kind not in REPLAYED]
    if monitor.predicts_numbers:
        left += [slo.kind for slo in monitor.slos.objectives if slo.kind == "correctness"]
    if left:
        found.append(f"Not replayed, because window counts do not hold them: {', '.join(left)}.")
    if outcomes and not any(slo.kind in REPLAYED for slo in monitor.slos.objectives):
        found.append("The monitor has neither a drift nor a correctness objective: windows may drift, nobody is told.")
    if any(needs_rows(outcome.monitor.detectors.multivariate[:1]) for outcome in outcomes):
        found.append("'By chance alone' is told of counts: windows drawn from the reference have no rows to compare.")
    short = sum(window.verdict is Verdict.NOT_ENOUGH_EVIDENCE for window in outcomes[0].windows)
    if short:
        found.append(f"{short} of {len(outcomes[0].windows)} windows have too few rows, or none on this reference.")
    return tuple(found)
