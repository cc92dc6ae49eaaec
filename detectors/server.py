"""The detectors' process: a loop that evaluates due windows, and an HTTP server for metrics and health."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from detectors.baselines.reference import Reference
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.job import EvaluationJob, WindowStore
from detectors.evaluating.metrics import ResultReader, ResultsCollector
from detectors.settings import DetectorsSettings
from driftline.access import OPEN, OPERATIONS_READ, Access, AccessError
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.guard import problem_of
from driftline.monitors import Monitor

_log = logging.getLogger(__name__)
#: Rounds that may be late or fail before health is denied.
_PATIENCE_ROUNDS = 6
_PATIENCE_S = 60.0
_ANYBODY = Access()


def run(
    settings: DetectorsSettings,
    clock: Clock,
    store: WindowStore,
    reader: ResultReader,
    references: Mapping[str, Reference],
    monitors: Mapping[str, Monitor],
    access: Access = _ANYBODY,
) -> int:
    """Evaluate until SIGTERM or SIGINT; returns the exit code 0. ``access``: who may read what it serves.

    Raises MonitorError (unknown or absent detectors) and ReferenceDataError before the first look. Call from the main
    thread.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    service = DetectorsService(settings, clock, store, reader, references, monitors, access=access)
    with service:
        _log.info("detectors answer on %s", service.address)
        service.loop(stop)
    return 0


class DetectorsService:
    """The job with its HTTP server; a context manager that opens and closes the port."""

    def __init__(
        self,
        settings: DetectorsSettings,
        clock: Clock,
        store: WindowStore,
        reader: ResultReader,
        references: Mapping[str, Reference],
        monitors: Mapping[str, Monitor],
        monotonic: Callable[[], float] = time.monotonic,
        access: Access = _ANYBODY,
    ) -> None:
        for monitor in monitors.values():
            check_detectors(monitor)
        self._interval_s = settings.interval_s
        self._monotonic = monotonic
        self._done_at_s = monotonic()
        collector = ResultsCollector(reader, clock)
        self._job = EvaluationJob(store, references, list(monitors.values()), clock, collector)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        handler = _handler(registry, self.healthy, access, frozenset(settings.open_paths))
        self._server = ThreadingHTTPServer((settings.host, settings.port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def address(self) -> str:
        """``http://HOST:PORT`` as it is really bound."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def healthy(self) -> bool:
        """True while rounds end in time."""
        patience_s = max(_PATIENCE_ROUNDS * self._interval_s, _PATIENCE_S)
        return self._monotonic() - self._done_at_s < patience_s

    def loop(self, stop: threading.Event) -> None:
        """One round per interval until ``stop`` is set; a round that fails is logged and tried again."""
        while not stop.is_set():
            self.round()
            stop.wait(self._interval_s)

    def round(self) -> int:
        """Evaluate what is due; returns the number of windows, 0 when the round failed on purpose-made errors."""
        try:
            count = self._job.run_once()
        except DriftlineError as error:
            _log.warning("evaluation stopped, next try in %s s: %s", self._interval_s, error)
            return 0
        self._done_at_s = self._monotonic()
        return count

    def __enter__(self) -> "DetectorsService":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(
    registry: CollectorRegistry, healthy: Callable[[], bool], access: Access, open_paths: frozenset[str]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            try:
                needed = OPEN if path in open_paths else OPERATIONS_READ
                access.allow(self.headers.get("Authorization"), needed, time.time())
            except AccessError as error:
                status, headers, refused = problem_of(error)
                self._answer(status, refused, **headers)
                return
            if path == "/metrics":
                self._answer_metrics()
            elif path == "/healthz":
                well = healthy()
                self._answer(200 if well else 503, b"ok\n" if well else b"evaluation is late\n")
            else:
                self._answer(404, b"not found; try /metrics or /healthz\n")

        def _answer_metrics(self) -> None:
            try:
                body = generate_latest(registry)
            except DriftlineError as error:
                self._answer(503, f"{error}\n".encode())
                return
            self._answer(200, body, **{"content-type": CONTENT_TYPE_LATEST})

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"content-type": "text/plain", "content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Scrapes are not worth a line."""

    return Handler
