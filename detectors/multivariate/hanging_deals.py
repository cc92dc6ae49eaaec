"""Deals of rows of which some directions hang together more than the rest: their means vary more along these.

What is compared by deals is a mean row less another, in some space of functions of the rows. With weights ``w`` of a
deal, its part along functions ``B`` (orthonormal, of the rows that are dealt) is ``B B' w``: that part is made as much
longer as the rows' means vary more along it, the rest stays. So one set of weights serves every kernel.

The functions of a direction: where rows stand along it, its square, and polynomials of their rank; and its products
with the other directions, which hang together as the lesser of both. How much more is known from so many independent
squares only: each deal has its own, as Student's law has it.

Sources: J. Rao, A. Scott, The analysis of categorical data from complex sample surveys, 1981 (a quadratic form's law
with each of its weights multiplied by an effect of design of its own); Student, The probable error of a mean, 1908.
"""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from detectors.multivariate.prepared import Prepared
from detectors.statistics.table_sample import TableSample

#: Of the rank along a direction: up to which degree what depends on it is followed.
_DEGREE = 5
# Of a function's length, what is left of it by rounding when those before it are taken out.
_NOTHING = 1e-6


class Stretch(NamedTuple):
    """``functions``: of the rows, orthonormal, each of mean 0, shape (rows, functions). ``times``: how many times as
    long the part of a permuted deal is along each, shape (functions, permutations).
    """

    functions: NDArray[np.float64]
    times: NDArray[np.float64]


def stretch(sample: TableSample, prepared: Prepared, permutations: int, rng: np.random.Generator) -> Stretch | None:
    """Beside ``sample.inflation``, which all directions have; None where none hangs together more."""
    if not prepared.along.shape[1]:
        return None
    whole = sample.inflation(prepared.n, prepared.m)
    more = np.maximum(sample.inflation_along(prepared.n, prepared.m) / whole, 1.0)
    order = np.argsort(-more, kind="stable")
    functions, directions = _functions(prepared.along[:, order])
    freedom = sample.freedom[order][:, None]
    varied = more[order][:, None] * freedom / rng.chisquare(freedom, (len(order), permutations))
    return Stretch(functions, np.sqrt(varied)[directions])


def stretched(
    deals: NDArray[np.uint8] | NDArray[np.bool_], by: Stretch, some: slice = slice(None)
) -> NDArray[np.float32]:
    """Deals, shape (rows, permutations), of ``some`` permutations, stretched; their sums are as before."""
    found = deals.astype(np.float32)
    along = by.functions.T @ found
    found += by.functions @ ((by.times[:, some] - 1.0) * along)
    return found


def _functions(along: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Orthonormal functions of rows, those of the first direction first, and which direction's each is."""
    rows, count = along.shape
    ranks = (2.0 * stats.rankdata(along, axis=0) - 1.0) / rows - 1.0
    found, directions = [np.ones(rows)], [0]
    for place in range(count):
        polynomials = np.polynomial.legendre.legvander(ranks[:, place], _DEGREE)[:, 1:]
        products = along[:, : place + 1] * along[:, [place]]
        own = np.column_stack((along[:, place], products, polynomials))
        found.extend(own.T)
        directions.extend(itertools.repeat(place, own.shape[1]))
    columns = np.column_stack(found)
    orthonormal, triangle = np.linalg.qr(columns)
    left = np.abs(np.diagonal(triangle)) > _NOTHING * np.linalg.norm(columns, axis=0)
    left[0] = False  # the constant
    return orthonormal[:, left], np.array(directions)[left]
