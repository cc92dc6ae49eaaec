"""Starting real parts as processes that surely end: with the test, the session, or when pytest itself is killed."""

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

#: Above the ports that programs have by default, 9090 for one.
_LOWEST_PORT = 12_000
_STRETCH_PORTS = 100


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nothing listens on now, all different, and none of them given out before.

    Taken from below those that the kernel gives outgoing connections: between this moment and the one when a server
    listens, another test may open a thousand of these. For the same reason no other process that runs tests is given
    any of them while this one lives.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", _own_ports.draw()))
                ports.append(int(one.getsockname()[1]))
    return ports


@contextlib.contextmanager
def refusing_socket() -> Iterator[tuple[socket.socket, int]]:
    """A socket that is bound and does not listen, and its port on 127.0.0.1: whoever connects there is refused.

    The port of a socket that is closed already may be given to the next who asks for any port, which is easily the
    very process that the test has started; nobody is given this one as long as the socket is open.
    """
    with socket.socket() as bound:
        [port] = free_ports(1)
        bound.bind(("127.0.0.1", port))
        yield bound, port


class _OwnPorts:
    """Ports that this process alone draws, each once, a stretch at a time.

    A stretch is held by the name of a socket, which the kernel gives to one process at a time and takes back when it
    ends, however it ends.
    """

    def __init__(self) -> None:
        self._left: list[int] = []
        self._held: list[socket.socket] = []

    def draw(self) -> int:
        """The next one; 0, which is the kernel's choice, where it leaves too few to tests."""
        if not self._left:
            self._hold_another()
        return self._left.pop() if self._left else 0

    def _hold_another(self) -> None:
        first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        stretches = range(_LOWEST_PORT, first_outgoing - _STRETCH_PORTS, _STRETCH_PORTS)
        for first in random.SystemRandom().sample(stretches, len(stretches)):
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind(f"\0driftline-tests-ports-{first}")
            except OSError:
                name.close()  # another's
                continue
            self._held.append(name)
            self._left = list(range(first, first + _STRETCH_PORTS))
            return


_own_ports = _OwnPorts()


def wait_until(
    condition: Callable[[], bool], timeout_s: float = 120.0, what: str = "what is waited for", pause_s: float = 0.01
) -> None:
    """Return once ``condition`` holds; raises TimeoutError naming ``what`` when it does not within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {timeout_s:g} s")
        time.sleep(pause_s)


def has_ended(pid: int) -> bool:
    """Whether no such process is there, or one that waits for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def running_for(directory: Path) -> list[str]:
    """Command lines of other processes that know the directory, from their arguments or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            known = command + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in known and str(os.getpid()) != process.name:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


class PartProcess:
    """One program in a process group of its own, its output in a file."""

    def __init__(
        self, command: Sequence[str], log: Path, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = Path(command[0]).name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*_end_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environ) if environ is not None else None,
                start_new_session=True,
            )
        atexit.register(self.kill)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id, which is its group's id too."""
        return self._popen.pid

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def wait_ready(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Return once ``ready``; raises RuntimeError with the end of its output when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running() or time.monotonic() > deadline:
                state = "still not ready" if self.running() else f"ended with {self._popen.returncode}"
                self.kill()
                raise RuntimeError(f"{self.name} {state}; the end of its output:\n{self.output()[-3000:]}")
            time.sleep(0.05)

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal to the process itself."""
        self._popen.send_signal(signum)

    def stop(self, signum: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        """Ask it to end, kill it when it does not; returns the exit status."""
        if self.running():
            self._popen.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout_s)
        self.kill()
        return self._popen.returncode

    def kill(self) -> None:
        """End the whole group at once."""
        if self.running():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait(60)
        atexit.unregister(self.kill)


def _end_with_parent() -> list[str]:
    # A killed pytest runs no clean-up; the kernel ends its parts all the same where util-linux's setpriv is there.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv is not None else []
