"""What every outlier method promises, held for each by its standing in the catalogue."""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import build_reference, load_reference
from detectors.counts.frames import window_rows
from detectors.counts.summary import WindowState, merge
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.outliers.catalogue import CATALOGUE
from detectors.outliers.model import PIECE_ROWS, Entry, Fit, fit
from driftline.errors import MonitorError
from driftline.monitor_detectors import DetectorSpec
from driftline.monitors import Monitor, parse_monitor
from driftline.results import Result, StreamKey, Verdict, WindowKey

every_method = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
NAMES = ("a", "b", "c")
DOCS = Path(__file__).parents[3] / "docs"
RATE = 0.02


def rows_of(count: int, seed: int = 0, moved: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    rows[:, 2] = np.round(rows[:, 2])  # a column of few values
    rows[rng.random(rows.shape) < 0.02] = np.nan
    return rows + moved


def fitted(entry: Entry, rows: int = 3000) -> Fit:
    found = fit(entry, NAMES, rows_of(rows), RATE, np.random.default_rng(1))
    assert found is not None
    return found


def monitor(entry: Entry) -> Monitor:
    columns = ", ".join(f"{{name: {name}, type: numeric}}" for name in NAMES)
    detectors = f"{{outliers: {entry.name}, outlier_rate: {RATE}}}"
    return parse_monitor(f"model: m\ntask: regression\ncolumns: [{columns}]\ndetectors: {detectors}\n", "m.yaml")


def frame_of(rows: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(NAMES)).assign(prediction=1.0)


def test_the_list_and_what_monitors_may_say_are_the_same() -> None:
    assert tuple(entry.name for entry in CATALOGUE) == get_args(DetectorSpec.model_fields["outliers"].annotation)


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(MonitorError, match="isolation_forest"):
        parse_monitor(
            "model: m\ntask: binary\ncolumns: [{name: a, type: numeric}]\ndetectors: {outliers: isolation_forrest}", "m"
        )


@every_method
def test_it_has_a_page(entry: Entry) -> None:
    page = (DOCS / "detectors" / f"{entry.name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# `{entry.name}`")
    assert len(page.splitlines()) <= 25


@pytest.mark.filterwarnings("error")
@every_method
def test_rows_alone_in_any_order_and_among_many_score_the_same(entry: Entry) -> None:
    model = fitted(entry).model
    rows = rows_of(PIECE_ROWS + 300, seed=2)
    whole = model.scores(rows)
    order = np.random.default_rng(3).permutation(len(rows))
    assert model.scores(rows[order]) == pytest.approx(whole[order], rel=1e-9, abs=1e-6)
    alone = np.array([model.scores(rows[place : place + 1])[0] for place in range(60)])
    assert alone == pytest.approx(whole[:60], rel=1e-9, abs=1e-6)


@every_method
def test_seeded_repeats_and_files_give_the_same_scores(entry: Entry, tmp_path) -> None:
    rows = rows_of(200, seed=4)
    built = build_reference(frame_of(rows_of(3000)), monitor(entry))
    built.save(tmp_path / "r")
    kept = load_reference(tmp_path / "r")
    for again in (build_reference(frame_of(rows_of(3000)), monitor(entry)), kept):
        assert again.outliers is not None
        assert built.outliers is not None
        assert (again.outliers.name, again.outliers.threshold) == (entry.name, built.outliers.threshold)
        assert np.array_equal(again.outliers.scores(rows), built.outliers.scores(rows), equal_nan=True)


@pytest.mark.filterwarnings("error")
@every_method
def test_odd_rows_have_a_score_and_far_ones_are_outliers(entry: Entry) -> None:
    model = fitted(entry).model
    odd = np.array(
        [
            [np.inf, 0.0, 0.0],
            [-np.inf, -np.inf, np.inf],
            [1e300, -1e300, 0.0],
            [50.0, 50.0, 50.0],
            [5e-324, 0.0, 0.0],
            [0.0, np.nan, np.nan],
            [np.nan, np.nan, np.nan],
        ]
    )
    kept = odd.copy()
    scores = model.scores(odd)
    assert np.array_equal(odd, kept, equal_nan=True)
    assert np.isnan(scores[-1])
    assert np.isfinite(scores[:-1]).all()
    assert (scores[:-1] >= 0.0).all()
    assert (scores[1:4] > model.threshold).all()
    assert (scores[4:6] < model.threshold).all()
    assert model.scores(odd[:0]).shape == (0,)


@pytest.mark.filterwarnings("error")
@every_method
def test_a_reference_without_scale_is_left_out(entry: Entry) -> None:
    rng = np.random.default_rng(0)
    constant = np.column_stack((np.full(100, 7.0), rng.normal(size=100), np.full(100, np.nan)))
    found = fit(entry, NAMES, constant, RATE, rng)
    assert found is not None
    assert found.model.columns == ("b",)
    for rows in (np.full((100, 3), 7.0), np.full((100, 3), np.nan), rows_of(1), rows_of(0), rows_of(3)):
        assert fit(entry, NAMES, rows, RATE, rng) is None


@every_method
def test_the_share_of_outliers_among_new_rows_is_the_one_asked_for(entry: Entry) -> None:
    model = fitted(entry).model
    scores = model.scores(rows_of(20_000, seed=5))
    # The threshold is a quantile of 3,000 scores, so that its share scatters by a quarter of a percent; five times it.
    assert np.mean(scores > model.threshold) == pytest.approx(RATE, abs=5.0 * np.sqrt(RATE * (1 - RATE) / 3000))


@every_method
def test_a_window_with_odd_rows_says_so_and_one_without_does_not(entry: Entry) -> None:
    watched = monitor(entry)
    reference = build_reference(frame_of(rows_of(3000)), watched)
    engine, evaluator = StatisticsEngine({watched.name: reference}), Evaluator(watched, reference, default_bridge())

    def result(rows: np.ndarray) -> Result:
        parts = [
            engine.observe(watched, None, window_rows(frame_of(part), watched)) for part in np.array_split(rows, 3)
        ]
        whole = engine.observe(watched, None, window_rows(frame_of(rows), watched))
        merged = merge([WindowState.from_bytes(part) for part in parts])
        assert merged.to_bytes() == whole
        (found,) = [each for each in evaluator.evaluate(KEY, merged).results if each.kind == "outliers"]
        assert found.detector == entry.name
        return found

    assert result(rows_of(1000, seed=6)).verdict is Verdict.OK
    odd = np.vstack((rows_of(850, seed=7), rows_of(150, seed=8, moved=15.0)))
    found = result(odd)
    assert found.verdict is Verdict.WARNING
    assert found.statistic > 0.1
    assert result(rows_of(5, seed=9)).verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert result(np.full((200, 3), np.nan)).verdict is Verdict.NOT_ENOUGH_EVIDENCE
