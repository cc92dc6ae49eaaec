"""From evidence to verdicts: the only place where a threshold stands.

Per column the first detector of the monitor's list decides; the others are shown beside it. Over the columns of one
window, Benjamini-Hochberg (or what the monitor names instead) holds the share of undrifted windows with any alarm to
``false_alarm_rate``, or to the level that control across windows leaves to this one. A column is
*drifted* when its p-value is rejected there and its effect (chance taken off) reaches ``minimum_effect``; rejected with
a smaller effect is a *warning*: real, but too small to matter. A detector that does not decide gets a verdict by the
same rules from its own p-values, but says *drifted* only where the deciding one does, so that looking at more
detectors raises no more alarms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from detectors.error_control.inside import inside
from driftline.results import Verdict

#: Beside fewer rows of the reference hardly any change would show, so a quiet window says nothing.
FEWEST_REFERENCE_ROWS = 30


@dataclass(frozen=True, slots=True)
class Rule:
    """What a monitor asks for: ``false_alarm_rate`` per window, ``minimum_effect``, ``drifted_columns`` per window.

    ``inside``: what controls false alarms among the columns, by its name.
    """

    false_alarm_rate: float
    minimum_effect: float
    drifted_columns: int = 1
    inside: str = "benjamini_hochberg"


def lacking_reference(rows: int, minimum_rows: int) -> str:
    """Why a reference (or its part of a segment) of so many rows is too small to judge by; empty: it is not.

    ``minimum_rows``: of the monitor's windows; a reference needs no more than they do.

    >>> lacking_reference(3, 100), lacking_reference(30, 100), lacking_reference(10, 10)
    ('the reference has 3 rows, 30 are needed', '', '')
    """
    needed = min(minimum_rows, FEWEST_REFERENCE_ROWS)
    return "" if rows >= needed else f"the reference has {rows} rows, {needed} are needed"


def decide(p_values: Sequence[Sequence[float | None]], effects: Sequence[float], rule: Rule) -> list[list[Verdict]]:
    """A verdict for each detector of each column.

    ``p_values``: by place in the monitor's list of detectors, the first one deciding, then by column; None where there
    is none. ``effects``: of the columns.
    """
    flagged = [_significant(each, rule) for each in p_values]
    if not any(map(any, flagged)):
        return [[Verdict.OK] * len(flags) for flags in flagged]
    drifted = [flag and effect >= rule.minimum_effect for flag, effect in zip(flagged[0], effects, strict=True)]
    return [list(map(_verdict, flags, drifted)) for flags in flagged]


def decide_window(verdicts: Sequence[Verdict], rule: Rule) -> Verdict:
    """The whole window's verdict from its columns' deciding verdicts."""
    if verdicts and verdicts.count(Verdict.OK) == len(verdicts):  # as in most windows
        return Verdict.OK
    if verdicts.count(Verdict.NOT_ENOUGH_EVIDENCE) == len(verdicts):
        return Verdict.NOT_ENOUGH_EVIDENCE
    drifted = verdicts.count(Verdict.DRIFTED)
    if drifted >= rule.drifted_columns:
        return Verdict.DRIFTED
    return Verdict.WARNING if drifted or Verdict.WARNING in verdicts else Verdict.OK


def window_p_value(p_values: Sequence[float | None], rule: Rule) -> float:
    """The smallest rate at which any column would be rejected: the p-value of "no column has changed"."""
    return inside(rule.inside).p_value(_known(p_values))


def _significant(p_values: Sequence[float | None], rule: Rule) -> list[bool]:
    """Whether each column is rejected; a missing p-value never is."""
    return inside(rule.inside).rejected(_known(p_values), rule.false_alarm_rate)


def _known(p_values: Sequence[float | None]) -> Sequence[float]:
    if None not in p_values:
        return cast("Sequence[float]", p_values)
    return [1.0 if p_value is None else p_value for p_value in p_values]


def _verdict(significant: bool, drifted: bool) -> Verdict:
    if not significant:
        return Verdict.OK
    return Verdict.DRIFTED if drifted else Verdict.WARNING
