"""NannyML's car loans and car prices, which change half-way: is the drift found, and accuracy told before labels?

The data come with NannyML's wheel (Apache-2.0), in the environment that the peers have. Chunks of 5,000 rows of the
loans and 6,000 of the prices, compared with the reference part as ``driftline analyze`` does; NannyML's own figures are
those of its documentation (tutorials on CBPE and realised performance). The dummy says what the reference has.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers.environments import python_of
from driftline.cli.analysis import analyze
from driftline.results import ALL_COLUMNS, WHOLE_WINDOW, Result, Verdict

CHUNKS = 10
ESTIMATED = (0.970744, 0.971011, 0.971407, 0.971091, 0.971123, 0.961090, 0.961825, 0.961073, 0.962533, 0.961316)
REALISED = (0.970962, 0.970248, 0.976282, 0.967721, 0.969886, 0.960050, 0.958530, 0.959041, 0.963094, 0.957556)
#: Of the reference part; what the dummy says of every chunk.
REFERENCE_AUC = 0.9710
LOANS = {"target": "repaid", "prediction": "y_pred", "score": "y_pred_proba"}
PRICES = {"target": "y_true", "prediction": "y_pred"}
#: Chunks on both sides of the change, which the costly tests of all columns together are asked of.
AROUND = (4, 5)
TOGETHER = ("pca_reconstruction", "domain_classifier")


def data_folder() -> Path:
    """Where NannyML's wheel keeps its data; raises MissingPartError."""
    (found,) = python_of("nannyml").parent.parent.glob("lib/python3*/site-packages/nannyml/datasets/data")
    return found


def tables() -> list[dict[str, Any]]:
    """Drift of all columns together, AUC before and after labels, and the error of prices likewise."""
    folder = data_folder()
    loans = [
        pd.read_csv(folder / f"synthetic_car_loan_{part}.csv") for part in ("reference", "analysis", "analysis_target")
    ]
    prices = [
        pd.read_csv(folder / f"regression_synthetic_{part}.csv")
        for part in ("reference", "analysis", "analysis_targets")
    ]
    return [_loans(*_chunked(loans, "repaid")), _prices(*_chunked(prices, "y_true"))]


def _chunked(frames: Sequence[pd.DataFrame], target: str) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    reference, now, truth = frames
    now = now.assign(**{target: truth[target].to_numpy()})
    dated = [name for name in ("id", "timestamp") if name in reference.columns]
    rows = len(now) // CHUNKS
    chunks = [now.iloc[place * rows : (place + 1) * rows].drop(columns=dated) for place in range(CHUNKS)]
    return reference.drop(columns=dated), chunks


def _loans(reference: pd.DataFrame, chunks: Sequence[pd.DataFrame]) -> dict[str, Any]:
    rows: list[list[object]] = []
    realised, errors = [], []
    for place, chunk in enumerate(chunks):
        known = _results(reference, chunk, LOANS, TOGETHER if place in AROUND else ())
        estimate = _results(reference, chunk.drop(columns=["repaid"]), LOANS)["estimated_auc"]
        realised.append(known["auc"].statistic)
        errors.append([estimate.statistic, ESTIMATED[place], REFERENCE_AUC])
        rows.append(
            [
                place + 1,
                "no" if place < CHUNKS // 2 else "yes",
                *_together(known),
                f"{realised[-1]:.4f}",
                f"{REALISED[place]:.4f}",
                _told(estimate, 4),
                f"{ESTIMATED[place]:.4f}",
                f"{REFERENCE_AUC:.4f}",
            ]
        )
    rows.append(["mean error", "", "", "", "", "", *_mean_errors(realised, errors, 4)])
    head = [
        "chunk", "drifted", "all columns together: drifted by", "AUC of telling them apart", "AUC", "NannyML's",
        "AUC before labels", "NannyML's", "dummy",
    ]  # fmt: skip
    return {
        "title": "NannyML's car loans, all columns together and AUC, chunks of 5,000 rows",
        "head": head,
        "rows": rows,
    }


def _together(known: Mapping[str, Result]) -> tuple[str, str]:
    """By which tests of all columns together a chunk drifted, and how well it can be told from the reference."""
    if not known.keys() & set(TOGETHER):
        return "not asked", "-"
    drifted = [name for name in TOGETHER if known[name].verdict is Verdict.DRIFTED]
    return ", ".join(drifted) or "none", f"{known['domain_classifier'].statistic:.2f}"


def _prices(reference: pd.DataFrame, chunks: Sequence[pd.DataFrame]) -> dict[str, Any]:
    rows: list[list[object]] = []
    realised, errors = [], []
    usual = float(np.abs(reference["y_true"] - reference["y_pred"]).mean())
    for place, chunk in enumerate(chunks):
        error = _results(reference, chunk, PRICES)["mae"].statistic
        estimate = _results(reference, chunk.drop(columns=["y_true"]), PRICES)["estimated_mae"]
        realised.append(error)
        errors.append([estimate.statistic, usual])
        rows.append([place + 1, f"{error:.0f}", _told(estimate, 0), f"{usual:.0f}"])
    rows.append(["mean error", "", *_mean_errors(realised, errors, 0)])
    head = ["chunk", "mean absolute error", "before labels", "dummy"]
    return {"title": "NannyML's car prices, mean absolute error, chunks of 6,000 rows", "head": head, "rows": rows}


def _results(
    reference: pd.DataFrame, chunk: pd.DataFrame, roles: Mapping[str, str], together: Sequence[str] = ()
) -> dict[str, Result]:
    """What ``driftline analyze`` says of the whole window, by detector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = analyze(reference, chunk, multivariate=together, **roles)
    return {result.detector: result for result in found.results if result.column in (WHOLE_WINDOW, ALL_COLUMNS)}


def _told(estimate: Result, digits: int) -> str:
    """An estimate with its interval."""
    if estimate.effect is None:
        return f"{estimate.statistic:.{digits}f}"
    low, high = estimate.effect.lower, estimate.effect.upper
    return f"{estimate.statistic:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _mean_errors(realised: Sequence[float], errors: Sequence[Sequence[float]], digits: int) -> list[str]:
    """How far each of several estimates is from what labels showed, on average."""
    gaps = np.abs(np.array(errors) - np.array(realised)[:, None]).mean(axis=0)
    return [f"{gap:.{digits}f}" for gap in gaps]
