"""A thread per sink, each with its own position, pauses and counters, so that no sink waits for another.

Threads and not processes: delivering is waiting for a network most of the time, the libraries that compress and encode
let go of the interpreter while they work, and a process each would cost 30 MB per sink beside the model server. What a
thread cannot survive, a crash of a compiled library, ends the shipper; the sidecar starts it again, and every sink goes
on where its own position stands.
"""

import contextlib
import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from driftline.errors import DriftlineError, SettingsError
from logger_sidecar.shipping.delivery import Backoff, Shipper
from logger_sidecar.shipping.meters import ShipperMeters, SinkMeters
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl, parse
from logger_sidecar.shipping.sinks import Sink, open_sink
from logger_sidecar.spool.readers import PlanFile, forget_readers
from logger_sidecar.spool.source import MAX_POLL_BYTES, SpoolSource, hold_place, unacknowledged_bytes

_log = logging.getLogger("driftline.shipper")
_END_PAUSE_S = 0.5
#: How often an idle sink looks for something new; each look wakes the process.
_LOOK_EVERY_S = 0.1

OpenSink = Callable[[SinkUrl, ShipperSettings], Sink]


class SinkWorker:
    """Ships to one sink on a thread of its own, until it is told to end. ``ended``: called there when it has."""

    def __init__(
        self,
        name: str,
        opener: Callable[[], Sink],
        settings: ShipperSettings,
        meters: SinkMeters,
        ended: Callable[[], None],
    ) -> None:
        self.name = name
        self._ended = ended
        self._opener = opener
        self._sink: Sink | None = None
        self._settings = settings
        self._meters = meters
        self._ending = threading.Event()
        self._reopening = threading.Event()
        self._deadline_s = float("inf")
        self.is_empty = False
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def reopen(self) -> None:
        """Connect anew before the next delivery."""
        self._reopening.set()

    def end(self, drain_timeout_s: float) -> None:
        """Deliver what is there within so many seconds, then end; returns at once."""
        self._deadline_s = time.monotonic() + drain_timeout_s
        self._ending.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it did not come in time (the thread is then left behind)."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _goes_on(self) -> bool:
        if self._reopening.is_set():
            self._reopening.clear()
            if self._sink is not None:
                self._sink.close()
        return not self._ending.is_set()

    def _may_drain(self) -> bool:
        return self._goes_on() or time.monotonic() < self._deadline_s

    def _sleep(self, seconds: float) -> None:
        # The end begins in the middle of a pause, not behind it; from then on pauses are short.
        if self._ending.wait(seconds):
            time.sleep(min(seconds, _END_PAUSE_S))

    def _run(self) -> None:
        try:
            self._try_on()
        finally:
            self._ended()

    def _try_on(self) -> None:
        pause_s = self._settings.retry_backoff_s
        while True:
            try:
                self._ship(self._opened())
            except Exception as error:  # noqa: BLE001 - the disk, another reader of this name, a sink not to be had
                self._is_away(error)
                self.is_empty = self._has_nothing_left()
                if not self._may_drain() or (self._ending.is_set() and self.is_empty):
                    return
                self._sleep(pause_s)
                pause_s = min(pause_s * 2, self._settings.max_backoff_s)
            else:
                return

    def _has_nothing_left(self) -> bool:
        """Whether the sink has taken all; a spool that cannot be looked at may hold something."""
        try:
            return not self._unacknowledged_bytes()
        except OSError:
            return False

    def _unacknowledged_bytes(self) -> int:
        return unacknowledged_bytes(self._settings.spool_directory, self.name)

    def _opened(self) -> Sink:
        """The sink; where it cannot be had (a file or a library is not there) that is tried again, as for all else.

        It has its place in the spool before that: else what the others have passed would go without it.
        """
        if self._sink is None:
            hold_place(self._settings.spool_directory, self.name)
            self._meters.unread_bytes = self._unacknowledged_bytes
            self._sink = self._opener()
        return self._sink

    def _is_away(self, error: Exception) -> None:
        if isinstance(error, SettingsError):
            fault = "; ".join(error.faults)
        else:
            fault = str(error) if isinstance(error, (OSError, DriftlineError)) else f"{type(error).__name__}: {error}"
        if fault != self._meters.fault:
            _log.error("sink %s: %s", self.name, fault)
        self._meters.fault = fault
        self._meters.is_reachable = False

    def _ship(self, sink: Sink) -> None:
        settings = self._settings
        source = SpoolSource(
            settings.spool_directory,
            sink.name,
            lambda _partition: None,
            min(MAX_POLL_BYTES, sink.bounds.max_bytes),
            decode=sink.read,
            look_every_s=_LOOK_EVERY_S,
        )
        self._meters.unread_bytes = lambda: sum(source.lag().values())
        self._meters.is_reachable, self._meters.fault = True, ""
        backoff = Backoff(settings.retry_backoff_s, settings.max_backoff_s, sleep=self._sleep)
        plans = PlanFile(settings.spool_directory, sink.name) if sink.bounds.repeats_exactly else None
        try:
            self.is_empty = Shipper(source, sink, self._meters, backoff, plans).run(self._goes_on, self._may_drain)
        finally:
            source.close()
            sink.close()


class SinkWorkers:
    """The workers of all configured sinks."""

    def __init__(self, meters: ShipperMeters, opener: OpenSink = open_sink) -> None:
        self._meters = meters
        self._opener = opener
        self._workers: dict[str, tuple[tuple[SinkUrl, ShipperSettings], SinkWorker]] = {}
        self._forgetting = threading.Lock()
        self._directory: Path | None = None
        self._wanted: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """The names of the sinks that are served now."""
        return list(self._workers)

    def follow(self, settings: ShipperSettings) -> None:
        """Serve the sinks of these settings: new ones begin, those that are gone or changed end, others go on."""
        common = dataclasses.replace(settings, sinks=())
        wanted = {url.name: (url, common) for url in map(parse, settings.sinks)}
        self._directory, self._wanted = settings.spool_directory, list(wanted)
        changed = [name for name, key in wanted.items() if name not in self._workers or self._workers[name][0] != key]
        self._end([name for name in self._workers if name not in wanted or name in changed], settings)
        for name in self._meters.configured - set(wanted):
            self._meters.retire(name)
        self._forget()
        for name in changed:
            opener = functools.partial(self._opener, wanted[name][0], settings)
            worker = SinkWorker(name, opener, settings, self._meters.of(name, lambda: 0), self._forget)
            self._workers[name] = (wanted[name], worker)
            worker.start()

    def reopen(self) -> None:
        """Let every sink connect anew, so that certificates and passwords are read again."""
        for _, worker in self._workers.values():
            worker.reopen()

    def drain(self, drain_timeout_s: float) -> Mapping[str, bool]:
        """End all, within so many seconds and a little; says of each whether all was delivered."""
        for _, worker in self._workers.values():
            worker.end(drain_timeout_s)
        until_s = time.monotonic() + drain_timeout_s + 1.0
        ended = {name: worker.join(max(0.0, until_s - time.monotonic())) for name, (_, worker) in self._workers.items()}
        return {name: ended[name] and worker.is_empty for name, (_, worker) in self._workers.items()}

    def _end(self, names: Sequence[str], settings: ShipperSettings) -> None:
        ending = [(name, self._workers.pop(name)[1]) for name in names]
        for _, worker in ending:
            worker.end(0.0)
        until_s = time.monotonic() + settings.drain_timeout_s
        for name, worker in ending:
            if not worker.join(max(0.0, until_s - time.monotonic())):
                _log.warning("sink %s is still waiting for an answer; it is left behind", name)

    def _forget(self) -> None:
        """Give up the positions of sinks that are gone; one that was left behind is gone when its thread has ended."""
        with self._forgetting, contextlib.suppress(OSError):
            for name in forget_readers(self._directory, self._wanted) if self._directory else ():
                _log.warning("the spool no longer waits for '%s', which is not among the sinks", name)
