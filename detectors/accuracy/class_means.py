"""Means over classes of precision, recall and F1, each with a 95 % interval, from a confusion table.

Each class's rate has an exact interval (Clopper and Pearson's; F1 is a function of a share), and a mean's ends follow
from its classes': their distances to the rates, each by its weight, add up in squares. Rates that a row enters together
(F1, as who is wrong is wrong in two classes; weights, which are counted too) do not scatter apart from each other: the
sum is scaled by the delta method's variance of the mean over that of as many rates apart. Where classes have a row or
two, that leans to one side; an end is therefore at least where as many tosses as have the mean's variance put it. F1 of
few rows errs low, by F1 (1 - F1) over the rows said or true, which the upper end makes good.

A rate that no row says anything of may be any, from 0 to 1, until so many rows came that it would have been seen if it
mattered: also that of a known class that does not occur. The mean itself is over those that occur.

Sources: G. Y. Zou, A. Donner, Construction of confidence limits about effect measures: a general approach, 2008
(the method of variance estimates recovery); C. J. Clopper, E. S. Pearson, 1934.

>>> found = class_means(np.array([[9, 1, 0], [1, 4, 0], [0, 0, 0]]))["recall_macro"]
>>> round(found.value, 2), round(found.lower, 2), round(found.upper, 2)
(0.85, 0.54, 0.98)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.statistics.bounded_mean import as_tosses, exact_ends, exact_share
from driftline.results import Interval

Rows = NDArray[np.float64]
#: A rate without a row may be any until as many rows came: of those a class of one in a hundred lacks once in twenty.
ROWS_TO_BE_SEEN = 300
#: Rows that nobody saw, spread evenly over the table.
_UNSEEN = 3.0


@dataclass(frozen=True, slots=True)
class _Rate:
    """Hits times ``top`` over the rows with the class as label (once or not) and those with it as prediction."""

    labels: int
    predictions: int

    @property
    def top(self) -> int:
        return self.labels + self.predictions

    def below(self, there: Rows, said: Rows) -> Rows:
        return self.labels * there + self.predictions * said

    def of_share(self, share: Rows) -> Rows:
        """From the share of hits among all rows that the class is in, each counted once."""
        return self.top * share / (1.0 + (self.top - 1) * share)


_RATES = {"f1": _Rate(1, 1), "precision": _Rate(0, 1), "recall": _Rate(1, 0)}


def class_means(confusion: NDArray[np.int64]) -> dict[str, Interval]:
    """Means over classes alike (macro) and by how often they are labels (weighted), by name, each in [0, 1].

    ``confusion`` of shape (classes + 1, classes + 1), row = label, the last one all others; it has rows. The weighted
    recall is left out: it is the accuracy. A class that was never said has precision 0.
    """
    enters = confusion.sum(axis=0) + confusion.sum(axis=1)
    occurs = np.flatnonzero(enters)
    table = confusion[np.ix_(occurs, occurs)].astype(np.float64)
    is_open = table.sum() < ROWS_TO_BE_SEEN
    unseen = int(np.count_nonzero(enters[:-1] == 0)) if is_open else 0
    alike = np.full(len(occurs), 1.0 / len(occurs))
    often = table.sum(axis=1) / table.sum()
    share_seen = len(occurs) / (len(occurs) + unseen)
    found = {}
    for name, rate in _RATES.items():
        seen = _mean(table, rate, alike, is_open)
        found[f"{name}_macro"] = Interval(seen.value, seen.lower * share_seen, 1.0 - (1.0 - seen.upper) * share_seen)
        if name != "recall":
            found[f"{name}_weighted"] = _mean(table, rate, often, is_open, is_counted=True)
    return found


def _mean(table: Rows, rate: _Rate, weights: Rows, is_open: bool, is_counted: bool = False) -> Interval:
    """The mean of a rate over the classes of a table; ``is_counted``: weights are shares of its rows."""
    hits, there, said = np.diagonal(table), table.sum(axis=1), table.sum(axis=0)
    below = rate.below(there, said)
    trials = below - (rate.top - 1) * hits
    shares = np.divide(hits, trials, out=np.zeros_like(trials), where=trials > 0)
    ends = exact_ends(hits, trials)
    rates, lower, upper = (rate.of_share(each) for each in (shares, *ends))
    value = float(weights @ rates)
    unknown = trials == 0
    middle, variance, apart = _scatter(table + _UNSEEN / table.size, rate, None if is_counted else weights)
    scale = float(np.sqrt(variance / apart)) if apart > 0.0 else 1.0
    down = scale * float(np.linalg.norm((weights * (rates - lower))[~unknown]))
    up = scale * float(np.linalg.norm((weights * (upper - rates))[~unknown]))
    rows = float(table.sum())
    tosses = as_tosses(value, middle, variance) if variance > 0.0 else exact_share(value * rows, rows)
    above = max(value + up + float(weights[unknown].sum()) * is_open, tosses.upper)
    if rate.top > 1 and not is_counted:
        above += value * (1.0 - value) * float(weights @ (1.0 / below))
    return Interval(value, min(tosses.lower, max(0.0, value - down)), min(1.0, above))


def _scatter(table: Rows, rate: _Rate, weights: Rows | None) -> tuple[float, float, float]:
    """The mean of a table without zeros, its variance by the delta method, and that of its rates were they apart.

    ``weights``: None, by the rows with each label.
    """
    rows = float(table.sum())
    cells = table / rows
    hits, there, said = np.diagonal(cells), cells.sum(axis=1), cells.sum(axis=0)
    below = rate.below(there, said)
    trials = below - (rate.top - 1) * hits
    shares = hits / trials
    rates = rate.of_share(shares)
    weighed = there if weights is None else weights
    less = weighed * rates / below
    slopes = np.diag(rate.top * weighed / below) - rate.labels * less[:, None] - rate.predictions * less
    if weights is None:
        slopes = slopes + rates[:, None]
    variance = float((cells * slopes**2).sum() - (cells * slopes).sum() ** 2)
    steep = rate.top / (1.0 + (rate.top - 1) * shares) ** 2
    apart = float((weighed**2 * steep**2 * shares * (1.0 - shares) / trials).sum())
    return float(weighed @ rates), variance / rows, apart / rows
