"""The messages of one half of a call: kept as they were on the wire, as far as there is room, and counted."""

import struct

from logger_sidecar.http2.capture_room import CaptureRoom

PREFIX_BYTES = 5
#: The length of a message, from its prefix behind the first byte.
unpack_length = struct.Struct(">I").unpack_from


class Messages:
    """One half of a call as it passes.

    Each message has a prefix of 5 bytes: whether it is compressed, and its length. ``room_bytes``: how much is kept.
    """

    __slots__ = (
        "_first",
        "_left",
        "_prefix",
        "_rest",
        "_room",
        "_room_bytes",
        "compressed",
        "count",
        "seen_bytes",
        "truncated",
    )

    def __init__(self, room: CaptureRoom, room_bytes: int) -> None:
        self._room = room
        self._room_bytes = room_bytes
        self._first = b""
        self._rest: bytearray | None = None
        self._prefix = b""
        self._left = 0
        self.seen_bytes = 0
        self.count = 0
        self.compressed = False
        self.truncated = False

    @property
    def kept(self) -> bytes:
        """All that was kept."""
        return self._first + self._rest if self._rest else self._first

    def beginning(self, size: int) -> bytes:
        """At most so many bytes from the front of it."""
        missing = size - len(self._first)
        return self._first + self._rest[:missing] if missing > 0 and self._rest else self._first[:size]

    @property
    def is_cut(self) -> bool:
        """Whether something is missing: not kept, or never sent."""
        return self.truncated or self._left > 0 or bool(self._prefix)

    @property
    def has_message(self) -> bool:
        """Whether the first message is whole."""
        return self.count > 1 or (self.count == 1 and not self._left)

    def append(self, data: bytes, start: int, end: int) -> None:
        """``data[start:end]`` passed."""
        size = end - start
        room = self._room
        if (
            not self.seen_bytes
            and PREFIX_BYTES <= size <= self._room_bytes
            and room.held_bytes + size <= room.max_bytes
            and unpack_length(data, start + 1)[0] == size - PREFIX_BYTES
        ):
            # One whole message and nothing before it, as most are.
            self.seen_bytes = size
            self._room_bytes -= size
            room.held_bytes += size
            self._first = data[start:end]
            self.count = 1
            if data[start]:
                self.compressed = True
            return
        self.seen_bytes += size
        self._keep(data, start, size)
        self._count(data, start, end)

    def release(self) -> None:
        """Let go what was kept."""
        self._room.held_bytes -= len(self._first)
        self._first = b""
        if self._rest is not None:
            self._room.held_bytes -= len(self._rest)
            self._rest = None

    def _keep(self, data: bytes, start: int, size: int) -> None:
        free = min(self._room_bytes, self._room.max_bytes - self._room.held_bytes)
        if size > free:
            size = max(0, free)
            self.truncated = True
            self._room_bytes = 0
        else:
            self._room_bytes -= size
        if not size:
            return
        self._room.held_bytes += size
        if not self._first:
            self._first = data[start : start + size]
        elif self._rest is None:
            self._rest = bytearray(data[start : start + size])
        else:
            self._rest += data[start : start + size]

    def _count(self, data: bytes, position: int, end: int) -> None:
        left = self._left
        while position < end:
            if left:
                step = min(left, end - position)
                left -= step
                position += step
                continue
            prefix = data[position : min(end, position + PREFIX_BYTES - len(self._prefix))]
            position += len(prefix)
            if self._prefix:
                prefix = self._prefix + prefix
            if len(prefix) < PREFIX_BYTES:
                self._prefix = prefix
                break
            self._prefix = b""
            self.count += 1
            left = int.from_bytes(prefix[1:], "big")
            if prefix[0]:
                self.compressed = True
        self._left = left


def split_messages(kept: bytes, limit: int) -> list[bytes]:
    r"""The first whole messages without their prefixes, at most ``limit`` of them.

    >>> split_messages(b"\0\0\0\0\1a\0\0\0\0\2b", 10)
    [b'a']
    """
    found: list[bytes] = []
    position = 0
    while position + PREFIX_BYTES <= len(kept) and len(found) < limit:
        start = position + PREFIX_BYTES
        position = start + int.from_bytes(kept[position + 1 : start], "big")
        if position <= len(kept):
            found.append(kept[start:position])
    return found
