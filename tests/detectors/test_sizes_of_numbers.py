"""Numbers as large and as small as floats hold: a change of unit changes no answer."""

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import build_reference
from detectors.evaluating.catalogue import CATALOGUE
from detectors.offline.files import OfflineWindows, Span
from driftline.monitors import Monitor
from driftline.results import Result, StreamKey

TESTS = ("e_shiryaev_roberts", "e_cusum", "e_pooled", "betting", "adwin", "page_hinkley", "kswin", "ddm")
NUMERIC = tuple(
    entry.name for entry in CATALOGUE if "numeric" in entry.kinds and entry.decides and ":" not in entry.name
)


def judged(unit: float) -> list[Result]:
    """What all detectors say of a column in this unit, after a change, beside one that stays."""
    monitor = Monitor.model_validate(
        {
            "model": "m",
            "task": "regression",
            "columns": [{"name": "x", "type": "numeric"}, {"name": "same", "type": "numeric"}],
            "reference": {"path": "r", "predictions": False},
            "detectors": {"numeric": NUMERIC, "online": {"tests": TESTS}, "multivariate": ["mmd_features"]},
        }
    )
    rng = np.random.default_rng(1)

    def rows(count: int, mean: float) -> pd.DataFrame:
        return pd.DataFrame({"x": rng.normal(mean, 1.0, count) * unit, "same": np.arange(count) % 7 * 1.0})

    reference = build_reference(rows(900, 0.0), monitor)
    windows = OfflineWindows(monitor, reference, StreamKey("default", "m", "", ""), Span(0.0, 1.0))
    windows.add(rows(300, 0.6))
    return [result for result in windows.evaluate().results if result.kind == "drift"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exponent", [1020, 1000, 520, -500, -900])
def test_results_do_not_depend_on_the_unit(exponent: int) -> None:
    seen, expected = judged(2.0**exponent), judged(1.0)
    assert len(seen) == len(expected) > len(NUMERIC) + len(TESTS)
    for one, other in zip(seen, expected, strict=True):
        assert (one.column, one.detector, one.verdict) == (other.column, other.detector, other.verdict)
        assert one.statistic == pytest.approx(other.statistic, rel=1e-6)
        assert (one.p_value is None) == (other.p_value is None)
        assert one.p_value is None or one.p_value == pytest.approx(other.p_value, rel=1e-6, abs=1e-12)
        assert (one.effect is None) == (other.effect is None)
        if one.effect is not None and other.effect is not None:
            assert one.effect.value == pytest.approx(other.effect.value, rel=1e-6)
