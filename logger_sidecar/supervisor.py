"""Keeps the shipper running beside the proxy: starts it again when it dies, and lets it finish at the end."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping

_log = logging.getLogger("driftline.sidecar")
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
#: A child that lived this long was well; the next wait is short again.
_WELL_AFTER_S = 60.0
#: Tells the shipper that another one follows at once: it leaves what is left to that one.
HAND_OVER = signal.SIGUSR1


class Supervisor:
    """One child process. ``monotonic``: seconds of a clock that never jumps."""

    def __init__(self, module: str, environ: Mapping[str, str], monotonic: Callable[[], float]) -> None:
        self._command = [sys.executable, "-m", module]
        self._environ = dict(environ)
        self._monotonic = monotonic
        self._child: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._wait_s = _FIRST_WAIT_S
        self._due_s = 0.0
        self._was_told_to_end = False
        self.restarts = -1

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def tick(self) -> None:
        """Called regularly: starts the child when it is not there and its waiting time is over."""
        now_s = self._monotonic()
        if self._child is not None:
            if self._child.poll() is None:
                return
            if now_s - self._started_s > _WELL_AFTER_S:
                self._wait_s = _FIRST_WAIT_S
            self._child = None
            self._due_s = now_s if self._was_told_to_end else now_s + self._wait_s
            if not self._was_told_to_end:
                self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
            self._was_told_to_end = False
        if now_s >= self._due_s:
            self._started_s = now_s
            self.restarts += 1
            try:
                self._child = subprocess.Popen(self._command, env=self._environ, stdin=subprocess.DEVNULL)
            except OSError as error:  # no descriptor, no process or no memory left
                _log.error("the shipper could not be started, it is tried again in %g s: %s", self._wait_s, error)
                self._due_s = now_s + self._wait_s
                self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)

    def follow(self, environ: Mapping[str, str]) -> None:
        """Give the child this environment: it hands over to a new one, unless the environment is the same.

        The same environment is read again by the child itself (SIGHUP), which may find other files behind it.
        """
        is_same = self._environ == dict(environ)
        self._environ = dict(environ)
        if self._child is None or self._child.poll() is not None:
            return
        if is_same:
            self._child.send_signal(signal.SIGHUP)
        else:
            self._child.send_signal(HAND_OVER)
            self._was_told_to_end = True

    def stop(self, timeout_s: float) -> None:
        """Ask the child to finish, wait up to ``timeout_s`` seconds, then end it."""
        child, self._child = self._child, None
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def bury_strangers(own: Collection[int | None]) -> None:
    """Let ended processes go that nobody waits for: whoever is a container's first process inherits them.

    ``own``: children that others here wait for, and that are left to them.
    """
    with contextlib.suppress(ChildProcessError):  # there is no child at all
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, 0)
