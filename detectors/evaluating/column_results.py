"""What is concluded of each watched column: one result for each of its detectors, as columns of results."""

from collections.abc import Sequence
from dataclasses import dataclass

from detectors.evaluating.blocks import Found, Watched
from detectors.evaluating.decision import Rule, decide
from detectors.statistics.power import detectable_effects
from detectors.statistics.reasons import Margin, measured, moved_reason, movement, reach
from driftline.result_columns import ResultColumns
from driftline.results import Interval, Verdict, WindowKey


@dataclass(frozen=True, slots=True)
class ColumnVerdicts:
    """The results of a window's columns; by column its name, deciding verdict and p-value, if any, and its effect."""

    results: ResultColumns
    columns: tuple[str, ...]
    deciding: list[Verdict]
    p_values: list[float | None]
    effects: list[Interval]


def column_verdicts(key: WindowKey, beside: Watched, rows_together: int, rule: Rule) -> ColumnVerdicts:
    """Evidence, decision and sentences for every watched column of a window."""
    found = beside.evidence(rows_together)
    asked = found.asked
    p_values = [[None if place < 0 else found.p_values[place] for place in ranked] for ranked in asked.ranked]
    verdicts = decide(p_values, [effect.value for effect in found.effects], rule)
    by_result = [verdicts[rank][owner] for rank, owner in zip(asked.rank, asked.owner, strict=True)]
    sizes_before, sizes = beside.sizes()
    count = len(by_result)
    results = ResultColumns(
        window=key,
        column=asked.column,
        detector=asked.detector,
        kind=["drift"] * count,
        statistic=found.statistics,
        direction=found.directions,
        verdict=by_result,
        reason=_reasons(beside, found, by_result, sizes, rule),
        sample_size=[sizes[owner] for owner in asked.owner],
        reference_size=[sizes_before[owner] for owner in asked.owner],
        p_value=found.p_values,
        effect=[found.effects[owner] for owner in asked.owner],
        coverage=[None] * count,
        reference_value=[None] * count,
    )
    deciding, first = (verdicts[0], p_values[0]) if p_values else ([], [])
    return ColumnVerdicts(results, asked.columns, deciding, first, found.effects)


def _reasons(beside: Watched, found: Found, verdicts: Sequence[Verdict], sizes: Sequence[int], rule: Rule) -> list[str]:
    asked = found.asked
    known = _reaches(found, rule)
    quiet = [f", {rows} rows{told}" for rows, told in zip(sizes, known, strict=True)]
    moved = {owner for owner, verdict in zip(asked.owner, verdicts, strict=True) if verdict is not Verdict.OK}
    what = {owner: movement(beside.sample(asked.columns[owner])) for owner in moved}
    told = []
    for column, name, owner, statistic, p_value, verdict in zip(
        asked.column, asked.title, asked.owner, found.statistics, found.p_values, verdicts, strict=True
    ):
        facts = measured(name, statistic, p_value)
        if verdict is Verdict.OK:
            told.append(f"{column} is as expected: {facts}{quiet[owner]}")
        else:
            facts = f"{facts}, {sizes[owner]} rows"
            told.append(moved_reason(column, what[owner], facts, found.effects[owner], verdict, rule.minimum_effect))
    return told


def _reaches(found: Found, rule: Rule) -> list[str]:
    """What each column's quiet says, where it is quiet."""
    asked, matters = found.asked, rule.minimum_effect
    detectable: dict[int, list[float]] = {}
    reaches = []
    for effect, (block, place) in zip(found.effects, asked.places, strict=True):
        # Only where its interval does not say it already, a column is asked what its quiet is worth.
        if effect.upper < matters:
            reaches.append(reach(effect, Margin(matters, 0.0)))
            continue
        if block not in detectable:
            rate = rule.false_alarm_rate / len(asked.columns)
            detectable[block] = detectable_effects(found.seen[block], rate).tolist()
        reaches.append(reach(effect, Margin(matters, detectable[block][place])))
    return reaches
