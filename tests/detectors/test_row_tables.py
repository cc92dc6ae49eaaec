"""Tests of rows on kept rows: what the reference keeps, how often they alarm for nothing, and what they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.counts.summary import WindowState
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.evaluating.row_tables import stored_tables
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.monitors import Monitor
from driftline.results import ALL_COLUMNS, StreamKey, Verdict, WindowKey

STREAM = StreamKey("default", "m", "1", "stable")
WINDOW = WindowKey(STREAM, "", 0.0, 86400.0)
WHOLE = 400
BRIDGE = default_bridge()


def monitor(kept_rows: int, *names: str) -> Monitor:
    return Monitor.model_validate(
        {
            "model": "m",
            "task": "binary",
            "columns": [
                {"name": "x", "type": "numeric"},
                {"name": "y", "type": "numeric"},
                {"name": "plan", "type": "categorical"},
                {"name": "customer", "type": "categorical", "drift": False},
            ],
            "segments": ["plan"],
            "reference": {"path": "r.parquet"},
            "detectors": {"multivariate": names, "kept_rows": kept_rows, "false_alarm_rate": 0.2},
        }
    )


def rows(rng: np.random.Generator, count: int = WHOLE, together: float = 0.0) -> ColumnBatch:
    """Heavy tails, some values missing; ``together``: how much of one number is the other's."""
    values = rng.standard_t(4, size=(count, 2))
    values[:, 1] = together * values[:, 0] + np.sqrt(1.0 - together**2) * values[:, 1]
    values[rng.random((count, 2)) < 0.03] = np.nan
    text = {"plan": rng.choice(["free", "paid"], count, p=[0.7, 0.3]), "prediction": rng.choice(["0", "1"], count)}
    texts = {name: column.astype(object) for name, column in text.items()}
    texts["customer"] = np.array([f"somebody-{number}" for number in range(count)], dtype=object)
    return ColumnBatch(count, {"x": values[:, 0], "y": values[:, 1]}, texts)


def reference(rng: np.random.Generator, kept_rows: int, *names: str) -> Reference:
    batch = rows(rng)
    return build_reference(pd.DataFrame({**batch.numeric, **batch.text}), monitor(kept_rows, *names))


@dataclass(frozen=True)
class Rows:
    """Where windows' rows are, each window's all."""

    of: Mapping[WindowKey, ColumnBatch]

    def window_rows(self, keys: Sequence[WindowKey], limit: int) -> ColumnBatch:
        (found,) = [self.of[key] for key in keys]
        return found.take(np.arange(min(limit, found.rows)))

    def labelled_rows(self, monitor: Monitor, key: WindowKey, limit: int) -> tuple[ColumnBatch, JudgedBatch]:
        raise NotImplementedError


def test_a_reference_keeps_so_many_rows_of_each_segment_and_brings_them_back(tmp_path: Path) -> None:
    known = reference(np.random.default_rng(1), 100, "mmd")
    assert {name: len(kept) for name, kept in known.rows.items()} == {"": 100, "plan=free": 100, "plan=paid": 100}
    assert [column.name for column in known.row_columns(monitor(100))] == ["x", "y", "plan"]
    known.save(tmp_path / "m.reference")
    loaded = load_reference(tmp_path / "m.reference")
    assert all(np.array_equal(loaded.rows[name], kept, equal_nan=True) for name, kept in known.rows.items())
    assert loaded.version == reference(np.random.default_rng(1), 0).version


def test_without_being_asked_it_keeps_none(tmp_path: Path) -> None:
    known = reference(np.random.default_rng(1), 0, "mmd")
    assert known.rows == {}
    known.save(tmp_path / "m.reference")
    with np.load(tmp_path / "m.reference") as arrays:
        assert not [name for name in arrays.files if name.startswith("rows/")]


def build_rows(batch: ColumnBatch, spec: Monitor) -> Mapping[str, np.ndarray]:
    return build_reference(pd.DataFrame({**batch.numeric, **batch.text}), spec).rows


def alarms(name: str, windows: int, together: float) -> list[Verdict]:
    """Windows of fresh rows, each beside fresh rows of a reference: one's chance must not be that of them all."""
    rng, spec = np.random.default_rng(11), monitor(150, name)
    known = reference(rng, 150, name)
    counting = StatisticsEngine({spec.name: known})
    verdicts = []
    for _ in range(windows):
        before, now = rows(rng), rows(rng, together=together)
        fresh = replace(known, rows=build_rows(before, spec))
        evaluator = Evaluator(spec, fresh, BRIDGE)
        state = WindowState.from_bytes(counting.observe(spec, None, now))
        table = stored_tables(spec, fresh, Rows({WINDOW: now}))(WINDOW, ())
        found = evaluator.evaluate(WINDOW, state, table).results
        verdicts += [result.verdict for result in found if result.column == ALL_COLUMNS]
    return verdicts


@pytest.mark.parametrize("name", ["mmd", "pca_reconstruction"])
def test_alarms_for_nothing_keep_to_their_rate(name: str) -> None:
    found = alarms(name, 30, together=0.0)
    # A tenth, half of the monitor's rate, is three of thirty; four and a half standard deviations above are ten.
    assert sum(verdict is not Verdict.OK for verdict in found) <= 10


def test_what_goes_together_is_found_nearly_always() -> None:
    assert alarms("mmd", 12, together=0.85) == [Verdict.DRIFTED] * 12
