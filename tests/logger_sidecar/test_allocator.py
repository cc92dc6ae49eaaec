"""Memory that is freed and taken again is not asked of the system each time."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
if sys.argv[1] == "kept":
    from logger_sidecar.allocator import keep_freed_memory
    keep_freed_memory()
for _ in range(25):
    made = [b"." * (1 << 20) for _ in range(4)]
    del made
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> int:
    """Pages that a process was given which takes four megabytes 25 times, 25,600 pages in all."""
    environ = {"PYTHONPATH": ":".join(sys.path), "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS, how], env=environ, check=True, capture_output=True, text=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc goes its own way")
def test_freed_memory_is_used_again() -> None:
    assert faults("given back") > 25_000
    assert faults("kept") < 12_000
