"""Messages from a socket. They are short: batches lie elsewhere (``batch_region``)."""

import socket
from collections.abc import Callable

from logger_sidecar.recording.recorder_wire import PREFIX

_PIECE_BYTES = 1 << 16


class Inbox:
    """Reads from ``connection``; ``idle`` is called each time that its timeout passes and nothing came."""

    def __init__(self, connection: socket.socket, idle: Callable[[], None]) -> None:
        self._connection = connection
        self._idle = idle
        # What was read and not given yet.
        self._data = b""

    def next(self) -> bytes | None:
        """The next message; None: there will be none."""
        if not self._read(PREFIX.size):
            return None
        size = PREFIX.size + int(PREFIX.unpack_from(self._data)[0])
        if not self._read(size):
            return None
        message, self._data = self._data[PREFIX.size : size], self._data[size:]
        return message

    def _read(self, size: int) -> bool:
        """Whether ``size`` bytes are there."""
        while len(self._data) < size:
            try:
                more = self._connection.recv(_PIECE_BYTES)
            except TimeoutError:
                self._idle()
                continue
            if not more:
                return False
            self._data += more
        return True
