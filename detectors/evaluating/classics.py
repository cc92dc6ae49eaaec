"""The classic sequential tests that a monitor names, over the windows of one column, and what their results say.

They stand beside the tests with a promise, for comparison: an alarm is a warning and never decides, and no budget is
spent on it. A classic knows nothing of the reference but its spread; it compares a stream with its own past.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.online.column_shares import ColumnShares
from detectors.online.contract import Counted
from detectors.online.entries import NUMBER_TESTS
from detectors.online.of_windows import ClassicState, OfWindows
from driftline.results import Result, Verdict, WindowKey

CLASSICS = {entry.name: entry for entry in NUMBER_TESTS if entry.of_windows is not None}
#: Classics that no monitor can name, and why.
OF_EVENTS = {entry.name for entry in NUMBER_TESTS if entry.of_windows is None}
_PROMISE = "for comparison, without a promise about false alarms"
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Level:
    """What the mean of a column of numbers is told in: the reference's own mean and spread, on its bins' values."""

    values: NDArray[np.float64]
    mean: float
    spread: float

    def of(self, counts: NDArray[np.int64]) -> float:
        """The mean of a window's finite values, in spreads of the reference from its mean; NaN without any."""
        mean, _ = _moments(self.values, counts)
        return (mean - self.mean) / self.spread


def level_of(values: NDArray[np.float64] | None, reference: NDArray[np.int64]) -> Level | None:
    """The level of a column whose bins stand for these values; None where it has no numbers."""
    if values is None:
        return None
    mean, spread = _moments(values, reference)
    return Level(values, mean, spread if spread > 0.0 else 1.0)


def _moments(values: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float]:
    finite = np.isfinite(values)
    known, kept = values[finite], counts[finite]
    rows = int(kept.sum())
    if rows == 0:
        return float("nan"), float("nan")
    # Scaled down, so that neither a sum nor a square is beyond floats.
    unit = float(np.abs(known).max()) or 1.0
    scaled = known / unit
    mean = float(scaled @ kept) / rows
    return mean * unit, float(np.sqrt((scaled - mean) ** 2 @ kept / rows)) * unit


@dataclass(frozen=True, slots=True)
class Classics:
    """The classics of one column; ``tests`` by name, in the order of the monitor."""

    column: str
    shares: ColumnShares
    level: Level | None
    tests: tuple[tuple[str, OfWindows], ...]

    def start(self) -> tuple[ClassicState, ...]:
        """Before the first window."""
        return tuple(test.start() for _, test in self.tests)

    def step(
        self, states: Sequence[ClassicState], seen: Counted, counts: NDArray[np.int64] | None
    ) -> tuple[ClassicState, ...]:
        """One window further; ``counts``: of the column, None without any."""
        mean = float("nan") if self.level is None or counts is None else self.level.of(counts)
        return tuple(test.step(state, seen, mean) for (_, test), state in zip(self.tests, states, strict=True))

    def results(
        self, states: Sequence[ClassicState], key: WindowKey, begins: Sequence[str], prefix: str
    ) -> list[Result]:
        """One result per classic; ``begins``: of every window so far its beginning, in words."""
        found = []
        for (name, test), state in zip(self.tests, states, strict=True):
            verdict, reason = self._said(name, test, state, begins)
            found.append(
                Result(
                    window=key,
                    column=self.column,
                    detector=f"{prefix}{name}",
                    kind="drift",
                    statistic=test.evidence(state),
                    direction="larger_is_worse",
                    verdict=verdict,
                    reason=f"{reason}; {_PROMISE}",
                    sample_size=state.seen - len(state.skipped),
                )
            )
        return found

    def _said(self, name: str, test: OfWindows, state: ClassicState, begins: Sequence[str]) -> tuple[Verdict, str]:
        observed = state.seen - len(state.skipped)
        if observed < test.needed:
            why = f"{name} needs {test.needed} windows and saw {observed}"
            return Verdict.NOT_ENOUGH_EVIDENCE, f"{self.column}: not enough evidence, {why}"
        alarms = f"{state.alarms} alarm{'s' * (state.alarms != 1)} in {observed} windows"
        onset = test.onset(state)
        if not test.alarm(state) or onset is None:
            return Verdict.OK, f"{self.column} is as before to {name}, {alarms}"
        moved = [
            "the mean moved" if share is None else f"{self.shares.names[share]} {way}"
            for share, way in test.told(state)
        ]
        more = f" and {len(moved) - _TOLD} more" if len(moved) > _TOLD else ""
        told = f"{', '.join(moved[:_TOLD])}{more}"
        return Verdict.WARNING, f"{self.column}: {name} alarms, {told} since {begins[onset.at]}, {alarms}"


def classics_of(column: str, shares: ColumnShares, level: Level | None, named: Sequence[str]) -> Classics:
    """The classics among the names that are defined for the column."""
    tests = []
    for name in named:
        make = CLASSICS[name].of_windows if name in CLASSICS else None
        test = None if make is None else make(len(shares.names))
        if test is not None and (test.given != "mean" or level is not None):
            tests.append((name, test))
    return Classics(column, shares, level, tuple(tests))
