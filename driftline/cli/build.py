"""The commands that read files and write files: init, inject, schema, report, rules, boards, references."""

import json
import math
import os
import re
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from driftline import names
from driftline.cli import wiring
from driftline.cli.moments import FORMS, moment_s
from driftline.cli.ports import HOST, Ports
from driftline.cli.report_files import Out, format_option, report_file, write_file
from driftline.durations import format_duration
from driftline.errors import MonitorError, SettingsError

Monitors = Annotated[Path, typer.Option(help="Directory of monitor files.", envvar="DRIFTLINE_MONITORS")]
TIME_COLUMN = typer.Option("--time", help="Column that says when each row was; found by itself where there is one.")
Output = Annotated[Path, typer.Option("--out", help="Directory to write to.")]


class Task(StrEnum):
    """What a model does."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    RANKING = "ranking"


def init(
    reference: Annotated[Path, typer.Option(help="Training or reference data, Parquet or CSV.")],
    model: Annotated[str | None, typer.Option(help="Name as in the request path; the file's when left out.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the true value.")] = None,
    prediction: Annotated[str | None, typer.Option(help="Column with the model's prediction.")] = None,
    score: Annotated[str | None, typer.Option(help="Column with the positive class's probability.")] = None,
    query: Annotated[str | None, typer.Option(help="Column that tells a ranking's queries apart.")] = None,
    task: Annotated[
        Task | None, typer.Option(help="Found by itself; 'ranking', where rows are candidates of queries.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Namespace of the model.")] = "default",
    out: Annotated[Path | None, typer.Option(help="File to write, of .yaml; standard output when left out.")] = None,
) -> None:
    """Write a monitor from the training data: columns, types, valid ranges, objectives, and why. Then make it yours."""
    wiring.one_thread_per_product()
    from detectors.baselines.reference import load_frame
    from detectors.offline.fitness import weaknesses
    from detectors.offline.in_time import reference_in_time
    from detectors.offline.outline import draft
    from detectors.offline.outline_text import outline_text

    called = model or _model_name(reference)
    out = _monitor_to_write(out, called)
    frame = load_frame(reference)
    drafted = draft(
        frame,
        model=called,
        reference_path=_beside(reference, out),
        target=target,
        prediction=prediction,
        score=score,
        query=query,
        task=None if task is None else task.value,
        namespace=namespace,
    )
    built = reference_in_time(frame, drafted.monitor, times=drafted.times)
    weak = weaknesses(frame, drafted.monitor, built, drafted.times)
    text = outline_text(drafted, weak)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_file("init", out, text)
    typer.echo(f"wrote {out}; every choice in it says why: read it once, above all what was left out")


def _monitor_to_write(out: Path | None, model: str) -> Path | None:
    """Where the monitor goes; what reads monitors looks for this ending."""
    if out is None:
        return None
    if out.is_dir():
        raise SettingsError("init", [f"--out {out} is a directory; name a file in it, as {out / model}.yaml"])
    if not out.suffix:
        out = out.with_name(out.name + ".yaml")
    if out.suffix not in wiring.MONITOR_ENDINGS:
        raise SettingsError("init", [f"--out {out} ends in none of {', '.join(wiring.MONITOR_ENDINGS)}"])
    if out.exists():
        raise SettingsError("init", [f"--out {out} exists already; remove it or choose another name"])
    return out


def _model_name(file: Path) -> str:
    """A file's name as a model may be called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", file.name.split(".")[0]).strip("-") or "model"


def _beside(reference: Path, monitor_file: Path | None) -> str:
    """The reference's path as seen from the monitor file, as monitors write it."""
    return str(reference) if monitor_file is None else os.path.relpath(reference, monitor_file.parent)


def inject(
    file: Annotated[
        Path | None,
        typer.Argument(help="Kubernetes manifests; standard input when left out.", exists=True, dir_okay=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also workloads without the annotation.")] = False,
    image: Annotated[str | None, typer.Option(help="Image of the sidecar.")] = None,
    kafka_bootstrap: Annotated[
        str | None, typer.Option(help="Kafka bootstrap servers; empty: a collector beside it reads the spool.")
    ] = None,
    upstream_port: Annotated[int | None, typer.Option(help="Port of the model server, where it declares none.")] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="YAML file with the cluster's defaults, and bounds of what annotations may say.")
    ] = None,
) -> None:
    """Read Kubernetes manifests and write them with the sidecar added, to standard output.

    Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, KServe InferenceServices and SeldonDeployments that carry
    the annotation driftline.io/inject: "true". Injecting twice changes nothing. Annotations of a workload win over
    options, options over the cluster's defaults.
    """
    from logger_sidecar.inject.bounds import read_cluster
    from logger_sidecar.inject.manifests import InjectOptions, inject_yaml
    from logger_sidecar.inject.options import ANNOTATIONS, with_cluster

    text = sys.stdin.read() if file is None else file.read_text(encoding="utf-8")
    given: dict[str, Any] = {"image": image, "kafka_bootstrap": kafka_bootstrap, "upstream_port": upstream_port}
    options = InjectOptions(everything=everything)
    if cluster is not None:
        options = with_cluster(read_cluster(cluster, ANNOTATIONS), options)
    options = replace(options, **{k: v for k, v in given.items() if v is not None})
    typer.echo(inject_yaml(text, options), nl=False)


def schema() -> None:
    """Print the JSON Schema of a monitor file, for editors and checks."""
    from driftline.monitors import monitor_schema

    typer.echo(json.dumps(monitor_schema(), indent=2))


def reference_build(
    monitors: Monitors = Path("monitors"),
    data_dir: Annotated[Path, typer.Option(help="Where references are kept.")] = wiring.DEFAULT_DATA_DIR,
    time: Annotated[str | None, TIME_COLUMN] = None,
) -> None:
    """Build the reference of every monitor, as the parts would on their first start, and say how fit each is."""
    from driftline.cli.fitness import check_reference

    files = wiring.load_monitor_files(monitors)
    for name, built in wiring.load_references(files, data_dir / "references").items():
        found = check_reference(files[name], built, time)
        typer.echo(f"{name}: {built.told}\n  {found.size}")
        typer.echo(found.text, nl=False)


def reference_check(monitors: Monitors = Path("monitors"), time: Annotated[str | None, TIME_COLUMN] = None) -> None:
    """Look whether references are fit: enough rows, something in every column, a span of weeks, at rest in themselves.

    Exits 1 when one is not.
    """
    from driftline.cli.fitness import check_reference

    weak = False
    for name, file in wiring.load_monitor_files(monitors).items():
        if file.reference_path is None:
            typer.echo(f"{name}: names no reference")
            continue
        found = check_reference(file, None, time)
        typer.echo(f"{name}: {found.size}")
        typer.echo(found.text, nl=False)
        weak = weak or bool(found.weaknesses)
    if weak:
        raise typer.Exit(1)


def report(
    model: Annotated[str, typer.Argument(help="NAMESPACE/MODEL of the monitor.")],
    monitors: Monitors = Path("monitors"),
    database_url: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the store.", envvar="DRIFTLINE_DATABASE_URL")
    ] = names.DATABASE_URL,
    since: Annotated[str | None, typer.Option(help=f"First moment, {FORMS}; everything when left out.")] = None,
    until: Annotated[str | None, typer.Option(help="Last moment, likewise.")] = None,
    version: Annotated[str | None, typer.Option(help="Only this version; the busiest when left out.")] = None,
    form: Annotated[str | None, format_option("html", "json", "markdown")] = None,
    out: Out = None,
) -> None:
    """Write the drift report of one model: one file, whatever the traffic."""
    from dashboards.report import build_report, render_html, render_json, render_markdown

    renderers = {"html": render_html, "json": render_json, "markdown": render_markdown}
    file = report_file("report", list(renderers), form, out)
    by_name = wiring.monitors_of(wiring.load_monitor_files(monitors))
    if model not in by_name:
        raise MonitorError(str(monitors), [f"has no monitor '{model}'; there are {', '.join(by_name)}"])
    store = wiring.existing_store(database_url)
    found = [
        each
        for each in store.streams()
        if f"{each.stream.namespace}/{each.stream.model}" == model and version in (None, each.stream.version)
    ]
    if not found:
        raise SettingsError(
            "report", [f"the store holds no predictions of {model}" + (f" {version}" if version else "")]
        )
    summary = max(found, key=lambda each: each.rows)
    clock = wiring.clock()
    first_s, last_s = moment_s("since", since, clock), moment_s("until", until, clock)
    since_s = summary.first_event_s if first_s is None else first_s
    until_s = summary.last_event_s if last_s is None else last_s
    text = renderers[file.form](build_report(store, by_name[model], summary.stream, since_s, until_s, clock))
    if file.path is None:
        typer.echo(text)
        return
    file.write(text)
    typer.echo(f"wrote {file.path}", err=True)


def alerts_build(
    monitors: Monitors = Path("monitors"),
    out: Output = Path("generated"),
    page_url: Annotated[str, typer.Option(help="Page desk that Alertmanager posts to.")] = (
        f"http://{HOST}:{Ports().web}{names.PAGE_DESK_PATH}"
    ),
    page_token_file: Annotated[
        str, typer.Option(help="Where Alertmanager finds the token that the page desk asks for (alerts:write).")
    ] = "",
    external_url: Annotated[
        str, typer.Option(help="Where people open the web pages.")
    ] = f"http://{HOST}:{Ports().web}",
    owner_webhook: Annotated[
        list[str] | None, typer.Option(help="OWNER=URL: a team's own webhook (chat, pager); once for each team.")
    ] = None,
    heartbeat_url: Annotated[
        str | None, typer.Option(help="Service outside that raises the alarm when the deadman stops coming.")
    ] = None,
    scrape_interval_s: Annotated[float, typer.Option(help="Prometheus's scrape interval.")] = 15.0,
    clock_speed: Annotated[float, typer.Option(help="Divide all durations: rules for a sped-up clock.")] = 1.0,
) -> None:
    """Write the Prometheus rules and the Alertmanager configuration of all monitors."""
    from alerts.alertmanager import AlertmanagerOptions, build_config
    from alerts.options import RuleOptions
    from alerts.rules import rules_yaml, to_yaml

    found = tuple(wiring.monitors_of(wiring.load_monitor_files(monitors)).values())
    options = RuleOptions(
        external_url=external_url,
        scrape_interval_s=scrape_interval_s,
        evaluation_interval_s=scrape_interval_s,
        clock_speed=clock_speed,
    )
    webhooks = _owner_webhooks(owner_webhook or [], {monitor.owner for monitor in found} | {options.platform_owner})
    routes = AlertmanagerOptions(
        page_desk_url=page_url,
        page_desk_token_file=page_token_file,
        heartbeat_url=heartbeat_url,
        owner_webhooks=webhooks,
        clock_speed=clock_speed,
    )
    _write(out / "driftline-rules.yaml", rules_yaml(found, options))
    _write(out / "alertmanager.yaml", to_yaml(build_config(found, routes)))
    unheard = sorted({monitor.owner for monitor in found} - webhooks.keys())
    if unheard:
        typer.echo(f"on the page desk alone, for want of an --owner-webhook: alerts of {', '.join(unheard)}", err=True)


def _owner_webhooks(texts: list[str], owners: set[str]) -> dict[str, str]:
    webhooks = {}
    faults = []
    for text in texts:
        owner, _, url = text.partition("=")
        if not url:
            faults.append(f"--owner-webhook is '{text}', not OWNER=URL")
        elif owner not in owners:
            faults.append(
                f"--owner-webhook names '{owner}', who owns no monitor; there are {', '.join(sorted(owners))}"
            )
        webhooks[owner] = url
    if faults:
        raise SettingsError("alerts build", faults)
    return webhooks


def alerts_check(
    monitors: Monitors = Path("monitors"),
    scrape_interval_s: Annotated[float, typer.Option(help="Prometheus's scrape interval.")] = 15.0,
) -> None:
    """Check the monitors: detectors' names, and when each alert would fire with how much of the budget gone."""
    from alerts.burn import time_to_fire_s, windows
    from alerts.slo import objectives
    from alerts.texts import format_value, percent
    from detectors.evaluating.catalogue import check_detectors

    for monitor in wiring.monitors_of(wiring.load_monitor_files(monitors)).values():
        check_detectors(monitor)
        if not monitor.slos.objectives:
            typer.echo(f"{monitor.name}: has no objectives (slos.objectives): nobody hears when it goes wrong")
        for objective in objectives(monitor, scrape_interval_s):
            period = format_duration(objective.period_s)
            typer.echo(f"{objective.id}: {percent(objective.target)} % good over {period}")
            for window in windows(objective):
                outage = format_duration(float(math.ceil(time_to_fire_s(window, 1.0))))
                told = f"{format_duration(window.long_s)} and {format_duration(window.short_s)}"
                typer.echo(
                    f"  {window.severity:<6} above {format_value(window.threshold * 100)} % in {told}: "
                    f"burn rate {window.factor:.3g}, {format_value(window.share * 100)} % of the budget, "
                    f"fires {outage} after everything fails"
                )


def dashboards_build(out: Output = Path("generated")) -> None:
    """Write the Grafana boards with their provisioning files."""
    from dashboards.boards import write_boards

    for path in write_boards(out):
        typer.echo(f"wrote {path}")


def _write(path: Path, text: str) -> None:
    write_file("alerts build", path, text)
    typer.echo(f"wrote {path}")
