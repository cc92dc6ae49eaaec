"""What was looked at, and how, in sentences: for the end of a report."""

from collections.abc import Sequence

from dashboards import words
from driftline.alarm_budget import parts
from driftline.durations import format_duration
from driftline.monitors import Monitor


def method(monitor: Monitor) -> tuple[str, ...]:
    """Sentences about a monitor: what it watches, by what, and what false alarms it allows."""
    detectors, windows = monitor.detectors, monitor.windows
    alone = monitor.reference is not None and not monitor.reference.predictions
    outputs = "inputs; the reference has no predictions" if alone else "inputs, the prediction and its score"
    return (
        (
            f"{len(monitor.watched())} columns are watched ({outputs}), in windows of "
            f"{words.age(windows.size)} of event time that wait {words.age(windows.lateness)} for late events."
        ),
        (
            f"Numeric columns: {_listed(detectors.numeric)}; categorical columns: {_listed(detectors.categorical)}. "
            "Each compares the window with the reference, bin by bin."
        ),
        *_together(monitor),
        *_budgets(monitor),
        (
            f"Effect margin: a change counts as drift from {detectors.minimum_effect:g} on (0 none, 1 total), however "
            f"significant; a window is drifted {_from_columns(detectors.drifted_columns)}."
        ),
        f"Outliers: rows beyond the distance that {words.share(detectors.outlier_rate)} of reference rows exceed.",
        (
            "Accuracy is computed on rows whose label arrived; intervals are 95 %. It counts as final "
            f"{words.age(monitor.labels.maturity)} after the window, or once "
            f"{words.share(monitor.labels.mature_share, 0)} of its labels are in."
        ),
    )


def _together(monitor: Monitor) -> tuple[str, ...]:
    chosen = monitor.detectors.multivariate
    if not chosen:
        return ()
    beside = f", {_listed(chosen[1:])} beside it" if chosen[1:] else ""
    return (f"All columns together: {_listed(chosen[:1])} decides{beside}.",)


def _budgets(monitor: Monitor) -> tuple[str, ...]:
    """What may be false, who has which part of it, and what holds over time."""
    detectors = monitor.detectors
    split = parts(monitor)
    shares = "; ".join(f"{name} {words.share(rate, 2)}" for name, rate in split)
    told = [
        f"False alarm budget: at most {words.share(detectors.false_alarm_rate)} of windows without drift may be "
        "called drifted, over all columns together (false-discovery control)."
        + (f" It is split: {shares}." if len(split) > 1 else "")
    ]
    if detectors.control.across != "none":
        told.append(
            f"Over time that is the share of the columns' alarms that may be false ({detectors.control.across})."
        )
    if detectors.online.tests:
        told.append(
            f"Over all windows: {_listed(detectors.online.tests[:1])} decides; {detectors.online.pages:g} false "
            f"alarms may be expected in {format_duration(detectors.online.period_s)}, split over columns and segments."
        )
    return tuple(told)


def _listed(detectors: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in detectors)


def _from_columns(number: int) -> str:
    return "as soon as one column is" if number == 1 else f"from {number} drifted columns on"
