"""The shipper: a process of its own that moves the spool to its sinks and forgets nothing it was not told to.

One process for all sinks, a thread and a position for each (``sink_workers``). SIGHUP reads the settings again and
connects anew, so that certificates that were replaced are used. SIGTERM ends it once the sinks have taken all or their
time is over, ``HAND_OVER`` at once, for another shipper follows.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from driftline.errors import DriftlineError, SettingsError
from driftline.settings import load
from logger_sidecar.admin import AdminThread, Answer, MetricsPage, Routes
from logger_sidecar.allocator import keep_freed_memory, seek_cycles_seldom
from logger_sidecar.priority import run_behind
from logger_sidecar.self_metrics import SelfMetrics
from logger_sidecar.shipping.meters import ShipperMeters
from logger_sidecar.shipping.resources import resource_attributes
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_workers import SinkWorkers
from logger_sidecar.steady_stderr import SteadyStderr
from logger_sidecar.supervisor import HAND_OVER

_log = logging.getLogger("driftline.shipper")
_LOOK_S = 0.25
#: What it frees and needs again with the next piece of the spool.
_KEPT_BYTES = 8 * 1024 * 1024
#: Behind the proxy and the recorder: what waits in the spool is safe.
_NICE = 10

ReadSettings = Callable[[], ShipperSettings]


class _Lifetime:
    """How long to go on: until SIGTERM, or until the parent is gone."""

    def __init__(self, parent_pid: int | None) -> None:
        self._parent_pid = parent_pid
        self._news = threading.Event()
        self._is_over = False
        self._is_reload = False
        #: Whether this is the end because the parent is gone, or because another shipper follows at once.
        self.is_orphaned = self.hands_over = False
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGHUP, self._reload)
        signal.signal(HAND_OVER, self._hand_over)
        # Ctrl-C reaches the whole group; the parent drains first and then sends SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN if parent_pid else self._end)

    def wait(self) -> bool:
        """Wait for a signal; True when the settings are to be read again, False when this is the end."""
        while not self._is_over:
            if self._parent_pid is not None and os.getppid() != self._parent_pid:
                self.is_orphaned = True
                return False
            if self._is_reload:
                self._is_reload = False
                return True
            self._news.wait(_LOOK_S)
            self._news.clear()
        return False

    def _hand_over(self, *_signal: object) -> None:
        self.hands_over = True
        self._end()

    def _end(self, *_signal: object) -> None:
        self._is_over = True
        self._news.set()

    def _reload(self, *_signal: object) -> None:
        self._is_reload = True
        self._news.set()


def run(read: ReadSettings) -> int:
    """Ship until SIGTERM; returns the exit code. ``read``: the settings as they stand now."""
    settings = read()
    lifetime = _Lifetime(settings.parent_pid)
    meters = ShipperMeters(time.time)
    workers = SinkWorkers(meters)

    async def health() -> Answer:
        away = ", ".join(meters.away)
        return Answer(200, f"ok, but these sinks are away: {away}\n".encode() if away else b"ok\n")

    itself = SelfMetrics("shipper", "python", resource_attributes(os.environ, settings.resource_attributes))
    routes: Routes = {"/metrics": MetricsPage([meters, itself]), "/healthz": health}
    admin = AdminThread(settings.admin_host, settings.admin_port, routes)
    try:
        workers.follow(settings)
        while lifetime.wait():
            settings = _followed(workers, read, settings)
    finally:
        if lifetime.is_orphaned:  # a sidecar started meanwhile needs the port: without it none of its sinks is served
            admin.close()
        if lifetime.hands_over:  # a sink that is away must not keep the others waiting for the shipper that follows
            workers.drain(0.0)
        else:
            _drain(workers, settings.drain_timeout_s)
        if not lifetime.is_orphaned:
            admin.close()
    return 0


def _drain(workers: SinkWorkers, timeout_s: float) -> None:
    for name, is_empty in workers.drain(timeout_s).items():
        if not is_empty:
            _log.warning("sink %s has not taken all; the spool keeps the rest", name)


def _followed(workers: SinkWorkers, read: ReadSettings, settings: ShipperSettings) -> ShipperSettings:
    """The settings that are followed now: new ones where they hold, else those from before."""
    try:
        found = read()
        workers.reopen()
        workers.follow(found)
    except SettingsError as error:
        _log.error("%s; going on as before", error)
        return settings
    _log.info("settings read again; sinks: %s", ", ".join(workers.names) or "none")
    return found


def main() -> int:
    """The process: settings from the environment."""
    sys.stderr = SteadyStderr()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    run_behind(_NICE)
    keep_freed_memory(_KEPT_BYTES)
    seek_cycles_seldom()
    try:
        code = run(lambda: load(ShipperSettings, "SHIPPER", environ=os.environ))
    except SettingsError as error:
        _log.error("%s", error)
        code = 2
    except (DriftlineError, OSError) as error:
        _log.error("%s", error)
        code = 1
    return code


if __name__ == "__main__":
    # A sink that still waits for an answer must not hold the process: its thread ends with it.
    status = main()
    logging.shutdown()
    os._exit(status)
