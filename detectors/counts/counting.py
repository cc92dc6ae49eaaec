"""Rows of a batch as the counts of a window: bins per column, values that break rules, outliers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.counts.binning import count_numbers, merged, place, tally
from detectors.counts.layout import OUTLIERS, ROWS, SCORED, Layout
from detectors.outliers.model import OutlierModel
from driftline.columns import ColumnBatch
from driftline.monitors import ColumnSpec, Monitor


def count_rows(
    layout: Layout,
    monitor: Monitor,
    rows: ColumnBatch,
    outliers: OutlierModel | None = None,
    outlier_scores: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """The batch as a vector of ``layout``; a column absent from the batch counts as missing in every row.

    ``outlier_scores``: what ``outliers`` makes of the rows, where somebody knows it already.
    """
    vector = np.zeros(layout.size, dtype=np.int64)
    vector[ROWS] = rows.rows
    rules = {spec.name: spec for spec in monitor.columns}
    invalid = vector[layout.invalid_at]
    for index, column in enumerate(layout.columns):
        counts, rule = layout.counts(vector, index), rules.get(column.name)
        if column.kind == "numeric":
            values = numbers(rows, column.name)
            counts[:] = count_numbers(values, column.edges, column.cells)
            invalid[index] = _invalid_numbers(values, rule, counts)
        else:
            coded = rows.coded.get(column.name)
            tallied = tally(texts(rows, column.name)) if coded is None else merged(coded.counts())
            counts[:] = place(tallied, column.codes)
            invalid[index] = _invalid_texts(tallied, rule)
    if outliers is not None and rows.rows:
        scores = outliers.scores(matrix(rows, outliers.columns)) if outlier_scores is None else outlier_scores
        vector[SCORED] = np.count_nonzero(~np.isnan(scores))
        vector[OUTLIERS] = np.count_nonzero(scores > outliers.threshold)
    return vector


def numbers(rows: ColumnBatch, name: str) -> NDArray[np.float64]:
    """The column as float64, shape (rows,): NaN where it is missing, absent, or text that is no number."""
    values = rows.numeric.get(name)
    if values is not None:
        return np.asarray(values, dtype=np.float64)
    texts = rows.text.get(name)
    if texts is None:
        return np.full(rows.rows, np.nan)
    return np.array([_number(text) for text in texts], dtype=np.float64)


def texts(rows: ColumnBatch, name: str) -> Sequence[object] | NDArray[Any]:
    """The column as it came, one value a row, to be read as categories: None where it is missing or absent."""
    given = rows.text.get(name, rows.numeric.get(name))
    return [None] * rows.rows if given is None else given


def matrix(rows: ColumnBatch, names: Sequence[str]) -> NDArray[np.float64]:
    """The named columns side by side, shape (rows, names); the numbers of vectors as :func:`coordinates` names them."""
    places = {
        name: values[:, place]
        for vector, values in rows.vectors.items()
        for place, name in enumerate(coordinates(vector, values.shape[1]))
    }
    found = np.empty((rows.rows, len(names)))
    for column, name in enumerate(names):
        found[:, column] = places[name] if name in places else numbers(rows, name)
    return found


def coordinates(vector: str, dimension: int) -> tuple[str, ...]:
    """What the numbers of a vector are called.

    >>> coordinates("embedding", 2)
    ('embedding[0]', 'embedding[1]')
    """
    return tuple(f"{vector}[{place}]" for place in range(dimension))


def _number(text: object) -> float:
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _invalid_numbers(values: NDArray[np.float64], rule: ColumnSpec | None, counts: NDArray[np.int64]) -> int:
    if rule is None:
        return 0
    lowest, highest, missing = int(counts[0]), int(counts[-2]), int(counts[-1])
    wrong = lowest + highest + (missing if rule.required else 0)  # an infinite value is always invalid, once
    if rule.minimum is not None:
        wrong += int(np.count_nonzero(values < rule.minimum)) - lowest
    if rule.maximum is not None:
        wrong += int(np.count_nonzero(values > rule.maximum)) - highest
    return wrong


def _invalid_texts(tallied: Mapping[str | None, int], rule: ColumnSpec | None) -> int:
    if rule is None:
        return 0
    wrong = tallied.get(None, 0) if rule.required else 0
    if rule.allowed is not None:
        allowed = frozenset(rule.allowed)
        wrong += sum(count for name, count in tallied.items() if name is not None and name not in allowed)
    return wrong
