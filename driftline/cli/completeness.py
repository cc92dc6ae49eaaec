"""``driftline completeness``: the balance of requests, logged and stored events, with the difference explained."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from driftline.cli import wiring
from driftline.cli.api import authorization
from driftline.cli.check import part_addresses
from driftline.completeness import (
    OF_EACH,
    OF_THE_STORE,
    ON_THE_WAY,
    Balance,
    ModelBalance,
    Sample,
    balance_of,
    increases,
)
from driftline.durations import parse_duration
from driftline.errors import UnavailableError
from driftline.names import Metric

_COUNTERS = (*OF_THE_STORE, *OF_EACH)
_WANTED = {metric.name for metric in (*_COUNTERS, *ON_THE_WAY)}
_INSTANCE = "instance"


def completeness(
    scrape: Annotated[
        list[str] | None, typer.Option(help="A /metrics address; give it once per sidecar, shipper and collector.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(help="Ask this Prometheus instead, such as http://host:9090.")
    ] = None,
    over: Annotated[str | None, typer.Option(help="Balance what is counted within this time, such as 1h.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Data directory of 'up'; its addresses are used.")] = (
        wiring.DEFAULT_DATA_DIR
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Balance what the sidecars counted against what the store has, model by model, and explain the difference.

    Without --over everything since the parts were started: counters of a sidecar begin anew with it, those of the store
    do not. --over reads the metrics twice, that far apart; with --prometheus it looks back, one hour when left out.
    Exits 1 when events are lost and nothing says where.
    """
    if prometheus is not None:
        balance = balance_of(_ask_prometheus(prometheus.rstrip("/"), over or "1h"))
    else:
        targets = scrape or _targets(data_dir)
        samples = list(_scrape(targets))
        if over is not None:
            time.sleep(parse_duration(over))
            samples = increases(samples, _scrape(targets))
        balance = balance_of(samples)
    if as_json:
        typer.echo(json.dumps(_as_json(balance), indent=2))
    else:
        _print(balance)
    if balance.unexplained > 0:
        raise typer.Exit(1)


def _print(balance: Balance) -> None:
    for name, model in sorted(balance.models.items()):
        typer.echo(name)
        left = f"{model.requests} requests = {model.logged} logged + {model.sampled_out} sampled out"
        typer.echo(f"  {left}{_terms('dropped', model.dropped)}{_difference(model.uncounted, 'not yet counted')}")
        right = f"{model.logged} logged = {model.stored - model.replayed} stored"
        typer.echo(f"  {right}{_terms('undecodable', model.undecodable)}{_difference(model.missing, 'missing')}")
        if model.duplicates or model.replayed:
            typer.echo(
                f"  besides: {model.duplicates} copies, {model.replayed} undecodable ones replayed and stored since"
            )
    for sentence in balance.sentences():
        typer.echo(sentence)


def _terms(what: str, counts: dict[str, int]) -> str:
    return "".join(f" + {number} {what} ({reason})" for reason, number in sorted(counts.items()))


def _difference(number: int, what: str) -> str:
    if number < 0:
        return f" - {-number} that came besides"
    return f" + {number} {what}" if number else ""


def _as_json(balance: Balance) -> dict[str, Any]:
    models = {
        name: {term: getattr(model, term) for term in (*ModelBalance.__slots__, "uncounted", "missing")}
        for name, model in balance.models.items()
    }
    return {
        "closes": balance.closes,
        "missing": balance.missing,
        "unexplained": balance.unexplained,
        "on_the_way": balance.on_the_way,
        "lost": dict(balance.lost),
        "of_other_loggers": balance.joined,
        "explanation": balance.sentences(),
        "models": models,
    }


def _targets(data_dir: Path) -> list[str]:
    addresses = part_addresses(data_dir, ())
    parts = ["proxy_admin", "collector", *(["shipper"] if "kafka" in addresses else [])]
    return [f"{addresses[part]}/metrics" for part in parts]


def _scrape(targets: Sequence[str]) -> Iterator[Sample]:
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    for target in targets:
        try:
            answer = httpx.get(target, headers=authorization(), timeout=10.0, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            raise UnavailableError("metrics", f"{target}: {error}") from error
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name in _WANTED:
                    yield Sample(sample.name, sample.labels, sample.value, target)


def _ask_prometheus(url: str, over: str) -> Iterator[Sample]:
    import httpx

    parse_duration(over)  # refused here, not by Prometheus
    for metric in (*_COUNTERS, *ON_THE_WAY):
        expression = f"increase({metric.name}[{over}])" if metric in _COUNTERS else metric.name
        try:
            answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, timeout=30.0, trust_env=False)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise UnavailableError("Prometheus", f"{url}: {error}") from error
        for found in answer.json()["data"]["result"]:
            yield _from_prometheus(metric, found)


def _from_prometheus(metric: Metric, found: dict[str, Any]) -> Sample:
    """Only the metric's own labels: what the scrape added tells processes apart, not models."""
    given = found["metric"]
    labels = {name: given.get(name, "") for name in metric.labels}
    return Sample(metric.name, labels, float(found["value"][1]), given.get(_INSTANCE, ""))
