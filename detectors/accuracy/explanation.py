"""Which parts of the rows explain a change of accuracy, or of a regression's mean size of errors.

The rows are split into groups (the values of a segment column, and all others). A mean over all rows is the sum of each
group's share times its own mean, so its change is the sum over groups of

    (share now - share before) (mean of both means - overall)  +  mean of both shares (mean now - mean before)

The first term is *mix*: there are more or fewer rows of a kind that the model is better or worse at than on the whole.
The second is *inside*: the model has become better or worse at rows of that kind. ``overall`` is the middle of both
means over all rows; it makes the mix of a group that is as right as the others nothing, and changes no sum. Taking the
middle of before and now on both sides is the fair split between the two (Shapley's value of two players), so the terms
add up to the change whatever the groups are. A group that was not there before, or is not now, counts as mix alone.

What mix leaves over all groups of a column is what that column does not explain.

Sources: E. Kitagawa, Components of a difference between two rates, 1955; R. Oaxaca, Male-female wage differentials in
urban labor markets, 1973.

>>> before = Groups(np.array([50.0, 50.0]), np.array([45.0, 45.0]), np.array([45.0, 45.0]))
>>> now = Groups(np.array([50.0, 50.0]), np.array([25.0, 45.0]), np.array([25.0, 45.0]))
>>> found = explain(before, now, np.random.default_rng(0))
>>> round(found.change.value, 3), [round(part.inside.value, 3) for part in found.parts]
(-0.2, [-0.2, 0.0])
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.results import Interval

_DRAWS = 400


@dataclass(frozen=True, slots=True)
class Groups:
    """Per group, shape (G,): rows, and the sum and the sum of squares of what is averaged over them."""

    rows: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """What one group adds to the change; ``whole`` is both. ``shares`` and ``means`` of it: before, and now.

    ``excess``: what it adds beyond its share of the rows, which a change that is everywhere alike would give it.
    """

    whole: Interval
    mix: Interval
    inside: Interval
    excess: Interval
    shares: tuple[float, float]
    means: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A change, what the mix of all groups makes of it, what is left, and each group's part, in the groups' order."""

    change: Interval
    mix: Interval
    inside: Interval
    parts: tuple[Part, ...]


def explain(before: Groups, now: Groups, rng: np.random.Generator) -> Explanation:
    """The change from ``before`` to ``now``, neither without rows; 95 % intervals from draws of rows and of means."""
    shares = _shares(before.rows), _shares(now.rows)
    means = _means(before, now)
    value = _terms(shares[0][None], means[0][None], shares[1][None], means[1][None])[:, 0]
    drawn = _terms(*_drawn(before, means[0], rng), *_drawn(now, means[1], rng))
    fair, change, drawn_change = (shares[0] + shares[1]) / 2.0, float(value.sum()), drawn.sum(axis=(0, 2))
    whole, drawn_whole = value.sum(axis=0), drawn.sum(axis=0)
    excess, drawn_excess = whole - fair * change, drawn_whole - fair * drawn_change[:, None]
    told = _intervals(np.stack((whole, *value, excess)), np.stack((drawn_whole, *drawn, drawn_excess)))
    parts = []
    for group, (both, mix, inside, beyond) in enumerate(told):
        of_rows = float(shares[0][group]), float(shares[1][group])
        parts.append(Part(both, mix, inside, beyond, of_rows, (float(means[0][group]), float(means[1][group]))))
    sums = np.stack((drawn_change, *drawn.sum(axis=2)))[:, :, None]
    ((overall, mix, inside),) = _intervals(np.array([change, *value.sum(axis=1)])[:, None], sums)
    return Explanation(overall, mix, inside, tuple(parts))


def _shares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = rows / rows.sum()
    return found


def _means(before: Groups, now: Groups) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each group's mean; a group without rows has that of the other side."""
    first, second = (
        np.divide(groups.total, groups.rows, out=np.zeros(len(groups.rows)), where=groups.rows > 0)
        for groups in (before, now)
    )
    return np.where(before.rows > 0, first, second), np.where(now.rows > 0, second, first)


def _terms(
    shares: NDArray[np.float64],
    means: NDArray[np.float64],
    later: NDArray[np.float64],
    means_later: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mix and inside of each group, shape (2, draws, groups), from arrays of shape (draws, groups)."""
    overall = ((shares * means).sum(axis=1) + (later * means_later).sum(axis=1)) / 2.0
    mix = (later - shares) * ((means + means_later) / 2.0 - overall[:, None])
    return np.stack((mix, (shares + later) / 2.0 * (means_later - means)))


def _drawn(
    groups: Groups, means: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares and means as other rows of the same kind would have them, shape (draws, groups) each."""
    rows = np.maximum(groups.rows, 1.0)
    # Half a row on either side of a share, so that a group whose few rows are all right still scatters.
    spread = np.maximum(groups.squares / rows - means**2, 0.0)
    spread = np.where(groups.rows > 0, (groups.rows * spread + 0.5 * _pooled(groups)) / (groups.rows + 0.5), 0.0)
    total = max(1, round(float(groups.rows.sum())))
    shares = rng.multinomial(total, _shares(groups.rows), _DRAWS) / total
    return shares, means + rng.normal(size=(_DRAWS, len(rows))) * np.sqrt(spread / rows)


def _pooled(groups: Groups) -> float:
    rows = float(groups.rows.sum())
    return max(float(groups.squares.sum()) / rows - (float(groups.total.sum()) / rows) ** 2, 0.0)


def _intervals(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> list[list[Interval]]:
    """One per kind and group, by group; ``values`` of shape (kinds, groups), ``drawn`` (kinds, draws, groups)."""
    # Draws scatter about what was found, some of it off by rounding and by products of draws: they are moved onto it.
    off = drawn.mean(axis=1) - values
    lower, upper = np.quantile(drawn, [0.025, 0.975], axis=1) - off
    ends = np.stack((values, np.minimum(values, lower), np.maximum(values, upper)), axis=2)
    return [[Interval(*of_kind) for of_kind in of_group] for of_group in ends.transpose(1, 0, 2).tolist()]
