"""Control across windows: which level a window has, given the windows of its stream before it.

Every window with enough rows is one test, of "no column has changed"; its p-value is the smallest rate at which any of
its columns would be rejected, and is kept in its result. Before a window is decided, the procedure that the monitor
names reads the p-values of the windows before it, as they are known by then, and says at which level to decide. Nothing
else is remembered, so anybody gets the same level from the same results.

A window that is evaluated again (late events) is decided again at the level that is right by then. What it had led to
since stays as it was told: an alarm that was paid for is not paid back.

The rate is split evenly over the segments that the reference knows: of all their alarms together at most
``false_alarm_rate`` are false, because shares of false alarms add up to no more than their sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from detectors.baselines.reference import Reference
from detectors.error_control.across import control, fold
from detectors.evaluating.remembered import restarted_s
from detectors.statistics.reasons import percent
from driftline.alarm_budget import columns_rate
from driftline.monitors import Monitor
from driftline.results import WHOLE_WINDOW, Result, StreamKey, Verdict, WindowKey

#: How the budget's result is called: this and the procedure's name.
PREFIX = "control:"


class TestedWindows(Protocol):
    """Where the p-values of earlier windows come from."""

    def window_p_values(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[float]:
        """Of windows that begin in [since_s, until_s), as last evaluated, oldest first; only of those that have one."""
        ...


@dataclass(slots=True)
class KeptPValues:
    """The same for windows that come in order of time, from files and replays."""

    _kept: dict[tuple[StreamKey, str], list[tuple[float, float]]] = field(default_factory=dict)

    def keep(self, key: WindowKey, results: Sequence[Result]) -> None:
        """Remember what a window gave."""
        here = self._kept.setdefault((key.stream, key.segment), [])
        whole = (result for result in results if result.kind == "drift" and result.column == WHOLE_WINDOW)
        here.extend((key.start_s, result.p_value) for result in whole if result.p_value is not None)

    def window_p_values(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[float]:
        """Of windows that begin in [since_s, until_s), oldest first."""
        return [value for start_s, value in self._kept.get((stream, segment), ()) if since_s <= start_s < until_s]


@dataclass(frozen=True, slots=True)
class Level:
    """What control across windows leaves to a window: ``rate``, of all ``allowed``; ``spent`` in [0, 1] before it."""

    procedure: str
    rate: float
    allowed: float
    spent: float
    tests: int


def level_of(monitor: Monitor, reference: Reference | None, key: WindowKey, history: TestedWindows) -> Level | None:
    """The level of a window; None where the monitor asks for no control across windows."""
    spec = monitor.detectors.control
    if spec.across == "none" or reference is None:
        return None
    allowed = columns_rate(monitor) / max(1, len(reference.counts))
    keep = None if spec.half_life is None else 0.5 ** (monitor.windows.size / spec.half_life)
    procedure = control(spec.across, allowed, keep)
    since_s = restarted_s(key.start_s, spec.restart)
    before = history.window_p_values(key.stream, key.segment, since_s, key.start_s)
    state = fold(procedure, before)
    return Level(spec.across, procedure.level(state), allowed, procedure.spent(state), len(before))


def controlled(window: Result, level: Level, p_value: float) -> list[Result]:
    """The whole window's result with its p-value and level, and what is spent of the budget."""
    told = f"decided at {level.rate:.2g}, which {level.procedure} leaves to it"
    spent = (
        f"{percent(level.spent)} is spent, by {level.tests} windows before, of the share of {level.allowed:.2g} that "
        f"may be false of the alarms here; this window was decided at {level.rate:.2g}"
    )
    budget = Result(
        window=window.window,
        column=WHOLE_WINDOW,
        detector=f"{PREFIX}{level.procedure}",
        kind="budget",
        statistic=level.spent,
        direction="larger_is_worse",
        verdict=Verdict.OK,
        reason=spent,
        sample_size=0,
    )
    return [replace(window, p_value=p_value, reason=f"{window.reason}; {told}"), budget]
