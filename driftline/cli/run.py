"""The commands that run one part each: serve, sidecar, collector, detectors, dashboards serve, alerts evaluate.

Every option is also an environment variable: ``--host`` of the collector is ``DRIFTLINE_COLLECTOR_HOST``. Options left
out come from there, then from the defaults of the room's settings class.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from driftline import settings
from driftline.cli import wiring
from driftline.errors import SettingsError

if TYPE_CHECKING:
    from collector.operating.tracing import Tracing
    from collector.server import SourceFactory
    from collector.settings import CollectorSettings
    from collector.sources.assembling import EmbeddedInbox
    from driftline.records import Content

    Start = Callable[[str], int | None]

#: The embedded collector's name among the readers of a spool.
SPOOL_READER = "collector"
#: Its name among the readers of its inbox.
INBOX_READER = "inbox"
_INBOX_SEGMENT_BYTES = 32 * 1024 * 1024

T = TypeVar("T")
Monitors = Annotated[Path, typer.Option(help="Directory of monitor files.", envvar="DRIFTLINE_MONITORS")]
DataDir = Annotated[Path, typer.Option(help="Where references are kept.", envvar="DRIFTLINE_DATA_DIR")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.")]
Auth = Annotated[str | None, typer.Option(help="Who may use what it serves: tokens, none, or auto.")]
TokensFile = Annotated[Path | None, typer.Option(help="What 'driftline tokens create' wrote.")]
Database = Annotated[str | None, typer.Option(help="SQLAlchemy URL of the store.", envvar="DRIFTLINE_DATABASE_URL")]


def serve(
    models_dir: Annotated[Path | None, typer.Option(help="Model repository: NAME/VERSION/model.json.")] = None,
    device: Annotated[str | None, typer.Option(help="For torch models: auto, cpu or cuda[:N].")] = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Run the model server (Open Inference Protocol v2 and V1)."""
    from serving.server import run
    from serving.settings import ServingSettings

    given = {"models_dir": models_dir, "device": device, "host": host, "port": port}
    sys.exit(run(_settings(ServingSettings, "SERVING", given), wiring.clock()))


def sidecar(
    upstream: Annotated[
        str | None, typer.Option(help="Address of the model server, such as http://127.0.0.1:8000.")
    ] = None,
    host: Host = None,
    port: Port = None,
    admin_port: Annotated[int | None, typer.Option(help="Port of /metrics, /healthz and /readyz.")] = None,
    spool_dir: Annotated[Path | None, typer.Option(help="Directory of the spool.")] = None,
    sinks: Annotated[
        str | None,
        typer.Option(
            help="Where events go: kafka, or URLs, with commas between; '' leaves them to a collector beside it."
        ),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka bootstrap servers.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with settings; read again on SIGHUP.", envvar="DRIFTLINE_CONFIG")
    ] = None,
    annotations_file: Annotated[
        Path | None,
        typer.Option(
            help="The pod's annotations, as the Kubernetes downward API writes them; they win over the environment.",
            envvar="DRIFTLINE_ANNOTATIONS_FILE",
        ),
    ] = None,
    annotations_followed: Annotated[
        str | None,
        typer.Option(
            help="Settings taken from the annotations, with commas between; all that may change when left out.",
            envvar="DRIFTLINE_ANNOTATIONS_FOLLOWED",
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print a configuration file with every setting, and exit.")
    ] = False,
) -> None:
    """Run the payload-logging proxy in front of a model server, with its shipper to Kafka and other sinks.

    SIGHUP reads the configuration again; what can change does so without dropping a connection.
    """
    from logger_sidecar.config_file import Sources
    from logger_sidecar.pod_annotations import LIVE_ANNOTATIONS
    from logger_sidecar.server import run
    from logger_sidecar.setting_tables import example_config

    if print_config:
        typer.echo(example_config(), nl=False)
        return
    given = {"upstream": upstream, "listen_host": host, "listen_port": port, "admin_port": admin_port}
    given_spool = {"spool_directory": spool_dir, "sinks": sinks}
    arguments: dict[str, dict[str, Any]] = {
        "sidecar": {**given, **given_spool},
        "shipper": {"bootstrap_servers": bootstrap},
    }
    followed = LIVE_ANNOTATIONS if annotations_followed is None else tuple(annotations_followed.split(","))
    sources = Sources(dict(os.environ), config, annotations_file, followed, arguments)
    chosen = sources.read()
    sys.exit(run(chosen.sidecar, chosen.shipper, wiring.clock(), sources))


def collector(
    monitors: Monitors = Path("monitors"),
    data_dir: DataDir = wiring.DEFAULT_DATA_DIR,
    source: Annotated[str | None, typer.Option(help="kafka, spool, files or none.")] = None,
    spool_dir: Annotated[Path | None, typer.Option(help="Directory of the spool (source spool).")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka bootstrap servers (source kafka).")] = None,
    files_from: Annotated[
        str | None, typer.Option(help="Directory or object store where files with logged records appear.")
    ] = None,
    topics: Annotated[
        str | None, typer.Option(help="Topics of others to read as well: NAME or NAME=KIND, with commas between.")
    ] = None,
    database_url: Database = None,
    host: Host = None,
    port: Port = None,
    auth: Auth = None,
    tokens_file: TokensFile = None,
) -> None:
    """Run the collector: events to rows, counts and positions; labels over HTTP."""
    wiring.one_thread_per_product()
    from collector.server import run
    from collector.settings import CollectorSettings
    from detectors.evaluating.engine import StatisticsEngine
    from serving.decode_many import BatchDecoder

    given = {
        "source": source,
        "spool_dir": spool_dir,
        "bootstrap": bootstrap,
        "files_from": files_from,
        "topics": topics,
        "database_url": database_url,
        "host": host,
        "port": port,
        "auth": auth,
        "tokens_file": tokens_file,
    }
    chosen = _settings(CollectorSettings, "COLLECTOR", given)
    files = wiring.load_monitor_files(monitors)
    statistics = StatisticsEngine(wiring.load_references(files, data_dir / "references"))
    by_name, embedded = wiring.monitors_of(files), _embedded_inbox(chosen)
    sys.exit(
        run(
            chosen,
            wiring.clock(),
            _source_factory(chosen),
            BatchDecoder(),
            statistics,
            by_name,
            embedded,
            _tracing(chosen),
        )
    )


def detectors(
    monitors: Monitors = Path("monitors"),
    data_dir: DataDir = wiring.DEFAULT_DATA_DIR,
    database_url: Database = None,
    host: Host = None,
    port: Port = None,
    interval_s: Annotated[float | None, typer.Option(help="Real seconds between two looks at the windows.")] = None,
    auth: Auth = None,
    tokens_file: TokensFile = None,
) -> None:
    """Run the evaluation of closed windows."""
    from detectors.server import run
    from detectors.settings import DetectorsSettings
    from driftline.token_files import access_of

    given = {
        "database_url": database_url,
        "host": host,
        "port": port,
        "interval_s": interval_s,
        "auth": auth,
        "tokens_file": tokens_file,
    }
    chosen = _settings(DetectorsSettings, "DETECTORS", given)
    asked = access_of("detectors", chosen.host, chosen, may_be_open=True)
    files = wiring.load_monitor_files(monitors)
    by_name = wiring.monitors_of(files)
    references = wiring.load_references(files, data_dir / "references")
    now = wiring.clock()
    store = wiring.open_store(chosen.database_url)
    sys.exit(run(chosen, now, store, store, references, by_name, asked))


def dashboards_serve(
    monitors: Monitors = Path("monitors"),
    database_url: Database = None,
    host: Host = None,
    port: Port = None,
    auth: Auth = None,
    tokens_file: TokensFile = None,
) -> None:
    """Serve the web pages and the page desk that takes Alertmanager's webhooks."""
    from alerts.evidence import build
    from alerts.webhook import parse_webhook, to_deployment_time
    from dashboards.server import run
    from dashboards.settings import WebSettings
    from dashboards.web import create_app
    from driftline.token_files import access_of

    given = {"database_url": database_url, "host": host, "port": port, "auth": auth, "tokens_file": tokens_file}
    chosen = _settings(WebSettings, "WEB", given)
    asked = access_of("web", chosen.host, chosen, may_be_open=True)
    by_name = wiring.monitors_of(wiring.load_monitor_files(monitors))
    now = wiring.clock()
    store = wiring.open_store(chosen.database_url)
    typer.echo(f"pages on http://{chosen.host}:{chosen.port}", err=True)
    evidence = partial(build, reader=store, clock=now)
    parse = partial(parse_webhook, to_time=to_deployment_time(now))
    sys.exit(run(chosen, create_app(store, store, evidence, parse, by_name, now, chosen, asked)))


def alerts_evaluate(
    monitors: Monitors = Path("monitors"),
    scrape: Annotated[list[str] | None, typer.Option(help="A /metrics address; give it once per part.")] = None,
    page_url: Annotated[str | None, typer.Option(help="Where alerts are posted.")] = None,
) -> None:
    """Evaluate the objectives without Prometheus: the same burn-rate rules over the same metrics, on one machine."""
    from alerts.runner import run
    from alerts.settings import SETTINGS_PREFIX, EvaluatorSettings
    from driftline.cli.api import authorization

    given = {"targets": tuple(scrape) if scrape else None, "page_desk_url": page_url}
    chosen = _settings(EvaluatorSettings, SETTINGS_PREFIX, given)
    watched = tuple(wiring.monitors_of(wiring.load_monitor_files(monitors)).values())
    sys.exit(run(chosen, watched, wiring.clock(), headers=authorization()))


def _settings(cls: type[T], prefix: str, given: Mapping[str, Any]) -> T:
    return settings.load(cls, prefix, environ=os.environ, arguments=given)


def _source_factory(chosen: "CollectorSettings") -> "SourceFactory":
    if chosen.source == "kafka":
        from collector.sources.kafka import KafkaSource

        return partial(KafkaSource, chosen.kafka)
    if chosen.source != "spool":
        return lambda _start: None
    from logger_sidecar.spool.source import SpoolSource

    return partial(SpoolSource, chosen.spool_dir, SPOOL_READER)


def _tracing(chosen: "CollectorSettings") -> "Tracing":
    """The SDK is an extra, and 10 MB of the process: loaded only where spans are asked for."""
    from collector.operating.tracing import NO_TRACING

    if not chosen.otlp_endpoint:
        return NO_TRACING
    try:
        from collector.operating.otel import to_endpoint
    except ImportError as error:
        raise SettingsError("collector", ["otlp_endpoint needs the extra: pip install 'driftline[tracing]'"]) from error
    return to_endpoint(chosen.otlp_endpoint, chosen.traced_links)


def _embedded_inbox(chosen: "CollectorSettings") -> "EmbeddedInbox | None":
    """A spool of its own, which the collector both writes and reads; none where Kafka keeps what comes in."""
    if chosen.source == "kafka" or not chosen.receive_events:
        return None
    from collector.sources.assembling import EmbeddedInbox
    from logger_sidecar.spool.source import SpoolSource
    from logger_sidecar.spool.writer import SpoolWriter

    directory = chosen.inbox_path
    segment_bytes = min(_INBOX_SEGMENT_BYTES, max(1, chosen.inbox_maximum_bytes // 4))

    def open_log() -> SpoolWriter:
        return SpoolWriter(
            directory,
            max_bytes=chosen.inbox_maximum_bytes,
            segment_bytes=segment_bytes,
            first_offset=time.time_ns(),
            fsync="batch",
        )

    def open_reader(start: "Start", decode: "Callable[[bytes], Content]") -> SpoolSource:
        return SpoolSource(directory, INBOX_READER, start, decode=decode)

    return EmbeddedInbox(open_log, open_reader)
