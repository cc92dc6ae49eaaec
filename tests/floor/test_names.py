"""Names: each spelt once, as Prometheus' conventions have it."""

import re
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Gauge as PrometheusGauge
from prometheus_client import Histogram as PrometheusHistogram

from driftline import names
from driftline.names import ALL_METRICS, Metric

BY_NAME = pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda metric: metric.name)


def test_no_metric_is_named_twice() -> None:
    assert [name for name, count in Counter(metric.name for metric in ALL_METRICS).items() if count > 1] == []
    assert len(ALL_METRICS) > 20


@BY_NAME
def test_names_keep_to_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"driftline_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(ms|millis|milliseconds|kb|percent|bucket|count|sum)$|(?<!_build)_info$", metric.name)
    assert metric.help.endswith(".")


@BY_NAME
def test_labels_are_known_words_used_once(metric: Metric) -> None:
    known = {value for value in vars(names).values() if isinstance(value, str)}
    assert set(metric.labels) <= known
    assert len(set(metric.labels)) == len(metric.labels)
    assert all(
        re.fullmatch(r"[a-z][a-z_]*", label) and label not in {"le", "job", "instance"} for label in metric.labels
    )


@BY_NAME
def test_histograms_alone_have_buckets_and_they_grow(metric: Metric) -> None:
    assert bool(metric.buckets_s) == (metric.kind == "histogram")
    assert list(metric.buckets_s) == sorted(set(metric.buckets_s))


@BY_NAME
def test_the_prometheus_client_writes_the_name_as_it_is(metric: Metric) -> None:
    registry = CollectorRegistry()
    kinds = {"counter": PrometheusCounter, "gauge": PrometheusGauge}
    if metric.kind == "histogram":
        PrometheusHistogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets_s)
    else:
        kinds[metric.kind](metric.name, metric.help, metric.labels, registry=registry)
    assert f"# TYPE {metric.name} {metric.kind}".encode() in generate_latest(registry)


def test_usual_latency_objectives_are_bucket_bounds() -> None:
    assert {0.1, 0.2, 0.25, 0.5, 1.0} <= set(names.LATENCY_BUCKETS_S)


def test_topics_and_event_types_differ() -> None:
    assert names.TOPIC_INFERENCE != names.TOPIC_LABELS
    assert names.CE_TYPE_INFERENCE != names.CE_TYPE_LABEL
