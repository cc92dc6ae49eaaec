"""Weighted squares of the difference of two distribution functions, and how large they are when nothing has changed.

``N = nm / (n + m)`` times ``sum_k w_k (F_k - G_k)^2``, the sum going over the thresholds between bins, tends to
``sum_k lambda_k Z_k^2`` with independent normal ``Z``. The ``lambda`` are the eigenvalues of the covariance of a
Brownian bridge at the thresholds' pooled shares, weighted by ``w``; so ties, which bins are full of, are taken in. The
inverse of that covariance has three diagonals, which makes the eigenvalues cheap.

The tail of the sum is Lugannani and Rice's saddlepoint formula: down to any p-value at most a tenth too large, and
hardly ever too small, so that it errs on the quiet side.

Sources: V. Choulakian, R. Lockhart, M. Stephens, Cramer-von Mises statistics for discrete distributions, 1994;
R. Lockhart, J. Spinelli, M. Stephens, the same with unknown parameters, 2007 (weights that do not know up from down);
D. Kuonen, Saddlepoint approximations for distributions of quadratic forms in normal variables, Biometrika 86, 1999.

>>> round(tail(np.array([1.0]), 3.841458820694124), 2)
0.05
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

# Weights below this share of the largest change no digit of a p-value, and are most of them.
_NEGLIGIBLE = 1e-7
# Thresholds whose eigenvalues are looked for: a tenth of a millisecond of work.
_THRESHOLDS = 64
_NEWTON_STEPS, _NEWTON_PRECISION = 200, 1e-12
# So close to the mean, in standard deviations, the saddlepoint formula divides nothing by nothing.
_NEAR_MEAN = 1e-3


@dataclass(frozen=True, slots=True)
class Steps:
    """Two samples at the thresholds between their bins, shape (thresholds,) each.

    ``gaps``: difference of the two distribution functions. ``pooled``: the pooled one, strictly rising, in (0, 1).
    ``bins``: which bin each threshold is the upper end of. ``size``: ``nm / (n + m)``.
    """

    gaps: NDArray[np.float64]
    pooled: NDArray[np.float64]
    bins: NDArray[np.intp]
    size: float

    @property
    def masses(self) -> NDArray[np.float64]:
        """What each threshold stands for: half the pooled rows of the bins on both of its sides, as a share.

        Those of one side alone would make a statistic of the order's direction: rows that move up would count less, or
        more, than rows that move down. Without ties both are the same.
        """
        return (np.diff(self.pooled, prepend=0.0) + np.diff(self.pooled, append=1.0)) / 2.0

    def only(self, wanted: NDArray[np.bool_]) -> "Steps":
        """The same at some of the thresholds."""
        return Steps(self.gaps[wanted], self.pooled[wanted], self.bins[wanted], self.size)

    def square(self, weights: NDArray[np.float64]) -> float:
        """The statistic of these weights, one per threshold, all above zero."""
        return float(weights @ self.gaps**2) * self.size

    def p_value(self, weights: NDArray[np.float64]) -> float:
        """How probable a statistic at least as large is where both samples come from one distribution."""
        if not len(self.gaps):
            return 1.0
        return tail(_eigenvalues(*_coarser(self.pooled, weights)), self.square(weights))


def steps(reference: NDArray[np.int64], current: NDArray[np.int64]) -> Steps:
    """Two vectors of counts on the same ordered bins, each with rows, as steps; a bin empty in both is none."""
    n, m = int(reference.sum()), int(current.sum())
    bins = np.flatnonzero(reference + current)[:-1]
    below, below_now = np.cumsum(reference)[bins], np.cumsum(current)[bins]
    return Steps(below / n - below_now / m, (below + below_now) / (n + m), bins, n * m / (n + m))


def tail(weights: NDArray[np.float64], statistic: float) -> float:
    """P(sum of ``weights`` times squared standard normal variables >= ``statistic``); weights at least 0, one above."""
    scale = float(weights.max())
    lambdas, x = weights[weights > scale * _NEGLIGIBLE] / scale, statistic / scale
    if x <= 0.0:
        return 1.0
    if len(lambdas) == 1:
        return float(special.chdtrc(1, x))
    mean, deviation = float(lambdas.sum()), math.sqrt(2.0 * float(lambdas @ lambdas))
    if abs(x - mean) < _NEAR_MEAN * deviation:
        # The formula's limit at the mean: half, less a sixth of the skewness times the density of the normal law.
        skewness = 8.0 * float((lambdas**3).sum()) / deviation**3
        return 0.5 - skewness / (6.0 * math.sqrt(2.0 * math.pi))
    saddle = _saddle(lambdas, x)
    left = 1.0 - 2.0 * saddle * lambdas
    w = math.copysign(math.sqrt(max(0.0, 2.0 * saddle * x + float(np.log(left).sum()))), saddle)
    v = saddle * math.sqrt(2.0 * float(((lambdas / left) ** 2).sum()))
    return float(min(1.0, special.ndtr(-(w + math.log(v / w) / w))))


def _saddle(lambdas: NDArray[np.float64], x: float) -> float:
    """Where the cumulant generating function rises with slope ``x``; the largest of ``lambdas`` is 1.

    The slope rises and is convex, so that Newton's steps from above never leave the right side. At the start the
    largest term alone has the slope ``x``.
    """
    at = 0.5 - 0.5 / x
    for _ in range(_NEWTON_STEPS):
        terms = lambdas / (1.0 - 2.0 * at * lambdas)
        excess = float(terms.sum()) - x
        if excess <= x * _NEWTON_PRECISION:
            break
        at -= excess / (2.0 * float(terms @ terms))
    return at


def _coarser(
    pooled: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Neighbouring thresholds put together where there are many: the law hardly changes, its mean not at all."""
    if len(pooled) <= _THRESHOLDS:
        return pooled, weights
    means = weights * pooled * (1.0 - pooled)
    group = (np.cumsum(means) * (_THRESHOLDS / float(means.sum()))).astype(np.intp)
    starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    together = np.add.reduceat(means, starts)
    places = np.add.reduceat(means * pooled, starts) / together
    return places, together / (places * (1.0 - places))


def _eigenvalues(pooled: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the bridge's covariance ``min(s, t) - s t`` at the pooled shares, weighted on both sides by the roots."""
    inverse = 1.0 / np.diff(pooled, prepend=0.0, append=1.0)
    diagonal = (inverse[:-1] + inverse[1:]) / weights
    beside = -inverse[1:-1] / np.sqrt(weights[:-1] * weights[1:])
    found: NDArray[np.float64] = 1.0 / linalg.eigvalsh_tridiagonal(diagonal, beside, lapack_driver="sterf")
    return found
