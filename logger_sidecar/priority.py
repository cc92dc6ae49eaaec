"""How the sidecar's helpers share a core with the proxy: behind it, and in long slices."""

import contextlib
import os


def run_behind(steps: int) -> None:
    """Let this process, and what it starts, run ``steps`` of niceness behind its parent, as a batch.

    A batch process that wakes up does not take the core from another (sched(7), SCHED_BATCH), so a proxy on a full core
    is interrupted less often. Where the system knows or allows neither, all goes on as it was.
    """
    with contextlib.suppress(OSError):
        os.nice(steps)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
