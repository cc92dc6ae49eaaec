"""Rows of a binary classifier that is calibrated, or not, with truths that are known, as frames and as strata."""

import numpy as np
import pandas as pd

from detectors.accuracy.strata import Strata
from driftline.monitors import Monitor, parse_monitor

THRESHOLD = 0.5


def monitor(more: str = "") -> Monitor:
    text = "model: m\ntask: binary\ncolumns: [{name: x, type: numeric}]\nprediction: {score: score}\n"
    return parse_monitor(f"{text}reference: {{path: r.csv, label: label}}\n{more}", "m.yaml")


def rows_of(
    count: int, rng: np.random.Generator, prior: float = 0.3, flipped: float = 0.0, far: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truths: positives lie higher. ``flipped``: share of truths that are the other one (concept drift);
    ``far``: share of rows near the threshold that are taken out (covariate drift: easier rows).
    """
    truth = rng.random(count) < prior
    place = rng.normal(np.where(truth, 1.0, -0.6))
    # The probability of the positive class, where three in ten are positive.
    score = 1.0 / (1.0 + np.exp(-1.6 * (place - 0.2) - np.log(0.3 / 0.7)))
    if far:
        kept = (np.abs(score - THRESHOLD) > 0.25) | (rng.random(count) > far)
        return score[kept], truth[kept]
    return score, truth ^ (rng.random(count) < flipped)


def frame_of(score: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    said = (score > THRESHOLD).astype(int).astype(str)
    return pd.DataFrame({"x": score, "score": score, "prediction": said, "label": truth.astype(int).astype(str)})


def cuts_of(score: np.ndarray, bins: int = 30) -> np.ndarray:
    return np.sort(score)[np.arange(1, bins) * len(score) // bins]


def table_of(score: np.ndarray, truth: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Rows per stratum and label, shape (2 * (cuts + 2), 2)."""
    strata = (score > THRESHOLD) * (len(cuts) + 2) + np.searchsorted(cuts, score, side="right")
    table = np.zeros((2 * (len(cuts) + 2), 2))
    np.add.at(table, (strata, truth.astype(int)), 1)
    return table


def strata_from(reference: np.ndarray, rows: np.ndarray, judged: np.ndarray | None = None) -> Strata:
    size = len(reference) // 2
    said, bins = np.repeat([0, 1], size), np.tile(np.arange(size), 2)
    return Strata(said, bins, reference, rows.sum(axis=1), np.zeros_like(reference) if judged is None else judged)
