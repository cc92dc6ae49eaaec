"""Sequential tests over stored windows: what a window says follows from all windows of its stream up to it.

Nothing is kept between windows but the windows themselves. A window's sequential results are a fold over the counts of
the stream's windows from the last restart on (``detectors.online.restart``), in order of time. So they can be made
anew from the store by anybody, with the same outcome. What this object remembers saves reading, no more.

A revised window (late events) changes the fold for every window after it: these are evaluated again, and kept as
revisions where their results differ. A window that only got labels has the same counts, and keeps what it had.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.evaluating.remembered import Place, Remembered, place_of
from detectors.evaluating.sequential import PREFIX, Fold, SequentialTests
from driftline.results import DueWindow, Result, StreamKey, WindowKey


class StreamStore(Protocol):
    """Where the windows of a stream come from."""

    def window_states(self, key: WindowKey) -> Sequence[bytes]:
        """The states of the window, one per partition."""
        ...

    def stream_windows(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[DueWindow]:
        """Every window with a state that lies within [since_s, until_s], with its changes so far, oldest first."""
        ...

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        """The newest revision of each result of windows that touch [since_s, until_s)."""
        ...


class ReadCounts(Protocol):
    """How a window's counts are read."""

    def __call__(self, key: WindowKey) -> NDArray[np.int64] | None:
        """The counts on the reference's layout; None where nothing was counted on it."""
        ...


@dataclass(slots=True)
class _Entry:
    key: WindowKey
    change: int
    digest: bytes


@dataclass(slots=True)
class _Memo:
    """The windows of a fold, and what they came to."""

    entries: list[_Entry]
    fold: Fold


class OrderedFolds:
    """The same for windows that come once, in order of time, and are never revised: files and replays."""

    def __init__(self, tests: SequentialTests) -> None:
        self._tests = tests
        self._folds: dict[Place, Fold] = {}

    def next(self, key: WindowKey, counts: NDArray[np.int64] | None) -> tuple[Result, ...]:
        """What all windows up to this one have come to; nothing where the monitor asks for nothing."""
        if not self._tests.asked or not self._tests.watches(key.segment):
            return ()
        place = place_of(key, self._tests.monitor.detectors.online.restart)
        fold = self._folds.get(place) or self._tests.start(key.segment)
        self._folds[place] = self._tests.step(fold, key, counts)
        return self._tests.results(self._folds[place], key)


@dataclass(frozen=True, slots=True)
class Planned:
    """Windows to evaluate, the sequential results of each, and what to remember once they are kept."""

    due: tuple[DueWindow, ...]
    results: dict[WindowKey, tuple[Result, ...]]
    memos: dict[Place, _Memo] = field(default_factory=dict)


class StreamFolds:
    """The folds of one monitor's streams."""

    def __init__(self, tests: SequentialTests, store: StreamStore, read: ReadCounts) -> None:
        self._tests = tests
        self._store = store
        self._read = read
        self._memos: Remembered[_Memo] = Remembered()

    def plan(self, due: Sequence[DueWindow], now_s: float) -> Planned:
        """The due windows with their sequential results, behind those whose results they change.

        The latter come first: what is interrupted is then due again, and with it all that follows from it.
        """
        if not self._tests.asked:
            return Planned(tuple(due), {})
        groups: dict[Place, list[DueWindow]] = defaultdict(list)
        restart_s = self._tests.monitor.detectors.online.restart
        for each in due:
            if self._tests.watches(each.key.segment):
                groups[place_of(each.key, restart_s)].append(each)
        found: dict[WindowKey, tuple[Result, ...]] = {}
        further: list[DueWindow] = []
        memos = {}
        until_s = now_s - self._tests.monitor.windows.lateness
        for place, members in groups.items():
            results, changed, memos[place] = self._pass(place, members, until_s)
            found |= results
            further += changed
        planned = [*further, *due]
        if self._tests.monitor.detectors.control.across != "none":
            planned.sort(key=lambda window: window.key)  # a window's level needs the p-values of those before it
        return Planned(tuple(planned), found, memos)

    def keep(self, planned: Planned) -> None:
        """Everything planned is in the store now: what was found out on the way may be relied on."""
        self._memos.keep(planned.memos)

    def _pass(
        self, place: Place, due: Sequence[DueWindow], until_s: float
    ) -> tuple[dict[WindowKey, tuple[Result, ...]], list[DueWindow], _Memo]:
        """One pass over the windows of a stream and segment: results of due windows, and which others changed."""
        stream, segment, began_s = place
        last_s = min(until_s, began_s + self._tests.monitor.detectors.online.restart)
        windows = list(self._store.stream_windows(stream, segment, began_s, last_s))
        asked = {each.key for each in due}
        memo, same = self._known(place, windows)
        fold = memo.fold if memo is not None and len(memo.entries) == same else None
        entries = [] if memo is None else memo.entries[:same]
        found = {key: self._stored(key) for key in asked.intersection(entry.key for entry in entries)}
        # Without a memory nobody knows what was counted when the windows before the first due one were evaluated.
        emit_from = same if memo is not None else min(
            (number for number, window in enumerate(windows) if window.key in asked), default=len(windows)
        )  # fmt: skip
        changed = []
        if fold is None:
            fold, entries = self._tests.start(segment), []
        for number in range(len(entries), len(windows)):
            window = windows[number]
            counts = self._read(window.key)
            entries.append(_Entry(window.key, window.change, _digest(counts)))
            fold = self._tests.step(fold, window.key, counts)
            if number < emit_from:
                continue
            results = self._tests.results(fold, window.key)
            if window.key in asked:
                found[window.key] = results
            elif not _equal(results, self._stored(window.key)):
                found[window.key] = results
                changed.append(window)
        return found, changed, _Memo(entries, fold)

    def _known(self, place: Place, windows: Sequence[DueWindow]) -> tuple[_Memo | None, int]:
        """The memory of a fold, and how many of its first windows hold the same counts as then."""
        memo = self._memos.take(place)
        if memo is None or len(memo.entries) > len(windows):
            return None, 0
        for number, (entry, window) in enumerate(zip(memo.entries, windows, strict=False)):
            if entry.key != window.key:
                return memo, number
            if entry.change != window.change:
                if _digest(self._read(window.key)) != entry.digest:
                    return memo, number
                entry.change = window.change
        return memo, len(memo.entries)

    def _stored(self, key: WindowKey) -> tuple[Result, ...]:
        kept = self._store.results(key.stream, key.start_s, key.end_s)
        return tuple(result for result in kept if result.window == key and result.detector.startswith(PREFIX))


def _digest(counts: NDArray[np.int64] | None) -> bytes:
    return b"" if counts is None else blake2b(np.ascontiguousarray(counts).tobytes(), digest_size=8).digest()


def _equal(ours: Sequence[Result], stored: Sequence[Result]) -> bool:
    def said(results: Sequence[Result]) -> list[tuple[str, str, str]]:
        return sorted((result.column, result.detector, result.reason) for result in results)

    return said(ours) == said(stored)
