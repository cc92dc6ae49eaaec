"""All input columns together, and vectors as wholes, as results of a window beside those of each column.

Of all columns together the first detector of the monitor's list decides, the others are shown beside it and say
*drifted* only where it does. Of a vector its random features decide. These verdicts count for the whole window: what no
column shows alone may be drift.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from detectors.adapters.jax_arrays import arrays_for
from detectors.baselines.reference import Reference
from detectors.counts.feature_reference import ReferenceFeatures
from detectors.counts.layout import ROWS as ALL
from detectors.counts.random_features import NAME, ROWS
from detectors.counts.summary import WindowState
from detectors.evaluating.decision import lacking_reference
from detectors.evaluating.hanging import along_rows, of_columns, of_plane, of_rest, of_rows
from detectors.evaluating.table_catalogue import TableEntry, table_detector
from detectors.multivariate.arrays import Arrays
from detectors.multivariate.mmd_features import Along, chance_square, compare
from detectors.statistics.hanging_directions import NO_DIRECTIONS
from detectors.statistics.reasons import counted_as_one, not_enough, percent
from detectors.statistics.table_sample import NOTHING, Drawn, TableEvidence, TableSample
from driftline.alarm_budget import together_rate
from driftline.monitors import Monitor
from driftline.p_values import p_text
from driftline.results import ALL_COLUMNS, Result, Verdict, WindowKey

_SEED = 20120313
_FEWEST_PERMUTATIONS, _MOST_PERMUTATIONS = 999, 9999
# So many columns are named in a reason.
_NAMED = 3
_KEEPS_NONE = "it needs rows, and the monitor keeps none for it (detectors.kept_rows); 'driftline analyze' has rows"
_NO_ROWS = "it needs rows, and there are none of this window"


@dataclass(frozen=True, slots=True)
class Together:
    """What one detector found, on how many rows of window and reference; ``why``: why it found nothing.

    ``column``: the vector that it looked at, or all columns. ``against``: whose the reference's rows are, where they
    are not the file's as asked for. ``as_one``: so many of the window's neighbouring rows say as much as one, of what
    ``detector`` looks at.
    """

    detector: str
    found: TableEvidence
    rows: int
    reference_rows: int
    why: str = ""
    column: str = ALL_COLUMNS
    against: str = ""
    as_one: int = 1


def find(
    monitor: Monitor,
    reference: Reference | None,
    points: dict[tuple[str, str], float],
    segment: str,
    state: WindowState,
    table: TableSample | None = None,
    arrays: Arrays | None = None,
) -> list[Together]:
    """What each of the monitor's detectors finds in a window's counts, and in rows of it where there are some.

    ``points``: a memo, by column and segment, of what follows from the reference alone. ``arrays``: where is worked out
    what a device can; None: where the monitor's ``detectors.device`` says.
    """
    found = []
    inputs = partial(_as_one, monitor, reference, segment)
    for name in monitor.detectors.multivariate:
        if table_detector(name).counted:
            features = None if reference is None else reference.features
            along = partial(_along, monitor, reference, segment)
            found.append(_from_features(name, ALL_COLUMNS, features, points, segment, state, inputs, along))
        elif table is None:
            found.append(Together(name, NOTHING, 0, 0, _without_rows(monitor, reference, segment)))
        else:
            entry = table_detector(name)
            drawn = _drawn(entry, monitor, reference, segment, state, table)
            found.append(_from_rows(entry, monitor, drawn, inputs, arrays))
    for vector in monitor.vectors:
        known = None if reference is None else reference.vectors.get(vector.name)
        features = None if known is None else known.features
        of_vector = partial(_as_one, monitor, reference, segment, distance=vector.distance)
        found.append(_from_features(NAME, vector.name, features, points, segment, state, of_vector))
    return found


def together_results(key: WindowKey, found: Sequence[Together], monitor: Monitor) -> list[Result]:
    """One result per detector, in the monitor's order, then one per vector."""
    results: list[Result] = []
    for one in found:
        first = next((result for result in results if result.column == one.column), None)
        drifted = first is None or first.verdict is Verdict.DRIFTED
        verdict, reason = _judge(one, monitor, may_drift=drifted)
        results.append(
            Result(
                window=key,
                column=one.column,
                detector=one.detector,
                kind="drift",
                statistic=one.found.evidence.statistic,
                direction=one.found.evidence.direction,
                verdict=verdict,
                reason=reason,
                sample_size=one.rows,
                reference_size=one.reference_rows,
                p_value=one.found.evidence.p_value,
                effect=one.found.effect,
            )
        )
    return results


def deciding(results: Sequence[Result]) -> list[Result]:
    """Those that count for the whole window: the first about all columns, and one about each vector."""
    return list({result.column: result for result in reversed(results)}.values())[::-1]


def _from_features(
    name: str,
    column: str,
    features: ReferenceFeatures | None,
    points: dict[tuple[str, str], float],
    segment: str,
    state: WindowState,
    as_one: Callable[[int], int],
    along: Callable[[int], tuple[int, Along] | None] = lambda _rows: None,
) -> Together:
    if features is None or segment not in features.expected:
        return Together(name, NOTHING, 0, 0, "the reference has no rows of it", column)
    expected, section = features.expected[segment], state.section(features.map.fingerprint)
    reference_rows = int(expected.sums[ROWS])
    if section is None:
        why = "no row was counted on the reference's features"
        return Together(name, NOTHING, 0, reference_rows, why, column)
    if (column, segment) not in points:
        points[column, segment] = chance_square(expected.spread)
    rows = int(section.values[ROWS])
    together, known = as_one(rows), along(rows) if len(expected.parts) else None
    rest, directions = (together, None) if known is None else known
    found = compare(expected, section.values, points[column, segment], rest, directions)
    together = together if directions is None else max(rest, int(directions.as_one.max()))
    return Together(name, found, rows, reference_rows, "", column, as_one=together)


def _as_one(
    monitor: Monitor,
    reference: Reference | None,
    segment: str,
    rows: int,
    distance: str = "",
    what: str = "rows",
) -> int:
    """How many rows count as one in a window: of a vector, by its column ``distance``; else of ``what`` of all inputs
    the detector looks at.
    """
    if reference is None:
        return 1
    said = monitor.detectors.rows_together
    if distance:
        return int(of_columns(said, reference, segment, rows)[reference.layout.index(distance)])
    if what != "rows":
        return of_plane(said, reference, segment, rows)
    return of_rows(said, reference, segment, rows, [column.name for column in reference.row_columns(monitor)])


def _along(monitor: Monitor, reference: Reference | None, segment: str, rows: int) -> tuple[int, Along] | None:
    """How many rows count as one but for the directions that stand out, and along these; None where none does."""
    if reference is None:
        return None
    directions = along_rows(monitor.detectors.rows_together, reference, segment)
    as_one, freedom = directions.of_windows(rows)
    return (of_rest(reference, segment, rows), Along(np.array(as_one, float), freedom)) if as_one else None


def _drawn(
    entry: TableEntry,
    monitor: Monitor,
    reference: Reference | None,
    segment: str,
    state: WindowState,
    table: TableSample,
) -> TableSample:
    """The table, which also says how many rows its own were drawn from, and how many of those count as one."""
    if reference is None or not entry.counts_as_one:
        return table
    counted = state.section(reference.fingerprint)
    window = 0 if counted is None else int(counted.values[ALL])
    before = table.reference_drawn.rows or int(reference.counts[segment][ALL])
    sizes = max(before, table.reference_rows), max(window, table.current_rows)
    along = along_rows(monitor.detectors.rows_together, reference, segment) if entry.tells_directions else NO_DIRECTIONS
    if not len(along):
        drawn = [Drawn(rows, _as_one(monitor, reference, segment, rows, what=entry.counts_as_one)) for rows in sizes]
        return replace(table, reference_drawn=drawn[0], current_drawn=drawn[1])
    drawn = [Drawn(rows, of_rest(reference, segment, rows), along.of_windows(rows)[0]) for rows in sizes]
    freedom = along.of_windows(sizes[1])[1]
    return replace(table, reference_drawn=drawn[0], current_drawn=drawn[1], directions=along, freedom=freedom)


def _without_rows(monitor: Monitor, reference: Reference | None, segment: str) -> str:
    if not monitor.detectors.kept_rows:
        return _KEEPS_NONE
    if reference is None or segment not in reference.rows:
        return "the reference has no rows of it"
    return _NO_ROWS


def _from_rows(
    entry: TableEntry, monitor: Monitor, table: TableSample, as_one: Callable[[int], int], arrays: Arrays | None
) -> Together:
    fewest, name = monitor.windows.minimum_rows, entry.name
    if table.current_rows < fewest:
        why = f"{table.current_rows} rows of it are kept with their columns, {fewest} needed"
        return Together(name, NOTHING, table.current_rows, table.reference_rows, why)
    rng, count = np.random.default_rng(_SEED), permutations(together_rate(monitor))
    if entry.placed is None:
        found = entry.detect(table, rng, count)
    else:
        spec = monitor.detectors
        found = entry.placed(table, rng, count, arrays or arrays_for(spec.device), spec.compared_rows)
    drawn = table.current_drawn
    together = max(drawn.as_one, *drawn.along, 1) if entry.counts_as_one else as_one(table.current_rows)
    return Together(name, found, table.current_rows, table.reference_rows, against=table.told, as_one=together)


def permutations(rate: float) -> int:
    """So many that the smallest p-value they allow is a tenth of ``rate``, within reason.

    >>> permutations(0.05), permutations(0.005), permutations(1e-9)
    (999, 1999, 9999)
    """
    return min(_MOST_PERMUTATIONS, max(_FEWEST_PERMUTATIONS, math.ceil(10.0 / rate) - 1))


def _judge(one: Together, monitor: Monitor, *, may_drift: bool) -> tuple[Verdict, str]:
    evidence, effect = one.found.evidence, one.found.effect
    spec, minimum_rows = monitor.detectors, monitor.windows.minimum_rows
    what = "all columns together" if one.column == ALL_COLUMNS else one.column
    why = one.why or (f"{one.rows} rows of {minimum_rows} needed" if one.rows < minimum_rows else "")
    why = why or lacking_reference(one.reference_rows, minimum_rows)
    if why or (evidence.p_value is None and table_detector(one.detector).decides):
        return Verdict.NOT_ENOUGH_EVIDENCE, not_enough(one.column, why or "nothing in the rows can be compared")
    facts = f"{one.detector.replace('_', ' ')} {evidence.statistic:.3g} ({p_text(evidence.p_value)}), {one.rows} rows"
    facts += _hanging(one)
    facts += f", worked out on {one.found.device}" if one.found.device else ""
    facts += f"; against {one.against}" if one.against else ""
    if evidence.p_value is None or evidence.p_value > together_rate(monitor):
        return Verdict.OK, f"{what} {'are' if one.column == ALL_COLUMNS else 'is'} as expected: {facts}"
    told = f"{what} changed{_telling(one.found)}"
    if effect is None or effect.value < spec.multivariate_effect:
        size = "" if effect is None else f", but little: {percent(effect.value)} of the rows at least"
        return Verdict.WARNING, f"{told}{size}; {facts}"
    share = f"at least {percent(effect.value)} of the rows come from elsewhere"
    if not may_drift:
        return Verdict.WARNING, f"{told} by this detector, not by the one that decides: {share}; {facts}"
    return Verdict.DRIFTED, f"{told}: {share}; {facts}"


def _hanging(one: Together) -> str:
    if table_detector(one.detector).counts_as_one or one.as_one <= 1:
        return counted_as_one(one.as_one)
    return f" taken as independent, though up to {one.as_one} in a row hang together"


def _telling(found: TableEvidence) -> str:
    named = ", ".join(f"{each.column} ({percent(each.share)})" for each in found.telling[:_NAMED])
    return f", most of all {named}" if named else ""
