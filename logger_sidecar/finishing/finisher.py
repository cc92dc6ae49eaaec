"""The sidecar's side of the finishing process: a batch of frames in, the finished frames out, in bounded time.

A process that dies or takes too long is killed and started again, and its frames are tried one by one; a frame that
ends it again is lost with the reason ``finishing_failed``. Nothing is ever written unfinished.
"""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from logger_sidecar.finishing.wire import Batch, Done, Outcome, Setup, decode_done, encode, receive, send

REASON_FINISHING_FAILED = "finishing_failed"
MODULE = "logger_sidecar.finishing.process"
_log = logging.getLogger("driftline.finishing")
_BATCH_BYTES = 2 * 1024 * 1024
_BATCH_FRAMES = 512
#: A machine under load starts a process slowly; that is no fault of what it is to read.
_START_TIMEOUT_S = 30.0
_WAIT_AFTER_FAILURE_S = 1.0
#: A process may be killed while it starts; one that cannot start three times will not the next time either.
_ATTEMPTS = 3
#: So many frames of one batch may end a process each; then the rest of the batch is lost too, or the spool would stand.
_MAX_FAILURES = 8


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """The process ended, did not answer in time, or answered nonsense."""


class _CannotStart(_Broken):
    """Nor would the next one."""


class FinishingProcess:
    """A ``spool_writer.Finisher`` whose work is done by a child process; used by one thread at a time.

    ``timeout_s``: longest time for a batch of at most 2 MiB, and for a single frame. ``module``: what the child runs.
    ``monotonic``: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        timeout_s: float = 20.0,
        module: str = MODULE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._setup = setup
        self._followed: Setup | None = None
        self._timeout_s = timeout_s
        self._module = module
        self._monotonic = monotonic
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._not_before_s = float("-inf")
        #: Bodies that could not be redacted and were left out, by reason.
        self.left_out: dict[str, int] = {}
        #: How often a process was started; the first is not a restart.
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def follow(self, setup: Setup) -> None:
        """Go by this from the next batch on; may be called from any thread."""
        self._setup = setup

    def start(self) -> None:
        """Start the process now, so that the first batch need not wait for it. Faults show with the first batch."""
        try:
            self._begin()
        except _Broken as error:
            _log.warning("the finishing process does not start: %s", error)

    def finish(self, frames: Sequence[bytes]) -> list[bytes | str]:
        """Part of spool_writer.Finisher."""
        finished: list[bytes | str] = []
        for batch in _batches(frames):
            finished += self._finish_batch(batch)
        return finished

    def close(self) -> None:
        """Part of spool_writer.Finisher."""
        connection, child = self._connection, self._child
        self._connection = self._child = None
        if connection is not None:
            connection.close()
        if child is not None:
            try:
                child.wait(2.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _finish_batch(self, batch: list[bytes]) -> list[bytes | str]:
        try:
            return self._ask(batch)
        except _Broken as error:
            _log.warning("the finishing process is started again: %s", error)
        finished: list[bytes | str] = []
        failures = 0
        for frame in batch:
            try:
                if failures < _MAX_FAILURES:
                    finished += self._ask([frame])
                    continue
            except _CannotStart:
                failures = _MAX_FAILURES
            except _Broken:
                failures += 1
            finished.append(REASON_FINISHING_FAILED)
        return finished

    def _ask(self, batch: list[bytes]) -> list[bytes | str]:
        self._begin()
        outcomes = self._exchange(encode(Batch(batch)), self._timeout_s).outcomes
        if len(outcomes) != len(batch):
            self._end()
            raise _Broken("it answered another number of frames than it was given")
        return [self._taken(outcome) for outcome in outcomes]

    def _taken(self, outcome: Outcome) -> bytes | str:
        for reason in outcome.left_out:
            self.left_out[reason] = self.left_out.get(reason, 0) + 1
        return outcome.frame or REASON_FINISHING_FAILED

    def _begin(self) -> None:
        """A process that runs and goes by the newest rules."""
        if self._connection is not None and self._setup is self._followed:
            return
        if self._monotonic() < self._not_before_s:
            raise _CannotStart("it could not be started a moment ago")
        fault = ""
        for _ in range(_ATTEMPTS):
            try:
                fault = self._set_up()
            except _Broken as error:
                fault = str(error)
            if not fault:
                return
            self._end()
        self._not_before_s = self._monotonic() + _WAIT_AFTER_FAILURE_S
        raise _CannotStart(fault)

    def _set_up(self) -> str:
        """Start a process where there is none and tell it the rules; returns what it finds wrong with them."""
        if self._connection is None:
            self._start_child()
        setup = self._setup
        fault = self._exchange(encode(setup), _START_TIMEOUT_S).fault
        self._followed = None if fault else setup
        return fault

    def _start_child(self) -> None:
        ours, theirs = socket.socketpair()
        # The child finds this package even where it is not installed but lies on the path.
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            self._child = subprocess.Popen([sys.executable, "-m", self._module], stdin=theirs.fileno(), env=environ)
        except OSError as error:
            ours.close()
            raise _Broken(f"it could not be started: {error}") from error
        finally:
            theirs.close()
        self.starts += 1
        self._connection = ours

    def _exchange(self, message: bytes, timeout_s: float) -> Done:
        connection = self._connection
        if connection is None:
            raise _Broken("it is not there")
        try:
            connection.settimeout(timeout_s)
            send(connection, message)
            data = receive(connection)
            if data is not None:
                return decode_done(data)
            fault = "it ended"
        except (OSError, msgspec.MsgspecError) as error:
            fault = f"it did not answer: {type(error).__name__}"
        self._end()
        raise _Broken(fault)

    def _end(self) -> None:
        """Kill the process, whatever it does."""
        child, self._child = self._child, None
        connection, self._connection = self._connection, None
        self._followed = None
        if connection is not None:
            connection.close()
        if child is not None:
            child.kill()
            child.wait()


def _batches(frames: Sequence[bytes]) -> list[list[bytes]]:
    """The frames in batches that are not too long; a longer frame is one of its own."""
    batches: list[list[bytes]] = []
    size = _BATCH_BYTES
    for frame in frames:
        if size + len(frame) > _BATCH_BYTES or len(batches[-1]) >= _BATCH_FRAMES:
            batches.append([])
            size = 0
        batches[-1].append(bytes(frame))  # a subclass of bytes cannot be encoded
        size += len(frame)
    return batches
