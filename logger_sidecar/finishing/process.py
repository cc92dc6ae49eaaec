"""The finishing process: folds streams and redacts, beside the proxy, so that the proxy's interpreter stays free.

``python -m logger_sidecar.finishing.process`` with a socket as standard input; the sidecar starts it (``finisher.py``).
It ends with its parent, however that ends, runs behind it (nice), and may hold only so much memory. It says nothing of
what it reads: a failure is told by its type alone.
"""

import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time

import msgspec

from driftline.errors import EventError
from driftline.events import encode_frame
from logger_sidecar.allocator import leave_no_core_file
from logger_sidecar.finishing.captured import decode_captured
from logger_sidecar.finishing.redaction import Redactor
from logger_sidecar.finishing.redaction_rules import parse_rules
from logger_sidecar.finishing.steps import finish
from logger_sidecar.finishing.wire import Batch, Done, Outcome, Setup, decode_order, encode, receive, send
from logger_sidecar.priority import run_behind
from logger_sidecar.steady_stderr import SteadyStderr

#: Behind the recorder, which it inherits its priority from.
_NICE = 5
#: Addresses, not pages in use: the interpreter and its libraries alone reserve a few hundred megabytes.
_MEMORY_BYTES = 2 * 1024 * 1024 * 1024
_LOOK_FOR_PARENT_S = 0.5


class FinishingWorker:
    """Answers orders, one after another."""

    def __init__(self) -> None:
        self._redactor: Redactor | None = None
        self._limit_bytes = Setup().max_decoded_bytes

    def answer(self, data: bytes) -> Done:
        """The answer to one order."""
        order = decode_order(data)
        if isinstance(order, Batch):
            return Done([self._outcome(frame) for frame in order.frames])
        return Done([], self._set_up(order))

    def _set_up(self, setup: Setup) -> str:
        """Go by other rules; all that is wrong with them, or an empty text."""
        rules, faults = parse_rules(setup.rules)
        if rules.needs_key and not setup.key:
            faults.append("a rule hashes and there is no key")
        if faults:
            return "; ".join(faults)
        self._limit_bytes = setup.max_decoded_bytes
        self._redactor = Redactor(rules, setup.key, limit_bytes=self._limit_bytes) if setup.rules else None
        return ""

    def _outcome(self, frame: bytes) -> Outcome:
        try:
            finished = finish(decode_captured(frame), self._redactor, limit_bytes=self._limit_bytes)
            return Outcome(encode_frame(finished.event), finished.left_out)
        except EventError:
            return _lost("EventError")
        except Exception as error:  # noqa: BLE001 - one event must not cost the others, whatever it does to us
            return _lost(type(error).__name__)


def _lost(kind: str) -> Outcome:
    # The message of an error may hold what was being read, so only its type is told.
    sys.stderr.write(f"driftline.finishing: an event cannot be finished: {kind}\n")
    return Outcome(b"")


def serve(connection: socket.socket) -> None:
    """Answer orders until the other end is closed."""
    worker = FinishingWorker()
    while (data := receive(connection)) is not None:
        send(connection, encode(worker.answer(data)))


def _follow_parent(parent_pid: int) -> None:
    """End when the parent has, even while a long answer is being made."""
    while os.getppid() == parent_pid:
        time.sleep(_LOOK_FOR_PARENT_S)
    os._exit(1)


def main() -> int:
    """The process."""
    parent_pid = os.getppid()
    sys.stderr = SteadyStderr()
    run_behind(_NICE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    leave_no_core_file()
    # Ctrl-C and SIGTERM may reach the whole group; the sidecar drains first, and needs this process for it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, args=(parent_pid,), daemon=True).start()
    try:
        with socket.socket(fileno=os.dup(0)) as connection:
            serve(connection)
    except (OSError, MemoryError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"driftline.finishing: {type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
