"""Wasserstein distance of order 1: how far the values moved on average, in standard deviations of the reference.

The area between the two distribution functions of the finite values, each bin standing at its representative value,
over the standard deviation of the reference (of a constant reference: over its absolute value, or 1). Missing and
infinite values have no place on that axis; the p-value takes them in as cells of their own (``tables.py``).

The p-value compares the area over the bulk of the reference with the same area under Brownian bridges in the place of
the difference. The bulk leaves out thresholds beyond which the smaller sample expects fewer than five rows: single
values of a heavy tail would raise false alarms there. Beyond the largest simulated areas the tail goes on as that of
the signed area, a normal law, which bounds it from the quiet side. Where there is no bulk (a constant reference), the
p-value is that of the Kolmogorov-Smirnov test.

Source: E. del Barrio, E. Gine, C. Matran, Central limit theorems for the Wasserstein distance, 1999.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.statistics.areas import ColumnAreas
from detectors.statistics.brownian_bridge import spread
from detectors.statistics.columns import Columns, ColumnsEvidence, References, alone, harmonic
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.largest_gaps import largest_gaps
from detectors.statistics.tables import special_before, special_now, with_special
from detectors.statistics.worked_out import worked_out

# Thresholds count for the p-value where the smaller sample expects at least this many rows beyond them.
_TAIL_ROWS = 5.0


def wasserstein(sample: ColumnSample) -> Evidence:
    """The distance, at least 0, with its p-value (None without ``nulls``); larger is worse."""
    return wasserstein_of_columns(alone(sample))[0]


def wasserstein_of_columns(columns: Columns) -> ColumnsEvidence:
    """The same of several columns, all with ``nulls`` or all without."""
    axis = _axis(columns.before)
    if axis.all_finite and not special_now(columns).any():  # as in most windows
        gaps, size = largest_gaps(columns).gaps, columns.size
        statistics = np.einsum("ij,ij->i", gaps, axis.steps) / axis.spreads
        return ColumnsEvidence(statistics, _p_values(axis, gaps, size, columns.rows))
    rows = columns.rows - special_now(columns).sum(axis=1)
    known = (axis.rows > 0) & (rows > 0)
    below = (columns.below - columns.current[:, :1]) / np.maximum(rows, 1)[:, None]
    gaps, size = np.abs(axis.below - below), harmonic(axis.rows, rows)
    statistics = np.einsum("ij,ij->i", gaps, axis.steps) * known / axis.spreads
    p_values = _p_values(axis, gaps, size * known, rows)
    return ColumnsEvidence(statistics, with_special(columns, p_values, known))


def _p_values(
    axis: "_Axis", gaps: NDArray[np.float64], size: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of differences at each bin between so many finite rows, ``size`` being ``nm / (n + m)``; NaN without areas."""
    if axis.areas is None:
        return np.full(len(rows), np.nan)
    roots = np.sqrt(size)
    p_values = axis.areas.p_values(gaps, roots, _TAIL_ROWS / np.maximum(np.minimum(axis.rows, rows), 1))
    lost = np.isnan(p_values)
    if lost.any():
        p_values[lost] = special.kolmogorov((gaps * axis.thresholds).max(axis=1)[lost] * roots[lost])
    return p_values


@dataclass(frozen=True, slots=True)
class _Axis:
    """What distances are measured on, of the reference alone; ``rows`` and ``spreads`` by column, else by its bins too.

    ``rows``: finite ones; ``all_finite``: there are no others. ``below``: the share of them up to and with each bin.
    ``steps``: from each threshold to the next.
    """

    rows: NDArray[np.int64]
    below: NDArray[np.float64]
    thresholds: NDArray[np.bool_]
    steps: NDArray[np.float64]
    spreads: NDArray[np.float64]
    areas: ColumnAreas | None
    all_finite: bool


def _axis(before: References) -> _Axis:
    return worked_out(before.known, "axis", lambda: _made(before))


def _made(before: References) -> _Axis:
    rows = before.rows - special_before(before).sum(axis=1)
    steps, spreads = np.zeros(before.counts.shape), np.ones(len(rows))
    nulls = [sample.nulls for sample in before.samples if sample.nulls is not None]
    for place, sample in enumerate(before.samples):
        finite = sample.values[1:-2]
        # Where the first finite bin ends is the first threshold.
        steps[place, 1 : len(finite)] = np.diff(finite)
        if rows[place]:
            spreads[place] = sample.nulls.spread if sample.nulls else spread(sample.reference[1:-2], finite)
    bins = np.arange(before.counts.shape[1])
    thresholds = (bins >= 1) & (bins < before.bins[:, None] - 3)
    below = (before.below - before.counts[:, :1]) / np.maximum(rows, 1)[:, None]
    areas = ColumnAreas(tuple(nulls), len(bins)) if len(nulls) == len(rows) else None
    return _Axis(rows, below, thresholds, steps, spreads, areas, bool((rows == before.rows).all()))
