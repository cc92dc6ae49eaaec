"""Results that say which segments and columns explain a change of accuracy: kind *explanation*, of windows of all rows.

Per segment column one result about the whole column (how much of the change its mix explains, and what it leaves), and
one for each of its values that make most of the change; the same of other columns, by groups of their values, counted
of files' rows as they are read, of traffic's from some of those that are stored. Made of the labels that are there, and
only where accuracy changed by more than chance does in one window of a thousand. A ranking is explained by its queries:
by columns that have one value for all candidates of a query, segments or not.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from detectors.accuracy.change_words import Change
from detectors.accuracy.explanation import Explanation, Groups, Part, explain
from detectors.accuracy.performance import seeded
from detectors.accuracy.ranking import main_metric
from detectors.counts.column_outcomes import LOSS_STEPS, OutcomeLayout, ReferenceOutcomes
from detectors.counts.performance_counts import CORRECT, JUDGED, PerformanceLayout
from detectors.counts.ranking_counts import QUERIES, RANK_STEPS, SUMS_AT
from detectors.counts.summary import Section, to_float
from detectors.statistics.reasons import percent
from detectors.statistics.wilson import Z_95
from driftline.results import ALL_ROWS, Interval, Result, Verdict, WindowKey

#: Detector names: of a column as a whole, of one of a segment column's values, of one group of another column's.
BY_COLUMN, BY_SEGMENT = "accuracy_change_by_column", "accuracy_change_by_segment"
BY_VALUE = "accuracy_change_by_value"
_ACCURACY = "accuracy"
#: Labelled rows, or judged queries, that either side needs.
FEWEST_LABELS = 100
#: Values of a column that are told of, those with the largest parts; columns that are no segments, and values of each.
_TOLD, _TOLD_COLUMNS, _TOLD_VALUES = 5, 5, 3
#: How sure it must be that some column's values differ in what they add, over all columns and groups together.
_BY_CHANCE = 0.01
_SURE = 3.29
#: Position of sums of sizes and squares of a regression's errors.
_SIZES, _SQUARES = 1, 2

#: The judged rows of a segment of the window; None where there are none.
SectionOf = Callable[[str], Section | None]


def explanations(
    key: WindowKey,
    layout: PerformanceLayout,
    reference: Mapping[str, Section],
    judged: SectionOf,
    columns: Sequence[str],
) -> list[Result]:
    """Why accuracy of all rows changed, by each segment column; nothing where it did not."""
    whole = judged(ALL_ROWS)
    if layout.task == "ranking":  # a segment holds parts of queries
        return []
    if not columns or whole is None or not changed(layout, reference.get(ALL_ROWS), whole):
        return []
    before, now = (_groups(layout, [section]) for section in (reference[ALL_ROWS], whole))
    results = []
    for column in columns:
        names = [name for name in reference if name.partition("=")[0] == column]
        parts = [judged(name) for name in names]
        split_before = _with_rest(before, _groups(layout, [reference[name] for name in names]))
        split_now = _with_rest(now, _groups(layout, parts))
        found = explain(split_before, split_now, seeded(key))
        results.extend(_told(key, layout, column, [*names, f"other {column}"], found, int(now.rows[0]), BY_SEGMENT))
    return results


def changed(layout: PerformanceLayout, reference: Section | None, judged: Section | None) -> bool:
    """Whether accuracy of all rows changed, by more than chance does in one window of a thousand."""
    if reference is None or judged is None:
        return False
    before, now = (_groups(layout, [section]) for section in (reference, judged))
    return min(float(before.rows[0]), float(now.rows[0])) >= FEWEST_LABELS and _moved(before, now)


def column_explanations(key: WindowKey, reference: ReferenceOutcomes, now: Section) -> list[Result]:
    """The columns on whose values accuracy changed otherwise than on all, the surest first; nothing where it is alike.

    ``now``: the window's labelled rows by the reference's groups of each column.
    """
    found = []
    layout, before = reference.layout, reference.expected
    tested = sum(len(column.names) for column in layout.columns)
    for index, column in enumerate(layout.columns):
        groups = _of_table(layout, layout.table(before, index)), _of_table(layout, layout.table(now, index))
        wholes = [Groups(*(np.array([part.sum()]) for part in astuple(each))) for each in groups]
        if min(float(whole.rows[0]) for whole in wholes) < FEWEST_LABELS or not _moved(*wholes):
            continue
        explained = explain(*groups, seeded(key))
        fewer, more = (order(groups[0].rows, groups[1].rows) for order in (np.minimum, np.maximum))
        known = np.where(fewer > 0.0, fewer, more).tolist()  # a group of one side alone is known from there
        least = _least_errors(*groups).tolist()
        chances = [_chance(*each) for each in zip(explained.parts, known, least, strict=True)]
        if min(chances, default=1.0) < _BY_CHANCE / tested:
            found.append((min(chances), column, explained, int(wholes[1].rows[0])))
    found.sort(key=lambda each: (each[0], each[1].name))
    results: list[Result] = []
    for _, column, explained, labels in found[:_TOLD_COLUMNS]:
        results.extend(_told(key, layout.performance, column.name, column.names, explained, labels, BY_VALUE))
    return results


def _of_table(layout: OutcomeLayout, table: NDArray[np.int64]) -> Groups:
    unit = layout.performance.scale / LOSS_STEPS if layout.performance.task in ("regression", "ranking") else 1.0
    rows, total, squares = np.maximum(table.T, 0).astype(np.float64)
    return Groups(rows, total * unit, squares * unit**2)


def _least_errors(before: Groups, now: Groups) -> NDArray[np.float64]:
    """How much each group's part scatters if its rows are like all others; those that happen to be alike say less."""
    variance, shares = np.zeros(len(now.rows)), np.zeros(len(now.rows))
    for groups in (before, now):
        rows = groups.rows.sum()
        spread = max(float(groups.squares.sum() / rows - (groups.total.sum() / rows) ** 2), 0.0)
        variance += spread / np.maximum(groups.rows, 1.0)
        shares += groups.rows / rows / 2.0
    found: NDArray[np.float64] = shares * (1.0 - shares) * np.sqrt(variance)
    return found


def _chance(part: Part, rows: float, least: float) -> float:
    """How often chance alone makes a group add so much beyond its share; of few rows their spread is little known."""
    error = max((part.excess.upper - part.excess.lower) / (2.0 * Z_95), least)
    return float(2.0 * student_t.sf(abs(part.excess.value) / error, max(rows - 1.0, 1.0))) if error > 0.0 else 1.0


def _groups(layout: PerformanceLayout, sections: Sequence[Section | None]) -> Groups:
    values = [(0.0, 0.0, 0.0) if section is None else _sums(layout, section) for section in sections]
    rows, total, squares = np.maximum(np.array(values).reshape(len(values), 3).T, 0.0)
    return Groups(rows, total, squares)


def _sums(layout: PerformanceLayout, section: Section) -> tuple[float, float, float]:
    if layout.task == "ranking":
        total, squares = section.values[SUMS_AT : SUMS_AT + 2].tolist()
        return float(section.values[QUERIES]), total / RANK_STEPS, squares / RANK_STEPS**2
    rows = float(section.values[JUDGED])
    if layout.task == "regression":
        return rows, to_float(section.sums[_SIZES]), to_float(section.sums[_SQUARES])
    correct = float(section.values[CORRECT])
    return rows, correct, correct


def _with_rest(whole: Groups, parts: Groups) -> Groups:
    """The parts, and what they leave of the whole."""

    def joined(all_rows: NDArray[np.float64], of_parts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.append(of_parts, max(0.0, float(all_rows[0] - of_parts.sum())))

    return Groups(
        joined(whole.rows, parts.rows), joined(whole.total, parts.total), joined(whole.squares, parts.squares)
    )


def _moved(before: Groups, now: Groups) -> bool:
    means, scatter = [], 0.0
    for groups in (before, now):
        rows = float(groups.rows[0])
        means.append(float(groups.total[0]) / rows)
        scatter += max(float(groups.squares[0]) / rows - means[-1] ** 2, 0.0) / rows
    return abs(means[1] - means[0]) > _SURE * math.sqrt(scatter)


def _told(
    key: WindowKey,
    layout: PerformanceLayout,
    column: str,
    names: Sequence[str],
    found: Explanation,
    labels: int,
    by: str,
) -> list[Result]:
    what = {"regression": "the mean size of errors", "ranking": main_metric(layout)}.get(layout.task, _ACCURACY)
    change = Change(found.change.value, in_points=what == _ACCURACY)
    told = (
        f"{what} changed by {change.spelt(found.change)}: {change.range(found.mix)} because {column} is mixed "
        f"otherwise, {change.range(found.inside)} inside its values, which {column} does not explain"
    )
    results = [_result(key, layout, column, BY_COLUMN, found.mix, change.value, told, labels)]
    with_rows = [place for place in range(len(names)) if any(found.parts[place].shares)]
    order = sorted(with_rows, key=lambda place: -abs(found.parts[place].whole.value))
    for place in order[: _TOLD if by == BY_SEGMENT else _TOLD_VALUES]:
        part = found.parts[place]
        how = _how(layout, part, change)
        whole = change.part(change.value)
        told = f"{names[place]} makes {change.spelt(part.whole)} of {what}'s change of {whole}: {how}"
        results.append(_result(key, layout, names[place], by, part.whole, change.value, told, labels))
    return results


def _how(layout: PerformanceLayout, part: Part, change: Change) -> str:
    if layout.task == "regression":
        inside = f"off by {part.means[1]:.3g}, {part.means[0]:.3g} before"
    elif layout.task == "ranking":
        inside = f"at {part.means[1]:.3g}, {part.means[0]:.3g} before"
    else:
        inside = f"right in {percent(part.means[1])}, before in {percent(part.means[0])}"
    counted = "judged queries" if layout.task == "ranking" else "labelled rows"
    mix = f"{percent(part.shares[1])} of the {counted}, {percent(part.shares[0])} before"
    return f"{change.part(part.inside.value)} as it is {inside}; {change.part(part.mix.value)} as it is {mix}"


def _result(
    key: WindowKey,
    layout: PerformanceLayout,
    column: str,
    detector: str,
    part: Interval,
    change: float,
    told: str,
    labels: int,
) -> Result:
    larger = layout.task == "regression"
    for_worse = change > 0.0 if larger else change < 0.0
    explains = for_worse and abs(part.value) >= abs(change) / 2.0 and part.value * change > 0.0
    certain = part.lower > 0.0 or part.upper < 0.0
    return Result(
        window=key,
        column=column,
        detector=detector,
        kind="explanation",
        statistic=part.value,
        direction="larger_is_worse" if larger else "smaller_is_worse",
        verdict=Verdict.WARNING if explains and certain else Verdict.OK,
        reason=told,
        sample_size=labels,
        effect=part,
    )
