"""Which of several collectors shows what is the store's: the same counters from each would count twice in a sum."""

import secrets
import threading
import time

from collector.operating.asking import Asking
from collector.store.leases import hold, let_go
from collector.store.store import Store
from driftline.errors import DriftlineError

LEASE = "metrics"
#: A collector that is not scraped for so long, because it is gone or cut off, is succeeded by one that is.
FOR_S = 90.0


class Speaker:
    """Holds the lease on the store's metrics; asked at every scrape, which renews it once a third of it is over."""

    def __init__(self, store: Store, *, for_s: float = FOR_S) -> None:
        self._store = store
        self._for_s = for_s
        self._holder = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._asking = Asking()
        self._speaks = False
        self._renew_at_s = 0.0

    def speaks(self) -> bool:
        """Whether it is this one; while the store does not answer, as it last was."""
        with self._lock:
            asked_s = time.monotonic()
            if self._speaks and asked_s < self._renew_at_s:
                return True
            try:
                self._speaks = self._asking.ask(self._hold)
                self._renew_at_s = asked_s + self._for_s / 3
            except DriftlineError:
                pass  # a scrape must not fail with the database
            return self._speaks

    def _hold(self) -> bool:
        with self._store.transaction() as transaction:
            return hold(transaction.connection, LEASE, self._holder, self._for_s)

    def close(self) -> None:
        """Let another one speak at its next scrape."""
        with self._lock:
            try:
                with self._store.transaction() as transaction:
                    let_go(transaction.connection, LEASE, self._holder)
            except DriftlineError:
                return  # it ends by itself
            self._speaks = False
