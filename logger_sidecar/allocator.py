"""Memory that was freed stays with the process: the next requests need as much, and fresh pages cost a fault each."""

import ctypes

#: Beyond it, freed memory goes back to the system: a batch for the recorder, which is the largest that comes often.
_KEPT_BYTES = 8 * 1024 * 1024
#: ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have malloc keep this much at its end, and take from there what is not larger; only glibc's can be told."""
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(_TRIM_THRESHOLD, _KEPT_BYTES)
        tell(_MMAP_THRESHOLD, _KEPT_BYTES)
