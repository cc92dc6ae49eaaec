"""``driftline up``: every part on one machine, in one process group, from a directory of monitors."""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from driftline.cli import wiring
from driftline.cli.ports import HOST, Ports, free_ports
from driftline.cli.processes import Group, Part
from driftline.errors import MonitorError

SUPERVISE_EVERY_S = 0.5
#: In the data directory: where the parts of this machine are.
ADDRESSES_FILE = "addresses.json"


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that differs between one-machine installations.

    ``kafka``: bootstrap address, or None for the embedded path (the spool is read directly). ``alerting``: whether the
    embedded evaluation runs; without it Prometheus and Alertmanager decide. ``environ``: further settings by name.
    """

    monitors: Path
    data_dir: Path
    ports: Ports
    upstream: str
    namespace: str
    models_dir: Path | None = None
    database_url: str | None = None
    kafka: str | None = None
    alerting: bool = True
    clock: str = "system"
    environ: Mapping[str, str] = field(default_factory=dict)

    def url(self, port: int) -> str:
        """The address of one of this machine's parts."""
        return f"http://{HOST}:{port}"

    def addresses(self) -> dict[str, str]:
        """The addresses of all parts by name, as ``driftline doctor`` and tests read them."""
        ports = {name: self.url(port) for name, port in dataclasses.asdict(self.ports).items()}
        kafka = {} if self.kafka is None else {"kafka": self.kafka}
        return {**ports, **kafka, "upstream": self.upstream, "database_url": self.store_url, "clock": self.clock}

    def write_addresses(self) -> None:
        """Write :meth:`addresses` beside the data, for its owner alone: the store's may hold a password."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        written = self.data_dir / f"{ADDRESSES_FILE}.new"
        written.touch()
        written.chmod(0o600)
        written.write_text(json.dumps(self.addresses(), indent=2), encoding="utf-8")
        written.replace(self.data_dir / ADDRESSES_FILE)  # others wait for it, and read it at once

    @property
    def store_url(self) -> str:
        """The store's SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.data_dir / 'driftline.db'}"

    @property
    def metrics_urls(self) -> tuple[str, ...]:
        """Where this machine's metrics are scraped."""
        ports = [self.ports.proxy_admin, self.ports.collector, self.ports.detectors, self.ports.web]
        if self.kafka is not None:
            ports.append(self.ports.shipper)
        return tuple(f"{self.url(port)}/metrics" for port in ports)


def parts_of(machine: Machine) -> list[Part]:
    """The processes of one machine, in the order that they are started."""
    common = {
        wiring.ENV_CLOCK: machine.clock,
        "DRIFTLINE_MONITORS": str(machine.monitors),
        "DRIFTLINE_DATA_DIR": str(machine.data_dir),
        "DRIFTLINE_DATABASE_URL": machine.store_url,
        **machine.environ,
    }
    parts = [_sidecar(machine, common), _collector(machine, common), _detectors(machine, common), _web(machine, common)]
    if machine.models_dir is not None:
        parts.insert(0, _model_server(machine, machine.models_dir, common))
    if machine.alerting:
        parts.append(_evaluator(machine, common))
    return parts


def up(
    upstream: Annotated[
        str | None, typer.Option(help="Address of your model server; left out with --models-dir.")
    ] = None,
    monitors: Annotated[Path, typer.Option(help="Directory of monitor files.", envvar="DRIFTLINE_MONITORS")] = Path(
        "monitors"
    ),
    models_dir: Annotated[Path | None, typer.Option(help="Serve these models too (NAME/VERSION/model.json).")] = None,
    data_dir: Annotated[Path, typer.Option(help="Spool, database, logs.")] = wiring.DEFAULT_DATA_DIR,
    database_url: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of another store than the one in --data-dir.", envvar="DRIFTLINE_DATABASE_URL"
        ),
    ] = None,
) -> None:
    """Run everything on one machine: proxy, collector, detectors, alert evaluation and web pages.

    Send inference requests to the printed proxy address instead of the model server; Ctrl-C stops all of it.
    """
    machine = this_machine(upstream, monitors, models_dir, data_dir, database_url)
    ports = machine.ports
    if upstream is None and models_dir is None:
        raise typer.BadParameter("give --upstream with your model server's address, or --models-dir to serve models")
    with Group(machine.data_dir / "logs", typer.echo) as group:
        group.start(parts_of(machine))
        machine.write_addresses()
        typer.echo(f"send inference requests to  {machine.url(ports.proxy)}   (instead of {machine.upstream})")
        typer.echo(f"send labels to              {machine.url(ports.collector)}/v1/labels")
        typer.echo(f"look at                     {machine.url(ports.web)}")
        run_until_interrupted(group)


def this_machine(
    upstream: str | None, monitors: Path, models_dir: Path | None, data_dir: Path, database_url: str | None = None
) -> Machine:
    """What the options say, with the clock of the environment, which all parts are to share.

    Raises SettingsError where that is none, MonitorError with the faults of monitors.
    """
    files = wiring.load_monitor_files(monitors)
    ports = free_ports()
    wiring.clock()
    return Machine(
        monitors=monitors.resolve(),
        data_dir=data_dir.resolve(),
        ports=ports,
        upstream=upstream or f"http://{HOST}:{ports.model}",
        namespace=_only_namespace(files),
        models_dir=models_dir.resolve() if models_dir else None,
        database_url=database_url,
        clock=os.environ.get(wiring.ENV_CLOCK, "system"),
    )


def run_until_interrupted(group: Group) -> None:
    """Supervise until Ctrl-C or SIGTERM."""
    try:
        while True:
            group.supervise()
            time.sleep(SUPERVISE_EVERY_S)
    except KeyboardInterrupt:
        typer.echo("stopping")


def _only_namespace(files: Mapping[str, wiring.MonitorFile]) -> str:
    namespaces = sorted({file.monitor.namespace for file in files.values()})
    if len(namespaces) > 1:
        raise MonitorError(
            "monitors", [f"name the namespaces {', '.join(namespaces)}; one sidecar serves one namespace"]
        )
    return namespaces[0]


def _model_server(machine: Machine, models_dir: Path, common: Mapping[str, str]) -> Part:
    arguments = ("serve", "--models-dir", str(models_dir), "--host", HOST, "--port", str(machine.ports.model))
    # Requests are small: OpenMP's waiting threads would take the cores from the other parts (60 ms against 12).
    return Part(
        "model-server",
        arguments,
        {"OMP_NUM_THREADS": "1", **common},
        f"{machine.url(machine.ports.model)}/v2/health/ready",
    )


def _sidecar(machine: Machine, common: Mapping[str, str]) -> Part:
    arguments = ["sidecar", "--upstream", machine.upstream, "--host", HOST, "--port", str(machine.ports.proxy)]
    arguments += ["--admin-port", str(machine.ports.proxy_admin), "--spool-dir", str(machine.data_dir / "spool")]
    environ = {
        "DRIFTLINE_SIDECAR_NAMESPACE": machine.namespace,
        "DRIFTLINE_SHIPPER_ADMIN_PORT": str(machine.ports.shipper),
        **common,
    }
    arguments += ["--sinks", ""] if machine.kafka is None else ["--sinks", "kafka", "--bootstrap", machine.kafka]
    return Part("sidecar", tuple(arguments), environ, f"{machine.url(machine.ports.proxy_admin)}/healthz")


def _collector(machine: Machine, common: Mapping[str, str]) -> Part:
    arguments = ["collector", "--host", HOST, "--port", str(machine.ports.collector)]
    if machine.kafka is None:
        arguments += ["--source", "spool", "--spool-dir", str(machine.data_dir / "spool")]
    else:
        arguments += ["--source", "kafka", "--bootstrap", machine.kafka]
    environ = {
        "DRIFTLINE_COLLECTOR_PAYLOAD_DIR": str(machine.data_dir / "payloads"),
        "DRIFTLINE_COLLECTOR_UPLOAD_DIR": str(machine.data_dir / "uploads"),
        **common,
    }
    return Part("collector", tuple(arguments), environ, f"{machine.url(machine.ports.collector)}/healthz")


def _detectors(machine: Machine, common: Mapping[str, str]) -> Part:
    arguments = ("detectors", "--host", HOST, "--port", str(machine.ports.detectors))
    return Part("detectors", arguments, common, f"{machine.url(machine.ports.detectors)}/healthz")


def _web(machine: Machine, common: Mapping[str, str]) -> Part:
    arguments = ("dashboards", "serve", "--host", HOST, "--port", str(machine.ports.web))
    environ = {"DRIFTLINE_WEB_EXTERNAL_URL": machine.url(machine.ports.web), **common}
    return Part("web", arguments, environ, f"{machine.url(machine.ports.web)}/healthz")


def _evaluator(machine: Machine, common: Mapping[str, str]) -> Part:
    arguments = ["alerts", "evaluate", "--page-url", f"{machine.url(machine.ports.web)}/api/v1/alerts/webhook"]
    for url in machine.metrics_urls:
        arguments += ["--scrape", url]
    return Part("alerts", tuple(arguments), {"DRIFTLINE_ALERTS_EXTERNAL_URL": machine.url(machine.ports.web), **common})
