"""Two collectors over one store: what rules count is what happened, once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from alerts.options import RuleOptions
from alerts.rules import build_rules, to_yaml
from collector.operating.metrics import StoreCounters
from collector.operating.speaker import Speaker
from collector.store.store import Store
from collector.store.transaction import total
from driftline import names
from driftline.monitors import parse_monitor
from driftline.testing import ManualClock
from tests.alerts.examples import run
from tests.alerts.rule_tests import Series

pytestmark = pytest.mark.real

STREAM = ("default", "m", "1", "stable")
SCRAPE_S, MINUTES, PER_SCRAPE = 15, 60, 10
MONITOR = parse_monitor(
    "model: m\ntask: binary\ncolumns: [{name: a, type: numeric}]\n"
    "slos: {objectives: [{kind: data_quality, target: 0.99}]}\n",
    "m.yaml",
)
HAPPENED = MINUTES * 60 // SCRAPE_S * PER_SCRAPE


def scrapes(path: Path, speaks: Sequence[Callable[[], bool]], store: Store, leaves_at: int) -> list[Series]:
    """What Prometheus reads from two collectors, of which the first ends its work in the middle."""
    labels = dict(zip(names.COLLECTOR_ROWS.labels, (*STREAM, names.OUTCOME_PASS), strict=True))
    values: list[list[float | None]] = [[], []]
    registries = [CollectorRegistry(), CollectorRegistry()]
    for registry, asked in zip(registries, speaks, strict=True):
        registry.register(StoreCounters(store, ManualClock(0.0), asked))
    key = total(names.COLLECTOR_ROWS, *STREAM, names.OUTCOME_PASS)
    for step in range(MINUTES * 60 // SCRAPE_S + 1):
        with store.transaction() as transaction:
            transaction.add_totals("p", {key: PER_SCRAPE if step else 0})
        for number, registry in enumerate(registries):
            gone = number == 0 and step >= leaves_at
            values[number].append(None if gone else registry.get_sample_value(names.COLLECTOR_ROWS.name, labels))
    return [
        Series(names.COLLECTOR_ROWS.name, {**labels, "instance": name}, found)
        for name, found in zip(("a:9084", "b:9084"), values, strict=True)
        if any(value is not None for value in found)
    ]


def counted(promtool: Path, directory: Path, series: Sequence[Series], at_least: float, at_most: float) -> None:
    """Fails with promtool's words unless the rules count a number between the two."""
    (directory / "rules.yml").write_text(to_yaml(build_rules([MONITOR], RuleOptions())))
    recorded = 'driftline:slo_total:increase1h{model="m",slo="data_quality"}'
    expected = '{model="m",namespace="default",slo="data_quality"}'
    question = {
        "expr": f"({recorded} >= bool {at_least}) * ({recorded} <= bool {at_most})",
        "eval_time": f"{MINUTES}m",
        "exp_samples": [{"labels": expected, "value": 1}],
    }
    test = {"interval": f"{SCRAPE_S}s", "input_series": [one.input() for one in series], "promql_expr_test": [question]}
    content = {"rule_files": ["rules.yml"], "evaluation_interval": f"{SCRAPE_S}s", "tests": [test]}
    (directory / "test.yml").write_text(yaml.safe_dump(content))
    run(promtool, "test", "rules", directory / "test.yml")


def test_the_sum_over_two_collectors_is_what_happened(promtool: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    speakers = [Speaker(store), Speaker(store)]
    series = scrapes(tmp_path, [speaker.speaks for speaker in speakers], store, leaves_at=10**9)
    assert [one.labels["instance"] for one in series] == ["a:9084"]
    counted(promtool, tmp_path, series, 0.99 * HAPPENED, 1.01 * HAPPENED)


def test_it_stays_so_when_one_ends_and_the_other_goes_on(promtool: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    speakers = [Speaker(store), Speaker(store)]
    middle = MINUTES * 60 // SCRAPE_S // 2
    asked = [0]

    def first() -> bool:
        asked[0] += 1
        if asked[0] == middle:
            speakers[0].close()
            return False
        return asked[0] < middle and speakers[0].speaks()

    series = scrapes(tmp_path, [first, speakers[1].speaks], store, leaves_at=middle)
    assert [one.labels["instance"] for one in series] == ["a:9084", "b:9084"]
    counted(promtool, tmp_path, series, 0.97 * HAPPENED, 1.01 * HAPPENED)


def test_that_it_would_be_twice_as_much_if_both_showed_the_store_is_seen(promtool: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    series = scrapes(tmp_path, [lambda: True, lambda: True], store, leaves_at=10**9)
    counted(promtool, tmp_path, series, 1.98 * HAPPENED, 2.02 * HAPPENED)
