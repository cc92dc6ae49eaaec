"""Messages from a socket, each read into the same memory as the one before: fresh memory for every batch costs more
than all that is done with it.
"""

import mmap
import socket
from collections.abc import Callable

from logger_sidecar.recording.recorder_wire import PREFIX

_FIRST_BYTES = 1 << 18
#: Memory for a message that is longer than usual batches are is not kept.
_KEPT_BYTES = 1 << 24


class Inbox:
    """Reads from ``connection``; ``idle`` is called each time that its timeout passes and nothing came."""

    def __init__(self, connection: socket.socket, idle: Callable[[], None]) -> None:
        self._connection = connection
        self._idle = idle
        self._memory = _memory(_FIRST_BYTES)
        # What was read and not given yet.
        self._start = self._end = 0

    @property
    def held_bytes(self) -> int:
        """Memory that is kept for messages."""
        return len(self._memory)

    def next(self) -> memoryview | None:
        """The next message, which lasts until the one after it is asked for; None: there will be none."""
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._memory) > _KEPT_BYTES:
                self._memory = _memory(_FIRST_BYTES)
        if not self._read(PREFIX.size):
            return None
        size = PREFIX.size + int(PREFIX.unpack_from(self._memory, self._start)[0])
        if not self._read(size):
            return None
        message = self._memory[self._start + PREFIX.size : self._start + size]
        self._start += size
        return message

    def _read(self, size: int) -> bool:
        """Whether ``size`` bytes are there."""
        if self._start + size > len(self._memory):
            self._make_room(size)
        while self._end - self._start < size:
            try:
                count = self._connection.recv_into(self._memory[self._end :])
            except TimeoutError:
                self._idle()
                continue
            if not count:
                return False
            self._end += count
        return True

    def _make_room(self, size: int) -> None:
        """Move what was read to the front of memory that is large enough."""
        rest = bytes(self._memory[self._start : self._end])
        if len(self._memory) < size:
            self._memory = _memory(1 << (size - 1).bit_length())
        self._memory[: len(rest)] = rest
        self._start, self._end = 0, len(rest)


def _memory(size: int) -> memoryview:
    """Memory whose pages the kernel gives when they are first written to: what is never used is never there."""
    return memoryview(mmap.mmap(-1, size))
