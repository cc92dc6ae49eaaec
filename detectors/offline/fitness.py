"""Whether reference rows are fit to be compared with: enough of them, with something in every column, and at rest.

A reference that moved within itself makes every window look drifted, or none; one of a weekend calls Monday drift. What
is found here is told before anybody is woken by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from detectors.baselines.reference import Reference, build_reference
from detectors.baselines.rows_in_order import TogetherRows, compares_same_hours
from detectors.counts.layout import ROWS
from detectors.evaluating.decision import FEWEST_REFERENCE_ROWS, lacking_reference
from detectors.offline.files import OfflineWindows, Span
from detectors.offline.time_columns import Times
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.power import detectable_effect
from detectors.statistics.reasons import percent
from detectors.statistics.weekly_rows import FEWEST_WEEKS
from driftline.durations import format_duration
from driftline.monitor_detectors import AUTO
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, StreamKey, Verdict

#: A column of which so much is missing is compared by the little that is there.
MOSTLY_MISSING = 0.5
_HOUR_S, _DAY_S = 3600.0, 86_400.0
#: The first and the last of a week's rows are seldom a whole week apart.
_NEARLY_A_WEEK_S = 0.99 * 7 * _DAY_S
_FEWEST_ROWS, _DOUBLINGS = 100, 30
#: What is found of the most of many directions is more than that of columns by chance alone, but hardly by so much.
_MORE_ALONG = 2


@dataclass(frozen=True, slots=True)
class Weakness:
    """Something that makes a reference less than fit: of which column (empty: all), what, and what to do."""

    column: str
    what: str
    advice: str


def weaknesses(
    frame: pd.DataFrame, monitor: Monitor, reference: Reference, times: Times | None = None
) -> tuple[Weakness, ...]:
    """All that is found; none is good. ``times`` order the rows; without them they are taken as they lie."""
    spans = () if times is None else tuple(_span(times))
    in_order = frame if times is None else frame.iloc[np.argsort(times.seconds, kind="stable")]
    return (
        *_size(monitor, reference),
        *_columns(reference),
        *_segments(monitor, reference),
        *_scores(monitor, reference),
        *spans,
        *_together(monitor, reference),
        *_same_hours(monitor, reference, times),
        *_rest(in_order, monitor, times),
    )


def _size(monitor: Monitor, reference: Reference) -> Iterator[Weakness]:
    """Whether the smallest window that is judged can show the smallest effect that matters."""
    rows, fewest = int(reference.counts[ALL_ROWS][ROWS]), monitor.windows.minimum_rows
    if lacking_reference(rows, fewest):
        advice = (
            f"gather at least {FEWEST_REFERENCE_ROWS} rows: every window is answered 'not enough evidence' until then"
        )
        few = "has one row only" if rows == 1 else f"has {rows} rows only"
        yield Weakness("", few, advice)
        return
    rate, matters = monitor.detectors.false_alarm_rate / len(monitor.watched()), monitor.detectors.minimum_effect
    found = detectable(rows, fewest, rate)
    if found <= matters:
        return
    enough = enough_rows(rows, rate, matters)
    advice = "gather more reference rows" if enough is None else f"raise windows.minimum_rows to {enough:,}"
    yield Weakness(
        "",
        f"a window of {fewest:,} rows against {rows:,} shows only effects from {found:.2g} on, and {matters:g} matters",
        f"{advice}: a window of fewer rows is called 'ok' though such a change would go unseen",
    )


def enough_rows(reference_rows: int, rate: float, effect: float) -> int | None:
    """Rows of a window in which a column's change of ``effect`` is found at false-alarm rate ``rate``, four times in
    five; from 100 on, in doublings. None where no number of rows shows it beside so few of the reference.

    >>> enough_rows(20_000, 0.001, 0.1), enough_rows(100, 0.001, 0.1)
    (800, None)
    """
    sizes = (_FEWEST_ROWS * 2**power for power in range(_DOUBLINGS))
    return next((size for size in sizes if detectable(reference_rows, size, rate) <= effect), None)


def detectable(rows: int, window_rows: int, rate: float) -> float:
    """The smallest change of a column that a window of so many rows shows beside so many of the reference, as above."""
    counts = [np.array([0, 0, size, 0, 0], dtype=np.int64) for size in (rows, window_rows)]
    return detectable_effect(ColumnSample("", "numeric", counts[0], counts[1]), rate)


def _columns(reference: Reference) -> Iterator[Weakness]:
    counts, layout = reference.counts[ALL_ROWS], reference.layout
    for index, column in enumerate(layout.columns):
        if column.blank:
            continue
        held = layout.counts(counts, index)
        missing = int(held[-1]) / max(int(held.sum()), 1)
        if np.count_nonzero(held[:-1]) == 1:
            yield Weakness(
                column.name, "has one value only", "any other value will be drift; leave it out, or set drift: false"
            )
        if missing > MOSTLY_MISSING:
            advice = "changes of its values are hard to see; is it filled where the model runs?"
            yield Weakness(column.name, f"is missing in {percent(missing)} of the rows", advice)


def _segments(monitor: Monitor, reference: Reference) -> Iterator[Weakness]:
    fewest = monitor.windows.minimum_rows
    for segment, counts in reference.counts.items():
        if segment != ALL_ROWS and counts[ROWS] < fewest:
            yield Weakness(
                "",
                f"segment {segment} has {int(counts[ROWS])} rows",
                f"windows are judged from {fewest} on; gather more of it",
            )


def _scores(monitor: Monitor, reference: Reference) -> Iterator[Weakness]:
    """Whether rows can be scored by how unlike the reference they are."""
    numbers = sum(column.type == "numeric" and column.drift for column in monitor.columns)
    numbers += sum(vector.dimension for vector in monitor.vectors)
    if numbers and reference.outliers is None:
        advice = f"at least {2 * (numbers + 1)} rows give some, of columns that have values all over the file"
        yield Weakness("", f"gives no outlier scores from {numbers} numbers a row", advice)


def _span(times: Times) -> Iterator[Weakness]:
    if times.span_s < _NEARLY_A_WEEK_S:
        yield Weakness(
            "", f"spans {_told_span(times)}", "days of the week differ; a reference of whole weeks knows them"
        )


def _told_span(times: Times) -> str:
    unit_s = _HOUR_S if times.span_s > _DAY_S else 1.0
    return format_duration(max(1.0, round(times.span_s / unit_s) * unit_s))


def _together(monitor: Monitor, reference: Reference) -> Iterator[Weakness]:
    """Whether neighbouring rows hang together more than the monitor says, or so that few windows can show anything."""
    known, said = _known(monitor, reference), monitor.detectors.rows_together
    if known is None:
        if said == AUTO:
            advice = "build it again: detectors.rows_together: auto takes rows as independent until then"
            yield Weakness("", "does not know how many of its rows hang together", advice)
        return
    names = [column.name for column in reference.layout.columns]
    for name in (name for name, untold in zip(names, known.untold, strict=True) if untold and said == AUTO):
        yield Weakness(
            name,
            "changes more and more from row to row to the end, as sorted rows do, and no column says their times",
            "shuffle the rows, or keep a column of times: rows are taken as independent, as far as is known",
        )
    place = int(np.argmax(known.most))
    rows = int(known.most[place])
    if rows > (1 if said == AUTO else said):
        advice = f"set detectors.rows_together to {rows}, or to auto: windows are called drifted else that are not"
        yield Weakness(
            names[place],
            f"hangs together: {rows} rows in a row say as much as one that stands alone",
            _seen(monitor, reference, known, place) if said == AUTO else advice,
        )
    along = known.most_of_directions
    if along > _MORE_ALONG * rows and along > (1 if said == AUTO else said):
        told = "so tests of all columns together count them (detectors.rows_together: auto)"
        yield Weakness(
            "",
            f"hangs together as a whole more than any column does: {along} rows in a row say as much as one",
            told if said == AUTO else f"set detectors.rows_together to {along}, or to auto",
        )


def _known(monitor: Monitor, reference: Reference) -> TogetherRows | None:
    """How many rows hang together beside what the monitor's windows are compared with, as soon as there is enough."""
    known = reference.together.get(ALL_ROWS)
    return known.beside_same_hours if known is not None and compares_same_hours(monitor) else known


def _same_hours(monitor: Monitor, reference: Reference, times: Times | None) -> Iterator[Weakness]:
    """Whether hours that differ every week alike are told from rows that hang together, where windows need that."""
    known = reference.together.get(ALL_ROWS)
    asked = compares_same_hours(monitor) and monitor.detectors.rows_together == AUTO
    if not asked or known is None or known.in_season is not None or _most(known, monitor) <= 1:
        return
    if times is None:
        why, advice = "no column says their times", "keep one"
    elif times.span_s < _NEARLY_A_WEEK_S * FEWEST_WEEKS:
        why, advice = f"it spans {_told_span(times)}", "take two weeks of rows at least"
    else:
        why, advice = "it was built before that was asked, or most hours of its weeks are seen once", "build it again"
    yield Weakness(
        "",
        f"not enough evidence how rows hang together beside the same hours of other weeks: {why}",
        f"{advice}: until then the differences between its hours count as such, and windows show less than they could",
    )


def told_together(monitor: Monitor, reference: Reference) -> str:
    """In words, how many rows count as one beside the whole file, and beside the same hours where windows are compared
    with these; empty where they are not, or it is not known.
    """
    known, fewest = reference.together.get(ALL_ROWS), monitor.windows.minimum_rows
    if known is None or known.in_season is None or not compares_same_hours(monitor):
        return ""
    file, hours = _most(known, monitor), _most(known.in_season, monitor)
    told = f"in a window of {fewest:,} rows up to {file} in a row count as one beside the whole file"
    return f"{told}, up to {hours} beside the same hours of other weeks"


def _most(known: TogetherRows, monitor: Monitor) -> int:
    """Of any column, in the smallest window that is judged."""
    return int(known.of_columns(monitor.windows.minimum_rows).max(initial=1))


def _seen(monitor: Monitor, reference: Reference, known: TogetherRows, place: int) -> str:
    """What the smallest window shows where rows are counted as fewer."""
    fewest = monitor.windows.minimum_rows
    as_one = int(known.of_columns(fewest)[place])
    rate = monitor.detectors.false_alarm_rate / len(monitor.watched())
    found = detectable(max(1, int(reference.counts[ALL_ROWS][ROWS]) // as_one), max(1, fewest // as_one), rate)
    told = f"only effects from {found:.2g} on" if found < 1.0 else "no effect for sure"
    return (
        f"so they are counted (detectors.rows_together: auto): a window of {fewest:,} rows shows {told}; if clients or "
        "sorting, not time, put them side by side, shuffle the file"
    )


def _rest(frame: pd.DataFrame, monitor: Monitor, times: Times | None) -> Iterator[Weakness]:
    """The second half of the rows judged by the first."""
    half = len(frame) // 2
    if half < monitor.windows.minimum_rows:
        return
    stream = StreamKey(monitor.namespace, monitor.model, "", "")
    seconds = None if times is None else np.sort(times.seconds)[:half]
    built = build_reference(frame.iloc[:half], monitor, seconds=seconds)
    windows = OfflineWindows(monitor, built, stream, Span(0.0, 1.0))
    windows.add(frame.iloc[half:])
    drifted = {
        result.column: result
        for result in reversed(windows.evaluate().results)  # the deciding detector comes first, and stays
        if result.kind == "drift" and result.column and not result.window.segment
    }
    for column, result in drifted.items():
        if result.verdict is Verdict.DRIFTED:
            advice = "sorted rows, a season, or a change in the middle: cut it, shuffle it, or take another span"
            yield Weakness(column, f"moved within the reference: {result.reason}", advice)
