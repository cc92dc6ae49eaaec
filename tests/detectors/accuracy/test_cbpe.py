"""Metrics estimated before labels, against the published definition on rows, and against labels that came after."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

from detectors.accuracy.cbpe import auc_beyond_bins, estimated
from tests.parts.scored_rows import THRESHOLD, cuts_of, rows_of, strata_from, table_of


def realised(score: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    said = score > THRESHOLD
    hits = (said & truth).sum()
    return {
        "accuracy": np.mean(said == truth),
        "precision": hits / said.sum(),
        "recall": hits / truth.sum(),
        "f1": 2.0 * hits / (said.sum() + truth.sum()),
    }


def test_it_is_the_definition_on_calibrated_rows() -> None:
    rng = np.random.default_rng(0)
    score, truth = rows_of(40_000, rng)
    shifted, _ = rows_of(40_000, rng, far=0.5)
    # As published: a row's probability is the reference's calibrated one, and metrics are of expected counts.
    chance = IsotonicRegression(out_of_bounds="clip").fit(score, truth).predict(shifted)
    said = shifted > THRESHOLD
    hits = chance[said].sum()
    right = hits + (1.0 - chance[~said]).sum()
    expected = {
        "accuracy": right / len(shifted),
        "precision": hits / said.sum(),
        "recall": hits / chance.sum(),
        "f1": 2.0 * hits / (said.sum() + chance.sum()),
    }
    cuts = cuts_of(score, 40)
    window = table_of(shifted, np.zeros(len(shifted), dtype=bool), cuts)
    found = estimated(strata_from(table_of(score, truth, cuts), window))
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=0.004), name


def test_on_the_reference_itself_it_is_what_was_realised() -> None:
    score, truth = rows_of(20_000, np.random.default_rng(1))
    table = table_of(score, truth, cuts_of(score))
    strata = strata_from(table, table)
    auc = metrics.roc_auc_score(truth, score)
    found = estimated(strata, auc_beyond_bins(strata, auc))
    for name, value in {**realised(score, truth), "auc": auc}.items():
        assert found[name].value == pytest.approx(value, abs=2e-3), name


@pytest.mark.parametrize(("before", "now"), [(400, 150), (2000, 1000), (1000, 5000)])
def test_intervals_hold_what_labels_show_later_however_few_rows_there_are(before: int, now: int) -> None:
    rng = np.random.default_rng(2)
    held = dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0)
    for _ in range(150):
        score, truth = rows_of(before, rng)
        cuts = cuts_of(score, max(2, before // 50))
        later = rows_of(now, rng, far=0.3)
        found = estimated(strata_from(table_of(score, truth, cuts), table_of(*later, cuts)))
        shown = realised(*later)
        for name in held:
            held[name] += found[name].lower <= shown[name] <= found[name].upper
    # 0.95 less five standard errors; a band without the calibration's error holds four in five at (1000, 5000).
    assert all(count >= 150 * 0.86 for count in held.values()), held


def test_a_scarce_class_stays_scarce() -> None:
    rng = np.random.default_rng(3)
    score = rng.random(5000) * 0.02
    truth = rng.random(5000) < 0.001
    table = table_of(score, truth, cuts_of(score))
    found = estimated(strata_from(table, table))
    assert found["accuracy"].value == pytest.approx(1.0 - truth.mean(), abs=5e-4)
    assert found["accuracy"].upper <= 1.0
    assert "precision" not in found  # nothing was said to be positive


def test_several_classes_have_accuracy_and_macro_f1() -> None:
    rng = np.random.default_rng(4)
    truth = rng.choice(3, 30_000, p=[0.5, 0.3, 0.2])
    said = np.where(rng.random(30_000) < 0.7, truth, rng.choice(3, 30_000))
    table = np.zeros((3, 3))
    np.add.at(table, (said, truth), 1)
    from_reference = strata_from(np.vstack((table, 0 * table)), np.vstack((table, 0 * table)))
    strata = type(from_reference)(np.arange(3), np.zeros(3, dtype=int), table, table.sum(axis=1), 0 * table)
    found = estimated(strata)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-4)
    assert found["f1_macro"].value == pytest.approx(metrics.f1_score(truth, said, average="macro"), abs=1e-3)
    assert found["f1_macro"].upper - found["f1_macro"].lower < 0.03
