"""A store of one stream of windows in lists, whose windows are revised as a real one's are."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from detectors.baselines.reference import Reference, build_reference
from detectors.evaluating.engine import StatisticsEngine
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor, parse_monitor
from driftline.results import DueWindow, PastWindow, Result, StreamKey, WindowKey, WindowLabels

DAY = 86400.0
STREAM = StreamKey("default", "m", "1", "stable")


def monitor(online: str = "{tests: [e_cusum, betting]}", control: str = "{}") -> Monitor:
    return parse_monitor(
        "model: m\ntask: binary\ncolumns: [{name: x, type: numeric}, {name: town, type: categorical}]\n"
        f"segments: [town]\nreference: {{path: r.csv}}\ndetectors: {{online: {online}, control: {control}}}",
        "m.yaml",
    )


def rows(count: int, shift: float, seed: int) -> ColumnBatch:
    rng = np.random.default_rng(seed)
    texts = {
        "town": rng.choice(["Bern", "Chur"], count, p=[0.7, 0.3]).astype(object),
        "prediction": rng.choice(["0", "1"], count).astype(object),
    }
    return ColumnBatch(count, {"x": rng.normal(shift, 1, count)}, texts)


def reference() -> Reference:
    batch = rows(4000, 0.0, 0)
    return build_reference(pd.DataFrame({**batch.numeric, **batch.text}), monitor())


REFERENCE = reference()
COUNTING = StatisticsEngine({"default/m": REFERENCE})


class NoHistory:
    """Of a store: neither baselines that the windows before or another variant make, nor rows."""

    def past_windows(self, *_: object) -> Sequence[PastWindow]:
        return []

    def past_states(self, *_: object) -> Sequence[bytes]:
        return []

    def window_rows(self, keys: Sequence[WindowKey], limit: int) -> ColumnBatch:
        return ColumnBatch(0)

    def labelled_rows(self, monitor: Monitor, key: WindowKey, limit: int) -> tuple[ColumnBatch, JudgedBatch] | None:
        return None

    def variant_windows(self, key: WindowKey, variant: str) -> Sequence[WindowKey]:
        return []

    def variant_states(self, *_: object) -> Sequence[bytes]:
        return []


@dataclass
class Windows(NoHistory):
    """A store of one stream that keeps states with their changes, and the newest results; ``full`` refuses to save."""

    states: dict[WindowKey, bytes] = field(default_factory=dict)
    changes: dict[WindowKey, int] = field(default_factory=dict)
    evaluated: dict[WindowKey, int] = field(default_factory=dict)
    kept: dict[WindowKey, tuple[Result, ...]] = field(default_factory=dict)
    saved: list[WindowKey] = field(default_factory=list)
    full: bool = False

    def add(self, day: int, batch: ColumnBatch, segment: str = "") -> None:
        key = WindowKey(STREAM, segment, day * DAY, (day + 1) * DAY)
        self.states[key] = COUNTING.observe(monitor(), self.states.get(key), batch)
        self.changes[key] = self.changes.get(key, 0) + batch.rows

    def label(self, day: int) -> None:
        key = WindowKey(STREAM, "", day * DAY, (day + 1) * DAY)
        truth = np.array(["1"], dtype=object)
        judged = JudgedBatch(truth, np.full(1, np.nan), truth, np.ones(1, dtype=np.int64))
        self.states[key] = COUNTING.judge(monitor(), self.states[key], judged)
        self.changes[key] += 1

    def due_windows(self, monitor: Monitor, now_s: float) -> Sequence[DueWindow]:
        closed = [key for key in sorted(self.states) if key.end_s <= now_s - monitor.windows.lateness]
        return [DueWindow(key, self.changes[key]) for key in closed if self.evaluated.get(key, 0) < self.changes[key]]

    def window_states(self, key: WindowKey) -> Sequence[bytes]:
        return [self.states[key]] if key in self.states else []

    def stream_windows(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[DueWindow]:
        return [
            DueWindow(key, self.changes[key])
            for key in sorted(self.states)
            if key.segment == segment and key.start_s >= since_s and key.end_s <= until_s
        ]

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        touched = [key for key in sorted(self.kept) if key.start_s < until_s and key.end_s > since_s]
        return [result for key in touched for result in self.kept[key]]

    def save_results(self, due, results, shapes, evaluated_at_s, labels=None) -> None:
        if self.full:
            raise OSError("disk full")
        self.kept[due.key], self.evaluated[due.key] = tuple(results), due.change
        self.saved.append(due.key)

    def label_windows(self, *_: object, **__: object) -> Sequence[WindowLabels]:
        return []

    def window_p_values(self, stream: StreamKey, segment: str, since_s: float, until_s: float) -> Sequence[float]:
        keys = [key for key in sorted(self.kept) if key.segment == segment and since_s <= key.start_s < until_s]
        found = [each for key in keys for each in self.kept[key] if each.detector == "window"]
        return [each.p_value for each in found if each.p_value is not None]

    def sequential(self, day: int) -> list[Result]:
        key = WindowKey(STREAM, "", day * DAY, (day + 1) * DAY)
        return [result for result in self.kept[key] if result.detector.startswith("online:")]

    def result(self, day: int, column: str, detector: str) -> Result:
        key = WindowKey(STREAM, "", day * DAY, (day + 1) * DAY)
        (found,) = [each for each in self.kept[key] if (each.column, each.detector) == (column, detector)]
        return found
