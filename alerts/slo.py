"""Objectives: what a monitor promises, as counters that say how many events there were and how many were bad.

Every kind of objective is a ratio of two counters, so that windows of any length add up and quiet hours weigh little.
All versions and variants of a model count together, but for shadows, whose answers nobody sees.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from alerts.options import SCRAPES_PER_LOOK
from alerts.selectors import Matcher, Selector
from driftline import names
from driftline.durations import format_duration
from driftline.errors import MonitorError
from driftline.monitors import Monitor
from driftline.objectives import CorrectnessSlo, LatencySlo, Severity, Slo
from driftline.results import Verdict

SHADOW = "shadow"
#: The long window is twelve short ones, so it spans one expected delay: early labels are not like late ones (a
#: cancelled flight is known at once), and a window that saw only the early ones would judge a different population.
READINGS_PER_DELAY = 12

#: Whether the counted series are the bad events or the good ones.
Counts = Literal["bad", "good"]


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective of one model.

    ``target``: share of good events promised over ``period_s``. ``counted``: selects the bad events, or the good ones
    where ``counts`` says so (latency histograms count what was fast enough); ``total`` selects all.
    ``resolution_s``: how long the counters need to show a change; no alert window is shorter. ``severity`` caps what
    its alerts may be. All times are seconds of the monitor's clock.
    """

    namespace: str
    model: str
    kind: str
    owner: str
    severity: Severity
    target: float
    period_s: float
    counted: Selector
    counts: Counts
    total: Selector
    resolution_s: float
    detail: str = ""
    runbook: str | None = None

    @property
    def id(self) -> str:
        """``namespace-model-kind``; unique, because a monitor has one objective of a kind."""
        return f"{self.namespace}-{self.model}-{self.kind}"

    @property
    def budget(self) -> float:
        """The share of events that may be bad: 1 - target, without the noise of binary fractions."""
        return exact(1.0 - self.target)


def exact(value: float) -> float:
    """The value to twelve digits: what the rules print and what the embedded evaluation compares with.

    >>> 1 - 0.999, exact(1 - 0.999)
    (0.0010000000000000009, 0.001)
    """
    return float(f"{value:.12g}")


def objectives(monitor: Monitor, sampling_s: float) -> tuple[Objective, ...]:
    """The monitor's objectives in their order in the file.

    ``sampling_s``: how far apart the counters are read, in seconds of the monitor's clock (the scrape interval times
    the clock's speed). Raises MonitorError with every objective that cannot be measured.
    """
    faults: list[str] = []
    found: list[Objective] = []
    for slo in monitor.slos.objectives:
        resolution_s = _resolution_s(monitor, slo.kind, sampling_s)
        if resolution_s > monitor.slos.period:
            faults.append(
                f"slos.objectives.{slo.kind}: shows a change only every {format_duration(resolution_s)}, longer than "
                f"the period {format_duration(monitor.slos.period)}"
            )
        if isinstance(slo, LatencySlo) and slo.threshold not in names.SIDECAR_LATENCY.buckets_s:
            faults.append(_wrong_threshold(slo.threshold))
        found.append(_objective(monitor, slo, resolution_s))
    if faults:
        raise MonitorError(f"monitor {monitor.name}", faults)
    return tuple(found)


def _objective(monitor: Monitor, slo: Slo, resolution_s: float) -> Objective:
    counted, counts, total = _SERIES[slo.kind](monitor, slo)
    return Objective(
        namespace=monitor.namespace,
        model=monitor.model,
        kind=slo.kind,
        owner=monitor.owner,
        severity=slo.severity,
        target=slo.target,
        period_s=monitor.slos.period,
        counted=counted,
        counts=counts,
        total=total,
        resolution_s=resolution_s,
        detail=_detail(slo),
        runbook=monitor.runbook,
    )


def _resolution_s(monitor: Monitor, kind: str, sampling_s: float) -> float:
    reading_s = SCRAPES_PER_LOOK * sampling_s
    if kind == "drift":
        # A verdict falls once per window, some seconds earlier or later: a look that is not longer than a window would
        # see none now and then, just before the next one, and an alert would drop for that moment.
        return monitor.windows.size + reading_s
    if kind == "correctness":
        return max(reading_s, monitor.labels.expected_delay / READINGS_PER_DELAY)
    return reading_s


def _detail(slo: Slo) -> str:
    if isinstance(slo, LatencySlo):
        return format_duration(slo.threshold)
    if isinstance(slo, CorrectnessSlo) and slo.tolerance is not None:
        return f"{slo.tolerance:g}"
    return ""


def _wrong_threshold(threshold_s: float) -> str:
    bounds = ", ".join(format_duration(bound) for bound in names.SIDECAR_LATENCY.buckets_s)
    return (
        f"slos.objectives.latency.threshold: {format_duration(threshold_s)} is not a bound of "
        f"{names.SIDECAR_LATENCY.name}; choose one of {bounds}"
    )


# --- the series of each kind --------------------------------------------------------------------------------------
_Series = tuple[Selector, Counts, Selector]


def _of_model(monitor: Monitor, metric: str, *more: Matcher) -> Selector:
    model = (
        Matcher(names.NAMESPACE, "=", monitor.namespace),
        Matcher(names.MODEL, "=", monitor.model),
        Matcher(names.VARIANT, "!=", SHADOW),
    )
    return Selector(metric, (*model, *more))


def _availability(monitor: Monitor, _slo: Slo) -> _Series:
    metric = names.SIDECAR_REQUESTS.name
    return _of_model(monitor, metric, Matcher(names.CODE, "=~", "5..")), "bad", _of_model(monitor, metric)


def _latency(monitor: Monitor, slo: Slo) -> _Series:
    threshold_s = slo.threshold if isinstance(slo, LatencySlo) else math.inf
    metric = names.SIDECAR_LATENCY.name
    good = _of_model(monitor, f"{metric}_bucket", _bound(threshold_s))
    return good, "good", _of_model(monitor, f"{metric}_count")


def _bound(bound_s: float) -> Matcher:
    # Prometheus 3 writes every bound as a float ("1.0"); some clients write whole ones without a point.
    if bound_s == int(bound_s):
        return Matcher("le", "=~", rf"{int(bound_s)}([.]0)?")
    return Matcher("le", "=", repr(bound_s))


def _outcomes(metric: names.Metric, bad: str) -> Callable[[Monitor, Slo], _Series]:
    def series(monitor: Monitor, _slo: Slo) -> _Series:
        counted = _of_model(monitor, metric.name, Matcher(names.OUTCOME, "=", bad))
        return counted, "bad", _of_model(monitor, metric.name)

    return series


def _drift(monitor: Monitor, _slo: Slo) -> _Series:
    metric = names.WINDOWS_EVALUATED.name
    judged = _of_model(monitor, metric, Matcher(names.VERDICT, "!=", Verdict.NOT_ENOUGH_EVIDENCE.value))
    return _of_model(monitor, metric, Matcher(names.VERDICT, "=", Verdict.DRIFTED.value)), "bad", judged


_SERIES: Mapping[str, Callable[[Monitor, Slo], _Series]] = {
    "availability": _availability,
    "latency": _latency,
    "capture": _outcomes(names.CAPTURE_EVENTS, names.OUTCOME_DROPPED),
    "data_quality": _outcomes(names.COLLECTOR_ROWS, names.OUTCOME_FAIL),
    "drift": _drift,
    "correctness": _outcomes(names.JUDGED_PREDICTIONS, names.OUTCOME_INCORRECT),
}
