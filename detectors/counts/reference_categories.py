"""Which categories a reference knows, and its rows on their bins: no row is counted on a bin that it chose itself.

A window's rows fall on bins that the reference chose. Were the reference's own rows counted on them as they come, its
share of unseen values would be too small, and what is known too frequent: of a thousand categories about alike, those
that chance made frequent *here* are known. So

- up to :data:`MAXIMUM_CATEGORIES` categories are all known, and a row whose category no other row has is counted as
  unseen, which it would be had the others chosen. The expected share is then the window's (Good and Turing's).
- where there are more, or where more than one row in ten stands alone (of a hundred at least), a fifth of the rows,
  drawn at random, chooses, and the others are counted.

Sources: I. J. Good, The population frequencies of species and the estimation of population parameters, Biometrika 40,
1953; D. R. Cox, A note on data-splitting for the evaluation of significance levels, Biometrika 62, 1975.

>>> known = known_categories(["a"] * 50 + ["b"] * 30 + ["c", None], np.random.default_rng(1))
>>> known.names, known.left(np.array([50, 30, 1, 0, 1]), np.random.default_rng(1)).tolist()
(('a', 'b', 'c'), [50, 30, 0, 1, 1])
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import CATEGORICAL_EXTRA, place, tally
from detectors.counts.reference_bins import MAXIMUM_CATEGORIES, most_frequent

#: The part of the rows, about, that chooses, where not all may be known.
CHOOSING = 0.2
#: Rows that stand alone, of all rows, above which not all are known.
MOST_ALONE = 0.1
#: Of fewer rows than this a fifth would know next to nothing.
FEWEST_ROWS = 100


@dataclass(frozen=True, slots=True)
class KnownCategories:
    """The categories with bins of their own, in alphabetical order, and who chose them.

    ``whole``: the reference's rows per bin, shape (bins,), the last two unseen and missing; ``chose``: those of them
    that chose, zeros where all categories are known.
    """

    names: tuple[str, ...]
    whole: NDArray[np.int64]
    chose: NDArray[np.int64]

    def left(self, counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """The rows that count, of some of the reference's rows per bin.

        Of those that chose as many are taken out as are among so many rows by chance, and all of them of all.
        """
        if self.chose.any():
            return counts - rng.hypergeometric(counts, self.whole - counts, self.chose)
        alone = self.whole == 1
        alone[-CATEGORICAL_EXTRA:] = False
        found = np.where(alone, 0, counts)
        found[-CATEGORICAL_EXTRA] += counts[alone].sum()
        return found


def known_categories(values: Sequence[object], rng: np.random.Generator) -> KnownCategories:
    """The most frequent categories of a reference's rows."""
    tallied = tally(values)
    names = sorted(name for name in tallied if name is not None)
    counts = np.array([tallied[name] for name in names], dtype=np.int64)
    rows, alone = int(counts.sum()), np.count_nonzero(counts == 1)
    if len(names) <= MAXIMUM_CATEGORIES and (rows < FEWEST_ROWS or alone <= MOST_ALONE * rows):
        whole = np.array([*counts, 0, tallied.get(None, 0)], dtype=np.int64)
        return KnownCategories(tuple(names), whole, np.zeros_like(whole))
    everything = np.append(counts, tallied.get(None, 0))
    drawn = rng.binomial(everything, CHOOSING).tolist()
    choosing = {name: count for name, count in zip([*names, None], drawn, strict=True) if count}
    known = tuple(sorted(most_frequent(choosing, MAXIMUM_CATEGORIES)))
    codes = {name: code for code, name in enumerate(known)}
    return KnownCategories(known, np.array(place(tallied, codes)), np.array(place(choosing, codes)))
