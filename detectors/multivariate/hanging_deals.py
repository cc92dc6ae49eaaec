"""Deals of rows of which some directions hang together more than the rest: their means vary more along these.

What is compared by deals is a mean row less another, in some space of functions of the rows. With weights ``w`` of a
deal, its part along functions ``B`` (orthonormal, of the rows that are dealt) is ``B B' w``: that part is made as much
longer as the rows' means vary more along it, the rest stays. So one set of weights serves every kernel.

How much more is known from so many independent
squares only: each deal has its own, as Student's law has it.

Sources: J. Rao, A. Scott, The analysis of categorical data from complex sample surveys, 1981 (a quadratic form's law
with each of its weights multiplied by an effect of design of its own); Student, The probable error of a mean, 1908.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.multivariate.prepared import Prepared
from detectors.statistics.hanging_directions import functions_along
from detectors.statistics.table_sample import TableSample


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
    functions, directions = functions_along(prepared.along[:, order])
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
