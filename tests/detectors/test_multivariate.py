"""Tests of tables against sums written out and other libraries, and their way through files to a report."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import spatial, stats

from detectors.adapters import evidently
from detectors.evaluating.together import permutations
from detectors.multivariate.domain_classifier import _auc, _aucs, _folds
from detectors.multivariate.energy import energy
from detectors.multivariate.kernels import gaussian
from detectors.multivariate.pca_reconstruction import pca_reconstruction
from detectors.multivariate.permutations import deal, mixed, permutation_test
from detectors.multivariate.prepared import Prepared, prepare
from detectors.offline.outline import draft
from detectors.statistics.principal_plane import VARIANCE_HELD, residuals_of
from detectors.statistics.table_sample import TableSample
from driftline.cli.analysis import analyze, evidently_report
from driftline.errors import MonitorError
from driftline.monitors import Monitor
from driftline.results import ALL_COLUMNS, WHOLE_WINDOW, Result, Verdict


def naive_square(kernel: np.ndarray, first: np.ndarray) -> float:
    """Gretton and others' equation 3, sums written out."""
    within = [kernel[np.ix_(rows, rows)] for rows in (first, ~first)]
    means = [(block.sum() - np.trace(block)) / (len(block) * (len(block) - 1)) for block in within]
    return float(means[0] + means[1] - 2.0 * kernel[np.ix_(first, ~first)].mean())


def test_permutations_in_tiles_are_the_sums_written_out() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(1100, 4)).astype(np.float32)
    rows[600:] += 0.03
    found = permutation_test(rows, 600, gaussian(1.7), 60, np.random.default_rng(2))
    kernel = np.exp(-spatial.distance.cdist(rows, rows, "sqeuclidean") / (2.0 * 1.7**2))
    order = mixed(600, 500)
    deals = deal(order, 600, 60, np.random.default_rng(2)).astype(bool)
    squares = [naive_square(kernel[np.ix_(order, order)], dealt) for dealt in deals.T]
    assert found.unbiased == pytest.approx(squares[0], abs=2e-9)
    assert found.p_value == (1 + sum(square >= squares[0] for square in squares[1:])) / 61
    assert found.between == pytest.approx(kernel[:600, 600:].mean(), rel=1e-5)


def test_energy_is_scipys_in_one_column() -> None:
    rng = np.random.default_rng(3)
    before, now = rng.normal(size=300), rng.normal(0.4, 1.2, size=200)
    sample = TableSample(("x",), before[:, None], now[:, None])
    found = energy(sample, np.random.default_rng(0), 99)
    prepared = prepare(sample, np.random.default_rng(0))
    assert prepared is not None
    x, y = prepared.values[:300, 0], prepared.values[300:, 0]
    # scipy's is the root of half of it.
    square = 2.0 * stats.energy_distance(x, y) ** 2 / 2.0
    assert found.evidence.statistic == pytest.approx(square / (2.0 * np.abs(x[:, None] - y).mean()), rel=1e-3)


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(4)
    scores, current = rng.normal(size=200), np.arange(200) >= 120
    scores[current] += 0.5
    folds = _folds(Prepared(scores[:, None], 120, np.zeros(1, dtype=np.intp), np.empty((200, 0))), rng)
    pairs = [
        np.mean([now > before for now, before in itertools.product(scores[fold & current], scores[fold & ~current])])
        for fold in (folds == place for place in range(5))
    ]
    auc, variance = _auc(scores, current, folds)
    assert auc == pytest.approx(np.mean(pairs))
    assert _aucs(scores[:, None], current[:, None], folds)[0] == auc
    # Hanley and McNeil's variance of an AUC of 40 and 24 rows, five times averaged, is near DeLong's.
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    hanley = (auc * (1 - auc) + 15 * (q1 - auc**2) + 23 * (q2 - auc**2)) / (16 * 24) / 5
    assert variance == pytest.approx(hanley, rel=0.35)


def test_reconstruction_is_that_of_a_singular_value_decomposition_and_its_test_scipys() -> None:
    rng = np.random.default_rng(5)
    fitted, rows = (rng.normal(size=(count, 5)) @ rng.normal(size=(5, 5)) for count in (300, 200))
    centre = fitted.mean(axis=0)
    _, lengths, directions = np.linalg.svd(fitted - centre, full_matrices=False)
    held = np.cumsum(lengths**2) / (lengths**2).sum()
    kept = directions[: int(np.argmax(held >= VARIANCE_HELD)) + 1]
    assert np.allclose(residuals_of(fitted, rows), (rows - centre) - (rows - centre) @ kept.T @ kept)
    sample = TableSample(tuple("abcde"), fitted, rows)
    found = pca_reconstruction(sample, np.random.default_rng(6))
    prepared = prepare(sample, np.random.default_rng(7))
    assert prepared is not None
    order = np.random.default_rng(6).permutation(300)
    halves = prepared.values[order[:150]], prepared.values[order[150:]]
    before, now = (np.linalg.norm(residuals_of(halves[0], part), axis=1) for part in (halves[1], prepared.values[300:]))
    oracle = stats.ks_2samp(before, now, method="asymp")
    assert found.evidence.statistic == pytest.approx(oracle.statistic)
    assert found.evidence.p_value == pytest.approx(oracle.pvalue, rel=0.25)


def test_permutations_are_enough_for_the_rate() -> None:
    for rate in (0.5, 0.05, 0.005, 0.0025):
        assert 1.0 / (1.0 + permutations(rate)) <= rate / 2.0


def frame(rng: np.random.Generator, rows: int, together: float) -> pd.DataFrame:
    values = rng.normal(size=(rows, 2))
    values[:, 1] = together * values[:, 0] + np.sqrt(1 - together**2) * values[:, 1]
    found = pd.DataFrame(values, columns=["x", "y"])
    found["plan"] = rng.choice(["free", "paid"], rows)
    return found


def results_of(found: tuple[Result, ...], column: str) -> list[Result]:
    return [result for result in found if result.column == column and result.kind == "drift"]


EVERY = ("domain_classifier", "mmd", "energy", "pca_reconstruction", "mmd_features")


def test_files_are_compared_by_rows_at_once() -> None:
    rng = np.random.default_rng(8)
    found = analyze(frame(rng, 900, 0.0), frame(rng, 700, 0.9), multivariate=EVERY)
    together = results_of(found.results, ALL_COLUMNS)
    assert [result.detector for result in together] == list(EVERY)
    assert together[0].verdict is Verdict.DRIFTED
    assert "most of all x" in together[0].reason or "most of all y" in together[0].reason
    assert {result.sample_size for result in together} == {700}
    assert {result.reference_size for result in together} == {900}
    assert results_of(found.results, WHOLE_WINDOW)[0].verdict is found.verdict is Verdict.DRIFTED
    assert "all columns" in found.markdown()
    assert "all columns" in found.json()
    quiet = analyze(frame(rng, 900, 0.0), frame(rng, 700, 0.0), multivariate=EVERY)
    assert [result.verdict for result in results_of(quiet.results, ALL_COLUMNS)] == [Verdict.OK] * 5


def test_a_name_that_is_none_is_refused() -> None:
    rng = np.random.default_rng(9)
    with pytest.raises(MonitorError, match="did you mean 'domain_classifier'"):
        analyze(frame(rng, 100, 0.0), frame(rng, 100, 0.0), multivariate=("domain_clasifier",))


def drafted(rng: np.random.Generator) -> Monitor:
    return draft(frame(rng, 200, 0.0), model="m", reference_path="r.csv").monitor


@pytest.mark.skipif(evidently.AVAILABLE, reason="Evidently is installed")
def test_evidentlys_report_without_evidently_says_what_to_install(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    with pytest.raises(MonitorError, match="driftline\\[evidently\\]"):
        evidently_report(frame(rng, 50, 0.0), frame(rng, 50, 0.0), drafted(rng), tmp_path / "r.html")


@pytest.mark.extras
@pytest.mark.skipif(not evidently.AVAILABLE, reason="Evidently is not installed")
def test_evidentlys_own_report_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    path = tmp_path / "r.html"
    evidently_report(frame(rng, 300, 0.0), frame(rng, 300, 0.9), drafted(rng), path)
    text = path.read_text(encoding="utf-8")
    assert "<html" in text
    assert all(name in text for name in ("plan", "Dataset Drift"))
