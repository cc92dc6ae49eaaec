"""Outlier methods against other implementations and closed forms, and on outliers that each was made for."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from detectors.outliers.catalogue import CATALOGUE, method
from detectors.outliers.hbos import fit_hbos
from detectors.outliers.isolation_forest import DEPTH, IsolationForest, fit_isolation_forest
from detectors.outliers.knn import KEPT_ROWS, NEIGHBOURS, fit_knn
from detectors.outliers.mahalanobis import fit_mahalanobis
from detectors.outliers.model import FITTED_ROWS, fit


def test_mahalanobis_is_scipys() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 3))
    inverse = np.linalg.inv(np.cov(rows.T, bias=True))
    expected = [distance.mahalanobis(row, rows.mean(axis=0), inverse) for row in rows[:50]]
    assert fit_mahalanobis(rows, rng).scores(rows[:50]) == pytest.approx(expected, rel=1e-4)


def test_knn_is_the_distance_to_the_fifth_nearest_kept_row() -> None:
    rng = np.random.default_rng(1)
    rows, new = rng.normal(3.0, 2.0, size=(900, 4)), rng.normal(size=(300, 4))
    assert len(rows) < KEPT_ROWS  # so that all are kept
    scale = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    oracle = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(scale)
    expected = oracle.kneighbors((new - rows.mean(axis=0)) / rows.std(axis=0))[0][:, -1]
    assert fit_knn(rows, rng).scores(new) == pytest.approx(expected, rel=1e-6)


def walked(forest: IsolationForest, row: np.ndarray) -> float:
    """The published score, one tree and one step after the other."""
    depths = []
    for columns, cuts, ends in zip(forest.column, forest.cut, forest.depth, strict=True):
        node = 0
        for _ in range(DEPTH):
            node = 2 * node + (2 if row[columns[node]] >= cuts[node] else 1)
        depths.append(ends[node - len(columns)])
    return float(2.0 ** (-np.mean(depths) / forest.expected))


def test_all_trees_at_once_go_the_way_of_one_after_the_other() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(500, 3))
    forest = fit_isolation_forest(rows, rng)
    assert forest.scores(rows[:40]) == pytest.approx([walked(forest, row) for row in rows[:40]])


def test_the_forest_ranks_rows_as_scikit_learns_does() -> None:
    rng = np.random.default_rng(3)
    rows = np.vstack((rng.normal(size=(1500, 4)), rng.normal(size=(50, 4)) * 4.0))
    oracle = -SklearnForest(n_estimators=200, max_samples=256, random_state=0).fit(rows).score_samples(rows)
    found = fit_isolation_forest(rows, rng).scores(rows)
    assert stats.spearmanr(found, oracle).statistic > 0.93
    assert found.mean() == pytest.approx(oracle.mean(), abs=0.02)


def test_hbos_is_the_logarithm_of_histograms() -> None:
    rng = np.random.default_rng(4)
    rows = rng.choice([1.0, 2.0, 5.0], size=(6000, 1), p=[0.6, 0.3, 0.1])
    usual, half, rare = fit_hbos(rows, rng).scores(np.array([[1.0], [2.0], [5.0]]))
    counts = [(rows == value).sum() for value in (1.0, 2.0, 5.0)]
    assert usual == 0.0
    assert (half, rare) == pytest.approx([np.log2(counts[0] / count) for count in counts[1:]], abs=1e-2)
    smooth = rng.normal(size=(200_000, 1))
    found = fit_hbos(smooth, rng).scores(np.array([[0.0], [1.0], [1.5]]))
    assert found == pytest.approx([0.0, 0.5 / np.log(2), 1.125 / np.log(2)], abs=0.2)


def ring(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    angle = rng.uniform(0, 2 * np.pi, 2000)
    usual = np.column_stack((np.cos(angle), np.sin(angle))) * 10.0 + rng.normal(size=(2000, 2))
    return usual, rng.normal(size=(100, 2))


def crossed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    line = rng.normal(size=(2000, 1))
    usual = np.hstack((line, line)) + 0.1 * rng.normal(size=(2000, 2))
    odd = rng.normal(size=(100, 1))
    return usual, np.hstack((odd, -odd))[np.abs(odd[:, 0]) > 0.5]


def one_of_many(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    odd = rng.normal(size=(100, 20))
    odd[:, 7] = 8.0
    return rng.normal(size=(2000, 20)), odd


@pytest.mark.parametrize(
    ("case", "good", "blind"),
    [
        (ring, (fit_knn, fit_isolation_forest), (fit_mahalanobis,)),
        (crossed, (fit_mahalanobis, fit_knn), (fit_hbos,)),
        (one_of_many, (fit_mahalanobis, fit_hbos), ()),
    ],
)
def test_each_finds_what_its_page_says_it_finds(case, good, blind) -> None:
    rng = np.random.default_rng(5)
    usual, odd = case(rng)
    truth = np.repeat([0, 1], [len(usual[1000:]), len(odd)])

    def found_by(fitter) -> float:
        scores = fitter(usual[:1000], rng).scores(np.vstack((usual[1000:], odd)))
        return float(roc_auc_score(truth, scores))

    assert all(found_by(fitter) > 0.9 for fitter in good)
    assert all(found_by(fitter) < 0.8 for fitter in blind)


@pytest.mark.parametrize("method", CATALOGUE, ids=lambda method: method.name)
@pytest.mark.parametrize("values", [(5, 1), (3, 2)])
def test_where_many_rows_are_alike_none_is_an_outlier_only_because_it_came_later(method, values) -> None:
    different, columns = values
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows, later = (rng.integers(0, different, (1000, columns)).astype(float) for _ in range(2))
        fitted = fit(method, ("a", "b")[:columns], rows, 0.01, rng)
        assert fitted is not None
        # Each of these values is one of five or nine: no hundredth of the rows is further out than others.
        assert not (fitted.model.scores(later) > fitted.model.threshold).any()


def test_more_rows_than_a_model_is_made_of_are_scored_all_and_as_many_are_outliers_as_asked() -> None:
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(FITTED_ROWS * 2 + 2, 2))  # either half has more, too
    found = fit(method("mahalanobis"), ("x", "y"), rows, 0.01, rng)
    assert found is not None
    assert np.isfinite(found.scores).all()
    assert np.mean(found.scores > found.model.threshold) == pytest.approx(0.01, abs=0.002)
    assert found.model.scores(np.array([[0.0, 0.0], [5.0, 0.0]])) == pytest.approx([0.0, 5.0], abs=0.05)
