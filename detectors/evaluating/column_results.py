"""What is concluded of each watched column: one result for each of its detectors, as columns of results."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import concat

import numpy as np
from numpy.typing import NDArray

from detectors.evaluating.blocks import Found, Watched
from detectors.evaluating.decision import Rule, decide
from detectors.statistics.power import detectable_effects
from detectors.statistics.reasons import (
    Margin,
    below_what_matters,
    counted_as_one,
    measured,
    moved_reason,
    movement,
    quiet_each,
    reach,
)
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
    #: The column of which most rows hang together (empty: of none), how many count as one, and the smallest effect on
    #: it that is found all the same.
    hanging: tuple[str, int, float] = ("", 1, 0.0)

    def drifted(self) -> list[int]:
        """The places of the columns that drifted, the largest effect first."""
        if Verdict.DRIFTED not in self.deciding:
            return []
        moved = [place for place, verdict in enumerate(self.deciding) if verdict is Verdict.DRIFTED]
        return sorted(moved, key=lambda place: -self.effects[place].value)


def column_verdicts(key: WindowKey, beside: Watched, as_one: NDArray[np.int64], rule: Rule) -> ColumnVerdicts:
    """Evidence, decision and sentences for every watched column of a window.

    ``as_one``: how many rows count as one, by the column's place in the layout.
    """
    found = beside.evidence(as_one)
    asked = found.asked
    known = [*found.p_values, None]
    p_values = [of_rank(known) for of_rank in asked.ranked]
    verdicts = decide(p_values, [effect.value for effect in found.effects], rule)
    by_result = asked.of_ranked(list(chain.from_iterable(verdicts)))
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
        sample_size=asked.of_owners(sizes),
        reference_size=asked.of_owners(sizes_before),
        p_value=found.p_values,
        effect=asked.of_owners(found.effects),
        coverage=[None] * count,
        reference_value=[None] * count,
        heavy_tails=[False] * count,
    )
    deciding, first = (verdicts[0], p_values[0]) if p_values else ([], [])
    return ColumnVerdicts(results, asked.columns, deciding, first, found.effects, _hanging(found, rule))


def _hanging(found: Found, rule: Rule) -> tuple[str, int, float]:
    most = max(found.as_one, default=1)
    if most <= 1:
        return "", 1, 0.0
    number, columns = found.as_one.index(most), found.asked.columns
    block, place = found.asked.places[number]
    smallest = detectable_effects(found.seen[block], rule.false_alarm_rate / len(columns))
    return columns[number], most, float(smallest[place])


def _reasons(beside: Watched, found: Found, verdicts: Sequence[Verdict], sizes: Sequence[int], rule: Rule) -> list[str]:
    asked = found.asked
    rows = list(zip(sizes, found.as_one, strict=True))
    # Most columns have the same rows, and one text.
    texts = {each: f", {each[0]} rows{counted_as_one(each[1])}" for each in set(rows)}
    counted = list(map(texts.__getitem__, rows))
    quiet = list(map(concat, counted, _reaches(found, rule)))
    told = quiet_each(asked.quiet, found.statistics, found.p_values, asked.of_owners(quiet))
    if verdicts.count(Verdict.OK) == len(verdicts):
        return told
    what: dict[int, str] = {}
    for place, (owner, verdict) in enumerate(zip(asked.owner, verdicts, strict=True)):
        if verdict is not Verdict.OK:
            column = asked.column[place]
            if owner not in what:
                what[owner] = movement(beside.sample(column))
            fact = measured(asked.title[place], found.statistics[place], found.p_values[place])
            fact = f"{fact}{counted[owner]}"
            told[place] = moved_reason(column, what[owner], fact, found.effects[owner], verdict, rule.minimum_effect)
    return told


def _reaches(found: Found, rule: Rule) -> list[str]:
    """What each column's quiet says, where it is quiet."""
    asked, matters = found.asked, rule.minimum_effect
    small = [effect.upper < matters for effect in found.effects]
    # Only where its interval does not say it already, a column is asked what its quiet is worth.
    reaches = [below_what_matters(matters)] * len(small)
    if all(small):
        return reaches
    rate = rule.false_alarm_rate / len(asked.columns)
    detectable: dict[int, list[float]] = {}
    for number, (block, place) in enumerate(asked.places):
        if small[number]:
            continue
        if block not in detectable:
            detectable[block] = detectable_effects(found.seen[block], rate).tolist()
        reaches[number] = reach(found.effects[number], Margin(matters, detectable[block][place]))
    return reaches
