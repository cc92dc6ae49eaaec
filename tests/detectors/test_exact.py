"""With a bin for every value, the statistics are those of the rows, to the last digits: scipy is the oracle."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from detectors.baselines.reference import build_reference
from detectors.counts.frames import window_rows
from detectors.counts.summary import WindowState
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from driftline.cli.analysis import analyze
from driftline.monitors import parse_monitor
from driftline.results import Result, StreamKey, WindowKey

NUMERIC = ("ks", "wasserstein", "cramer_von_mises", "anderson_darling", "energy_distance", "psi")
MONITOR = parse_monitor(
    f"""
model: exact
task: regression
columns: [{{name: x, type: numeric}}, {{name: tied, type: numeric}}]
reference: {{path: x.parquet, predictions: false}}
detectors: {{numeric: [{", ".join(NUMERIC)}]}}
""",
    "exact.yaml",
)


def frames(before: int = 3000, now: int = 700) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(5)
    tables = []
    for rows, shift in ((before, 0.0), (now, 0.1)):
        x = rng.standard_t(3, rows) + shift
        tables.append(pd.DataFrame({"x": x, "tied": np.round(x * 100) / 100}))
    return tables[0], tables[1]


def results(before: pd.DataFrame, now: pd.DataFrame) -> dict[tuple[str, str], Result]:
    reference = build_reference(before, MONITOR, exact_with=now)
    engine = StatisticsEngine({MONITOR.name: reference})
    state = engine.observe(MONITOR, None, window_rows(now, MONITOR))
    key = WindowKey(StreamKey("default", "exact", "1", "stable"), "", 0.0, 3600.0)
    found = Evaluator(MONITOR, reference, default_bridge()).evaluate(key, WindowState.from_bytes(state))
    return {(result.column, result.detector): result for result in found.results if result.kind == "drift"}


def test_every_statistic_is_that_of_the_rows() -> None:
    before, now = frames()
    found = results(before, now)
    for column in ("x", "tied"):
        a, b = before[column].to_numpy(), now[column].to_numpy()
        assert found[column, "ks"].statistic == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)
        oracle = stats.wasserstein_distance(a, b) / a.std()
        assert found[column, "wasserstein"].statistic == pytest.approx(oracle, rel=1e-9)
        oracle = stats.energy_distance(a, b) / np.sqrt(a.std())
        assert found[column, "energy_distance"].statistic == pytest.approx(oracle, rel=1e-9)
    a, b = before["x"].to_numpy(), now["x"].to_numpy()
    oracle = stats.cramervonmises_2samp(a, b, method="asymptotic")
    assert found["x", "cramer_von_mises"].statistic == pytest.approx(oracle.statistic, abs=1.0 / 700)
    assert found["x", "cramer_von_mises"].p_value == pytest.approx(oracle.pvalue, rel=0.15, abs=0.02)


def test_bins_of_the_reference_alone_are_close_and_not_exact() -> None:
    """So that the above is not true of any bins."""
    before, now = frames()
    reference = build_reference(before, MONITOR)
    assert len(reference.layout.columns[0].cuts) < 300
    exact = build_reference(before, MONITOR, exact_with=now)
    assert len(exact.layout.columns[0].cuts) == 3000 + 700


def test_analyze_is_exact_when_asked_and_says_the_same() -> None:
    before, now = frames()
    oracle = stats.ks_2samp(before["x"], now["x"]).statistic
    distances = [
        next(
            result.statistic
            for result in analyze(before, now, monitor=MONITOR, exact=exact).results
            if (result.column, result.detector) == ("x", "ks")
        )
        for exact in (True, False)
    ]
    assert distances[0] == pytest.approx(oracle, abs=1e-12)
    assert abs(distances[1] - oracle) < 1 / 256
    assert distances[1] != pytest.approx(oracle, abs=1e-9)
