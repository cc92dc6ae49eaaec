"""Memory that is freed and taken again is not asked of the system each time."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
if sys.argv[1] == "kept":
    from logger_sidecar.allocator import keep_freed_memory
    keep_freed_memory(8 << 20)
for _ in range(25):
    made = [b"." * (1 << 20) for _ in range(4)]
    del made
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""
_GIVEN_BACK = """
from pathlib import Path
from logger_sidecar.allocator import give_back_freed_memory, keep_freed_memory
def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])
keep_freed_memory(64 << 20)
before = resident_pages()
made = [b"." * (1 << 20) for _ in range(32)]
del made
print(resident_pages() - before)
give_back_freed_memory()
print(resident_pages() - before)
"""


def said(program: str, *arguments: str, **environ: str) -> list[int]:
    """The numbers that a program of Python prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PYTHONPATH": ":".join(sys.path), **environ},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return [int(number) for number in done.stdout.split()]


def faults(how: str) -> int:
    """Pages that a process was given which takes four megabytes 25 times, 25,600 pages in all."""
    return said(_FAULTS, how, MALLOC_MMAP_THRESHOLD_="131072", MALLOC_TRIM_THRESHOLD_="131072")[0]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc goes its own way")
def test_freed_memory_is_used_again() -> None:
    assert faults("given back") > 25_000
    assert faults("kept") < 12_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc goes its own way")
def test_what_is_kept_can_be_given_back() -> None:
    kept_pages, left_pages = said(_GIVEN_BACK)
    assert kept_pages > 7_000  # 28 of 32 MiB
    assert left_pages < 1_500
