"""The sidecar process: proxy, capture, spool, admin port and the shipper's supervisor, put together and taken down."""

import asyncio
import contextlib
import dataclasses
import errno
import gc
import inspect
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import uvloop
from prometheus_client.registry import Collector

from driftline import names
from driftline.clock import Clock
from driftline.errors import SettingsError
from driftline.names import ENV_PREFIX
from logger_sidecar.admin import Answer, MetricsPage, Routes, serve_admin
from logger_sidecar.allocator import keep_freed_memory, leave_no_core_file, seek_cycles_seldom
from logger_sidecar.config_file import Chosen, Sources, Unchanging
from logger_sidecar.finishing.redaction_settings import finishing_setup
from logger_sidecar.finishing.wire import Setup
from logger_sidecar.gpu import gpu_metrics, has_driver, load_nvml
from logger_sidecar.http1.heads import HeaderNames
from logger_sidecar.http2.readiness import ask_over_http2
from logger_sidecar.http2_serving import http2_factory
from logger_sidecar.live_parts import LiveParts
from logger_sidecar.proxy.client import ClientConnection
from logger_sidecar.proxy.dial import Dialer, parse_upstream
from logger_sidecar.proxy.fast_lane import fast_lane
from logger_sidecar.proxy.handshakes import Handshakes
from logger_sidecar.proxy.listening import Port, UnixSocket
from logger_sidecar.proxy.parts import ProxyParts
from logger_sidecar.proxy.readiness import AskOverHttp, Readiness
from logger_sidecar.proxy.stopwatch import OverheadMeters, Stopwatches
from logger_sidecar.proxy.tls import ALPN_HTTP1, ALPN_HTTP2
from logger_sidecar.proxy.upstream_pool import UpstreamPool
from logger_sidecar.queue_metrics import QueueMetrics
from logger_sidecar.recording.capture import Capture
from logger_sidecar.recording.event_ids import EventIds
from logger_sidecar.recording.finishing_metrics import FinishingMetrics
from logger_sidecar.recording.meters import Meters
from logger_sidecar.recording.recorder_client import RecorderClient, StartRecorder, start_recorder_process
from logger_sidecar.reload import Reloader
from logger_sidecar.self_metrics import SelfMetrics
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.resources import resource_attributes
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.spool.readers import forget_readers
from logger_sidecar.steady_stderr import SteadyStderr, open_standard_streams
from logger_sidecar.supervisor import Supervisor, bury_strangers
from logger_sidecar.time_slice import ask_for_short_slices

_log = logging.getLogger("driftline.sidecar")
_COLLECT_EVERY_S = 600.0
#: What a time limit of "inf" counts as.
_NEVER_S = 1e9
#: A batch is written in milliseconds; redaction of the largest ones, or a disk that hangs, may take a while.
_RECORDER_TIMEOUT_S = 120.0
#: What is left for the spool and its shipper at the end, even where requests took all the time.
_LEAST_S = 0.5
#: Of the time for the end, what ending the helpers and this process may take.
_LEAVING_S = 1.0


def implementation() -> str:
    """Which build of the proxy this is: "compiled" or "python"."""
    return "python" if inspect.isfunction(ClientConnection.data_received) else "compiled"


def run(
    settings: SidecarSettings, shipper: ShipperSettings | None, clock: Clock, sources: Sources | None = None
) -> int:
    """Run the sidecar until SIGTERM or SIGINT; returns the exit code.

    ``shipper`` None, or no sinks: nothing is shipped, the spool is read by somebody else. ``sources``: where the
    settings came from and are read again on SIGHUP; None: they stay as they are.
    Raises SettingsError when it cannot listen where the settings say.
    """
    keep_freed_memory(settings.buffer_bytes)  # while the recorder is busy, as much waits here, and is freed at once
    leave_no_core_file()  # nor do the processes that are started from here
    ask_for_short_slices()
    seek_cycles_seldom()  # it is done when nothing is due, for what libraries leave
    open_standard_streams()
    steady = SteadyStderr()
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=steady)
    logging.getLogger("driftline").setLevel(settings.log_level.upper())
    with contextlib.redirect_stderr(steady), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(Sidecar(settings, shipper, clock, sources).run())
    # All is done; who asks us to end once more, while the interpreter takes its leave, must not make it a failure.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return code


class Sidecar:
    """One sidecar, from listening to drained."""

    def __init__(
        self,
        settings: SidecarSettings,
        shipper: ShipperSettings | None,
        clock: Clock,
        sources: Sources | None = None,
        start_recorder: StartRecorder | None = None,
    ) -> None:
        self.settings = settings
        self.listen_port = 0
        #: 0 where gRPC has no port of its own.
        self.grpc_port = 0
        self.admin_port = 0
        #: Set once both ports are open.
        self.started = threading.Event()
        self._stop = asyncio.Event()
        self.recorder = RecorderClient(
            start_recorder or start_recorder_process(_recorder_environment(settings)),
            _finishing_setup(settings),
            buffer_bytes=settings.buffer_bytes,
            answer_timeout_s=_RECORDER_TIMEOUT_S,
        )
        self.meters = Meters(
            settings.namespace, settings.max_models, self._open_connections, self._requests_inflight, self._spool_gauges
        )
        self._handshakes = Handshakes(time.monotonic)
        self._dialers = _dialers(settings, self._handshakes)
        self.pool = _pool(settings, self._dialers[0])
        self._readiness = _readiness(settings, self._dialers)
        capture = Capture(self.recorder, self.meters, settings.capture_policy())
        self._parts = _proxy_parts(settings, self.pool, capture, self.meters, clock)
        self._http2 = self._parts.http2 = http2_factory(
            settings,
            capture=capture,
            meters=self.meters,
            clock=clock,
            event_ids=self._parts.event_ids,
            registry=self._parts,
            connect=self._dialers[1].connect,
        )
        self._lane = self._parts.lane = self.pool.lane = fast_lane(self._parts)
        files = settings.listening_files if settings.tls_certificate is not None else None
        self._port = Port(self._client, files, self._handshakes)
        self._grpc = Port(self._http2, files, self._handshakes)
        self._socket = UnixSocket(self._client, settings.listen_socket)
        self._renewal_asked = False
        self._end_by_s = 0.0
        self._collected_s = time.monotonic()
        # The last fault of the spool that was logged.
        self._reported = ""
        self._supervisor = _supervisor(settings, shipper)
        overhead = OverheadMeters()
        rng = random.Random()  # noqa: S311 - chooses whom to measure
        self._stopwatches = Stopwatches(overhead, self.meters, rng, time.time, self._lane)
        self._live = LiveParts(self._parts, self._http2)
        self.reloader = Reloader(sources or Unchanging(Chosen(settings, shipper)), settings, self._follow)
        self._collectors = self._all_collectors(overhead)

    def _all_collectors(self, overhead: OverheadMeters) -> list[Collector]:
        attributes = resource_attributes(os.environ, self.settings.resource)
        gpu = gpu_metrics(self.settings.gpu_interval_s, load_nvml() if has_driver() else None)
        return [
            self.meters,
            FinishingMetrics(self.recorder),
            overhead,
            QueueMetrics(self.pool, self.recorder),
            self._handshakes,
            self.reloader,
            SelfMetrics("sidecar", implementation(), attributes),
            *([] if gpu is None else [gpu]),
        ]

    def stop(self) -> None:
        """Begin the end: what SIGTERM does."""
        self._stop.set()

    async def run(self) -> int:
        """Serve until SIGTERM, SIGINT or ``stop``, then drain; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        return await self.serve()

    async def serve(self) -> int:
        """Serve until ``stop``, then drain; returns the exit code."""
        loop = asyncio.get_running_loop()
        admin = await self.start()
        _log.info(
            "sidecar listens on port %d for %s, admin port %d", self.listen_port, self.pool.address, self.admin_port
        )
        tasks = [loop.create_task(self._tick()), loop.create_task(self.reloader.run())]
        await self._stop.wait()
        await self._drain()
        for task in tasks:
            task.cancel()
        if not await self.recorder.close(self._left_s()):
            _log.error("the spool was not flushed within the %g s for the end", self.settings.grace_period_s)
        await loop.run_in_executor(None, self._finish)
        for server in admin:
            server.close()
        return 0

    async def start(self) -> Sequence[asyncio.Server]:
        """Open all ports and begin to spool; returns the admin port's servers. Raises SettingsError, as ``run``."""
        settings = self.settings
        if self._lane is not None:
            self._lane.open(asyncio.get_running_loop())
        with _naming(settings, "listen_port", "listen_host"):
            await self._port.open(settings.listen_host, settings.listen_port)
        self.listen_port = self._port.number
        if settings.grpc_listen_port is not None:
            with _naming(settings, "grpc_listen_port", "listen_host"):
                await self._grpc.open(settings.listen_host, settings.grpc_listen_port)
            self.grpc_port = self._grpc.number
        if settings.listen_socket:
            with _naming(settings, "listen_socket"):
                await self._socket.open()
        routes: Routes = {"/metrics": MetricsPage(self._collectors), "/healthz": self._health, "/readyz": self._ready}
        with _naming(settings, "admin_port", "admin_host"):
            admin = await serve_admin(settings.admin_host, settings.admin_port, routes)
        self.admin_port = admin[0].sockets[0].getsockname()[1]
        if not settings.sinks:  # else the shipper does it, which knows its sinks
            forget_readers(settings.spool_directory, ())
        await self.recorder.start()
        self.started.set()
        return admin

    async def _tick(self) -> None:
        while True:
            tick_s = min(1.0, self.settings.response_timeout_s / 5, self.settings.idle_timeout_s / 5)
            try:
                await self._look_after_all(tick_s)
            except Exception:  # noqa: BLE001 - time limits, helpers and certificates, as long as requests are served
                _log.exception("looking after connections and helpers failed; it is tried again")
            await asyncio.sleep(tick_s)

    async def _look_after_all(self, tick_s: float) -> None:
        settings = self.settings
        if time.monotonic() - self._collected_s >= _COLLECT_EVERY_S:
            gc.collect()
            self._collected_s = time.monotonic()
        response_ticks = round(min(settings.response_timeout_s, _NEVER_S) / tick_s)
        idle_ticks = round(min(settings.idle_timeout_s, _NEVER_S) / tick_s)
        if self._supervisor is not None:
            self._supervisor.tick()
        if os.getpid() == 1:  # else somebody else is there for it
            bury_strangers((self.recorder.pid, None if self._supervisor is None else self._supervisor.pid))
        self.pool.tick(response_ticks, idle_ticks)
        for connection in list(self._parts.connections):
            connection.tick(idle_ticks)
        self._stopwatches.tick(list(self._parts.connections), self.pool.connections)
        self._handshakes.tick()
        await self._renew_certificates()
        self.recorder.tick()
        if self.recorder.state.last_error != self._reported:
            self._reported = self.recorder.state.last_error
            _log.warning("spool: %s", self._reported or "writing again")

    async def _renew_certificates(self) -> None:
        asked, self._renewal_asked = self._renewal_asked, False
        for dialer in self._dialers:
            dialer.renew(asked=asked)
        for port in (self._port, self._grpc):
            await port.renew(asked=asked)

    def _client(self) -> asyncio.Protocol:
        return self._stopwatches.first(ClientConnection(self._parts))

    def _reload(self) -> None:
        self.reloader.ask()
        self._renewal_asked = True

    async def _follow(self, settings: SidecarSettings, shipper: ShipperSettings | None) -> None:
        self.settings = settings
        self.recorder.follow(_finishing_setup(settings))
        self._live.follow(settings)
        if shipper is None or self._supervisor is None:
            before, self._supervisor = self._supervisor, _supervisor(settings, shipper)
            if before is not None:
                asyncio.get_running_loop().run_in_executor(None, _end_shipping, before, settings)
        else:
            self._supervisor.follow(_shipper_environment(settings, shipper))
        await self.recorder.in_force()

    async def _drain(self) -> None:
        self._parts.draining = True
        for listening in (self._port, self._grpc, self._socket):
            listening.close()
        for connection in list(self._parts.connections):
            connection.drain()
        begun_s = time.monotonic()
        self._end_by_s = begun_s + working_s(self.settings.grace_period_s)
        deadline = min(begun_s + self.settings.drain_timeout_s, self._end_by_s - _LEAST_S)
        while self._parts.connections:
            self._parts.emptied.clear()
            try:
                await asyncio.wait_for(self._parts.emptied.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                break
        for connection in list(self._parts.connections):
            connection.transport.abort()
        if self._lane is not None:
            self._lane.close()
        await asyncio.sleep(0)  # lets the last connections say that they are gone, so that they are counted
        self.pool.close()

    def _finish(self) -> None:
        """The shipper, in what is left of the time that there is for the end."""
        if self._supervisor is not None:
            self._supervisor.stop(self._left_s())

    def _left_s(self) -> float:
        return max(_LEAST_S, self._end_by_s - time.monotonic())

    async def _health(self) -> Answer:
        return Answer(200, b"ok\n")

    async def _ready(self) -> Answer:
        if self._parts.draining:
            return Answer(503, b"draining\n")
        faults = [fault for fault in await asyncio.gather(*(each.fault() for each in self._readiness)) if fault]
        return Answer(503, f"{'; '.join(faults)}\n".encode()) if faults else Answer(200, b"ok\n")

    def _open_connections(self) -> int:
        return len(self._parts.connections)

    def _requests_inflight(self) -> int:
        return sum(connection.calls_in_flight for connection in self._parts.connections)

    def _spool_gauges(self) -> list[tuple[names.Metric, float]]:
        oldest_s = self.recorder.state.oldest_time_s
        return [
            (names.SPOOL_BYTES, float(self.recorder.state.bytes_held + self.recorder.buffered_bytes)),
            (names.SPOOL_LIMIT_BYTES, float(self.settings.spool_max_bytes)),
            (names.SPOOL_OLDEST_AGE, max(0.0, time.time() - oldest_s) if oldest_s else 0.0),
        ]


def working_s(grace_period_s: float) -> float:
    """What of the time for the end requests, spool and sinks may take: who is late is killed.

    >>> working_s(30.0), working_s(2.0)
    (29.0, 1.5)
    """
    return grace_period_s - min(_LEAVING_S, grace_period_s / 4)


@contextlib.contextmanager
def _naming(settings: SidecarSettings, place: str, host: str = "") -> Iterator[None]:
    """Where it is not possible to listen, say which setting asked for that: ``place``, or ``host`` if that is wrong."""
    try:
        yield
    except OSError as error:
        is_named = isinstance(error, socket.gaierror)
        wrong = host if is_named or error.errno == errno.EADDRNOTAVAIL else place
        detail = error.strerror if is_named else os.strerror(error.errno) if error.errno else str(error)
        fault = f"{wrong} is {getattr(settings, wrong)}, where it is not possible to listen: {detail}"
        raise SettingsError("settings of the sidecar", [fault]) from error


def _dialers(settings: SidecarSettings, handshakes: Handshakes) -> Sequence[Dialer]:
    """To where the model server speaks HTTP/1.1, and to where it speaks gRPC."""
    ways = ((settings.upstream, ALPN_HTTP1), (settings.grpc_upstream or settings.upstream, ALPN_HTTP2))
    return [
        Dialer(
            parse_upstream(upstream),
            timeout_s=settings.connect_timeout_s,
            files=settings.upstream_files,
            server_name=settings.upstream_server_name,
            alpn=alpn,
            handshakes=handshakes,
        )
        for upstream, alpn in ways
    ]


def _readiness(settings: SidecarSettings, dialers: Sequence[Dialer]) -> Sequence[Readiness]:
    """Where the model server is asked whether it is ready: at each address of its own."""
    http, grpc = dialers
    asked = [Readiness(http, AskOverHttp(settings.ready_path, http.target.host_header), time.monotonic)]
    return asked if grpc.target == http.target else [*asked, Readiness(grpc, ask_over_http2, time.monotonic)]


def _pool(settings: SidecarSettings, dialer: Dialer) -> UpstreamPool:
    return UpstreamPool(
        dialer,
        header_names=HeaderNames(settings.read_headers),
        max_idle=settings.max_idle_upstream,
        max_head_bytes=settings.max_head_bytes,
        max_connections=settings.max_upstream_connections,
        queue_timeout_s=settings.queue_timeout_s,
    )


def _proxy_parts(
    settings: SidecarSettings, pool: UpstreamPool, capture: Capture, meters: Meters, clock: Clock
) -> ProxyParts:
    return ProxyParts(
        pool=pool,
        routes=settings.routes,
        header_names=pool.header_names,
        capture=capture,
        meters=meters,
        clock=clock,
        event_ids=EventIds(random.getrandbits),
        max_body_bytes=settings.max_body_bytes,
        max_head_bytes=settings.max_head_bytes,
    )


def _end_shipping(supervisor: Supervisor, settings: SidecarSettings) -> None:
    supervisor.stop(settings.drain_timeout_s)
    if not settings.sinks:  # the spool must not wait for sinks that nobody serves
        forget_readers(settings.spool_directory, ())


def _finishing_setup(settings: SidecarSettings) -> Setup:
    return finishing_setup(settings.redact, settings.redact_key_file, settings.max_decoded_bytes)


def _supervisor(settings: SidecarSettings, shipper: ShipperSettings | None) -> Supervisor | None:
    if shipper is None or not settings.sinks:
        return None
    return Supervisor("logger_sidecar.shipping.shipper", _shipper_environment(settings, shipper), time.monotonic)


def _shipper_environment(settings: SidecarSettings, shipper: ShipperSettings) -> Mapping[str, str]:
    own = dataclasses.replace(
        shipper,
        spool_directory=settings.spool_directory.absolute(),
        sinks=settings.sinks,
        # Without the model's version, which may change while running: the shipper need not begin anew for that.
        resource=tuple(f"{k}={quote(v)}" for k, v in settings.resource.items() if v and k != "service.version"),
        parent_pid=os.getpid(),
    )
    return {**_child_environ("SHIPPER"), **environment_of(own, "SHIPPER")}


def _recorder_environment(settings: SidecarSettings) -> Mapping[str, str]:
    return {**_child_environ("RECORDER"), **environment_of(settings.recorder(), "RECORDER")}


def _child_environ(prefix: str) -> dict[str, str]:
    """What a child inherits: all but settings with its own prefix, and the way to this package, installed or not."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(f"{ENV_PREFIX}{prefix}_")}
    return {**inherited, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def environment_of(settings: Any, prefix: str) -> Mapping[str, str]:
    """The environment from which ``driftline.settings.load`` reads the same settings back."""
    environ = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        # As JSON, for parts may hold commas themselves.
        text = json.dumps(value) if isinstance(value, tuple) else "" if value is None else str(value)
        environ[f"{ENV_PREFIX}{prefix}_{field.name.upper()}"] = text
    return environ
