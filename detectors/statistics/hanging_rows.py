"""How many neighbouring rows say as much as one: of a slow signal, where clients send several alike in a row, or where
every day has a level of its own.

Whoever takes such rows for independent calls windows drifted that are not: twenty that hang together make the spread of
a window's shares that of twenty times fewer rows.

Rows are looked at in blocks of 1, 2, 4 ... neighbours, as if each block were a window: how much more do the means of
blocks differ than those of as many independent rows would? That is by how much a window of so many rows is worth less
than it seems, whatever the reason: it grows with the block while rows hang together and then stays, it goes on growing
where days differ, and falls to nothing where a block holds a whole season. The larger the blocks, the fewer there are;
so the answer for a window is that of the smallest block with which all larger ones agree, as far as they can tell.

A window that is compared with the same hours of other weeks shares with them what comes again every week, so that this
is taken out of the blocks' sums before they are asked (``weekly_rows.py``). By how much rows of a window differ among
themselves is left as it is: a test of them reckons with it.

Sources: L. Kish, Survey sampling, 1965, chapter 5 (the effect of a design); O. Lepski, On a problem of adaptive
estimation in Gaussian white noise, 1990 (the choice); M. S. Bartlett, Periodogram analysis and continuous spectra,
Biometrika 37, 1950 (how far such a figure is off).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.statistics.weekly_rows import WeeklyRows

#: Blocks of the largest size, at least.
_BLOCKS = 8
#: Blocks overlap: each begins this part of its length behind the one before.
_STEPS = 8
#: Two sizes agree where they differ by no more than this many standard errors of the larger one.
_ERRORS = 1.5
#: Rows are said to hang together by chance, of all references whose rows are independent.
BY_CHANCE = 0.001
#: Less than this is no reason to count rows as fewer.
_LITTLE = 1.2
#: What grows by more with each of the last doublings has not come to its end: the file is sorted, or changes slowly.
_GROWING, _DOUBLINGS = 1.5, 2
#: Of what is rare, pairs within blocks that are expected at least: fewer say nothing.
_FEWEST_PAIRS = 30.0
#: Of a mean square, what is rounding.
_NOTHING = 1e-12


def sizes(rows: int) -> NDArray[np.int64]:
    """The sizes of blocks that so many rows are looked at in; always 1, the first.

    >>> sizes(100).tolist(), sizes(0).tolist()
    ([1, 2, 4, 8], [1])
    """
    count = max(1, (rows // _BLOCKS).bit_length())
    return 1 << np.arange(count, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks that rows are looked at in: their ``sizes``, and how many independent rows' variance their sums keep.

    ``weekly``: where rows lie in the week, whose parts' means are taken out of them; None: nothing but the mean is.
    """

    rows: int
    sizes: NDArray[np.int64]
    kept: NDArray[np.float64]
    weekly: WeeklyRows | None = None

    @classmethod
    def of(cls, rows: int, weekly: WeeklyRows | None = None) -> "Blocks":
        """Of so many rows in order."""
        blocks = sizes(rows)
        kept = blocks * (1.0 - blocks / max(rows, 1)) if weekly is None else weekly.left(blocks, _STEPS)
        return cls(rows, blocks, kept, weekly)

    @property
    def freedom(self) -> NDArray[np.float64]:
        """Degrees of freedom of each size's figure, of independent rows: how far off it is by chance."""
        free = freedom_of(self.sizes, self.rows)
        return free if self.weekly is None else free * self.kept / self.sizes


def rows_together(
    series: Sequence[NDArray[np.float64]], asked: int = 1, *, in_time: bool = True, blocks: Blocks | None = None
) -> NDArray[np.int64]:
    """How many rows of a window say as much as one, by its size, as far as ``series`` tell; 1: they are independent.

    Shape as :func:`sizes`. ``series``: what is followed of a column, its rows in order, shape (rows, parts) each; the
    most that any of them says. ``asked``: so many columns are asked in all, which shares the chance to err among them.
    ``in_time``: rows are known to lie in order of time. Else what grows to the end says nothing, as rows may be sorted:
    all 0 where nothing else is said. ``blocks``: those to look at, where somebody made them, as of rows whose
    hours are compared with the same of other weeks.

    >>> rng = np.random.default_rng(1)
    >>> set(rows_together([rng.normal(size=(5000, 1))]).tolist())
    {1}
    >>> 4 <= int(rows_together([np.repeat(rng.normal(size=(2000, 1)), 5, axis=0)])[-1]) <= 7
    True
    >>> set(rows_together([np.arange(5000.0)[:, None]], in_time=False).tolist())
    {0}
    """
    found = [_of_one(each, asked * len(series), in_time=in_time, blocks=blocks) for each in series]
    most = np.asarray(np.max(found, axis=0), dtype=np.int64)
    untold = any(not each.all() for each in found)
    return np.zeros_like(most) if untold and most.max() <= 1 else np.maximum(most, 1)


def rows_together_along(
    directions: NDArray[np.float64],
    others: Sequence[NDArray[np.float64]],
    asked: int = 1,
    *,
    in_time: bool = True,
    blocks: Blocks | None = None,
) -> NDArray[np.int64]:
    """How many rows say as much as one, as wholes: what all ``directions``, shape (rows, directions), say together,
    which is off by far less than the most of them; and what a direction, or one of ``others``, says by itself where it
    hangs together more than all, at some size of block, beyond chance. The rest as of :func:`rows_together`.

    >>> rng = np.random.default_rng(1)
    >>> alike, single = np.repeat(rng.normal(size=(1000, 4)), 5, axis=0), rng.normal(size=(5000, 3))
    >>> bool(5 <= rows_together_along(alike, [])[-1] <= 6)
    True
    >>> bool(5 <= rows_together_along(single, [alike[:, :1]])[-1] <= 7), int(rows_together_along(single, [])[-1])
    (True, 1)
    """
    blocks = blocks or Blocks.of(len(directions))
    together = _of_one(directions, asked, in_time=in_time, blocks=blocks)
    beyond = np.maximum(_ratios(directions, blocks)[0], 1.0) * _by_chance(blocks, asked)
    for each in (*(direction[:, None] for direction in directions.T), *others):
        ratios, known = _ratios(each, blocks)
        if (known & (ratios > beyond))[1:].any():
            together = np.maximum(together, _of_one(each, asked, in_time=in_time, blocks=blocks))
    return together


def for_windows(by_size: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Of windows of so many rows, from what is known by size (the last axis); 1 where nothing can be told.

    >>> for_windows(np.array([[1, 1, 3, 7], [0, 0, 0, 0]]), 5).tolist(), for_windows(np.array([[1, 2]]), 10**9).tolist()
    ([3, 1], [2])
    """
    place = round(float(np.log2(max(rows, 1))))
    found: NDArray[np.int64] = np.maximum(by_size[..., min(place, by_size.shape[-1] - 1)], 1)
    return found


def _by_chance(blocks: Blocks, asked: int) -> NDArray[np.float64]:
    """What a ratio of independent rows is below but in one of a thousand references, shape (sizes,)."""
    freedom = blocks.freedom
    return np.asarray(special.chdtri(freedom, BY_CHANCE / (asked * len(freedom))) / freedom)


def _of_one(
    values: NDArray[np.float64], asked: int, *, in_time: bool, blocks: Blocks | None = None
) -> NDArray[np.int64]:
    blocks = blocks or Blocks.of(len(values))
    count = len(blocks.sizes)
    ratios, known = _ratios(values, blocks)
    seen = np.maximum.accumulate(known & (ratios > _by_chance(blocks, asked)))
    if not seen.any():
        return np.ones(count, dtype=np.int64)
    newest = ratios[-_DOUBLINGS - 1 :]
    if not in_time and seen[-1] and (newest[1:] > _GROWING * newest[:-1]).all():
        return np.zeros(count, dtype=np.int64)
    errors = _ERRORS * np.sqrt(2.0 / blocks.freedom)
    return np.array([_settled(ratios, errors, last) if seen[last] else 1 for last in range(count)], dtype=np.int64)


def _settled(ratios: NDArray[np.float64], errors: NDArray[np.float64], last: int) -> int:
    """The answer of sizes up to the one at ``last``: that of the first with which all larger ones agree.

    Or the next size's, if that is more: it lacks less of what lies between blocks, and of days that are cut in two. A
    window is worth one row at least.
    """
    known = ratios[: last + 1]
    off = np.abs(known[None, :] - known[:, None]) > errors[None, : last + 1] * known[:, None]
    agreeing = ~np.triu(off, 1).any(axis=1)
    first = int(np.argmax(agreeing))  # the last one always agrees
    found = float(ratios[first : first + 2].max())
    return min(int(np.ceil(found)), 1 << last) if found >= _LITTLE else 1


def _ratios(values: NDArray[np.float64], blocks: Blocks) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """By size, how much more sums of blocks vary than those of independent rows, and whether it can be told."""
    rows, count, weekly = blocks.rows, len(blocks.sizes), blocks.weekly
    total, pairs, varied = 0.0, 0.0, np.zeros(count)
    for part in np.ascontiguousarray(values.T) if rows else ():
        centred = part - part.mean()
        rest = centred if weekly is None else weekly.without(centred)
        squares = rest * rest
        of_part = float(squares.sum())
        if of_part <= _NOTHING * rows:
            continue
        total += of_part if weekly is None else rows * weekly.around_windows(centred)
        # How many rows make up what varies: a third of a bell curve's, the hits of a rare category.
        pairs += (of_part * of_part / float((squares * squares).sum())) ** 2 / rows
        varied += _mean_squares(rest, blocks.sizes)
    if total == 0.0:
        return np.ones(count), np.zeros(count, dtype=bool)
    ratios: NDArray[np.float64] = varied * (rows / total) / blocks.kept
    ratios[0] = 1.0
    return ratios, blocks.sizes * pairs >= _FEWEST_PAIRS


def freedom_of(blocks: NDArray[np.int64], rows: int) -> NDArray[np.float64]:
    """Degrees of freedom of each size's figure, of independent rows: how far off it is by chance."""
    lags = np.maximum((blocks - 1) * (2 * blocks - 1) / (6.0 * blocks), 1e-9)
    return np.asarray(rows / (2.0 * lags), dtype=np.float64)


def _mean_squares(values: NDArray[np.float64], blocks: NDArray[np.int64]) -> NDArray[np.float64]:
    """By size, the mean square of the sums of blocks; of single rows it is not asked: 0."""
    sums = np.concatenate(([0.0], values.cumsum()))
    found = np.zeros(len(blocks))
    for place, block in enumerate(blocks.tolist()[1:], 1):
        step = max(1, block // _STEPS)
        differences = sums[block::step] - sums[:-block:step]
        found[place] = float(np.square(differences, out=differences).mean())
    return found
