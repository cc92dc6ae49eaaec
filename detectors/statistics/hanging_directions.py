"""Directions along which rows hang together more than they do along all others: which ones, and how much more.

Rows are looked at along each of their places and along their principal directions, as they are and as squares (how
far out they are). The one that hangs together most beyond what chance gives to what all directions say together is
taken out, with its square and its products; what is left is looked at again, until nothing stands out. So the rest is
told by all of its directions together, and what stands out by itself.

Source: how far such a figure is off, M. S. Bartlett, Periodogram analysis and continuous spectra, Biometrika 37, 1950.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from detectors.counts.feature_reference import robust_scale
from detectors.counts.random_features import FURTHEST
from detectors.statistics.hanging_rows import BY_CHANCE, for_windows, freedom_of, rows_together, sizes

#: Directions that are told by themselves, at most; of so many, there may be more.
MOST = 8
# Of the rank along a direction: up to which degree what depends on it is followed.
_DEGREE = 5
# Of a function's length, what is left of it by rounding when those before it are taken out.
_LEFT = 1e-6
# Of a series' variance, what is left of it by rounding.
_NOTHING = 1e-6


def _no_directions() -> NDArray[np.float64]:
    return np.empty((0, 0))


def _no_sizes() -> NDArray[np.int64]:
    return np.empty((0, 1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class HangingDirections:
    """Directions of rows of numbers, one of NaN and of a place's middle being the same.

    ``units``: centre and spread of each place, shape (2, places). ``weights``: shape (directions, places), of values in
    these units. ``by_size``: how many rows count as one along each, by size of a window, shape (directions, sizes).
    ``freedom``: from how many independent squares that is known, of the same shape.
    """

    units: NDArray[np.float64] = field(default_factory=_no_directions)
    weights: NDArray[np.float64] = field(default_factory=_no_directions)
    by_size: NDArray[np.int64] = field(default_factory=_no_sizes)
    freedom: NDArray[np.float64] = field(default_factory=_no_directions)

    def __len__(self) -> int:
        """How many."""
        return len(self.weights)

    def along(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where rows, shape (rows, places), stand along each direction, shape (rows, directions)."""
        return in_units(rows, self.units) @ self.weights.T if len(self) else np.empty((len(rows), 0))

    def of_windows(self, rows: int) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        """How many count as one along each direction in a window of so many rows; and how well that is known."""
        if not len(self):
            return (), np.empty(0)
        place = min(round(float(np.log2(max(rows, 1)))), self.by_size.shape[1] - 1)
        return tuple(for_windows(self.by_size, rows).tolist()), self.freedom[:, place]


#: Nothing stands out.
NO_DIRECTIONS = HangingDirections()


class _Series(NamedTuple):
    """What may hang together: its values, row by row, and the direction it tells of."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]


class _Found(NamedTuple):
    """A direction that stands out, how many rows count as one along it, by size, and how well that is known."""

    weights: NDArray[np.float64]
    by_size: NDArray[np.int64]
    freedom: NDArray[np.float64]


def in_units(rows: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of numbers, shape (rows, places), in units of ``units``, shape (2, places); what is missing as the middle.

    >>> in_units(np.array([[3.0], [np.nan], [np.inf]]), np.array([[1.0], [2.0]])).tolist()
    [[1.0], [0.0], [8.0]]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip((rows - units[0]) / units[1], -FURTHEST, FURTHEST)
    return np.asarray(np.where(np.isnan(rows), 0.0, scaled))


def hanging_directions(rows: NDArray[np.float64], asked: int = 1, *, in_time: bool = True) -> HangingDirections:
    """Of ``rows`` in order, shape (rows, places). ``asked``, ``in_time``: as ``hanging_rows.rows_together`` has them.

    >>> rng = np.random.default_rng(1)
    >>> rows = rng.normal(size=(4000, 3))
    >>> rows[:, 1] = np.repeat(rng.normal(size=800), 5)
    >>> found = hanging_directions(rows)
    >>> found.weights.tolist(), bool(5 <= found.by_size[0, -1] <= 7), len(hanging_directions(rows[:, [0, 2]]))
    ([[0.0, 1.0, 0.0]], True, 0)
    """
    places = rows.shape[1]
    if not rows.size:
        return HangingDirections()
    units = np.array([robust_scale(values) for values in rows.T]).T
    scaled = in_units(rows, units)
    scaled -= scaled.mean(axis=0)
    asked = asked + 3 * places
    along, found = np.empty((len(rows), 0)), list[_Found]()
    while len(found) < MOST:
        furthest = _furthest_out(scaled, _taken(along), asked, in_time=in_time)
        if furthest is None:
            break
        found.append(furthest)
        along = np.column_stack((along, scaled @ furthest.weights))
    if not found:
        return HangingDirections()
    return HangingDirections(units, *(np.array(part) for part in zip(*found, strict=True)))


def rest_of(rows: NDArray[np.float64], found: HangingDirections) -> NDArray[np.float64]:
    """What of ``rows``, in order, is left along its other principal directions, each with the same weight, shape
    (rows, directions).

    >>> found = HangingDirections(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.0]]))
    >>> rest_of(np.array([[1.0, 1.0], [5.0, -1.0], [-1.0, 1.0], [-5.0, -1.0]]), found).round(1).tolist()
    [[1.0], [-1.0], [1.0], [-1.0]]
    """
    scaled = in_units(rows, found.units)
    taken = np.linalg.qr(np.column_stack((np.ones(len(rows)), found.along(rows))))[0]
    return _principal(_without(scaled, taken), float(scaled.var(axis=0).max()))[0]


def _taken(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is taken out with these directions: they, their squares and products, and every mean; orthonormal."""
    one, two = np.triu_indices(along.shape[1])
    return np.linalg.qr(np.column_stack((np.ones(len(along)), along, along[:, one] * along[:, two])))[0]


def functions_along(along: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """What depends on where rows stand along directions, shape (rows, directions): orthonormal functions of the rows,
    each of mean 0, shape (rows, functions), and which direction's each is, shape (functions,).

    Of a direction: where rows stand along it, its square, and polynomials of their rank; and its products with the
    directions before it, which hang together as the lesser of both. What two have in common is the first one's.

    >>> functions, directions = functions_along(np.random.default_rng(1).normal(size=(500, 2)))
    >>> np.bincount(directions).tolist(), bool(np.allclose(functions.T @ functions, np.eye(15)))
    ([7, 8], True)
    """
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
    left = np.abs(np.diagonal(triangle)) > _LEFT * np.linalg.norm(columns, axis=0)
    left[0] = False  # the constant
    return orthonormal[:, left], np.array(directions)[left]


def _furthest_out(
    scaled: NDArray[np.float64], taken: NDArray[np.float64], asked: int, *, in_time: bool
) -> _Found | None:
    """The direction that stands out most beyond what all others say together; None: none does."""
    left = _without(scaled, taken)
    principal, axes = _principal(left, float(scaled.var(axis=0).max()))
    all_say = max(int(rows_together([principal], asked, in_time=in_time)[-1]), 1)
    furthest, most = None, 1.0
    for series in itertools.chain(_along(principal, axes), _of_places(scaled, left, taken)):
        together = rows_together([series.values[:, None]], asked, in_time=in_time)
        freedom = _freedom_of(together, len(scaled))
        # Squares of so many independent numbers are larger by this only once in so many.
        chance = special.chdtri(freedom[-1], BY_CHANCE / asked) / freedom[-1]
        beyond = float(together[-1] / (all_say * chance))
        if beyond > most:
            furthest, most = _Found(series.weights, together, freedom), beyond
    return furthest


def _along(principal: NDArray[np.float64], axes: NDArray[np.float64]) -> Iterator[_Series]:
    for values, axis in zip(principal.T, axes, strict=True):
        yield _Series(values, axis)


def _of_places(scaled: NDArray[np.float64], left: NDArray[np.float64], taken: NDArray[np.float64]) -> Iterator[_Series]:
    """What is left of each place, and of its squares."""
    for place, weights in enumerate(np.eye(scaled.shape[1])):
        squares = scaled[:, [place]] ** 2
        for whole, rest in ((scaled[:, place], left[:, place]), (squares[:, 0], _without(squares, taken)[:, 0])):
            if rest.var() > _NOTHING * whole.var():
                yield _Series(rest, weights)


def _without(values: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """What of each column no line through ``taken``, orthonormal, explains."""
    return np.asarray(values - taken @ (taken.T @ values))


def _principal(left: NDArray[np.float64], scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows along their principal directions, each of variance 1, and these directions, a row each."""
    variances, axes = np.linalg.eigh(left.T @ left / len(left))
    kept = variances > _NOTHING * scale
    return left @ axes[:, kept] / np.sqrt(variances[kept]), axes[:, kept].T


def _freedom_of(by_size: NDArray[np.int64], rows: int) -> NDArray[np.float64]:
    """From how many independent squares each figure is known: those of the size behind the first that comes to it,
    which was looked at, too.
    """
    of_sizes = freedom_of(sizes(rows), rows)
    return np.array([of_sizes[min(int(np.argmax(by_size >= one)) + 1, len(of_sizes) - 1)] for one in by_size])
