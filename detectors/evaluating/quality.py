"""Data-quality and outlier results of a window: shares of missing, unseen, invalid and outlying, against the reference.

A share that rose is at most a warning here: when it rose enough to matter, the column's drift detectors, which count
missing and unseen values too, say so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import Layout
from detectors.error_control.benjamini_hochberg import rejected
from detectors.statistics.evidence import Evidence
from detectors.statistics.reasons import not_enough, p_text, percent
from detectors.statistics.two_proportions import shares_compared
from detectors.statistics.wilson import difference, wilson
from driftline.monitors import ColumnSpec, Monitor
from driftline.results import Interval, Kind, Result, Verdict, WindowKey

#: Smallest rise of a share of missing, unseen or invalid values that is worth a warning.
SMALLEST_RISE = 0.01


@dataclass(frozen=True, slots=True)
class Share:
    """A share to compare: hits among rows, in the window and in the reference (0 rows: no reference)."""

    column: str
    detector: str
    kind: Kind
    hits: int
    rows: int
    hits_before: int
    rows_before: int
    smallest_rise: float = SMALLEST_RISE

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Hits and rows of the window, hits and rows of the reference."""
        return self.hits, self.rows, self.hits_before, self.rows_before


def column_shares(
    monitor: Monitor, layout: Layout, now: NDArray[np.int64], before: NDArray[np.int64]
) -> Iterator[Share]:
    """What every column is asked for, of vectors of the layout: values missing, unseen, against the monitor's rules."""
    ruled = {column.name for column in monitor.columns if _has_rules(column)}
    starts = np.array(layout.starts, dtype=np.intp)
    rows, rows_before = (np.add.reduceat(counts, starts).tolist() for counts in (now, before))
    for index, column in enumerate(layout.columns):
        last = layout.starts[index] + column.bins - 1
        sizes = rows[index], rows_before[index]
        yield _share(column.name, "missing_rate", now[last], before[last], *sizes)
        if column.categories:
            yield _share(column.name, "unseen_rate", now[last - 1], before[last - 1], *sizes)
        invalid, invalid_before = layout.invalid(now, index), layout.invalid(before, index)
        if invalid or invalid_before or column.name in ruled:
            yield _share(column.name, "invalid_rate", invalid, invalid_before, *sizes)


def _has_rules(rule: ColumnSpec) -> bool:
    return rule.required or any(limit is not None for limit in (rule.minimum, rule.maximum, rule.allowed))


def _share(column: str, detector: str, hits: int, hits_before: int, rows: int, rows_before: int) -> Share:
    return Share(column, detector, "quality", int(hits), rows, int(hits_before), rows_before)


def share_results(key: WindowKey, shares: Sequence[Share], rate: float, minimum_rows: int) -> list[Result]:
    """One result per share; over all of them, false warnings stay within ``rate`` (Benjamini-Hochberg)."""
    if not shares:
        return []
    counts = np.array([share.counts for share in shares], dtype=np.int64)
    evidence = shares_compared(*counts.T)
    flags = rejected([1.0 if found.p_value is None else found.p_value for found in evidence], rate)
    # Most columns of a window have the same counts, nothing missing among all of its rows, and so the same answer.
    known: dict[tuple[object, ...], _Answer] = {}
    results = []
    for share, found, significant in zip(shares, evidence, flags, strict=True):
        alike = share.detector, share.counts, significant
        if alike not in known:
            verdict, told = _judge(share, found, minimum_rows, significant=significant)
            known[alike] = _Answer(verdict, told, _effect(*share.counts))
        results.append(_result(key, share, found, known[alike]))
    return results


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is said of a share, whatever its column; ``told`` of it without the column's name."""

    verdict: Verdict
    told: str
    effect: Interval | None


def _effect(hits: int, rows: int, hits_before: int, rows_before: int) -> Interval | None:
    if rows and rows_before:
        return difference(hits, rows, hits_before, rows_before)
    return wilson(hits, rows) if rows else None


def _result(key: WindowKey, share: Share, found: Evidence, answer: _Answer) -> Result:
    return Result(
        window=key,
        column=share.column,
        detector=share.detector,
        kind=share.kind,
        statistic=found.statistic,
        direction="larger_is_worse",
        verdict=answer.verdict,
        reason=f"{share.column}: {answer.told}" if share.column else answer.told,
        sample_size=share.rows,
        reference_size=share.rows_before,
        p_value=found.p_value,
        effect=answer.effect,
        reference_value=share.hits_before / share.rows_before if share.rows_before else None,
    )


def _judge(share: Share, found: Evidence, minimum_rows: int, *, significant: bool) -> tuple[Verdict, str]:
    told = f"{share.detector.replace('_', ' ')} {percent(found.statistic)} of {share.rows} rows"
    if share.kind == "outliers":
        told = f"{percent(found.statistic)} of {share.rows} rows are outliers"
    if share.rows < minimum_rows:
        why = f"{share.rows} rows of {minimum_rows} needed"
        return Verdict.NOT_ENOUGH_EVIDENCE, f"not enough evidence, {why}" if share.column else not_enough("", why)
    if not share.rows_before:
        return Verdict.NOT_ENOUGH_EVIDENCE, f"{told}; there is no reference to compare with"
    before = share.hits_before / share.rows_before
    told = f"{told}, {percent(before)} in the reference ({p_text(found.p_value)})"
    if significant and found.statistic - before >= share.smallest_rise:
        return Verdict.WARNING, f"{told}: it rose"
    return Verdict.OK, told
