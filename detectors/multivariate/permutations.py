"""Squared distances of two samples by a kernel, and the same for rows dealt out anew, as products of matrices.

With weights ``w`` of 1/n for one sample's rows and -1/m for the other's, the distance is ``w' K w``. So all
permutations are one matrix ``W`` with a column each, and one product ``K W`` serves them all. ``K`` is never whole: it
is made, used and forgotten in tiles, only those on and above its diagonal; memory is that of one tile and of a byte per
row and permutation, time that of the products, in float32. Little is lost by cancellation: the weights are whole
numbers (``m`` and ``-n``, in units of ``1 / (n m)``) that sum to zero, rows of both samples stand mixed, and a middle
kernel value is taken off every tile. What tiles give is added up in float64. ``K`` itself is of squared distances in
float32, which say little of rows that lie much nearer to each other than to the middle; it is the same for all deals.

Tiles are worked out on the host or on a device, by the same lines (``arrays.py``). The deals are drawn on the host, so
that they are the same. What the device lacks memory for is tried in smaller tiles, then on the host.

The p-value counts the observed deal among the permuted ones: (1 + as large) / (1 + permutations). It keeps to its rate
for any sizes, kernels and dimensions. Deals that differ by no more than rounding count as equal.
"""

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.multivariate.arrays import HOST, Arrays, DeviceFaultError, DeviceFullError
from detectors.multivariate.hanging_deals import Stretch, stretched
from detectors.multivariate.kernels import Kernel, KernelValues

#: Whole, or stretched.
Deals = NDArray[np.uint8] | NDArray[np.float32]

_log = logging.getLogger(__name__)
_LEVEL = 0.95
#: Of a given ``K`` a distance is rounded by at most this part of itself and of ``(1/n + 1/m)`` times ``Sums.scale``:
#: deals that differ by less count as equal.
ROUNDING = 2e-6
_ZERO = np.float32(0.0)
# Rows that are turned into wider numbers at once.
_ROWS = 512
_FIXED = ("arrays", "values", "diagonal")


@dataclass(frozen=True, slots=True)
class Permuted:
    """Distances of two samples, and what chance gives.

    ``square``: ``w' K w`` of the observed deal, which here has rows with themselves. ``unbiased``: the same with means
    within samples over pairs of different rows. ``between``: the mean kernel value of a row and one of the other
    sample. ``chance``, ``furthest``: the mean and the 95 % point of ``square`` over permutations, by as much more as
    rows that hang together vary. ``more``: what of ``chance`` is because they do. ``device``: where it was worked out;
    empty: the host.
    """

    square: float
    unbiased: float
    between: float
    p_value: float
    chance: float
    furthest: float
    more: float = 0.0
    device: str = ""


@dataclass(frozen=True, slots=True)
class Sums:
    """What all tiles add up to: ``w' K w`` of each deal, and the sum of each row of ``K``, rows with themselves out.

    ``lengths``: ``w' w`` of each deal. ``itself``: the kernel's value of a row with itself. ``scale``: how large kernel
    values are.
    """

    squares: NDArray[np.float64]
    lengths: NDArray[np.float64]
    rows: NDArray[np.float64]
    itself: float
    scale: float
    device: str


class _Block(NamedTuple):
    """Neighbouring rows: two factors of their squared distances, their deals, and 1 for rows that are there."""

    left: Any
    right: Any
    deals: Any
    present: Any


def permutation_test(
    rows: NDArray[np.float32],
    n: int,
    kernel: Kernel,
    permutations: int,
    rng: np.random.Generator,
    arrays: Arrays = HOST,
    inflation: float = 1.0,
    along: Stretch | None = None,
) -> Permuted:
    """Compare the first ``n`` rows with the rest, by ``permutations`` of all rows besides the observed order.

    ``inflation``: above 1 where rows hang together, ``TableSample.inflation``; ``along``: where they do more so.
    """
    m, order = len(rows) - n, mixed(n, len(rows) - n)
    dealt = deal(order, n, permutations, rng)
    deals = dealt if along is None else _but_first_stretched(dealt, along._replace(functions=along.functions[order]))
    sums = kernel_sums(rows[order], n, kernel, deals, arrays)
    one = 1.0 / n + 1.0 / m
    first, within, unbiased = _unbiased(sums, n, m, deals)
    hanging = inflation > 1.0 or along is not None
    # Rows with themselves belong to what varies more.
    squares = sums.squares + sums.lengths * sums.itself
    squares[1:] *= inflation
    compared = squares if hanging else unbiased
    large = int(np.count_nonzero(compared[1:] >= compared[0] - ROUNDING * (abs(compared[0]) + one * sums.scale)))
    chance = float(squares[1:].mean())
    independent = one * (sums.itself - float(sums.rows.sum()) / (len(rows) * (len(rows) - 1.0)))
    return Permuted(
        square=float(squares[0]),
        unbiased=float(unbiased[0]),
        between=float(first[0] - within[0]) / (n * m),
        p_value=(1.0 + large) / (1.0 + permutations),
        chance=chance,
        furthest=float(np.quantile(squares[1:], _LEVEL)),
        more=chance - independent if hanging else 0.0,
        device=sums.device,
    )


def _but_first_stretched(deals: NDArray[np.uint8], by: Stretch) -> NDArray[np.float32]:
    return np.hstack((deals[:, :1].astype(np.float32), stretched(deals[:, 1:], by)))


def _unbiased(
    sums: Sums, n: int, m: int, deals: Deals
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each deal: what its first sample's rows sum up to, what of it is within the sample, the unbiased distance."""
    # From w' K w to the sums within and between: with z = 1 for the first sample's rows, w = one * z - 1 / m.
    one, everything = 1.0 / n + 1.0 / m, float(sums.rows.sum())
    first = np.zeros(deals.shape[1])
    for start in range(0, len(deals), _ROWS):
        some = slice(start, start + _ROWS)
        first += sums.rows[some] @ deals[some].astype(np.float64)
    within = (sums.squares + 2.0 * one * first / m - everything / m**2) / one**2
    within_other = everything - 2.0 * first + within
    unbiased = sums.squares + within / (n * n * (n - 1)) + within_other / (m * m * (m - 1))
    return first, within, unbiased


def kernel_sums(rows: NDArray[np.float32], n: int, kernel: Kernel, deals: Deals, arrays: Arrays = HOST) -> Sums:
    """Of ``deals``, 1 where a row is in the first sample, or stretched, shape (rows, deals); on the host where the
    device fails.
    """
    tile = arrays.tile_rows(len(rows), rows.shape[1], deals.shape[1])
    while True:
        try:
            with arrays.working():
                return _tiled(rows, n, kernel, deals, arrays, tile)
        except DeviceFullError as error:
            if tile > arrays.smallest:
                tile //= 2
                _log.info("%s has no memory for larger tiles; trying %s rows", arrays.name, tile)
                continue
            _log.warning("%s has too little memory, the host works it out: %s", arrays.name, error)
        except DeviceFaultError as error:
            _log.warning("%s failed, the host works it out: %s", arrays.name, error)
        arrays, tile = HOST, HOST.tile


def _tiled(rows: NDArray[np.float32], n: int, kernel: Kernel, deals: Deals, arrays: Arrays, tile: int) -> Sums:
    total, m = len(rows), len(rows) - n
    whole, first, number = np.float32(total), np.float32(n), np.float32(kernel.number)
    itself, middle = kernel.values(HOST, np.array([0.0, _mean_square(rows)], dtype=np.float32), number)
    weigh, sum_up = arrays.prepared(_weights, ("arrays",)), arrays.prepared(_tile_sums, _FIXED)
    blocks = _blocks(rows, deals, arrays, tile)
    squares, sums = np.zeros(deals.shape[1]), np.zeros(len(blocks) * tile)
    for place, above in enumerate(blocks):
        weights = weigh(arrays, above, whole, first)
        parts = [sum_up(arrays, kernel.values, number, middle, above, above, weights, weights, diagonal=True)]
        for beside in blocks[place + 1 :]:
            others = weigh(arrays, beside, whole, first)
            parts.append(sum_up(arrays, kernel.values, number, middle, above, beside, weights, others, diagonal=False))
        for later, (products, across, down) in enumerate(arrays.fetch(parts)):
            squares += products if later == 0 else 2.0 * products
            sums[place * tile :][: len(across)] += across
            if later > 0:
                sums[(place + later) * tile :][: len(down)] += down
    # The weights were n m times as large; and ``middle`` was taken off every pair of different rows.
    lengths = _lengths(deals, n)
    squares = squares / (float(n) * m) ** 2 - float(middle) * lengths
    rows_sums = sums[:total] + float(middle) * (total - 1)
    return Sums(squares, lengths, rows_sums, float(itself), float(max(abs(itself), abs(middle))), arrays.name)


def _lengths(deals: Deals, n: int) -> NDArray[np.float64]:
    """``w' w`` of each deal."""
    total, m = len(deals), len(deals) - n
    one = 1.0 / n + 1.0 / m
    if deals.dtype == np.uint8:
        return np.full(deals.shape[1], one)
    squares = np.einsum("ij,ij->j", deals, deals, dtype=np.float64)
    return np.asarray(one * one * squares - 2.0 * one * n / m + total / m**2)


def _mean_square(rows: NDArray[np.float32]) -> float:
    """The mean squared distance of two rows."""
    return 2.0 * float(rows.var(axis=0, dtype=np.float64).sum())


def _weights(arrays: Arrays, block: _Block, whole: np.float32, first: np.float32) -> Any:  # noqa: ARG001 - as prepared
    """``m`` where a row is in the first sample, ``-n`` elsewhere, nothing where there is no row: exact in float32."""
    weights = block.deals.astype(np.float32)
    weights *= whole
    weights -= (block.present * first)[:, None]
    return weights


def _tile_sums(
    arrays: Arrays,
    values: KernelValues,
    number: np.float32,
    middle: np.float32,
    above: _Block,
    beside: _Block,
    weights: Any,
    others: Any,
    *,
    diagonal: bool,
) -> tuple[Any, Any, Any]:
    """Of one tile, less ``middle``: the part of each deal's ``w' K w``, and the sums of its rows and of its columns.

    The weights of a deal sum to zero, so that ``middle`` changes nothing but how much is lost by rounding.
    """
    xp = arrays.xp
    squares = above.left @ beside.right.T
    tile = values(arrays, xp.maximum(squares, _ZERO, **arrays.into(squares)), number)
    tile -= middle
    if diagonal:
        tile *= np.float32(1.0) - xp.eye(len(tile), dtype=np.float32)
    products = xp.einsum("ij,ij->j", weights, tile @ others)
    return products, tile @ beside.present, above.present @ tile


def _blocks(rows: NDArray[np.float32], deals: Deals, arrays: Arrays, tile: int) -> list[_Block]:
    left, right = _factors(rows)
    parts = (left, right, deals, np.ones(len(rows), dtype=np.float32))
    blocks = []
    for start in range(0, len(rows), tile):
        some = [part[start : start + tile] for part in parts]
        if arrays.pads and len(some[0]) < tile:
            lacking = tile - len(some[0])
            some = [np.concatenate((part, np.zeros((lacking, *part.shape[1:]), part.dtype))) for part in some]
        blocks.append(_Block(*(arrays.put(part) for part in some)))
    return blocks


def mixed(n: int, m: int) -> NDArray[np.intp]:
    """An order in which any neighbouring rows are of both samples as all are, so that weights cancel in every tile.

    >>> mixed(4, 2).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in (n, m)])
    return np.argsort(places, kind="stable")


def deal(order: NDArray[np.intp], n: int, permutations: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """1 where a row, as they stand in ``order``, is in the first sample of ``n``, shape (rows, 1 + permutations).

    The observed deal is the first.
    """
    total = len(order)
    place = np.empty(total, dtype=np.intp)
    place[order] = np.arange(total)
    deals = np.zeros((total, permutations + 1), dtype=np.uint8)
    deals[place[:n], 0] = 1
    for column in range(1, permutations + 1):
        deals[place[rng.permutation(total)[:n]], column] = 1
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
