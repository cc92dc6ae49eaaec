"""A monitor and a reference made of arrays, and windows of them counted and evaluated: what the benchmarks of detectors
measure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.baselines.reference import Reference, build_reference
from detectors.counts.summary import WindowState
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluated, Evaluator, default_bridge
from driftline.columns import ColumnBatch
from driftline.monitor_detectors import AUTO, DetectorSpec, ReferenceSpec, RowsTogether
from driftline.monitors import ColumnSpec, Monitor
from driftline.results import StreamKey, WindowKey

KEY = WindowKey(StreamKey("default", "bench", "1", "stable"), "", 0.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is made once."""

    monitor: Monitor
    reference: Reference
    engine: StatisticsEngine
    evaluator: Evaluator

    def count(self, rows: ColumnBatch) -> bytes:
        """Rows as the state that the collector keeps."""
        return self.engine.observe(self.monitor, None, rows)

    def evaluate(self, state: bytes | WindowState) -> Evaluated:
        """What the evaluation job makes of a window."""
        return self.evaluator.evaluate(KEY, WindowState.from_bytes(state) if isinstance(state, bytes) else state)


def monitor_of(
    reference: Mapping[str, NDArray[Any]],
    detectors: Mapping[str, Sequence[str]] | None = None,
    rows_together: RowsTogether = AUTO,
) -> Monitor:
    """One that watches every column; detectors are the defaults where none are named."""
    columns = tuple(
        ColumnSpec(name=name, type="numeric" if values.dtype.kind == "f" else "categorical")
        for name, values in reference.items()
    )
    known = {
        kind: tuple(name for name in names if kind == "numeric" or name in _FOR_TEXT)
        for kind, names in (detectors or {}).items()
    }
    return Monitor(
        model="bench",
        task="regression",
        columns=columns,
        reference=ReferenceSpec(path="reference", predictions=False),
        detectors=DetectorSpec(**known, rows_together=rows_together),
    )


_FOR_TEXT = {"psi", "chi_square", "jensen_shannon", "g_test", "hellinger"}


def prepared(
    reference: Mapping[str, NDArray[Any]],
    detectors: Mapping[str, Sequence[str]] | None = None,
    rows_together: RowsTogether = AUTO,
    *,
    in_time: bool = False,
) -> Prepared:
    """The reference built and all that follows from it. ``in_time``: its rows are known to lie in order of time."""
    monitor = monitor_of(reference, detectors, rows_together)
    frame = pd.DataFrame(
        {name: values if values.dtype.kind == "f" else values.astype(object) for name, values in reference.items()}
    )
    built = build_reference(frame, monitor, seconds=np.arange(len(frame), dtype=np.float64) if in_time else None)
    engine = StatisticsEngine({monitor.name: built})
    return Prepared(monitor, built, engine, Evaluator(monitor, built, default_bridge()))


def columns_of(window: Mapping[str, NDArray[Any]]) -> ColumnBatch:
    """A window's arrays as the collector has them."""
    numeric = {name: values for name, values in window.items() if values.dtype.kind == "f"}
    text = {name: values.astype(object) for name, values in window.items() if name not in numeric}
    return ColumnBatch(len(next(iter(window.values()))), numeric, text)
