"""A process group: start parts in order, wait until each is ready, restart what dies, stop all of it surely."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from driftline.errors import UnavailableError

READY_TIMEOUT_S = 180.0  # six processes import at once; what ends is told at once
STOP_TIMEOUT_S = 10.0
MAX_RESTARTS = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One process: ``driftline ARGUMENTS`` with its environment, and the address that answers 200 when it is ready."""

    name: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    ready_url: str | None = None


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    restarts: int = 0


@dataclass
class Group:
    """The parts of one machine. Use as a context manager: leaving it stops everything, newest first.

    Inside, SIGINT and SIGTERM raise KeyboardInterrupt, also where a shell started us in the background and had SIGINT
    ignored: whoever sends one of them wants all parts to end.
    """

    log_dir: Path
    say: Callable[[str], None]
    _running: list[_Running] = field(default_factory=list)
    _log_begins: dict[str, int] = field(default_factory=dict)
    _handlers: "dict[signal.Signals, signal._HANDLER]" = field(default_factory=dict)

    def __enter__(self) -> "Group":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, signal.default_int_handler)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def start(self, parts: Sequence[Part]) -> None:
        """Start all parts, then wait for each; raises UnavailableError with the end of the log when one fails to."""
        started = [_Running(part, self._spawn(part)) for part in parts]
        self._running.extend(started)
        for running in started:
            self._wait_ready(running)

    def supervise(self) -> None:
        """Restart parts that died; raises UnavailableError when one keeps dying. Call it regularly."""
        for running in self._running:
            code = running.process.poll()
            if code is None:
                continue
            if running.restarts >= MAX_RESTARTS:
                raise UnavailableError(running.part.name, f"keeps dying; {self.log_end(running.part)}")
            running.restarts += 1
            self.say(f"{running.part.name} ended with code {code}; starting it again")
            running.process = self._spawn(running.part)

    def stop(self) -> None:
        """Stop all parts, the last started first, so that none asks a part that has ended."""
        for running in reversed(self._running):
            running.process.send_signal(signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        for running in reversed(self._running):
            try:
                running.process.wait(max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill_session(running.process)
        self._running.clear()

    def log_end(self, part: Part, lines: int = 15) -> str:
        """Where the part's log is, and the last lines of this start; those of earlier ones would mislead."""
        path = self._log_path(part)
        begins = self._log_begins.get(part.name, 0)
        tail = path.read_bytes()[begins:].decode(errors="replace").splitlines()[-lines:] if path.exists() else []
        return f"its log is {path}" + ("; it ends:\n  " + "\n  ".join(tail) if tail else "")

    def _log_path(self, part: Part) -> Path:
        return self.log_dir / f"{part.name}.log"

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        environ = {**os.environ, **part.environ, "DRIFTLINE_PARENT_PID": str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        with self._log_path(part).open("ab") as log:
            self._log_begins[part.name] = log.tell()
            # A session of its own: Ctrl-C reaches the supervisor alone, which then stops the parts in order.
            return subprocess.Popen(
                [sys.executable, "-m", "driftline", *part.arguments],
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _wait_ready(self, running: _Running) -> None:
        part = running.part
        if part.ready_url is None:
            return
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not answers(part.ready_url):
            if running.process.poll() is not None:
                raise UnavailableError(part.name, f"ended with code {running.process.returncode}; {self.log_end(part)}")
            if time.monotonic() > deadline_s:
                raise UnavailableError(part.name, f"not ready after {READY_TIMEOUT_S:.0f} s; {self.log_end(part)}")
            time.sleep(0.05)


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether ``url`` answers with a status below 400."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - addresses of our own parts
            return bool(response.status < 400)
    except (urllib.error.URLError, OSError):
        return False


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(STOP_TIMEOUT_S)
