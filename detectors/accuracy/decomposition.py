"""Why accuracy changed: rows of another kind, labels of another frequency, or another relation between the two.

The reference and the labelled rows of the window are tables of stratum (prediction by score) by label. Accuracy is the
weight of the cells where the prediction is the label, so a change of it is a change of the table, taken in three steps:

- *label*: the labels' shares become the window's, rows of each label stay as they were;
- *covariate*: the strata's shares become the window's, labels inside a stratum stay as they were;
- *concept*: what is left: labels inside strata are others. The model is wrong about rows that it was right about.

The parts add up to the change. Which of the first two steps comes first matters, as each undoes a part of the other's
work, so the one goes first whose table alone is nearer to the window's (by Kullback-Leibler divergence): a pure shift
of labels is then all label, a pure shift of rows all covariate. Intervals come from tables drawn again.

Where only some rows have labels, the window's table is its labels within each stratum, weighted by all rows of the
stratum.

Source of the idea: A. Zhang et al., "Why did the model fail?", 2023; T. Cai et al., Diagnosing model performance under
distribution shift, 2023. The steps' order is ours.

>>> before = np.array([[90.0, 10.0], [10.0, 90.0]])
>>> now = np.array([[60.0, 40.0], [10.0, 90.0]])
>>> found = decompose(np.array([0, 1]), before, now, np.random.default_rng(0))
>>> round(found.change.value, 2), round(found.concept.value, 2)
(-0.15, -0.14)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.accuracy.strata import Strata, label_shares
from driftline.results import Interval

_DRAWS = 200
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Decomposition:
    """How much accuracy changed, and the parts of it; all in [-1, 1], negative for worse."""

    change: Interval
    covariate: Interval
    label: Interval
    concept: Interval

    @property
    def parts(self) -> tuple[tuple[str, Interval], ...]:
        """The parts by name, the largest first."""
        named = [("covariate", self.covariate), ("label", self.label), ("concept", self.concept)]
        return tuple(sorted(named, key=lambda part: -abs(part[1].value)))


def completed(strata: Strata) -> NDArray[np.float64]:
    """The window as a table of strata and labels: its labels, weighted by their stratum's rows, in labelled rows.

    A stratum without labels of its own has the reference's.
    """
    labels = strata.judged.sum(axis=1)
    before = label_shares(strata.said, strata.reference)
    shares = np.divide(strata.judged, labels[:, None], out=before.copy(), where=labels[:, None] > 0)
    table: NDArray[np.float64] = strata.rows[:, None] * shares * (labels.sum() / strata.rows.sum())
    return table


def decompose(
    said: NDArray[np.intp], before: NDArray[np.float64], now: NDArray[np.float64], rng: np.random.Generator
) -> Decomposition:
    """Why accuracy in ``now`` is not that in ``before``; both rows per stratum and label, shape (S, L), not empty."""
    right = (said[:, None] == np.arange(before.shape[1])).astype(np.float64)
    label_first = _label_first(before, now)
    value = _parts(before[None], now[None], right, label_first=label_first)[0]
    drawn = _parts(_drawn(before, rng), _drawn(now, rng), right, label_first=label_first)
    lower, upper = np.quantile(drawn, [0.025, 0.975], axis=0)
    # Draws scatter about tables that are off already: their middle is moved onto what was found.
    off = drawn.mean(axis=0) - value
    found = [
        Interval(float(value[i]), float(min(lower[i] - off[i], value[i])), float(max(upper[i] - off[i], value[i])))
        for i in range(4)
    ]
    return Decomposition(*found)


def _drawn(table: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    total = round(float(table.sum()))
    shares = table.ravel() / table.sum()
    return (
        rng.multinomial(max(total, 1), shares / shares.sum(), _DRAWS).reshape(_DRAWS, *table.shape).astype(np.float64)
    )


def _parts(
    before: NDArray[np.float64], now: NDArray[np.float64], right: NDArray[np.float64], *, label_first: bool
) -> NDArray[np.float64]:
    """Change, covariate, label, concept for tables of shape (D, S, L); shape (D, 4)."""
    # Axis 1 runs over strata, so that summing along it leaves the labels' shares.
    before = before / before.sum(axis=(1, 2), keepdims=True)
    now = now / now.sum(axis=(1, 2), keepdims=True)
    axes = (1, 2) if label_first else (2, 1)
    once = _moved(before, now, axes[0])
    twice = _moved(once, now, axes[1])
    accuracies = [(table * right).sum(axis=(1, 2)) for table in (before, once, twice, now)]
    first, second, concept = np.diff(accuracies, axis=0)
    covariate, label = (second, first) if label_first else (first, second)
    return np.column_stack((accuracies[-1] - accuracies[0], covariate, label, concept))


def _moved(table: NDArray[np.float64], towards: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The table with its margins (sums along ``axis``) replaced by those of another one; empty ones stay empty."""
    have = table.sum(axis=axis, keepdims=True)
    want = towards.sum(axis=axis, keepdims=True)
    moved = table * np.divide(want, have, out=np.zeros_like(want), where=have > 0)
    result: NDArray[np.float64] = moved / np.maximum(moved.sum(axis=(1, 2), keepdims=True), _TINY)
    return result


def _label_first(before: NDArray[np.float64], now: NDArray[np.float64]) -> bool:
    """Whether new shares of labels alone lead nearer to the window than new shares of strata alone do."""
    start, end = before[None] / before.sum(), now / now.sum()
    distances = []
    for axis in (1, 2):
        reached = _moved(start, end[None], axis)[0]
        smoothed = (reached + 0.5 / before.sum() / before.size) / (1.0 + 0.5 / before.sum())
        used = end > 0
        distances.append(float((end[used] * np.log(end[used] / smoothed[used])).sum()))
    return distances[0] < distances[1]
