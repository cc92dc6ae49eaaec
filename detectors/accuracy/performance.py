"""Performance results of a window: its metrics beside the reference's, with the share of rows that have labels."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from detectors.accuracy.classification import classification_measures
from detectors.accuracy.measure import Measure
from detectors.accuracy.ranking import FEWEST_QUERIES, main_metric, ranking_measures, told_labels
from detectors.accuracy.regression import HEAVY_TAIL, regression_measures, tail_weight
from detectors.counts.performance_counts import JUDGED, MAXIMUM_CLASSES, UNUSABLE, PerformanceLayout
from detectors.counts.ranking_counts import LABELLED
from detectors.counts.summary import Section
from detectors.statistics.reasons import not_enough, percent
from driftline.results import HEAVY_TAILS, LEFT_OUT, WHOLE_WINDOW, Interval, Result, Verdict, WindowKey

# Metrics that are means of squared errors, or follow from them.
_OF_SQUARES = ("rmse", "r2")


@dataclass(frozen=True, slots=True)
class Expected:
    """The reference's own metrics by name, and the rows they rest on; ``tail``: how heavy its errors' tails are."""

    measures: Mapping[str, Measure]
    judged: int
    tail: float = 0.0


def expected_performance(layout: PerformanceLayout, section: Section | None) -> Expected | None:
    """What the reference's judged predictions lead to expect; None without any."""
    if section is None:
        return None
    found = measure(layout, section, np.random.default_rng(0))
    return Expected({one.name: one for one in found}, int(section.values[JUDGED]), _tail(layout, section))


def performance_results(
    key: WindowKey,
    layout: PerformanceLayout,
    section: Section | None,
    expected: Expected | None,
    rows: int,
    minimum_rows: int,
) -> list[Result]:
    """One result per metric; one 'not enough evidence' when no label has arrived."""
    judged = 0 if section is None else max(0, int(section.values[JUDGED]))
    labelled = _labelled_rows(layout, section)
    coverage = min(1.0, labelled / rows) if rows else 0.0
    before, before_rows, tail = (
        ({}, 0, 0.0) if expected is None else (expected.measures, expected.judged, expected.tail)
    )
    measures = () if section is None else measure(layout, section, seeded(key), tail)
    if not measures or section is None:
        return [_no_labels(key, layout, section, rows, coverage)]
    results = []
    resting_on, lacking = _enough(layout, section, rows, minimum_rows)
    strange = _strange_labels(layout, section)
    for found in measures:
        known = before.get(found.name)
        verdict, reason = _judge(found, known, resting_on, lacking)
        heavy = layout.task == "regression" and _heavy_tails(found, section, tail)
        reason += f"; {HEAVY_TAILS}" if heavy else ""
        reason += strange
        measured = measured_result(key, found, known, verdict, reason, judged, before_rows, coverage)
        results.append(replace(measured, heavy_tails=True) if heavy else measured)
    return results


def measured_result(
    key: WindowKey,
    found: Measure,
    known: Measure | None,
    verdict: Verdict,
    reason: str,
    rows: int,
    reference_rows: int,
    coverage: float | None,
) -> Result:
    """A measure of a window beside the reference's; ``coverage`` None: it needs no labels."""
    return Result(
        window=key,
        column=WHOLE_WINDOW,
        detector=found.name,
        kind="performance",
        statistic=found.interval.value,
        direction=found.direction,
        verdict=verdict,
        reason=reason,
        sample_size=rows,
        reference_size=reference_rows,
        effect=found.interval,
        coverage=coverage,
        reference_value=None if known is None else known.interval.value,
    )


def measure(
    layout: PerformanceLayout, section: Section, rng: np.random.Generator, expected_tail: float = 0.0
) -> tuple[Measure, ...]:
    """The metrics of judged predictions; none when there are none. ``expected_tail``: see ``regression_measures``."""
    if layout.task == "ranking":
        return ranking_measures(layout, section)
    if layout.task == "regression":
        return regression_measures(layout, section, expected_tail)
    return classification_measures(layout, section, rng)


def _strange_labels(layout: PerformanceLayout, section: Section) -> str:
    """How many labels are of classes that the reference has not, or are no part of what is said; empty without any."""
    if layout.task == "regression":
        rows = max(0, int(section.values[UNUSABLE]))
        return f"; {rows} labelled row{' is' if rows == 1 else 's are'} {LEFT_OUT}" if rows else ""
    if layout.task != "multiclass" or not 0 < len(layout.classes) < MAXIMUM_CLASSES:
        return ""
    strange = int(layout.confusion(section.values)[-1].sum())
    if strange <= 0:
        return ""
    told = "1 label is of a class" if strange == 1 else f"{strange} labels are of classes"
    return f"; {told} that the reference does not have (labels.classes refuses what is none)"


def _tail(layout: PerformanceLayout, section: Section) -> float:
    return tail_weight(section) if layout.task == "regression" else 0.0


def _heavy_tails(found: Measure, section: Section, expected_tail: float) -> bool:
    """Whether tails are so heavy that the interval of what was found may not hold."""
    return found.name in _OF_SQUARES and max(tail_weight(section), expected_tail) > HEAVY_TAIL


def seeded(key: WindowKey) -> np.random.Generator:
    """Randomness of a window's own: the same window gets the same intervals whenever it is evaluated."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def _labelled_rows(layout: PerformanceLayout, section: Section | None) -> int:
    if section is None:
        return 0
    return max(0, int(section.values[LABELLED if layout.task == "ranking" else JUDGED]))


def _enough(layout: PerformanceLayout, section: Section, rows: int, minimum_rows: int) -> tuple[str, str]:
    """What metrics rest on, and what more a verdict needs; that is empty where there is enough."""
    judged = max(0, int(section.values[JUDGED]))
    if layout.task == "ranking":
        lacking = "" if judged >= FEWEST_QUERIES else f"{FEWEST_QUERIES} judged queries are needed for a verdict"
        return told_labels(section, rows), lacking
    lacking = "" if judged >= minimum_rows else f"{minimum_rows} labels are needed for a verdict"
    return f"{judged} of {rows} rows with labels", lacking


def _judge(found: Measure, known: Measure | None, resting_on: str, lacking: str) -> tuple[Verdict, str]:
    told = f"{found.name} {spelt(found.interval)} on {resting_on}"
    if lacking:
        return Verdict.NOT_ENOUGH_EVIDENCE, f"{told}; {lacking}"
    if known is None:
        return Verdict.OK, f"{told}; the reference has no labels to compare with"
    told = f"{told}; reference {spelt(known.interval)}"
    if is_worse(found, known):
        return Verdict.WARNING, f"{told}: the intervals are apart, it is worse"
    return Verdict.OK, told


def is_worse(found: Measure, known: Measure) -> bool:
    """Whether the intervals are apart, on the worse side."""
    above = found.interval.lower > known.interval.upper
    below = found.interval.upper < known.interval.lower
    if found.name == "bias":
        return (above or below) and abs(found.interval.value) > abs(known.interval.value)
    return above if found.direction == "larger_is_worse" else below


def spelt(interval: Interval) -> str:
    """A value with the ends of its interval."""
    return f"{interval.value:.3g} ({interval.lower:.3g} to {interval.upper:.3g})"


def _no_labels(
    key: WindowKey, layout: PerformanceLayout, section: Section | None, rows: int, coverage: float
) -> Result:
    regression = layout.task == "regression"
    why = f"{percent(coverage)} of {rows} rows have labels"
    if layout.task == "ranking" and section is not None:
        why = told_labels(section, rows)
    if layout.task == "ranking":
        why = f"{why}; scores order candidates and are no probabilities, so that nothing is estimated before labels"
    main = main_metric(layout) if layout.task == "ranking" else "accuracy"
    return Result(
        window=key,
        column=WHOLE_WINDOW,
        detector="mae" if regression else main,
        kind="performance",
        statistic=0.0,
        direction="larger_is_worse" if regression else "smaller_is_worse",
        verdict=Verdict.NOT_ENOUGH_EVIDENCE,
        reason=not_enough("", why) + ("" if section is None else _strange_labels(layout, section)),
        sample_size=0,
        coverage=coverage,
    )
