"""A regression's errors before labels and with the first of them: the definition, coverage, and what a window says."""

import numpy as np
import pandas as pd
import pytest

from detectors.accuracy.direct_loss import corrected_size, estimated_size
from detectors.baselines.reference import build_reference
from detectors.counts.frames import judged_rows, window_rows
from detectors.counts.summary import WindowState
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from driftline.monitors import parse_monitor
from driftline.results import Result, StreamKey, Verdict, WindowKey

STRATA = 20
KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
MONITOR = parse_monitor(
    "model: m\ntask: regression\ncolumns: [{name: x, type: numeric}]\nreference: {path: r.csv, label: label}\n",
    "m.yaml",
)


def errors_of(rng: np.random.Generator, count: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Strata and sizes of errors, which grow with the stratum; ``power`` below 1: more rows in high strata."""
    place = np.floor(rng.random(count) ** power * STRATA).astype(int)
    return place, np.abs(rng.normal(size=count)) * (1.0 + 0.2 * place)


def table_of(place: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.column_stack([np.bincount(place, terms, STRATA) for terms in (np.ones(len(sizes)), sizes, sizes**2)])


def test_the_estimate_is_the_mean_of_what_like_rows_had() -> None:
    rng = np.random.default_rng(0)
    place, sizes = errors_of(rng, 5000)
    now, _ = errors_of(rng, 700, power=0.5)
    per_row = pd.Series(sizes).groupby(place).mean().reindex(now).mean()
    assert estimated_size(table_of(place, sizes), np.bincount(now, minlength=STRATA)).value == pytest.approx(per_row)


@pytest.mark.parametrize(("before", "now"), [(600, 200), (5000, 1000), (1000, 5000)])
def test_intervals_hold_what_labels_show_later(before: int, now: int) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        place, sizes = errors_of(rng, now, power=0.5)
        found = estimated_size(table_of(*errors_of(rng, before)), np.bincount(place, minlength=STRATA))
        held += found.lower <= sizes.mean() <= found.upper
    assert held >= 300 * 0.88  # 0.95 less more than five standard errors


@pytest.mark.parametrize(("share", "worse"), [(0.05, 1.0), (0.3, 1.0), (0.3, 1.5), (1.0, 1.0)])
def test_corrected_intervals_hold_though_small_errors_are_labelled_first(share: float, worse: float) -> None:
    rng = np.random.default_rng(2)
    truth = worse * np.sqrt(2.0 / np.pi) * (1.0 + 0.2 * 9.5)
    held = 0
    for _ in range(300):
        place, sizes = errors_of(rng, 2000)
        sizes *= worse
        labelled = rng.random(2000) < share * (1.0 if share == 1.0 else 1.8 - 1.6 * place / STRATA)
        judged = table_of(place[labelled], sizes[labelled])
        found = corrected_size(table_of(*errors_of(rng, 3000)), np.bincount(place, minlength=STRATA), judged)
        assert found is not None
        held += found.lower <= truth <= found.upper
    assert held >= 300 * 0.87


def test_nothing_and_odd_strata_have_an_answer() -> None:
    empty = np.zeros((3, 3))
    some = np.array([[10.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert corrected_size(some, np.ones(3), empty) is None
    assert estimated_size(some, np.ones(3)).value == 0.0
    many = np.array([[1e9, 2e9, 5e9], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    found = estimated_size(many, np.array([1e9, 1.0, 0.0]))
    assert found.lower <= found.value <= found.upper
    assert found.value == pytest.approx(2.0, abs=1e-6)


def frame_of(count: int, seed: int, high: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    said = rng.random(count) ** (1.0 / high) * 100.0
    return pd.DataFrame({"x": said, "prediction": said, "label": said + rng.normal(size=count) * (1.0 + said / 20.0)})


def results_of(frame: pd.DataFrame, share: float) -> dict[str, Result]:
    reference = build_reference(frame_of(4000, 0), MONITOR)
    engine = StatisticsEngine({MONITOR.name: reference})
    frame = frame.assign(label=frame["label"].where(np.random.default_rng(1).random(len(frame)) < share))
    rows = window_rows(frame, MONITOR)
    judged = judged_rows(frame, rows, MONITOR)
    assert judged is not None
    state = engine.observe(MONITOR, None, rows)
    if share:
        state = engine.judge(MONITOR, state, judged.labelled(judged.weight > 0))
    found = Evaluator(MONITOR, reference, default_bridge()).evaluate(KEY, WindowState.from_bytes(state))
    return {result.detector: result for result in found.results if result.kind == "performance"}


def test_a_window_says_what_its_errors_will_be_and_corrects_it() -> None:
    like, high = frame_of(2000, 3), frame_of(2000, 3, high=4.0)
    quiet = results_of(like, 0.0)["estimated_mae"]
    assert (quiet.verdict, quiet.coverage, quiet.sample_size) == (Verdict.OK, None, 2000)
    told = results_of(high, 0.0)["estimated_mae"]
    shown = float(np.abs(high["prediction"] - high["label"]).mean())
    assert told.verdict is Verdict.WARNING
    assert told.effect is not None
    assert told.effect.lower < shown < told.effect.upper
    assert "corrected_mae" not in results_of(high, 0.0)
    corrected = results_of(high, 0.2)["corrected_mae"]
    assert corrected.statistic == pytest.approx(shown, rel=0.15)
    assert corrected.coverage == pytest.approx(0.2, abs=0.05)
    assert "corrected_mae" not in results_of(high, 1.0)


def test_predictions_beyond_the_references_are_told_for_what_is_said_of_them_is_a_guess() -> None:
    wide = frame_of(2000, 3)
    wide[["x", "prediction", "label"]] *= 2.0
    assert "is a guess" in results_of(wide, 0.0)["estimated_mae"].reason
    assert "is a guess" not in results_of(frame_of(2000, 3), 0.0)["estimated_mae"].reason
