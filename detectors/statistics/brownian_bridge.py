"""Simulated Brownian bridges: what the difference of two distribution functions looks like when nothing has changed.

``sqrt(nm / (n + m))`` times the difference of two empirical distribution functions of one distribution tends to a
Brownian bridge, whatever the distribution and the sizes. One table of bridges, made once from a seed, therefore serves
every column, segment and window.

Source: M. D. Donsker, Justification and extension of Doob's heuristic approach, 1952.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Steps of time; times are multiples of 1 / STEPS.
STEPS = 128
DRAWS = 4000
# Powers of two from here on have an inverse.
_SMALLEST_EXPONENT = -1020


def absolute_bridges(rng: np.random.Generator, draws: int = DRAWS) -> NDArray[np.float32]:
    """Absolute values of ``draws`` bridges, shape (draws, STEPS + 1), from time 0 to 1."""
    walk = np.zeros((draws, STEPS + 1))
    walk[:, 1:] = np.cumsum(rng.standard_normal((draws, STEPS)), axis=1) / np.sqrt(STEPS)
    bridge = walk - np.outer(walk[:, -1], np.linspace(0.0, 1.0, STEPS + 1))
    absolute: NDArray[np.float32] = np.abs(bridge).astype(np.float32)
    return absolute


@dataclass(frozen=True, slots=True)
class AreaNull:
    """Areas under bridges over the ``bulk`` of a column's thresholds, each with its ``step`` (largest step = 1)."""

    bulk: NDArray[np.bool_]
    steps: NDArray[np.float64]
    areas: NDArray[np.float32]
    signed_variance: float


@dataclass(frozen=True, slots=True)
class AreaNulls:
    """A reference column's null areas: ``below`` share of its rows below each threshold, ``steps`` between thresholds.

    ``spread``: what distances of the column are measured in. What was simulated is kept, because it follows from the
    reference alone.
    """

    below: NDArray[np.float64]
    steps: NDArray[np.float64]
    bridges: NDArray[np.float32]
    spread: float
    _known: dict[float, AreaNull | None] = field(default_factory=dict, repr=False)

    def trimmed(self, trim: float) -> AreaNull | None:
        """The null without thresholds that fewer than ``trim`` of the rows lie beyond; None where none is left."""
        if trim not in self._known:
            self._known[trim] = _simulate(self.below, self.steps, self.bridges, trim)
        return self._known[trim]


def _simulate(
    below: NDArray[np.float64], steps: NDArray[np.float64], bridges: NDArray[np.float32], trim: float
) -> AreaNull | None:
    bulk = (below >= trim) & (below <= 1.0 - trim) & (steps > 0)
    if not bulk.any():
        return None
    scaled = steps[bulk] / steps[bulk].max()
    times = np.rint(below[bulk] * STEPS).astype(np.intp)
    weights = np.bincount(times, scaled, minlength=STEPS + 1).astype(np.float64)
    weights[0] = weights[-1] = 0.0  # a bridge is zero at both ends
    # Not a matrix product: on small shared machines the threads of BLAS cost more than the sum.
    areas = np.sort(np.einsum("ij,j->i", bridges, weights.astype(np.float32)))
    return AreaNull(bulk, scaled, areas, _signed_area_variance(weights))


def _signed_area_variance(weights: NDArray[np.float64]) -> float:
    # Var(sum w_i B(t_i)) with Cov(B(s), B(t)) = min(s, t) - s t, in one pass over the sums of the tails.
    times = np.arange(STEPS + 1) / STEPS
    tails = np.cumsum(weights[::-1])[::-1]
    return float((tails[1:] ** 2).sum() / STEPS - float(weights @ times) ** 2)


def area_nulls(counts: NDArray[np.int64], values: NDArray[np.float64], bridges: NDArray[np.float32]) -> AreaNulls:
    """The null areas of a numeric column from its reference counts and representative values, shape (bins,) each."""
    finite = counts[1:-2]
    total = max(int(finite.sum()), 1)
    measure = spread(finite, values[1:-2]) if finite.any() else 1.0
    return AreaNulls(np.cumsum(finite)[:-1] / total, np.diff(values[1:-2]), bridges, measure)


def spread(counts: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Standard deviation of binned values; their absolute value, or 1, where there is no deviation."""
    total = counts.sum()
    # In units of two to a power near the largest, so that no square is beyond floats, or below them, and none rounded.
    unit = 2.0 ** max(math.frexp(float(np.abs(values).max()))[1] - 1, _SMALLEST_EXPONENT)
    scaled = values / unit
    mean = float(counts @ scaled) / total
    deviation = math.sqrt(max(0.0, float(counts @ (scaled - mean) ** 2) / total))
    return (deviation if deviation > 1e-12 * abs(mean) else abs(mean)) * unit or 1.0
