"""Whether the collector works, waits for work, or is stuck."""

import threading
import time
from dataclasses import dataclass
from typing import Literal

from collector.service import Collector

State = Literal["working", "stuck", "stopped"]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """``waiting_records``: read but not committed; ``idle_s``: seconds since the loop last got to its end."""

    state: State
    detail: str
    waiting_records: int
    idle_s: float

    @property
    def healthy(self) -> bool:
        """Whether a new start would change nothing for the better."""
        return self.state not in ("stuck", "stopped")


class Health:
    """Watches the collector's loop from outside. A loop with nothing to read still turns: idle is not stuck."""

    def __init__(self, collector: Collector, thread: threading.Thread, stuck_after_s: float) -> None:
        self._collector = collector
        self._thread = thread
        self._stuck_after_s = stuck_after_s

    def report(self) -> HealthReport:
        """How it is now."""
        idle_s = time.monotonic() - self._collector.last_progress
        waiting = self._collector.waiting
        if not self._thread.is_alive():
            return HealthReport("stopped", "the consumer has ended; the log says why", waiting, idle_s)
        if idle_s > self._stuck_after_s:
            cause = f"{waiting} records wait to be committed" if waiting else "the source does not answer"
            return HealthReport("stuck", f"no progress for {idle_s:.0f} s: {cause}", waiting, idle_s)
        return HealthReport("working", "batches are read and committed", waiting, idle_s)
