"""Reference and window side by side, by stratum: what the model said, and how sure it was.

Inside a stratum predictions are alike to the model. Three things are known of each: what labels reference rows had
there, how many rows the window has there, and what labels those of them have whose labels came.

Shares of labels are shrunk a little towards those of all reference rows with the same prediction (as if one row more
had them), so that a stratum without a label of one class does not claim that there are none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section

#: Reference rows that the shares of labels of all rows with one prediction count as, in each stratum.
PRIOR_ROWS = 1.0


@dataclass(frozen=True, slots=True)
class Strata:
    """Counts of S strata and L labels.

    ``said``: each stratum's prediction, shape (S,), as the place of its label. ``reference``: judged reference rows,
    shape (S, L). ``rows``: the window's rows, shape (S,). ``judged``: those with labels, shape (S, L).
    ``bins``: the score bin of each stratum, ascending, shape (S,); the last bin has no score.
    """

    said: NDArray[np.intp]
    bins: NDArray[np.intp]
    reference: NDArray[np.float64]
    rows: NDArray[np.float64]
    judged: NDArray[np.float64]

    @property
    def right(self) -> NDArray[np.float64]:
        """1 where a stratum's prediction is the label, shape (S, L)."""
        return np.asarray(self.said[:, None] == np.arange(self.reference.shape[1]), dtype=np.float64)

    @property
    def reference_rows(self) -> NDArray[np.float64]:
        """Judged reference rows per stratum, shape (S,)."""
        found: NDArray[np.float64] = self.reference.sum(axis=1)
        return found


def strata_of(
    layout: PerformanceLayout, reference: Section | None, counted: Section | None, judged: Section | None
) -> Strata | None:
    """The strata of a classification; None without judged reference rows or without rows with a prediction."""
    if reference is None or counted is None or layout.task == "regression":
        return None
    before = np.maximum(layout.outcome_table(reference.values), 0).astype(np.float64)
    rows = np.maximum(counted.values, 0).astype(np.float64)
    now = np.zeros_like(before)
    if judged is not None:
        now = np.maximum(layout.outcome_table(judged.values), 0).astype(np.float64)
    if before.sum() <= 0 or rows.sum() <= 0:
        return None
    bins = np.tile(np.arange(len(layout.cuts) + 2), layout.side)
    # A row is counted before its label; where a part of the window was lost, its labels may be left.
    return Strata(layout.stratum_said(), bins, before, np.maximum(rows, now.sum(axis=1)), now)


def label_shares(said: NDArray[np.intp], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each label per stratum, as the reference has it, shape (S, L)."""
    labels = reference.shape[1]
    overall = reference.sum(axis=0)
    together = np.zeros((labels, labels))
    np.add.at(together, said, reference)
    together += overall / overall.sum()
    prior = (together / together.sum(axis=1, keepdims=True))[said]
    shares: NDArray[np.float64] = (reference + PRIOR_ROWS * prior) / (reference.sum(axis=1, keepdims=True) + PRIOR_ROWS)
    return shares
