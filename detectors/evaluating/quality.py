"""Data-quality and outlier results of a window: shares of missing, unseen, invalid and outlying, against the reference.

A share that rose is at most a warning here: when it rose enough to matter, the column's drift detectors, which count
missing and unseen values too, say so.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.counts.layout import Layout
from detectors.error_control.benjamini_hochberg import rejected
from detectors.evaluating.picking import picker
from detectors.statistics.evidence import Evidence
from detectors.statistics.reasons import not_enough, percent
from detectors.statistics.two_proportions import two_proportions
from detectors.statistics.wilson import difference, wilson
from driftline.monitors import ColumnSpec, Monitor
from driftline.p_values import p_text
from driftline.result_columns import ResultColumns
from driftline.results import Interval, Kind, Verdict, WindowKey

#: Smallest rise of a share of missing, unseen or invalid values that is worth a warning.
SMALLEST_RISE = 0.01


class Share(NamedTuple):
    """A share to compare: hits among rows, in the window and in the reference (0 rows: no reference)."""

    detector: str
    kind: Kind
    smallest_rise: float
    hits: int
    rows: int
    hits_before: int
    rows_before: int


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of columns. Most are alike, nothing missing among all rows, and have one answer.

    By share: ``columns``; ``which`` of the ``different`` ones it is.
    """

    columns: list[str]
    which: list[int]
    different: list[Share]

    def add(self, column: str, share: Share) -> None:
        """One more, unlike the others."""
        self.columns.append(column)
        self.which.append(len(self.different))
        self.different.append(share)


@dataclass(frozen=True, slots=True)
class SharesAsked:
    """What every column of a layout is asked for: values missing, unseen, against the monitor's rules.

    By share: ``columns``, ``detectors``; ``places``: where its hits stand in a vector; ``owners``: the column's number;
    ``always``: false where it is asked for only if there are hits, because the column has no rules.
    """

    columns: list[str]
    detectors: list[str]
    places: NDArray[np.intp]
    owners: NDArray[np.intp]
    always: NDArray[np.bool_]
    starts: NDArray[np.intp]

    def counted(self, vector: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Hits and rows of each share in a vector of the layout."""
        return vector.take(self.places), np.add.reduceat(vector, self.starts).take(self.owners)

    def beside(self, before: NDArray[np.int64]) -> "SharesBeside":
        """The same with what the reference's vector holds of each."""
        hits, rows = self.counted(before)
        kinds: dict[tuple[str, int, int], int] = {}
        counts = zip(self.detectors, hits.tolist(), rows.tolist(), strict=True)
        of_share = np.array([kinds.setdefault(each, len(kinds)) for each in counts], dtype=np.intp)
        return SharesBeside(self, (hits > 0) | self.always, of_share, list(kinds))


@dataclass(frozen=True, slots=True)
class SharesBeside:
    """What is asked of every window beside one segment of the reference, which is worked out once.

    By share: ``told``, whether it is told whatever the window holds; ``of_share``: which of ``kinds`` it is, that are a
    detector with its hits and rows in the reference.
    """

    asked: SharesAsked
    told: NDArray[np.bool_]
    of_share: NDArray[np.intp]
    kinds: list[tuple[str, int, int]]

    def shares(self, vector: NDArray[np.int64]) -> Shares:
        """Those of a window that are to be told."""
        hits, rows = self.asked.counted(vector)
        told = np.flatnonzero(self.told | (hits > 0))
        known: dict[tuple[int, int, int], int] = {}
        counts = zip(*(each.take(told).tolist() for each in (self.of_share, hits, rows)), strict=True)
        which = [known.setdefault(each, len(known)) for each in counts]
        different = [self._share(*each) for each in known]
        return Shares(picker(told.tolist())(self.asked.columns), which, different)

    def _share(self, kind: int, hits: int, rows: int) -> Share:
        detector, *before = self.kinds[kind]
        return Share(detector, "quality", SMALLEST_RISE, hits, rows, *before)


def shares_asked(monitor: Monitor, layout: Layout) -> SharesAsked:
    """Of all columns that windows count."""
    ruled = {column.name for column in monitor.columns if _has_rules(column)}
    asked: list[tuple[int, str, int, bool]] = []
    for index, column in enumerate(layout.columns):
        last = layout.starts[index] + column.bins - 1
        asked.append((index, "missing_rate", last, True))
        if column.categories:
            asked.append((index, "unseen_rate", last - 1, True))
        asked.append((index, "invalid_rate", layout.invalid_at.start + index, column.name in ruled))
    return SharesAsked(
        columns=[layout.columns[owner].name for owner, *_ in asked],
        detectors=[detector for _, detector, *_ in asked],
        places=np.array([place for _, _, place, _ in asked], dtype=np.intp),
        owners=np.array([owner for owner, *_ in asked], dtype=np.intp),
        always=np.array([always for *_, always in asked], dtype=bool),
        starts=np.array(layout.starts, dtype=np.intp),
    )


def _has_rules(rule: ColumnSpec) -> bool:
    return rule.required or any(limit is not None for limit in (rule.minimum, rule.maximum, rule.allowed))


def share_results(key: WindowKey, shares: Shares, rate: float, minimum_rows: int) -> ResultColumns:
    """One result per share; over all of them, false warnings stay within ``rate`` (Benjamini-Hochberg)."""
    different, which = shares.different, shares.which
    evidence = [two_proportions(*share[3:]) for share in different]
    each = picker(which)
    # Equal shares have equal p-values, and are rejected together.
    significant = dict(
        zip(
            which,
            rejected(each([1.0 if found.p_value is None else found.p_value for found in evidence]), rate),
            strict=True,
        )
    )
    answers = [
        _answer(share, found, minimum_rows, significant=significant[place])
        for place, (share, found) in enumerate(zip(different, evidence, strict=True))
    ]
    of_share = map(each, list(zip(*answers, strict=True)) or [()] * len(_Answer._fields))
    detectors, kinds, statistics, verdicts, told, rows, rows_before, p_values, effects, before = of_share
    return ResultColumns(
        window=key,
        column=shares.columns,
        detector=detectors,
        kind=kinds,
        statistic=statistics,
        direction=["larger_is_worse"] * len(which),
        verdict=verdicts,
        reason=[
            f"{column}: {reason}" if column else reason for column, reason in zip(shares.columns, told, strict=True)
        ],
        sample_size=rows,
        reference_size=rows_before,
        p_value=p_values,
        effect=effects,
        coverage=[None] * len(which),
        reference_value=before,
        heavy_tails=[False] * len(which),
    )


class _Answer(NamedTuple):
    """What is said of a share, whatever its column; ``told`` of it without the column's name."""

    detector: str
    kind: Kind
    statistic: float
    verdict: Verdict
    told: str
    rows: int
    rows_before: int
    p_value: float | None
    effect: Interval | None
    before: float | None


def _answer(share: Share, found: Evidence, minimum_rows: int, *, significant: bool) -> _Answer:
    verdict, told = _judge(share, found, minimum_rows, significant=significant)
    before = share.hits_before / share.rows_before if share.rows_before else None
    return _Answer(
        detector=share.detector,
        kind=share.kind,
        statistic=found.statistic,
        verdict=verdict,
        told=told,
        rows=share.rows,
        rows_before=share.rows_before,
        p_value=found.p_value,
        effect=_effect(*share[3:]),
        before=before,
    )


def _effect(hits: int, rows: int, hits_before: int, rows_before: int) -> Interval | None:
    if rows and rows_before:
        return difference(hits, rows, hits_before, rows_before)
    return wilson(hits, rows) if rows else None


def _judge(share: Share, found: Evidence, minimum_rows: int, *, significant: bool) -> tuple[Verdict, str]:
    told = f"{share.detector.replace('_', ' ')} {percent(found.statistic)} of {share.rows} rows"
    if share.kind == "outliers":
        told = f"{percent(found.statistic)} of {share.rows} rows are outliers"
    if share.rows < minimum_rows:
        why = f"{share.rows} rows of {minimum_rows} needed"
        return Verdict.NOT_ENOUGH_EVIDENCE, f"not enough evidence, {why}" if share.kind == "quality" else not_enough(
            "", why
        )
    if not share.rows_before:
        return Verdict.NOT_ENOUGH_EVIDENCE, f"{told}; there is no reference to compare with"
    before = share.hits_before / share.rows_before
    told = f"{told}, {percent(before)} in the reference ({p_text(found.p_value)})"
    if significant and found.statistic - before >= share.smallest_rise:
        return Verdict.WARNING, f"{told}: it rose"
    return Verdict.OK, told
