"""How far rows are from the plane that the reference's rows lie in.

Half of the reference's rows give the principal components that hold 65 % of their variance; the reconstruction error of
a row is its distance from that plane. The other half's errors and the window's are samples of one distribution when
nothing changed, whatever the components are, and two samples of numbers have a test: Kolmogorov-Smirnov. (NannyML
compares mean errors with limits of three standard deviations over chunks of the rows that the components were fitted
to.) Linear relations between columns that break raise the error; relations that get closer lower it, which counts too.

The effect is the statistic with chance taken off: no function of rows differs in distribution by more than the rows do,
so it is a lower bound of the total variation distance. The most telling columns are those whose own part of the squared
error moved most.

Source: the idea is NannyML's data reconstruction with PCA; N. Smirnov, 1948, for the test.

>>> rng = np.random.default_rng(0)
>>> x = rng.normal(size=(1500, 1)) + 0.1 * rng.normal(size=(1500, 3))
>>> broken = np.column_stack((x[1000:, :2], rng.permutation(x[1000:, 2])))
>>> found = pca_reconstruction(TableSample(("a", "b", "c"), x[:1000], broken), rng, 0)
>>> found.evidence.p_value < 1e-6, found.telling[0].column
(True, 'c')
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.multivariate.prepared import prepare
from detectors.statistics.evidence import Evidence
from detectors.statistics.kolmogorov import kolmogorov_effect
from detectors.statistics.principal_plane import residuals_of
from detectors.statistics.table_sample import NOTHING, TableEvidence, TableSample, Telling, telling

_MAXIMUM_ROWS = 50_000
_FEWEST = 20


def pca_reconstruction(sample: TableSample, rng: np.random.Generator, _permutations: int = 0, /) -> TableEvidence:
    """The largest difference of the two distribution functions of errors; larger is worse."""
    prepared = prepare(sample, rng, _MAXIMUM_ROWS)
    if prepared is None or prepared.n < _FEWEST:
        return NOTHING
    order = rng.permutation(prepared.n)
    fitted, held_out = prepared.values[order[: prepared.n // 2]], prepared.values[order[prepared.n // 2 :]]
    residuals = residuals_of(fitted, held_out), residuals_of(fitted, prepared.values[prepared.n :])
    before, now = (np.sort(np.sqrt((parts**2).sum(axis=1)).round(9)) for parts in residuals)
    both = np.concatenate((before, now))
    shares = [np.searchsorted(side, both, side="right") / len(side) for side in (before, now)]
    largest = float(np.abs(shares[0] - shares[1]).max())
    apart = sample.inflation(len(before), len(now))
    size = math.sqrt(len(before) * len(now) / (apart * len(both)))
    effect = kolmogorov_effect(largest, len(before) / apart, len(now) / apart)
    evidence = Evidence(largest, "larger_is_worse", float(special.kolmogorov(size * largest)))
    return TableEvidence(evidence, effect, _telling(sample.columns, prepared.columns, residuals))


def _telling(
    names: tuple[str, ...],
    columns: NDArray[np.intp],
    residuals: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[Telling, ...]:
    gaps = np.abs((residuals[1] ** 2).mean(axis=0) - (residuals[0] ** 2).mean(axis=0))
    moved = np.zeros(len(names))
    np.add.at(moved, columns, gaps)
    return telling(names, moved)
