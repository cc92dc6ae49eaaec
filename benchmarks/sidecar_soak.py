"""Ten minutes at full load with nowhere to log to: what the sidecar and the Go agent hold in memory afterwards."""

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.sidecar_contenders import Running, children
from benchmarks.sidecar_load import Load
from benchmarks.sidecar_watch import memory_mib

_SAMPLE_S = 1.0
#: A proxy that holds this much is not measured any further: the machine has to live.
_CEILING_MIB = 6000.0


def soak(
    contender: Callable[[], AbstractContextManager[Running]], load: Load, seconds: float
) -> dict[str, float | None]:
    """Run one contender at full load, 16 connections, and report its memory; MB are 10^6 bytes.

    ``growth_mb``: resident memory at the end (median of the last tenth) minus after the first tenth, at most a minute.
    ``children_growth_mb``: the same of what it started. ``seconds``: shorter than asked where it passed the ceiling.
    """
    samples: list[tuple[float, float, float]] = []
    began_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(contender())
        running.place()
        enough = threading.Event()
        loader = threading.Thread(target=_keep_loading, args=(load, running.port, enough), daemon=True)
        loader.start()
        stack.callback(loader.join, 120)
        stack.callback(enough.set)
        while (now_s := time.monotonic() - began_s) < seconds:
            held = memory_mib(running.pid, "VmRSS")
            samples.append((now_s, held, sum(memory_mib(pid, "VmRSS") for pid in children(running.pid))))
            if held > _CEILING_MIB:
                break
            time.sleep(_SAMPLE_S)
        peak = memory_mib(running.pid, "VmHWM")
    lasted_s = samples[-1][0]
    first, last = min(60.0, lasted_s / 10), lasted_s * 0.9
    return {
        "growth_mb": _growth(samples, 1, first, last),
        "children_growth_mb": _growth(samples, 2, first, last),
        "rss_mb": samples[-1][1] * 1.048576,
        "peak_mb": peak * 1.048576,
        "seconds": lasted_s,
    }


def _keep_loading(load: Load, port: int, enough: threading.Event) -> None:
    while not enough.is_set():
        with contextlib.suppress(SystemExit):  # a proxy that fails requests is measured all the same
            load.closed(port, 16, 5)


def _growth(samples: list[tuple[float, float, float]], which: int, first_s: float, last_s: float) -> float:
    early = [sample[which] for sample in samples if first_s * 0.8 <= sample[0] <= first_s * 1.2] or [samples[0][which]]
    late = [sample[which] for sample in samples if sample[0] >= last_s]
    return (sorted(late)[len(late) // 2] - sorted(early)[len(early) // 2]) * 1.048576
