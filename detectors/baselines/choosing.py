"""What one window is compared with: the reference file, or counts of other windows on its bins.

Windows are counted on the file's frozen bins, so that a baseline is a sum of whole numbers: exact, and the same in any
order. Where a baseline cannot be had (too few windows, too few rows, a reference that was rebuilt since) the file is
what remains, and the result says so. How many rows hang together is known beside the whole file and, for windows that
are compared with the same hours, beside these: each window takes what fits the baseline that it really has.

Accuracy is compared with the file's also under a rolling or a seasonal baseline: what it slowly loses would else become
what is expected. Under a variant baseline it is compared with the other variant's, in every segment; of that nobody has
counted how right it was by columns' values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from detectors.baselines import rolling, seasonal
from detectors.baselines.history import WindowHistory
from detectors.baselines.reference import Reference
from detectors.baselines.rows_in_order import compares_same_hours
from detectors.counts.feature_reference import ReferenceFeatures
from detectors.counts.layout import ROWS
from detectors.counts.summary import Section, WindowState, merge_readable
from driftline.monitor_detectors import ReferenceSpec
from driftline.monitor_parts import UTC_ZONE
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, PastWindow, Verdict, WindowKey


@dataclass(frozen=True, slots=True)
class Expectation:
    """The reference that a window is judged by, and what to tell of it (empty: it is the file, as asked for).

    ``windows``: those whose counts, and rows, it is made of; none where it is the file.
    """

    reference: Reference
    told: str = ""
    windows: tuple[WindowKey, ...] = ()


#: Starts of the windows that a baseline may be made of, newest first.
Candidates = Callable[[WindowKey, ReferenceSpec], list[float]]

#: Every baseline of earlier windows, by its name in monitors.
OF_THE_PAST: Mapping[str, Candidates] = {"rolling": rolling.candidates, "seasonal": seasonal.candidates}


def expectation(monitor: Monitor, reference: Reference, key: WindowKey, history: WindowHistory) -> Expectation:
    """What the window is compared with."""
    spec = monitor.reference
    if spec is None or spec.baseline == "fixed":
        return Expectation(reference)
    if spec.baseline == "variant":
        return _of_variant(monitor, spec, reference, key, history)
    return _of_the_past(monitor, spec, reference, key, history)


def _of_the_past(
    monitor: Monitor, spec: ReferenceSpec, reference: Reference, key: WindowKey, history: WindowHistory
) -> Expectation:
    candidates = OF_THE_PAST[spec.baseline](key, spec)
    found = history.past_windows(key.stream, key.segment, candidates)
    chosen = chosen_windows(spec, key, found)
    if len(chosen) < spec.minimum_windows:
        return _file(reference, f"{len(chosen)} of {spec.minimum_windows} earlier windows are there")
    merged = merge_readable(history.past_states(key.stream, key.segment, [window.start_s for window in chosen]))
    span = f"{len(chosen)} windows, {_day(chosen[0].start_s)} to {_day(chosen[-1].end_s)}"
    zone = "" if spec.time_zone == UTC_ZONE else f" by the clocks of {spec.time_zone}"
    windows = tuple(replace(key, start_s=window.start_s, end_s=window.end_s) for window in chosen)
    return _compared(monitor, reference, key, merged, windows, f"{spec.baseline} baseline{zone} of {span}")


def chosen_windows(spec: ReferenceSpec, key: WindowKey, found: Sequence[PastWindow]) -> list[PastWindow]:
    """The newest that fit, oldest first."""
    size_s = key.end_s - key.start_s
    fitting = [
        window
        for window in sorted(found, key=lambda window: window.start_s)
        if window.end_s - window.start_s == size_s
        and not (spec.drifted == "leave_out" and window.verdict is Verdict.DRIFTED)
    ]
    return fitting[-spec.windows :]


def _of_variant(
    monitor: Monitor, spec: ReferenceSpec, reference: Reference, key: WindowKey, history: WindowHistory
) -> Expectation:
    if key.stream.variant == spec.variant:
        return Expectation(reference)
    merged = merge_readable(history.variant_states(key, spec.variant))
    windows = tuple(history.variant_windows(key, spec.variant))
    found = _compared(monitor, reference, key, merged, windows, f"variant {spec.variant} in the same window")
    section = merged.section(reference.performance_layout.fingerprint)
    if found.reference is reference or section is None:
        return found
    measured = {**_of_segments(reference, key, spec.variant, history), key.segment: section}
    return replace(found, reference=replace(found.reference, performance=measured, outcomes=None))


def _of_segments(reference: Reference, key: WindowKey, variant: str, history: WindowHistory) -> dict[str, Section]:
    """What the variant's own segments of a window of all rows show, beside which those of this one are explained."""
    if key.segment != ALL_ROWS:
        return {}
    layout, found = reference.performance_layout, {}
    for segment in reference.performance:
        if segment != ALL_ROWS:
            merged = merge_readable(history.variant_states(replace(key, segment=segment), variant))
            found[segment] = merged.section(layout.fingerprint) or layout.empty()
    return found


def _compared(
    monitor: Monitor,
    reference: Reference,
    key: WindowKey,
    merged: WindowState,
    windows: tuple[WindowKey, ...],
    told: str,
) -> Expectation:
    section = merged.section(reference.fingerprint)
    rows, fewest = 0 if section is None else int(section.values[ROWS]), monitor.windows.minimum_rows
    if section is None or rows < fewest:
        others = " on its bins" if merged.sections and section is None else ""
        return _file(reference, f"the {told} has {rows} rows{others}, {fewest} are needed")
    counts = {**reference.counts, key.segment: section.values}
    together = reference.together
    if key.segment in together and compares_same_hours(monitor):
        together = {**together, key.segment: together[key.segment].beside_same_hours}
    features = None if reference.features is None else _features(reference.features, key.segment, merged)
    vectors = {
        name: replace(vector, features=_features(vector.features, key.segment, merged))
        for name, vector in reference.vectors.items()
    }
    expected = replace(reference, counts=counts, features=features, vectors=vectors, together=together)
    return Expectation(expected, told, windows)


def _features(features: ReferenceFeatures, segment: str, merged: WindowState) -> ReferenceFeatures:
    """Sums of features are those of the windows; how much chance moves them is known from the file."""
    section = merged.section(features.map.fingerprint)
    expected = {name: each for name, each in features.expected.items() if name != segment}
    if section is not None and segment in features.expected:
        expected[segment] = replace(features.expected[segment], sums=section.values)
    return replace(features, expected=expected)


def _file(reference: Reference, why: str) -> Expectation:
    return Expectation(reference, f"the reference file, as {why}")


def _day(time_s: float) -> str:
    moment = datetime.fromtimestamp(time_s, UTC)
    return moment.strftime("%Y-%m-%d" if time_s % 86400.0 == 0 else "%Y-%m-%d %H:%M")
