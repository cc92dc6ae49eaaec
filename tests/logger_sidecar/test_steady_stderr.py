"""A log that nobody reads makes nobody wait, tears no line and says afterwards what it lost."""

import contextlib
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logger_sidecar.steady_stderr import SteadyStderr

LINE = "x" * 999 + "\n"
LOST = "lines were lost: nobody read them"


def pipe() -> tuple[int, int]:
    return os.pipe()


def sockets() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.fixture(params=[pipe, sockets])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Where lines are read, and where they are written."""
    make: Callable[[], tuple[int, int]] = request.param
    reading, writing = make()
    yield reading, writing
    for descriptor in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def read_all(descriptor: int) -> str:
    """What lies there to be read."""
    os.set_blocking(descriptor, False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(descriptor, 65536):
            data += piece
    return data.decode()


def test_lines_that_nobody_reads_are_lost_whole_and_counted_in_the_next_one(ends: tuple[int, int]) -> None:
    reading, writing = ends
    stream = SteadyStderr(writing)
    for _ in range(2000):
        stream.write(LINE)
    assert os.get_blocking(writing), "others write there, too"
    before = read_all(reading).splitlines(keepends=True)
    stream.write("and on\n")
    after = read_all(reading).splitlines(keepends=True)
    whole = [line for line in before if line == LINE]
    assert len(before) - len(whole) <= 1, "only the last line may be torn"
    torn = "".join(before[len(whole) :]) + (after.pop(0) if len(after) == 3 else "")
    assert torn in ("", LINE)
    lost = 2000 - len(whole) - bool(torn)
    assert after == [f"{lost} {LOST}\n", "and on\n"]
    stream.write("again\n")
    assert read_all(reading) == "again\n"


def test_a_line_longer_than_there_is_room_goes_on_before_any_other(ends: tuple[int, int]) -> None:
    reading, writing = ends
    stream = SteadyStderr(writing)
    long = "y" * 4_000_000 + "\n"
    stream.write(long)
    stream.write("lost\n")
    found = ""
    while not found.endswith("end\n"):
        found += read_all(reading)
        stream.write("end\n")
    assert found.startswith(long)
    assert LOST in found.removeprefix(long).splitlines()[0]


def test_what_is_written_in_pieces_comes_as_whole_lines(ends: tuple[int, int]) -> None:
    reading, writing = ends
    stream = SteadyStderr(writing)
    stream.write("one")
    assert read_all(reading) == ""
    stream.write(" line\nand \ud800")
    assert read_all(reading) == "one line\n"
    stream.write("\n")
    assert read_all(reading) == "and \\ud800\n"


def test_a_reader_that_is_gone_is_no_fault(ends: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = ends
    stream = SteadyStderr(writing)
    os.close(reading)
    log = logging.getLogger("tests.steady")
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    log.error("nobody reads this")
    log.removeHandler(handler)
    assert SteadyStderr(writing).write("nor this\n") == 9
    assert capsys.readouterr().err == "", "logging tells its own faults there"


def test_a_terminal_that_was_stopped_makes_nobody_wait() -> None:
    primary, secondary = os.openpty()
    stream = SteadyStderr(secondary)
    for _ in range(2000):
        stream.write(LINE)
    assert select.select([primary], [], [], 60)[0]
    assert os.read(primary, 10) == b"x" * 10
    for descriptor in (primary, secondary):
        os.close(descriptor)


def test_a_file_gets_all(tmp_path: Path) -> None:
    with (tmp_path / "log").open("a") as file:
        file.write("before\n")
        file.flush()
        stream = SteadyStderr(file.fileno())
        for _ in range(100):
            stream.write(LINE)
    assert (tmp_path / "log").read_text() == "before\n" + LINE * 100


def test_closed_standard_streams_are_opened_on_nothing() -> None:
    script = (
        "import os, subprocess, sys\n"
        "from logger_sidecar.steady_stderr import open_standard_streams\n"
        "open_standard_streams()\n"
        "told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "assert told > 2\n"
        "subprocess.run(['readlink', *[f'/proc/self/fd/{n}' for n in range(3)]], stdout=told)\n"
    )
    reading, writing = os.pipe()
    command = [sys.executable, "-c", script, f"/proc/self/fd/{writing}"]
    closing = ["/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh"]
    assert subprocess.run([*closing, *command], pass_fds=[writing], check=False).returncode == 0
    found = read_all(reading).split()
    assert found[0] == found[2] == os.devnull
    for descriptor in (reading, writing):
        os.close(descriptor)
