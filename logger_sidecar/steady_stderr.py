r"""Standard error that nobody waits for: a line for which there is no room is lost, and the next one says so.

A log that nobody reads any more (a container runtime that stands still, a terminal that was stopped) is a pipe that
fills. Whoever then writes a line to it waits without end, and with a proxy wait all requests.

>>> reader, writer = os.pipe()
>>> print("the recorder ended", file=SteadyStderr(writer))
>>> os.read(reader, 100)
b'the recorder ended\n'
>>> os.close(reader), os.close(writer)
(None, None)
"""

import contextlib
import functools
import io
import os
import select
import socket
import stat
from collections.abc import Callable

STDERR = 2
_OF_ITS_OWN = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
#: Writes as much as there is room for and returns how many bytes; raises BlockingIOError where there is none.
_Write = Callable[[bytes], int]


class SteadyStderr(io.TextIOBase):
    """A text stream that writes whole lines to ``descriptor``, and never waits for room."""

    def __init__(self, descriptor: int = STDERR) -> None:
        self._descriptor = descriptor
        self._write = _write_without_waiting(descriptor)
        self._unfinished = ""
        #: The end of a line whose beginning is written.
        self._torn = b""
        self._lost_lines = 0

    def write(self, text: str) -> int:
        """Part of io.TextIOBase; what follows the last line's end is kept until its own."""
        lines, end, self._unfinished = (self._unfinished + text).rpartition("\n")
        if end:
            self._write_lines(lines + end)
        return len(text)

    def fileno(self) -> int:
        """Part of io.TextIOBase."""
        return self._descriptor

    def _write_lines(self, lines: str) -> None:
        self._torn = self._rest(self._torn)
        told = f"{self._lost_lines} lines were lost: nobody read them\n" if self._lost_lines else ""
        data = (told + lines).encode(errors="backslashreplace")
        rest = data if self._torn else self._rest(data)
        if len(rest) == len(data):
            self._lost_lines += lines.count("\n")
        else:
            self._torn, self._lost_lines = rest, 0

    def _rest(self, data: bytes) -> bytes:
        """Write what there is room for; returns what is left."""
        try:
            while data:
                data = data[self._write(data) :]
        except BlockingIOError:
            return data
        except OSError:  # its reader is gone, or the disk is full: it is nobody's to read
            return b""
        return data


def open_standard_streams() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed, on nothing.

    Else the next file or socket gets the number, and helpers, which inherit the three, write their lines into it.
    """
    for descriptor in range(STDERR + 1):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free


def _write_without_waiting(descriptor: int) -> _Write:
    """How to write to it: a flag on the descriptor itself would be one for all processes that share it."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return functools.partial(_send, socket.socket(fileno=os.dup(descriptor)))
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        with contextlib.suppress(OSError):  # no /proc, or it is another user's
            return functools.partial(os.write, os.open(f"/proc/self/fd/{descriptor}", _OF_ITS_OWN))
    return functools.partial(_write_if_room, descriptor)


def _send(connection: socket.socket, data: bytes) -> int:
    return connection.send(data, socket.MSG_DONTWAIT)


def _write_if_room(descriptor: int, data: bytes) -> int:
    """Where the kernel says that there is room, so much is room for as it writes at once."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data[: select.PIPE_BUF])
