"""Asking the store for no longer than the one who asks has time: a scrape must not hang with the database.

A database that is gone refuses at once; one that is held, by a lock, a full disk below it or a host that stands still,
answers nothing, and nobody can take the question back. So it is put in a thread of its own, and left there.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from driftline.errors import UnavailableError

#: A scrape asks three times, and Prometheus waits 10 s for all of it where nothing else is said.
ANSWER_WITHIN_S = 2.0

_Found = TypeVar("_Found")


class Asking:
    """One question at a time; while one is overdue, further ones are refused at once."""

    def __init__(self, for_s: float = ANSWER_WITHIN_S) -> None:
        self._for_s = for_s
        self._busy = threading.Lock()
        self._due_s = 0.0

    def ask(self, question: Callable[[], _Found]) -> _Found:
        """What ``question`` returns or raises; raises UnavailableError when it takes longer than ``for_s``."""
        if not self._busy.acquire(timeout=max(0.0, self._due_s - time.monotonic())):
            raise self._late()
        self._due_s = time.monotonic() + self._for_s
        found: Future[_Found] = Future()

        def answer() -> None:
            try:
                result = question()
            except BaseException as error:  # noqa: BLE001 - whoever asked gets it
                self._busy.release()
                found.set_exception(error)
            else:
                self._busy.release()
                found.set_result(result)

        threading.Thread(target=answer, name="asking", daemon=True).start()
        try:
            return found.result(self._for_s)
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> UnavailableError:
        return UnavailableError("database", f"has not answered within {self._for_s:g} s")
