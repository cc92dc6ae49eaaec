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

from detectors.error_control.inside import inside
from detectors.statistics.evidence import Evidence
from driftline.results import Interval, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """What a monitor asks for: ``false_alarm_rate`` per window, ``minimum_effect``, ``drifted_columns`` per window.

    ``inside``: what controls false alarms among the columns, by its name.
    """

    false_alarm_rate: float
    minimum_effect: float
    drifted_columns: int = 1
    inside: str = "benjamini_hochberg"


@dataclass(frozen=True, slots=True)
class ColumnEvidence:
    """What was found about one column: evidence per detector, the deciding one first, and the effect size."""

    column: str
    evidence: tuple[tuple[str, Evidence], ...]
    effect: Interval


def decide(columns: Sequence[ColumnEvidence], rule: Rule) -> list[tuple[Verdict, ...]]:
    """For each column, in order, one verdict per detector."""
    significant = _significant(columns, rule)
    verdicts = []
    for index, column in enumerate(columns):
        flags = [flagged[index] for flagged in significant[: len(column.evidence)]]
        drifted = bool(flags and flags[0]) and column.effect.value >= rule.minimum_effect
        verdicts.append(tuple([_verdict(flag, drifted=drifted) for flag in flags]))
    return verdicts


def decide_window(verdicts: Sequence[Verdict], rule: Rule) -> Verdict:
    """The whole window's verdict from its columns' deciding verdicts."""
    if not verdicts or all(verdict is Verdict.NOT_ENOUGH_EVIDENCE for verdict in verdicts):
        return Verdict.NOT_ENOUGH_EVIDENCE
    drifted = sum(verdict is Verdict.DRIFTED for verdict in verdicts)
    if drifted >= rule.drifted_columns:
        return Verdict.DRIFTED
    return Verdict.WARNING if drifted or Verdict.WARNING in verdicts else Verdict.OK


def _verdict(significant: bool, *, drifted: bool) -> Verdict:
    if not significant:
        return Verdict.OK
    return Verdict.DRIFTED if drifted else Verdict.WARNING


def window_p_value(columns: Sequence[ColumnEvidence], rule: Rule) -> float:
    """The smallest rate at which any column would be rejected: the p-value of "no column has changed"."""
    return inside(rule.inside).p_value([_p_value(column, 0) for column in columns])


def _significant(columns: Sequence[ColumnEvidence], rule: Rule) -> list[list[bool]]:
    """Per place in the detector lists, whether each column is rejected there; a missing p-value never is."""
    ranks = max((len(column.evidence) for column in columns), default=0)
    result = []
    for rank in range(ranks):
        p_values = [_p_value(column, rank) for column in columns]
        result.append(inside(rule.inside).rejected(p_values, rule.false_alarm_rate))
    return result


def _p_value(column: ColumnEvidence, rank: int) -> float:
    if rank >= len(column.evidence):
        return 1.0
    p_value = column.evidence[rank][1].p_value
    return 1.0 if p_value is None else p_value
