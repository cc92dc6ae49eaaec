"""How long the proxy may run at a time: shortly, so that it is let in sooner when bytes come for it."""

import ctypes
import os
import platform
import struct

SLICE_NS = 100_000
#: ``sched_setattr(2)``, which not every C library names.
_CALLS = {"x86_64": 314, "aarch64": 274}
#: Size, policy, flags, niceness, priority, runtime, deadline, period.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_RESET_ON_FORK = 1


def ask_for_short_slices() -> None:
    """Have the kernel give this process short slices, but not what it starts.

    Linux since 6.12 lets a process that wakes up take the core from one whose slices are longer; else a helper, or a
    neighbour, that shares the core runs its own to the end first. Elsewhere nothing changes.
    """
    call = _CALLS.get(platform.machine())
    if platform.system() != "Linux" or call is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    asked = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, _RESET_ON_FORK, niceness, 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(call, 0, asked, 0)
