"""The recorder: a process of its own that makes events of the proxy's records and writes them to the spool.

It lives as long as the other end of the socket on its standard input is open, writes what it was given, and ends. The
proxy may be killed at any moment: what was announced on the socket is still written.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from driftline.errors import DriftlineError
from driftline.settings import load
from logger_sidecar.allocator import seek_cycles_seldom
from logger_sidecar.finishing.finisher import FinishingProcess
from logger_sidecar.finishing.wire import Setup
from logger_sidecar.priority import run_behind
from logger_sidecar.recording.batch_region import RegionReader
from logger_sidecar.recording.event_frames import frame
from logger_sidecar.recording.recorder_inbox import Inbox
from logger_sidecar.recording.recorder_settings import RecorderSettings
from logger_sidecar.recording.recorder_wire import (
    Ack,
    Announced,
    ReceivedRecord,
    body_bytes,
    decode_message,
    encode,
)
from logger_sidecar.recording.shared_memory import SHARED_MEMORY_BODY_BYTES, marked
from logger_sidecar.spool.frames import Payload
from logger_sidecar.spool.writer import SpoolWriter
from logger_sidecar.steady_stderr import SteadyStderr

_log = logging.getLogger("driftline.recorder")
_LOOK_EVERY_S = 1.0
#: On a core that is fully used requests come first; what the proxy gathers meanwhile is bounded.
_NICE = 5


class Finisher(Protocol):
    """Does the work that is left on some events before they may be written."""

    #: Bodies that could not be redacted and were left out, by reason.
    left_out: dict[str, int]
    #: How often its process was started.
    starts: int

    def follow(self, setup: Setup) -> None:
        """Go by this from the next batch on."""

    def start(self) -> None:
        """Be ready for the first batch."""

    def finish(self, frames: Sequence[bytes]) -> Sequence[bytes | str]:
        """Each frame as it may be written, in order; a text instead is the reason why it may not."""

    def close(self) -> None:
        """No more will come."""


class Recorder:
    """Answers batches until the proxy has gone."""

    def __init__(self, connection: socket.socket, region: RegionReader, spool: SpoolWriter, finisher: Finisher) -> None:
        self._connection = connection
        self._region = region
        self._spool = spool
        self._finisher = finisher
        self._finishes_all = False
        self._inbox = Inbox(connection, spool.look)  # readers go on while nothing is written

    def run(self) -> None:
        """Serve until the other end is closed."""
        while (body := self._inbox.next()) is not None:
            message = decode_message(body)
            if isinstance(message, Announced):
                self._connection.sendall(encode(self._take(self._region.read(message))))
            else:
                self._finishes_all = bool(message.rules)
                self._finisher.follow(message)
                if message.rules:  # every event passes it
                    self._finisher.start()

    def _take(self, records: Sequence[ReceivedRecord | bytes]) -> Ack:
        payloads, indexes, lost = self._finished(records)
        for index, reason in self._spool.write(payloads).items():
            lost[indexes[index]] = reason
        spool = self._spool
        return Ack(
            lost,
            spool.bytes_held,
            spool.oldest_time_s(),
            spool.last_error,
            spool.write_errors,
            self._finisher.left_out,
            self._finisher.starts,
        )

    def _finished(
        self, records: Sequence[ReceivedRecord | bytes]
    ) -> tuple[Sequence[Payload], Sequence[int], dict[int, str]]:
        """What may be written, which records it is, and why others may not."""
        frames: list[Payload] = []
        unfinished: list[int] = []
        for index, record in enumerate(records):
            if isinstance(record, bytes):
                frames.append(record)
            elif record.response:
                frames.append(_frame_of(record))
            else:
                frames.append(record.stream)
                unfinished.append(index)
        waiting = range(len(frames)) if self._finishes_all else unfinished
        if not waiting:
            return frames, range(len(frames)), {}
        outcomes = dict(zip(waiting, self._finisher.finish([_joined(frames[index]) for index in waiting]), strict=True))
        lost = {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, str)}
        kept = [index for index in range(len(frames)) if index not in lost]
        done = {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, bytes)}
        return [done.get(index, frames[index]) for index in kept], kept, lost


def _frame_of(record: ReceivedRecord) -> Payload:
    body = record.request_body
    if body_bytes(body) < SHARED_MEMORY_BODY_BYTES:
        record.stream = marked(record.stream, b"".join(body) if isinstance(body, tuple) else bytes(body))
    return frame(record)


def _joined(payload: Payload) -> bytes:
    return payload if isinstance(payload, bytes) else b"".join(payload)


def _region(connection: socket.socket) -> RegionReader | None:
    """Where batches will lie, which is the first that the proxy says; None: it is gone."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    return RegionReader(*descriptors) if descriptors else None


def run(settings: RecorderSettings, connection: socket.socket, finisher: Finisher) -> None:
    """Record until the proxy has gone."""
    spool = SpoolWriter(
        settings.spool_directory,
        max_bytes=settings.spool_max_bytes,
        segment_bytes=settings.segment_bytes,
        first_offset=time.time_ns(),
        drop_policy=settings.drop_policy,
        fsync=settings.fsync,
    )
    try:
        region = _region(connection)
        if region is not None:
            connection.settimeout(_LOOK_EVERY_S)
            Recorder(connection, region, spool, finisher).run()
    except ConnectionError:
        _log.info("the proxy is gone")
    finally:
        finisher.close()
        spool.close()


def main() -> int:
    """The process: settings from the environment, the socket as standard input."""
    sys.stderr = SteadyStderr()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # The proxy decides when it is over: it closes the socket when all was handed over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run_behind(_NICE)
    seek_cycles_seldom()
    try:
        settings = load(RecorderSettings, "RECORDER", environ=os.environ)
        run(settings, socket.socket(fileno=0), FinishingProcess(Setup()))
    except DriftlineError as error:
        _log.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
