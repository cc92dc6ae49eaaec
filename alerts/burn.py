"""Burn rates: how fast an error budget is being spent, and how fast is too fast.

A burn rate of 1 spends the budget exactly over the period. Each row of the table says which share of the budget may
go within which long window before somebody hears of it; the factor follows: ``share * period / long``. An alert needs
the long window (it matters) and a short one of a twelfth (it is still going on) above ``factor * budget``.

Source of shares and windows: Google, *The Site Reliability Workbook*, chapter 5 "Alerting on SLOs"
(https://sre.google/workbook/alerting-on-slos/). Why and how factors are lowered: docs/decisions/0001.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alerts.slo import Objective, exact
from driftline.names import SEVERITY_PAGE, SEVERITY_TICKET
from driftline.objectives import Severity

HOUR_S = 3600.0
DAY_S = 86400.0
SHORT_PER_LONG = 12
#: An alert stands this many short windows after its condition held last, so that a quiet night in the middle of an
#: incident does not end it and begin another: a quarter of the long window.
KEPT_SHORTS = 3
#: A row may ask for at most this share of the way from the budget to "everything is bad".
HEADROOM = 0.25
#: A row widened for a slow signal does not wait for more than this share of the budget.
LARGEST_SHARE = 0.25
#: Periods shorter than this shrink the table's windows, so that no factor falls below the table's own smallest.
SHORTEST_FULL_PERIOD_S = 28 * DAY_S
#: One-sided 95 %: among windows whose true bad ratio is at the threshold, one in twenty looks worse by chance.
WILSON_Z = 1.64


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: ``share`` of the budget spent within ``long_s`` is worth a page or a ticket."""

    share: float
    long_s: float
    severity: Severity


TABLE: tuple[Row, ...] = (
    Row(0.02, HOUR_S, SEVERITY_PAGE),
    Row(0.05, 6 * HOUR_S, SEVERITY_PAGE),
    Row(0.10, DAY_S, SEVERITY_TICKET),
    Row(0.10, 3 * DAY_S, SEVERITY_TICKET),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A row made to fit one objective.

    ``factor``: burn rate that must be exceeded; ``threshold``: the same as a bad ratio, ``factor * budget``;
    ``share``: of the budget that is gone when the long window has burnt at ``factor`` throughout.
    """

    severity: Severity
    factor: float
    threshold: float
    share: float
    long_s: float
    short_s: float

    @property
    def kept_s(self) -> float:
        """How long the alert goes on firing after its condition held last."""
        return KEPT_SHORTS * self.short_s


def windows(objective: Objective, table: Sequence[Row] = TABLE) -> tuple[Window, ...]:
    """The alert windows of an objective, fastest first; at least one, none made needless by another."""
    fitted = [fit(row, objective) for row in table]
    # A page for burning no faster than the budget allows would wake people for keeping the promise.
    kept = [window for window in fitted if window.severity == SEVERITY_TICKET or window.factor > 1.0]
    return tuple(window for index, window in enumerate(kept) if not _needless(index, kept))


def fit(row: Row, objective: Objective) -> Window:
    """One row with a threshold that its objective can reach and windows that its signal can fill."""
    period_s, budget = objective.period_s, objective.budget
    base_s = row.long_s * min(1.0, period_s / SHORTEST_FULL_PERIOD_S)
    classic = row.share * period_s / base_s
    reachable = (budget + (1.0 - budget) * HEADROOM) / budget
    lowered = min(classic, reachable)
    spent_s = base_s if lowered == classic else _readable(row.share * period_s / lowered)
    filled_s = SHORT_PER_LONG * objective.resolution_s
    long_s = min(period_s, spent_s if spent_s >= filled_s else _readable(filled_s))
    factor = min(lowered, max(1.0, LARGEST_SHARE * period_s / long_s))
    return Window(
        severity=row.severity if objective.severity == SEVERITY_PAGE else SEVERITY_TICKET,
        factor=exact(factor),
        threshold=exact(factor * budget),
        share=exact(factor * long_s / period_s),
        long_s=long_s,
        short_s=max(long_s / SHORT_PER_LONG, objective.resolution_s),
    )


def time_to_fire_s(window: Window, bad_ratio: float) -> float:
    """Seconds from the start of a constant ``bad_ratio``, after a spotless past, until the long window fires.

    Infinite where the ratio does not exceed the threshold. At steady traffic and without the traffic guard:
    ``threshold * long / bad_ratio``.
    """
    return window.threshold * window.long_s / bad_ratio if bad_ratio > window.threshold else math.inf


def wilson_lower(bad: float, total: float, z: float = WILSON_Z) -> float:
    """Lower end of Wilson's score interval for ``bad`` of ``total`` events: the least bad ratio the counts prove.

    Counts may be fractions (``increase`` extrapolates). NaN without events. Source: Wilson (1927), JASA 22:209.

    >>> round(wilson_lower(1, 1), 3), round(wilson_lower(54, 100), 3)
    (0.271, 0.458)
    """
    if not total > 0:
        return math.nan
    spread = math.sqrt(bad * max(total - bad, 0.0) / total + z * z / 4.0)
    return (bad + z * z / 2.0 - z * spread) / (total + z * z)


def proven_ratio(bad: float, total: float) -> float:
    """The bad ratio that the counts prove even if one bad event had not happened: the traffic guard.

    Wilson's lower bound of one bad event less. The plain bound is too bold for the first few events (one bad of ten
    would prove 2.3 %); this one stays below the exact binomial bound (Clopper-Pearson) for any counts, and a single
    bad event proves nothing. NaN without events.

    >>> proven_ratio(1, 10), round(proven_ratio(54, 100), 3)
    (0.0, 0.448)
    """
    return wilson_lower(max(bad - 1.0, 0.0), total)


def _readable(seconds: float) -> float:
    # Rounded up to a multiple of twelve whole minutes (seconds below an hour), so that both windows read well.
    unit_s = SHORT_PER_LONG * (60.0 if seconds >= HOUR_S else 1.0)
    return math.ceil(seconds / unit_s - 1e-9) * unit_s


def _needless(index: int, rows: Sequence[Window]) -> bool:
    return any(_covers(other, rows[index], earlier=at < index) for at, other in enumerate(rows) if at != index)


def _covers(other: Window, row: Window, *, earlier: bool) -> bool:
    as_severe = other.severity == SEVERITY_PAGE or row.severity == SEVERITY_TICKET
    as_sensitive = other.factor <= row.factor and other.long_s <= row.long_s
    same = (other.severity, other.factor, other.long_s) == (row.severity, row.factor, row.long_s)
    return as_severe and as_sensitive and (earlier or not same)
