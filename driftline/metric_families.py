"""Metrics of ``driftline.names`` as families of prometheus_client, which a collector makes and fills at each scrape."""

from collections.abc import Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from driftline.names import Metric


def counter_family(metric: Metric, value: float | None = None) -> CounterMetricFamily:
    """A family without samples; ``value``: that of its one sample, for a metric without labels."""
    labels = metric.labels if value is None else None
    return CounterMetricFamily(metric.name, metric.help, value=value, labels=labels)


def gauge_family(metric: Metric, value: float | None = None) -> GaugeMetricFamily:
    """As :func:`counter_family`."""
    labels = metric.labels if value is None else None
    return GaugeMetricFamily(metric.name, metric.help, value=value, labels=labels)


def histogram_family(metric: Metric) -> HistogramMetricFamily:
    """A family without samples; :func:`cumulated` makes the buckets of one."""
    return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Each bucket's upper bound, as a label's text, with the number of observations up to it.

    ``counts``: observations of each bucket alone, with one for those above the last bound.

    >>> cumulated([0.1, 1.0], [3, 0, 2])
    [('0.1', 3.0), ('1.0', 3.0), ('+Inf', 5.0)]
    """
    total, buckets = 0, []
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
