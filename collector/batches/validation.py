"""Which values break the monitor's column rules."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftline.columns import CodedTexts, ColumnBatch, NumericColumn, TextColumn
from driftline.monitors import ColumnSpec, Monitor

MISSING = "missing"
NOT_FINITE = "not_finite"
BELOW_MINIMUM = "below_minimum"
ABOVE_MAXIMUM = "above_maximum"
NOT_ALLOWED = "not_allowed"

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Validation:
    """``valid``: rows that pass every rule; ``failures``: (column, reason) with the rows that break it, if any do."""

    valid: Mask
    failures: dict[tuple[str, str], Mask]


def validate(monitor: Monitor, rows: ColumnBatch) -> Validation:
    """Hold every column of ``rows`` to its rules.

    A missing value fails only where the column is required; an infinite one always does.
    """
    valid = np.ones(rows.rows, dtype=np.bool_)
    failures: dict[tuple[str, str], Mask] = {}
    for spec in monitor.columns:
        for reason, mask in _broken_rules(spec, rows):
            if mask.any():
                failures[spec.name, reason] = mask
                valid &= ~mask
    return Validation(valid, failures)


def _broken_rules(spec: ColumnSpec, rows: ColumnBatch) -> Iterator[tuple[str, Mask]]:
    if spec.name in rows.numeric:
        yield from _numeric_rules(spec, rows.numeric[spec.name])
    elif spec.name in rows.coded:
        yield from _coded_rules(spec, rows.coded[spec.name])
    elif spec.name in rows.text:
        yield from _text_rules(spec, rows.text[spec.name])
    elif spec.required:
        yield MISSING, np.ones(rows.rows, dtype=np.bool_)


def _numeric_rules(spec: ColumnSpec, values: NumericColumn) -> Iterator[tuple[str, Mask]]:
    infinite = np.isinf(values)
    yield NOT_FINITE, infinite
    if spec.required:
        yield MISSING, np.isnan(values)
    if spec.minimum is not None:
        yield BELOW_MINIMUM, (values < spec.minimum) & ~infinite
    if spec.maximum is not None:
        yield ABOVE_MAXIMUM, (values > spec.maximum) & ~infinite


def _coded_rules(spec: ColumnSpec, values: CodedTexts) -> Iterator[tuple[str, Mask]]:
    if spec.required:
        yield MISSING, values.codes < 0
    if spec.allowed is not None:
        allowed = frozenset(spec.allowed)
        # The last is that of a missing one.
        yield NOT_ALLOWED, np.array([*(text not in allowed for text in values.texts), False])[values.codes]


def _text_rules(spec: ColumnSpec, values: TextColumn) -> Iterator[tuple[str, Mask]]:
    if not spec.required and spec.allowed is None:
        return
    listed = values.tolist()
    if spec.required:
        yield MISSING, np.fromiter((value is None for value in listed), np.bool_, len(listed))
    if spec.allowed is not None:
        allowed = {None, *spec.allowed}
        yield NOT_ALLOWED, np.fromiter((value not in allowed for value in listed), np.bool_, len(listed))
