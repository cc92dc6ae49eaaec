"""What processes use while a load runs: CPU of the proxy and of its children, memory now and at its peak."""

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import cpu_seconds
from benchmarks.sidecar_contenders import Running, children

_POLL_S = 0.1


class Watch:
    """Reads a contender's processes. ``pid`` 0: there are none, every figure is 0."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._proxy = [running.pid] if running.pid else []
        self._children = children(running.pid) if running.pid else []
        self._began = self._used()
        self._machine = _machine_ticks()
        self._logged, self._delivered = running.logged(), running.delivered()

    def _used(self) -> tuple[float, float]:
        return cpu_seconds(self._proxy), _cpu_of_the_living(self._children)

    def settle(self, longest_s: float) -> None:
        """Wait until the processes rest: what was taken in has been logged, as far as that is done in time."""
        deadline = time.monotonic() + longest_s
        quiet, last = 0, sum(self._used())
        while self._proxy and quiet < 3 and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            used = sum(self._used())
            quiet = quiet + 1 if used - last < 0.1 * _POLL_S else 0
            last = used

    def figures(self, requests: float) -> dict[str, float]:
        """What was used since the watch began, per request."""
        if not self._proxy:
            return {}
        proxy_s, children_s = (now - then for now, then in zip(self._used(), self._began, strict=True))
        found = {
            "cpu_us": proxy_s * 1e6 / requests,
            "rss_mib": memory_mib(self._running.pid, "VmRSS"),
            "peak_mib": memory_mib(self._running.pid, "VmHWM"),
        }
        passed, stolen = (now - then for now, then in zip(_machine_ticks(), self._machine, strict=True))
        found["stolen_share"] = stolen / passed if passed else 0.0
        if self._children:
            found["children_cpu_us"] = children_s * 1e6 / requests
            found["children_rss_mib"] = sum(memory_mib(pid, "VmRSS") for pid in self._children)
        logged = _since(self._logged, self._running.logged)
        if logged is not None:
            found["logged_share"] = logged / requests
        delivered = _since(self._delivered, self._running.delivered)
        if delivered:
            found["cpu_us_per_shipped"] = children_s * 1e6 / delivered
        return found


def memory_mib(pid: int, field: str) -> float:
    """A line of ``/proc/PID/status`` that is in kB (``VmRSS``: resident now, ``VmHWM``: at most so far), as MiB."""
    with contextlib.suppress(OSError):
        found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def _machine_ticks() -> tuple[int, int]:
    """All time of all cores so far, and how much of it the host gave to others, in ticks."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(ticks), ticks[7]


def _cpu_of_the_living(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += cpu_seconds([pid])
    return total


def _since(before: int | None, read: Callable[[], int | None]) -> int | None:
    now = read()
    return None if now is None or before is None else now - before
