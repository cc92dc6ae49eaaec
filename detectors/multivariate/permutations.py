"""Squared distances of two samples by a kernel, and the same for rows dealt out anew, as products of matrices.

With weights ``w`` of 1/n for one sample's rows and -1/m for the other's, the distance is ``w' K w``. So all
permutations are one matrix ``W`` with a column each, and one product ``K W`` serves them all. ``K`` is never whole: it
is made, used and forgotten in tiles of 512 by 512, only those on and above its diagonal; memory is that of one tile and
of ``W``, time that of the products, in float32. The weights' columns sum to zero, so that little is lost by
cancellation.

The p-value counts the observed deal among the permuted ones: (1 + as large) / (1 + permutations). It keeps to its rate
for any sizes, kernels and dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: From squared distances of rows to the kernel values of these rows; it may use the same memory.
Kernel = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# A tile and what is made of it stay in a core's own cache.
_TILE = 512
_LEVEL = 0.95
# Deals that differ by less are equal but for rounding.
_ROUNDING = 1e-7
_ZERO = np.float32(0.0)


@dataclass(frozen=True, slots=True)
class Permuted:
    """Distances with every pair counted but rows with themselves.

    ``square``: ``w' K w`` of the observed deal. ``unbiased``: the same with means within samples over pairs of
    different rows. ``between``: the mean kernel value of a row and one of the other sample. ``chance``, ``furthest``:
    the mean and the 95 % point of ``square`` over permutations.
    """

    square: float
    unbiased: float
    between: float
    p_value: float
    chance: float
    furthest: float


def permutation_test(
    rows: NDArray[np.float32], n: int, kernel: Kernel, permutations: int, rng: np.random.Generator
) -> Permuted:
    """Compare the first ``n`` rows with the rest, by ``permutations`` of all rows besides the observed order."""
    total, m = len(rows), len(rows) - n
    deals = _deals(total, n, permutations, rng)
    one = 1.0 / n + 1.0 / m
    weights = deals * np.float32(one) - np.float32(1.0 / m)
    squares, sums = np.zeros(permutations + 1), np.zeros(total)
    left_rows, right_rows = _factors(rows)
    ones = np.ones(_TILE, dtype=np.float32)
    for top in range(0, total, _TILE):
        above = slice(top, min(top + _TILE, total))
        for left in range(top, total, _TILE):
            beside = slice(left, min(left + _TILE, total))
            distances = left_rows[above] @ right_rows[beside].T
            tile = kernel(np.maximum(distances, _ZERO, out=distances))
            if left == top:
                np.fill_diagonal(tile, 0.0)
            products = np.einsum("ij,ij->j", weights[above], tile @ weights[beside])
            squares += products if left == top else 2.0 * products
            sums[above] += tile @ ones[: tile.shape[1]]
            if left > top:
                sums[beside] += ones[: tile.shape[0]] @ tile
    # From w' K w to the sums within and between: with z = 1 for the first sample's rows, w = one * z - 1 / m.
    everything = float(sums.sum())
    first = sums @ deals
    within = (squares + 2.0 * one * first / m - everything / m**2) / one**2
    within_other = everything - 2.0 * first + within
    unbiased = squares + within / (n * n * (n - 1)) + within_other / (m * m * (m - 1))
    large = int(np.count_nonzero(unbiased[1:] >= unbiased[0] - _ROUNDING * (abs(unbiased[0]) + one)))
    return Permuted(
        square=float(squares[0]),
        unbiased=float(unbiased[0]),
        between=float(first[0] - within[0]) / (n * m),
        p_value=(1.0 + large) / (1.0 + permutations),
        chance=float(squares[1:].mean()),
        furthest=float(np.quantile(squares[1:], _LEVEL)),
    )


def _deals(total: int, n: int, permutations: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """1 where a row is in the first sample, shape (rows, 1 + permutations); the observed deal first."""
    deals = np.zeros((total, permutations + 1), dtype=np.float32)
    deals[:n, 0] = 1.0
    for place in range(1, permutations + 1):
        deals[rng.permutation(total)[:n], place] = 1.0
    return deals


def squared_distances(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of all pairs of rows, shape (rows, rows)."""
    left, right = _factors(x)
    return np.asarray(np.maximum(left @ right.T, _ZERO))


def _factors(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two matrices whose product, the second turned, has the rows' squared distances."""
    lengths = np.einsum("ij,ij->i", rows, rows)[:, None]
    ones = np.ones_like(lengths)
    return np.hstack((rows * np.float32(-2.0), lengths, ones)), np.hstack((rows, ones, lengths))
