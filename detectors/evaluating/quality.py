"""Data-quality and outlier results of a window: shares of missing, unseen, invalid and outlying, against the reference.

A share that rose is at most a warning here: when it rose enough to matter, the column's drift detectors, which count
missing and unseen values too, say so.
"""

from dataclasses import dataclass

from detectors.error_control.benjamini_hochberg import rejected
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.reasons import not_enough, p_text, percent
from detectors.statistics.two_proportions import two_proportions
from detectors.statistics.wilson import difference, wilson
from detectors.univariate.missing_rate import missing_rate
from detectors.univariate.unseen_rate import unseen_rate
from driftline.results import WHOLE_WINDOW, Kind, Result, Verdict, WindowKey

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
    evidence: Evidence
    smallest_rise: float = SMALLEST_RISE


def column_shares(sample: ColumnSample, invalid: tuple[int, int] | None) -> list[Share]:
    """The shares of one column; ``invalid``: values that break rules, (window, reference), None without rules."""
    shares = [_share(sample, "missing_rate", int(sample.current[-1]), int(sample.reference[-1]), missing_rate(sample))]
    if sample.kind == "categorical" and sample.categories:
        unseen = int(sample.current[-2]), int(sample.reference[-2])
        shares.append(_share(sample, "unseen_rate", *unseen, unseen_rate(sample)))
    if invalid is not None:
        evidence = two_proportions(invalid[0], sample.current_rows, invalid[1], sample.reference_rows)
        shares.append(_share(sample, "invalid_rate", *invalid, evidence))
    return shares


def outlier_share(method: str, hits: int, rows: int, hits_before: int, rows_before: int, outlier_rate: float) -> Share:
    """The share of outlier rows, by this method, among those with a score."""
    evidence = two_proportions(hits, rows, hits_before, rows_before)
    return Share(WHOLE_WINDOW, method, "outliers", hits, rows, hits_before, rows_before, evidence, outlier_rate)


def share_results(key: WindowKey, shares: list[Share], rate: float, minimum_rows: int) -> list[Result]:
    """One result per share; over all of them, false warnings stay within ``rate`` (Benjamini-Hochberg)."""
    p_values = [1.0 if share.evidence.p_value is None else share.evidence.p_value for share in shares]
    return [
        _result(key, share, minimum_rows, significant=significant)
        for share, significant in zip(shares, rejected(p_values, rate), strict=True)
    ]


def _share(sample: ColumnSample, detector: str, hits: int, hits_before: int, evidence: Evidence) -> Share:
    rows, before = sample.current_rows, sample.reference_rows
    return Share(sample.column, detector, "quality", hits, rows, hits_before, before, evidence)


def _result(key: WindowKey, share: Share, minimum_rows: int, *, significant: bool) -> Result:
    before = share.hits_before / share.rows_before if share.rows_before else None
    verdict, reason = _judge(share, minimum_rows, significant=significant)
    known = share.rows and share.rows_before
    return Result(
        window=key,
        column=share.column,
        detector=share.detector,
        kind=share.kind,
        statistic=share.evidence.statistic,
        direction="larger_is_worse",
        verdict=verdict,
        reason=reason,
        sample_size=share.rows,
        reference_size=share.rows_before,
        p_value=share.evidence.p_value,
        effect=difference(share.hits, share.rows, share.hits_before, share.rows_before)
        if known
        else (wilson(share.hits, share.rows) if share.rows else None),
        reference_value=before,
    )


def _judge(share: Share, minimum_rows: int, *, significant: bool) -> tuple[Verdict, str]:
    what = f"{share.column}: " if share.column else ""
    told = f"{what}{share.detector.replace('_', ' ')} {percent(share.evidence.statistic)} of {share.rows} rows"
    if share.kind == "outliers":
        told = f"{percent(share.evidence.statistic)} of {share.rows} rows are outliers"
    if share.rows < minimum_rows:
        return Verdict.NOT_ENOUGH_EVIDENCE, not_enough(share.column, f"{share.rows} rows of {minimum_rows} needed")
    if not share.rows_before:
        return Verdict.NOT_ENOUGH_EVIDENCE, f"{told}; there is no reference to compare with"
    before = share.hits_before / share.rows_before
    told = f"{told}, {percent(before)} in the reference ({p_text(share.evidence.p_value)})"
    if significant and share.evidence.statistic - before >= share.smallest_rise:
        return Verdict.WARNING, f"{told}: it rose"
    return Verdict.OK, told
