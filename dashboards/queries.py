"""PromQL for the boards, made from ``driftline.names`` so that a renamed metric cannot leave an empty panel behind.

Every expression filters by the board's variables wherever its metric carries the label. Ratios whose numerator may have
no series yet (no error so far) fall back to zero times the denominator: a healthy system shows 0, and a metric that is
missing altogether still shows nothing.
"""

from driftline import names
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


def bottom(count: int, expr: str) -> str:
    """The smallest ``count`` series."""
    return f"bottomk({count}, {expr})"


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


# --- recorded by the generated rules ------------------------------------------------------------------------------
def recorded(name: str, kind: str) -> str:
    """A series that the generated rules record per objective, for one kind of objective.

    >>> recorded("driftline:slo_budget_remaining:ratio", "latency")
    'driftline:slo_budget_remaining:ratio{namespace=~"$namespace",model=~"$model",slo="latency"}'
    """
    return f'{name}{{namespace=~"$namespace",model=~"$model",{names.SLO}="{kind}"}}'
