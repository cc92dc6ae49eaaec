"""How a process keeps its memory: what was freed stays while it is busy, and none of it becomes a file."""

import contextlib
import ctypes
import gc
import resource

#: What malloc takes from the same memory as everything else; larger pieces come and go by themselves.
_LARGEST_PIECE_BYTES = 8 * 1024 * 1024
#: ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: It takes a C int.
_MOST_BYTES = 2**31 - 1


def keep_freed_memory(kept_bytes: int) -> None:
    """Have malloc keep so much at its end, and not give it back; only glibc's can be told.

    The next requests need as much, and fresh pages cost a fault each.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(_TRIM_THRESHOLD, min(kept_bytes, _MOST_BYTES))
        tell(_MMAP_THRESHOLD, _LARGEST_PIECE_BYTES)


def give_back_freed_memory() -> None:
    """Give back what is kept: for now there is no work that would need it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def seek_cycles_seldom() -> None:
    """Leave out of the search for cycles what lives now, for it lives to the end, and search less often.

    What requests and batches make is freed by its reference count; a batch alone makes more objects than the usual
    threshold has.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def leave_no_core_file() -> None:
    """Have a crash leave no image of the memory on the disk: it would hold credentials, and what is to be redacted."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
