"""The page of metrics: what prometheus_client would make of it, while others have their turn in between."""

import asyncio
from collections.abc import Iterable

import pytest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector

from driftline import names
from driftline.metric_families import counter_family, gauge_family
from logger_sidecar.admin import METRICS_TYPE, metrics_answer

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
ODD = ("# EOF", "a\r\n# HELP b", '"', "\\", "", "\ufffd")


class Many(Collector):
    """A family with so many samples, one without any, and one with one."""

    def __init__(self, samples: int) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily("driftline_many", "# EOF", labels=["number", "odd"])
        for number in range(self._samples):
            family.add_metric([str(number), ODD[number % len(ODD)]], number)
        return [family, counter_family(names.SIDECAR_UPSTREAM_ERRORS), gauge_family(names.SPOOL_BYTES, 7.0)]


@pytest.mark.parametrize("samples", [0, 1, 99, 100, 101, 2345])
def test_a_page_made_in_pieces_is_the_whole_page(samples: int) -> None:
    many = Many(samples)
    plain = asyncio.run(metrics_answer(many, many))
    assert plain.body == generate_latest(many) * 2
    assert plain.content_type == METRICS_TYPE
    modern = asyncio.run(metrics_answer(many, accept=OPEN_METRICS))
    assert modern.body == open_metrics(many)
    assert modern.content_type.startswith(OPEN_METRICS)


def test_others_have_their_turn_while_a_large_page_is_made() -> None:
    async def turns(samples: int) -> int:
        page = asyncio.ensure_future(metrics_answer(Many(samples)))
        count = 0
        while not page.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert asyncio.run(turns(10_000)) > 50
    assert asyncio.run(turns(10)) < 10


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=new", "text/html", "\xff", ";,;"])
def test_an_accept_header_that_says_nothing_gets_the_text_format(accept: str) -> None:
    assert asyncio.run(metrics_answer(Many(1), accept=accept)).content_type == METRICS_TYPE
