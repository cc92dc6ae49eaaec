"""PromQL for the boards, made from ``driftline.names`` so that a renamed metric cannot leave an empty panel behind.

Every expression filters by the board's variables wherever its metric carries the label. Ratios whose numerator may have
no series yet (no error so far) fall back to zero times the denominator: a healthy system shows 0, and a metric that is
missing altogether still shows nothing.
"""

from collections.abc import Sequence

from driftline import names
from driftline.durations import format_duration
from driftline.monitors import Monitor, Slo
from driftline.names import Metric

#: Grafana's own: long enough for four scrapes, whatever the zoom.
RATE_WINDOW = "$__rate_interval"
RANGE = "$__range"
#: Matchers of bad events.
SERVER_ERRORS = f'{names.CODE}=~"5.."'
DROPPED = f'{names.OUTCOME}="{names.OUTCOME_DROPPED}"'
_VARIABLES = (names.NAMESPACE, names.MODEL, names.VERSION)


def select(metric: Metric, *matchers: str, suffix: str = "") -> str:
    """The metric's series within the board's variables.

    >>> select(names.LABEL_COVERAGE, 'segment=""')
    'driftline_label_coverage_ratio{namespace=~"$namespace",model=~"$model",version=~"$version",segment=""}'
    """
    filters = [f'{label}=~"${label}"' for label in _VARIABLES if label in metric.labels]
    inside = ",".join([*filters, *matchers])
    return f"{metric.name}{suffix}" + (f"{{{inside}}}" if inside else "")


def rate(metric: Metric, *matchers: str, window: str = RATE_WINDOW, suffix: str = "") -> str:
    """Events per second of a counter."""
    return f"rate({select(metric, *matchers, suffix=suffix)}[{window}])"


def increase(metric: Metric, *matchers: str, window: str = RANGE, suffix: str = "") -> str:
    """Events of a counter within a window."""
    return f"increase({select(metric, *matchers, suffix=suffix)}[{window}])"


def total(expr: str, *by: str) -> str:
    """The sum over all series, kept apart by the labels ``by``."""
    return f"sum by ({', '.join(by)}) ({expr})" if by else f"sum({expr})"


def top(count: int, expr: str) -> str:
    """The largest ``count`` series; panels with more are neither readable nor always drawn."""
    return f"topk({count}, {expr})"


def quantile(share: float, metric: Metric, *by: str, window: str = RATE_WINDOW) -> str:
    """A quantile from a histogram's buckets, never an average."""
    buckets = total(rate(metric, window=window, suffix="_bucket"), *by, "le")
    return f"histogram_quantile({share}, {buckets})"


def or_zero(part: str, whole: str) -> str:
    """``part``, or zero where only ``whole`` has series."""
    return f"({part} or 0 * {whole})"


def ratio(part: str, whole: str) -> str:
    """``part`` out of ``whole``, 0 where there is no part yet, nothing where there was no traffic."""
    return f"{or_zero(part, whole)} / ({whole} > 0)"


def share_of(metric: Metric, matcher: str, *by: str, window: str = RATE_WINDOW) -> str:
    """The share of a counter's events that match, in [0, 1]."""
    whole = total(rate(metric, window=window), *by)
    return ratio(total(rate(metric, matcher, window=window), *by), whole)


def age(metric: Metric, *by: str) -> str:
    """Seconds since a timestamp metric's newest value."""
    return f"time() - max by ({', '.join(by)}) ({select(metric)})"


# --- error budgets ------------------------------------------------------------------------------------------------
_BY_MODEL = (names.NAMESPACE, names.MODEL)
#: The counter of each objective and the matcher of its bad events.
_BAD_EVENTS = {
    "availability": (names.SIDECAR_REQUESTS, SERVER_ERRORS),
    "capture": (names.CAPTURE_EVENTS, DROPPED),
    "data_quality": (names.COLLECTOR_ROWS, f'{names.OUTCOME}="{names.OUTCOME_FAIL}"'),
    "drift": (names.WINDOWS_EVALUATED, f'{names.VERDICT}="drifted"'),
    "correctness": (names.JUDGED_PREDICTIONS, f'{names.OUTCOME}="{names.OUTCOME_INCORRECT}"'),
}


def error_ratio(slo: Slo, models: Sequence[str], period: str) -> str:
    """Share of bad events of one objective over ``period``, per model."""
    chosen = f'{names.MODEL}=~"{_alternatives(models)}"'
    if slo.kind == "latency":
        return _slow_ratio(chosen, slo.threshold, period)
    metric, bad = _BAD_EVENTS[slo.kind]
    whole = total(increase(metric, chosen, window=period), *_BY_MODEL)
    return ratio(total(increase(metric, chosen, bad, window=period), *_BY_MODEL), whole)


def _slow_ratio(chosen: str, threshold_s: float, period: str) -> str:
    metric = names.SIDECAR_LATENCY
    # Emitters write a whole bound as 1 or as 1.0.
    bound = f"{threshold_s:g}" if threshold_s % 1 else f"{threshold_s:g}|{threshold_s!r}"
    fast = total(increase(metric, chosen, f'le=~"{bound}"', window=period, suffix="_bucket"), *_BY_MODEL)
    return f"1 - {fast} / ({total(increase(metric, chosen, window=period, suffix='_count'), *_BY_MODEL)} > 0)"


def budget_left(monitors: Sequence[Monitor], kind: str) -> tuple[str, ...]:
    """Share of the error budget left per model, 1 untouched, below 0 overspent; one query per distinct objective.

    Models that share target, threshold and period share a query, so that a hundred models make a few queries.
    """
    groups: dict[tuple[str, Slo], list[str]] = {}
    for monitor in monitors:
        for slo in monitor.slos.objectives:
            if slo.kind == kind:
                groups.setdefault((format_duration(monitor.slos.period), slo), []).append(monitor.model)
    return tuple(
        f"1 - ({error_ratio(slo, models, period)}) / {1 - slo.target:.6g}" for (period, slo), models in groups.items()
    )


def _alternatives(models: Sequence[str]) -> str:
    return "|".join(model.replace(".", r"\\.") for model in sorted(set(models)))
