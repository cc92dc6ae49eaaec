"""The collector's housekeeping, in a thread of its own: retention, rolling of payload files, space given back."""

import logging
import threading
from collections.abc import Mapping

from collector.batches.payloads import PayloadWriter
from collector.keeping.retention import Retention
from collector.keeping.rolling import Roller
from collector.store.file_space import empty_log, give_back
from collector.store.store import Store
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.monitors import Monitor

_log = logging.getLogger("driftline.collector")
#: Between two batches of deletions, or of pages given back, so that a database with one writer at a time serves others.
_PAUSE_S = 0.05


class Keeper:
    """Keeps house every ``interval_s``; what fails is tried again at the next turn."""

    def __init__(
        self,
        store: Store,
        monitors: Mapping[str, Monitor],
        payloads: PayloadWriter | None,
        clock: Clock,
        interval_s: float,
        stop: threading.Event,
    ) -> None:
        files = None if payloads is None else payloads.files
        self._clock = clock
        self._interval_s = interval_s
        self._stop = stop
        self._engine = store.engine
        self._retention = Retention(store, monitors, files, pause=self._pause)
        self._roller = None if files is None else Roller(store, files)

    def thread(self) -> threading.Thread:
        """A thread that works until ``stop`` is set, not started yet."""
        return threading.Thread(target=self.run, name="keeper", daemon=True)

    def run(self) -> None:
        """Work until ``stop`` is set."""
        while not self._stop.wait(self._interval_s):
            try:
                self.run_once()
            except DriftlineError as error:
                _log.warning("housekeeping goes on later: %s", error)

    def run_once(self) -> None:
        """One turn; raises what the store or the files refuse."""
        self._retention.run(self._clock())
        if self._roller is not None:
            self._roller.run(self._clock())
        give_back(self._engine, self._pause)
        empty_log(self._engine)

    def _pause(self) -> bool:
        """Between two steps; False when it is time to stop."""
        return not self._stop.wait(_PAUSE_S)
