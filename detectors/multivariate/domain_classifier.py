"""Can a classifier tell the window's rows from the reference's? Its AUC on rows it has not seen, and what it looks at.

Five folds: each fold's rows are scored by a classifier fitted on the others. The classifier is least squares with a
ridge on the columns, their squares, and up to fifteen columns' products, so that changes of place, spread and of how
columns go together are within its reach. Least squares fits all permuted labels with one factorisation per fold, which
makes the p-value that of a whole permutation test, refits and all: (1 + as large) / (1 + permutations).

The effect is a lower bound of the total variation distance t, as no score has an AUC above ``1 - (1 - t)^2 / 2``; its
interval is that of the AUC by DeLong. The most telling columns are those without which the score tells least.

Sources: J. Friedman, On multivariate goodness-of-fit and two-sample testing, 2003; D. Lopez-Paz, M. Oquab, Revisiting
classifier two-sample tests, 2017; E. DeLong and others, 1988.

>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(600, 3))
>>> found = domain_classifier(TableSample(("a", "b", "c"), x[:300], x[300:] + np.array([0.0, 1.0, 0.0])), rng, 199)
>>> found.evidence.p_value, found.telling[0].column, found.evidence.statistic > 0.7
(0.005, 'b', True)
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from detectors.multivariate.hanging_deals import Stretch, stretch, stretched
from detectors.multivariate.prepared import Prepared, prepare
from detectors.statistics.evidence import Evidence
from detectors.statistics.table_sample import NOTHING, TableEvidence, TableSample, Telling, telling
from detectors.statistics.wilson import Z_95
from driftline.results import Interval

_FOLDS, _RIDGE, _PRODUCTS_UP_TO = 5, 1e-2, 15
_PERMUTED_AT_ONCE = 256
_FEWEST_FREE = 1.0
# Of the terms' spread, what is within samples at least, where a stretched labelling leaves none.
_LEAST_WITHIN = 1e-3
# Permuted AUCs are at most this near the observed one where they are equal but for rounding.
_ROUNDING = 1e-9


def domain_classifier(sample: TableSample, rng: np.random.Generator, permutations: int, /) -> TableEvidence:
    """The AUC on unseen rows, 0.5 where nothing can be told; larger is worse."""
    prepared = prepare(sample, rng)
    if prepared is None or min(prepared.n, prepared.m) < 2 * _FOLDS:
        return NOTHING
    terms, involved = _terms(prepared)
    folds = _folds(prepared, rng)
    current = np.zeros(len(terms), dtype=bool)
    current[prepared.n :] = True
    auc, variance = _auc(_scores(terms, current[:, None], folds)[:, 0], current, folds)
    apart, along = sample.inflation(prepared.n, prepared.m), stretch(sample, prepared, permutations, rng)
    if apart > 1.0 or along is not None:
        # Spreads are known from so many rows only, by which Hotelling's statistic is the larger.
        free = max(_FEWEST_FREE, sample.worth(prepared.n, prepared.m) - 2.0 - terms.shape[1] - 1.0)
        unsure = 1.0 + (terms.shape[1] + 1.0) / free
        p_value, left = _hanging(terms, current, rng, permutations, apart * unsure, along)
    else:
        p_value, left = _p_value(terms, current, folds, auc, rng, permutations), 1.0
    found, half = 0.5 + left * (auc - 0.5), Z_95 * math.sqrt(apart * variance)
    effect = Interval(*(_bound(value) for value in (found, found - half, found + half)))
    evidence = Evidence(auc, "larger_is_worse", p_value)
    return TableEvidence(evidence, effect, _telling(sample.columns, terms, involved, current))


def _p_value(
    terms: NDArray[np.float64],
    current: NDArray[np.bool_],
    folds: NDArray[np.intp],
    auc: float,
    rng: np.random.Generator,
    permutations: int,
) -> float:
    """Of the AUC of independent rows."""
    large = 0
    for start in range(0, permutations, _PERMUTED_AT_ONCE):
        count = min(_PERMUTED_AT_ONCE, permutations - start)
        permuted = np.column_stack([_dealt(current, folds, rng) for _ in range(count)])
        found = _aucs(_scores(terms, permuted, folds), permuted, folds)
        large += int(np.count_nonzero(found >= auc - _ROUNDING))
    return (1.0 + large) / (1.0 + permutations)


def _hanging(
    terms: NDArray[np.float64],
    current: NDArray[np.bool_],
    rng: np.random.Generator,
    permutations: int,
    inflation: float,
    along: Stretch | None,
) -> tuple[float, float]:
    """Of rows that hang together: the p-value, of the separation; and what part of the AUC's distance from 0.5 is left
    without what such rows give by chance.
    """
    m, permuted = int(np.count_nonzero(current)), np.empty(permutations)
    observed = float(_separations(terms, current[:, None], m)[0])
    for start in range(0, permutations, _PERMUTED_AT_ONCE):
        some = slice(start, min(start + _PERMUTED_AT_ONCE, permutations))
        dealt = np.column_stack([rng.permutation(current) for _ in permuted[some]])
        permuted[some] = _separations(terms, dealt if along is None else stretched(dealt, along, some), m)
    large = int(np.count_nonzero(inflation * permuted >= observed * (1.0 - _ROUNDING)))
    chance = float(permuted.mean())
    left = math.sqrt(max(0.0, observed - inflation * chance) / (observed - chance)) if observed > chance else 0.0
    return (1.0 + large) / (1.0 + permutations), left


def _separations(
    terms: NDArray[np.float64], current: NDArray[np.bool_] | NDArray[np.float32], m: int
) -> NDArray[np.float64]:
    """Per labelling of ``m`` rows, the squared distance of the two samples' mean terms, as the classifier of all rows
    measures it: in units of the spread within samples along its own direction.
    """
    rows = len(terms)
    gram = terms.T @ terms / rows
    gram[np.diag_indices_from(gram)] += _RIDGE
    gaps = terms.T @ current.astype(np.float64) * (1.0 / m + 1.0 / (rows - m))
    whole = np.einsum("ij,ij->j", gaps, np.linalg.solve(gram, gaps))
    return np.asarray(whole / np.maximum(1.0 - m * (rows - m) / rows**2 * whole, _LEAST_WITHIN))


def _bound(auc: float) -> float:
    return 1.0 - math.sqrt(2.0 * (1.0 - min(1.0, max(0.5, auc))))


def _terms(prepared: Prepared) -> tuple[NDArray[np.float64], list[frozenset[int]]]:
    """The classifier's terms, each of mean 0 and spread 1, and the columns that each involves."""
    values, columns = prepared.values, [int(column) for column in prepared.columns]
    terms, involved = [*values.T], [frozenset((column,)) for column in columns]
    terms += [*(values**2).T]
    involved += involved[: len(columns)]
    if len(columns) <= _PRODUCTS_UP_TO:
        for one, other in itertools.combinations(range(len(columns)), 2):
            terms.append(values[:, one] * values[:, other])
            involved.append(frozenset((columns[one], columns[other])))
    whole = np.column_stack(terms)
    whole -= whole.mean(axis=0)
    spread = whole.std(axis=0)
    kept = spread > 1e-9
    return whole[:, kept] / spread[kept], [each for each, keep in zip(involved, kept, strict=True) if keep]


def _folds(prepared: Prepared, rng: np.random.Generator) -> NDArray[np.intp]:
    """The fold of each row: as many of either sample in each as can be."""
    return np.concatenate([rng.permutation(np.arange(rows) % _FOLDS) for rows in (prepared.n, prepared.m)])


def _dealt(current: NDArray[np.bool_], folds: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Labels dealt out anew within each fold, so that folds stay as balanced as they are."""
    dealt = np.empty_like(current)
    for fold in range(_FOLDS):
        rows = np.flatnonzero(folds == fold)
        dealt[rows] = current[rng.permutation(rows)]
    return dealt


def _scores(terms: NDArray[np.float64], current: NDArray[np.bool_], folds: NDArray[np.intp]) -> NDArray[np.float64]:
    """Each row's score by the classifier that has not seen it, per column of labels, shape (rows, labellings)."""
    scores = np.empty(current.shape)
    for fold in range(_FOLDS):
        unseen = folds == fold
        scores[unseen] = terms[unseen] @ _fit(terms[~unseen], current[~unseen])
    return scores


def _fit(terms: NDArray[np.float64], current: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Coefficients per labelling, shape (terms, labellings)."""
    targets = current - current.mean(axis=0)
    gram = terms.T @ terms
    gram[np.diag_indices_from(gram)] += _RIDGE * len(terms)
    return np.linalg.solve(gram, terms.T @ targets)


def _aucs(scores: NDArray[np.float64], current: NDArray[np.bool_], folds: NDArray[np.intp]) -> NDArray[np.float64]:
    """The mean of the folds' AUCs per labelling; equal scores count as ordered by chance of their place."""
    total = np.zeros(scores.shape[1])
    for fold in range(_FOLDS):
        unseen = np.flatnonzero(folds == fold)
        order = np.argsort(scores[unseen].astype(np.float32), axis=0)
        labels = np.take_along_axis(current[unseen], order, axis=0)
        m = labels.sum(axis=0)
        ranks = np.arange(1.0, len(unseen) + 1.0) @ labels
        total += (ranks - m * (m + 1) / 2) / (m * (len(unseen) - m))
    return np.asarray(total / _FOLDS)


def _auc(scores: NDArray[np.float64], current: NDArray[np.bool_], folds: NDArray[np.intp]) -> tuple[float, float]:
    """The observed AUC as :func:`_aucs` has it, and its variance by DeLong."""
    variance = 0.0
    for fold in range(_FOLDS):
        unseen = folds == fold
        now, before = np.sort(scores[unseen & current]), np.sort(scores[unseen & ~current])
        below = np.searchsorted(before, now) / len(before)
        above = 1.0 - np.searchsorted(now, before) / len(now)
        variance += float(below.var(ddof=1)) / len(now) + float(above.var(ddof=1)) / len(before)
    return float(_aucs(scores[:, None], current[:, None], folds)[0]), variance / _FOLDS**2


def _telling(
    names: tuple[str, ...],
    terms: NDArray[np.float64],
    involved: list[frozenset[int]],
    current: NDArray[np.bool_],
) -> tuple[Telling, ...]:
    """By how much the score separates the samples less without each column's terms."""
    coefficients = _fit(terms, current[:, None])[:, 0]
    gaps = (terms[current].mean(axis=0) - terms[~current].mean(axis=0)) * coefficients
    shares = np.zeros(len(names))
    for gap, columns in zip(gaps, involved, strict=True):
        for column in columns:
            shares[column] += gap / len(columns)
    return telling(names, np.maximum(shares, 0.0))
