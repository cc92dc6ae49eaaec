"""The inbox: what came over HTTP is kept before the sender is told so, and read from there like any other stream."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from collector.ports import RecordSource
from collector.sources.cloud_event import CloudEvent, decode_cloud_event, encode_cloud_event
from collector.sources.interpreting import Interpreter
from driftline.errors import DriftlineError
from driftline.records import Content

#: Why an event was not kept.
BUSY = "inbox_busy"
UNAVAILABLE = "inbox_unavailable"


class ByteLog(Protocol):
    """A durable log of entries; ``logger_sidecar.spool.writer.SpoolWriter`` is one."""

    def write(self, payloads: Sequence[bytes]) -> Mapping[int, str]:
        """Append in order; by index, the reason for each entry that was not kept."""
        ...

    def look(self) -> None:
        """Let go of what every reader has passed."""
        ...

    def close(self) -> None:
        """Put everything on the disk."""
        ...


class Inbox(Protocol):
    """Keeps events; once ``append`` has returned they outlive the process."""

    def append(self, events: Sequence[CloudEvent]) -> Mapping[int, str]:
        """By index, the reason for each event that was not kept. May wait."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class LogInbox:
    """An ``Inbox`` in a log of bytes."""

    def __init__(self, log: ByteLog) -> None:
        self._log = log

    def append(self, events: Sequence[CloudEvent]) -> Mapping[int, str]:
        """As ``Inbox.append``."""
        self._log.look()
        return self._log.write([encode_cloud_event(event) for event in events])

    def close(self) -> None:
        """As ``Inbox.close``."""
        self._log.close()


def inbox_reader(interpreter: Interpreter) -> Callable[[bytes], Content]:
    """Reads the entries of a ``LogInbox``; raises EventError."""

    def read(data: bytes) -> Content:
        return interpreter.read(decode_cloud_event(data))

    return read


class Mailroom:
    """Appends the events of many requests together: while one write is under way, the next is gathered.

    So a thousand senders cost the disk as many flushes as it can do, and not a thousand. Belongs to one event loop.
    ``maximum_bytes``: of events that wait for their write; beyond it they are refused as ``inbox_busy``.
    """

    def __init__(self, inbox: Inbox, maximum_bytes: int) -> None:
        self._inbox = inbox
        self._maximum_bytes = maximum_bytes
        self._waiting: list[tuple[Sequence[CloudEvent], asyncio.Future[str]]] = []
        self._waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None

    async def put(self, events: Sequence[CloudEvent]) -> str:
        """Empty once every event is kept; else why one of them is not."""
        size_bytes = sum(len(event.body) for event in events)
        if self._waiting and self._waiting_bytes + size_bytes > self._maximum_bytes:
            return BUSY
        kept = asyncio.get_running_loop().create_future()
        self._waiting.append((events, kept))
        self._waiting_bytes += size_bytes
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        # The write goes on when the sender hangs up.
        return await asyncio.shield(kept)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            every = [event for events, _ in batch for event in events]
            try:
                lost = await asyncio.to_thread(self._inbox.append, every)
            except (DriftlineError, OSError):
                lost = dict.fromkeys(range(len(every)), UNAVAILABLE)
            begin = 0
            for events, kept in batch:
                reasons = [lost[place] for place in range(begin, begin + len(events)) if place in lost]
                kept.set_result(reasons[0] if reasons else "")
                begin += len(events)


#: Opens the stream that reads an inbox of bytes, from a partition's committed position on.
OpenReader = Callable[[Callable[[str], int | None], Callable[[bytes], Content]], RecordSource]
