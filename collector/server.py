"""The collector as a process: one thread that consumes, and the HTTP API beside it."""

import gc
import logging
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

import uvicorn
from prometheus_client import CollectorRegistry

from collector.api.app import create_app
from collector.batches.loop import Collector
from collector.batches.payloads import PayloadWriter
from collector.batches.replay import Replayer
from collector.batches.subjects import SubjectHasher
from collector.keeping.keeper import Keeper
from collector.labels.completeness import LabelGauges
from collector.labels.desk import LabelDesk
from collector.labels.uploads import UploadDesk, UploadWorker
from collector.operating.health import Health
from collector.operating.metrics import CollectorMetrics, ConsumerFigures, StoreCounters
from collector.operating.speaker import Speaker
from collector.operating.tracing import NO_TRACING, Tracing
from collector.ports import BatchDecoder, RecordSource, WindowStatistics
from collector.settings import CollectorSettings
from collector.sources.assembling import EmbeddedInbox, assemble
from collector.store.erased import ErasedBook
from collector.store.store import Store
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.monitors import Monitor
from driftline.token_files import access_of

_log = logging.getLogger("driftline.collector")

#: Makes the stream of records; ``start`` says where each partition goes on.
SourceFactory = Callable[[Callable[[str], int | None]], RecordSource | None]

_STOP_TIMEOUT_S = 10.0
_OPEN_SUBJECTS = (
    "subject_secret is empty, and the monitors of %s name a subject: whoever reads the database can find out whom rows "
    "are about by trying names. Set DRIFTLINE_COLLECTOR_SUBJECT_SECRET before rows are stored: those of another secret "
    "are not found any more"
)


def run(
    settings: CollectorSettings,
    clock: Clock,
    source_factory: SourceFactory,
    decoder: BatchDecoder,
    statistics: WindowStatistics,
    monitors: Mapping[str, Monitor],
    embedded: EmbeddedInbox | None = None,
    tracing: Tracing = NO_TRACING,
) -> int:
    """Work until SIGTERM or SIGINT, then finish the batch in hand; returns the exit status.
    ``embedded``: where events over HTTP are kept when Kafka does not keep them; None: they are not taken then.
    ``tracing``: where spans go.
    0 after a signal; 1 when the consumer ended by itself, so that whoever supervises starts it again.
    """
    metrics = CollectorMetrics(registry := CollectorRegistry())
    access = access_of("collector", settings.host, settings, metrics.tokens_read)
    store = Store(settings.database_url)
    speaker = _show(registry, store, monitors, clock)
    payloads = None if settings.payloads is None else PayloadWriter(settings.payloads)
    main = source_factory(store.position)
    hashed = SubjectHasher(settings.subject_secret).hash
    erased, taken = ErasedBook(hashed), (metrics, tracing, ErasedBook(hashed))
    sources = assemble(settings, store, monitors, clock, registry, main, embedded, metrics.transient, erased)
    source, shared = sources.source, (monitors, clock, settings, payloads, metrics)
    collector = Collector(source, store, decoder, statistics, *shared, sources.joiner, tracing, erased)
    sources.room.follow(collector.activity.behind_s, collector.activity.is_away)
    stop, failed = threading.Event(), threading.Event()
    server = uvicorn.Server(http_config("", settings.host, settings.port))
    thread = threading.Thread(target=_consume, args=(collector, stop, failed, server), name="consumer", daemon=True)
    desk = LabelDesk(
        store, statistics, monitors, clock, *taken, maximum_unmonitored=settings.maximum_unmonitored_models
    )
    health = Health(collector.activity, thread, settings.stuck_after_s)
    registry.register(ConsumerFigures(collector.activity, health.report, clock))
    uploads = UploadDesk(store, settings.upload_dir, clock, settings.maximum_waiting_uploads)
    worker = UploadWorker(store, desk, uploads, clock, tracing=tracing)
    replayer = Replayer(store, decoder, statistics, monitors, clock, settings, payloads)
    served = (desk, store, monitors, clock, registry, health, settings, uploads, replayer)
    app = create_app(*served, access, metrics.api_request, tracing, payloads)
    if sources.receiver is not None:
        sources.receiver.add_routes(app)
    server.config.app = app
    if named := open_subjects(settings, monitors):
        _log.warning(_OPEN_SUBJECTS, ", ".join(named))
    threads = (thread, Keeper(store, monitors, payloads, clock, settings.keep_interval_s, stop).thread())
    _serve(server, threads, stop, worker, (sources.closing, source, speaker, store, tracing))
    return 1 if failed.is_set() else 0


class _Closable(Protocol):
    def close(self) -> None: ...


def _serve(
    server: uvicorn.Server,
    threads: Sequence[threading.Thread],
    stop: threading.Event,
    worker: UploadWorker,
    closing: Sequence[_Closable],
) -> None:
    """Answer until SIGTERM or SIGINT; then let all threads finish what they have in hand."""
    _let_uvicorn_see_signals()
    for thread in threads:
        thread.start()
    worker.start()
    try:
        server.run()  # returns after SIGTERM or SIGINT
    finally:
        stop.set()
        for thread in threads:
            thread.join(_STOP_TIMEOUT_S)
        worker.close(_STOP_TIMEOUT_S)
        for each in closing:
            each.close()


def open_subjects(settings: CollectorSettings, monitors: Mapping[str, Monitor]) -> list[str]:
    """The models whose rows' subjects are hashed without a secret."""
    return (
        [] if settings.subject_secret else sorted(name for name, each in monitors.items() if each.subject is not None)
    )


def http_config(app: Any, host: str, port: int) -> uvicorn.Config:
    """How the API is served.

    By h11, also where httptools is installed: Java's client, and so ModelMesh, asks with every request for HTTP/2
    (``Upgrade: h2c``), and httptools then takes the body for bytes of the new protocol: it is lost.
    """
    return uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, http="h11")


def _consume(collector: Collector, stop: threading.Event, failed: threading.Event, server: uvicorn.Server) -> None:
    _collect_garbage_seldom()
    try:
        collector.run(stop)
    except DriftlineError:
        _log.exception("the consumer stopped")
        failed.set()
    finally:
        if not stop.is_set():
            failed.set()
            server.should_exit = True


def _show(registry: CollectorRegistry, store: Store, monitors: Mapping[str, Monitor], clock: Clock) -> Speaker:
    """Show what is the store's, where this is the collector that does."""
    speaker = Speaker(store)
    registry.register(StoreCounters(store, clock, speaker.speaks))
    registry.register(LabelGauges(store, monitors, clock, speaker.speaks))
    return speaker


def _collect_garbage_seldom() -> None:
    """Every event is a few objects that live for one batch and refer to nothing that refers to them.

    Looking for cycles among them every few hundred objects, as Python does, is a sixth of the work.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def _let_uvicorn_see_signals() -> None:
    """Uvicorn raises a signal again once it has stopped; the process must then live on to put its batch away."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stay)


def _stay(_number: int, _frame: FrameType | None) -> None:
    """Uvicorn has handled the signal."""
