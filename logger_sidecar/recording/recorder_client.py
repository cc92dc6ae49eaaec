"""The proxy's end of the recorder: records are gathered for a moment and handed to a process of its own.

``put`` never waits, and nothing here needs a thread: making events, redaction and the disk would take the interpreter
from the proxy, and so they happen elsewhere. What was handed over and not answered is kept, and handed over again when
the recorder had to be started anew; events may then be in the spool twice, under the same id.
"""

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import msgspec

from logger_sidecar.allocator import give_back_freed_memory
from logger_sidecar.finishing.wire import Setup
from logger_sidecar.recording.batch_region import SHARES_BODIES, BatchRegion
from logger_sidecar.recording.recorder_wire import PREFIX, Ack, Announced, Record, decode_ack, encode

_log = logging.getLogger("driftline.sidecar")
#: There was no room for the record here: ``buffer_bytes`` wait already. A spool that is full says ``spool_full``.
REASON_BUFFER_FULL = "buffer_full"
REASON_RECORDER_FAILED = "recorder_failed"
#: What a record takes beside its bodies.
RECORD_BYTES = 512
_BATCH_RECORDS = 4096
_BATCH_BYTES = 8 * 1024 * 1024
#: A batch costs both processes a wake-up or two and what they find cold in the processor's caches, however small it is.
_GATHER_S = 0.05
#: When so much waits, a batch goes at once: a processor's own cache still holds what is copied for it.
_PROMPT_BYTES = 1024 * 1024
#: The same where most of it lies in shared memory already: there a batch costs by being one, not by what it holds.
_PROMPT_SHARED_BYTES = 4 * 1024 * 1024
#: The pause before memory for a batch is asked for again.
_NO_MEMORY_WAIT_S = 1.0
#: How often memory that was not needed is given back.
_REST_EVERY_S = 5.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
#: A recorder that lived this long was well, though it was never asked anything; the next wait is short again.
_WELL_AFTER_S = 60.0
#: A batch that ended this many recorders is given up.
_MAX_TRIES = 3


class Receipt(Protocol):
    """Is told what became of one record."""

    def written(self, count: int = 1) -> None:
        """Its event is in the spool; those of ``count`` records, where it was given with so many."""

    def lost(self, reason: str) -> None:
        """It is not, and will not be."""


class RecorderProcess(Protocol):
    """What the client needs of a recorder that was started; as ``subprocess.Popen``."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """As ``poll``, when it has ended; raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """End it at once."""


#: Starts a recorder with one end of a socket, which it then owns.
StartRecorder = Callable[[socket.socket], RecorderProcess]


class RecorderClient(asyncio.Protocol):
    """Hands records to the recorder.

    ``buffer_bytes``: bound of what is held here. ``answer_timeout_s``: a recorder that is silent for longer is killed.
    ``gather_s``: for so long records are gathered, unless much waits. ``when_idle``: called once in each pause in which
    nothing was recorded for a while.
    """

    def __init__(
        self,
        start_recorder: StartRecorder,
        setup: Setup,
        *,
        buffer_bytes: int,
        answer_timeout_s: float,
        gather_s: float = _GATHER_S,
        when_idle: Callable[[], None] = give_back_freed_memory,
    ) -> None:
        self._start_recorder = start_recorder
        self._setup = setup
        self._buffer_bytes = buffer_bytes
        self._answer_timeout_s = answer_timeout_s
        self._gather_s = gather_s
        self._when_idle = when_idle
        self._records: list[Record] = []
        self._receipts: list[Receipt] = []
        self._sizes: list[int] = []
        self.buffered_bytes = 0
        #: Called before a batch is made: whoever has reserved room for records makes them now.
        self.before_batch: Callable[[], None] = _nothing
        prompt_bytes = _PROMPT_SHARED_BYTES if SHARES_BODIES else _PROMPT_BYTES
        self._prompt_bytes: int = min(prompt_bytes, buffer_bytes // 4)
        #: So long as less is held than this, nothing follows from one record more: whoever adds up for himself need not
        #: call ``reserve``.
        self.calm_below_bytes: int = buffer_bytes
        self._flush_is_due = True  # until the recorder is there
        #: Until a batch goes; None while one is on its way, or nothing waits.
        self._gathering: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._transport: asyncio.Transport | None = None
        self._process: RecorderProcess | None = None
        self._sent: list[Receipt] = []
        self._sent_bytes = 0
        #: Where the batch on its way lies, and what the recorder is told of it.
        self._region: BatchRegion | None = None
        self._announced: Announced | None = None
        self._sent_s = self._rested_s = 0.0
        #: The newest batch when it was last looked after memory, and whether nothing had come since the look before.
        self._rested_at: Announced | None = None
        self._is_idle = False
        self._tries = 0
        self._received = b""
        #: The pause before the recorder that runs now was started; 0: none, or it has answered since.
        self._wait_s = 0.0
        self._started_s = 0.0
        self._stopping = False
        self._emptied = asyncio.Event()
        #: Set while nothing is on the way that is finished by an older setup.
        self._in_force = asyncio.Event()
        self._in_force.set()
        self.restarts = -1
        self.state = Ack()
        # What the recorders before this one had counted.
        self._write_errors = self._finishing_starts = 0
        self._left_out: Counter[str] = Counter()

    # --- records --------------------------------------------------------------------------------------------------
    def put(self, record: Record, size_bytes: int, receipt: Receipt) -> bool:
        """Take one record; False when there is no room for it (the receipt is then not told anything)."""
        if not self.reserve(size_bytes):
            return False
        self.add([record], [size_bytes], [receipt])
        return True

    def reserve(self, size_bytes: int) -> bool:
        """Keep room for a record that is made when the next batch is; False when there is none."""
        held = self.buffered_bytes + size_bytes
        if held > self._buffer_bytes:
            return False
        self.buffered_bytes = held
        if not self._flush_is_due:
            self._flush_is_due = True
            self._gather()
        if held >= self._prompt_bytes and self._gathering is not None:
            self._stop_gathering()
            self._loop.call_soon(self._flush)
        return True

    def add(self, records: Sequence[Record], sizes_bytes: Sequence[int], receipts: Sequence[Receipt]) -> None:
        """Take records for which there is room, each with its size and who is told of it."""
        self._records += records
        self._sizes += sizes_bytes
        self._receipts += receipts

    def release(self, size_bytes: int) -> None:
        """Room that was reserved is not needed."""
        self.buffered_bytes -= size_bytes

    @property
    def write_errors(self) -> int:
        """Batches that the disk refused."""
        return self._write_errors + self.state.write_errors

    @property
    def left_out(self) -> Mapping[str, int]:
        """Bodies that could not be redacted and were left out, by reason."""
        return self._left_out + Counter(self.state.left_out)

    @property
    def finishing_starts(self) -> int:
        """How often a finishing process was started."""
        return self._finishing_starts + self.state.finishing_starts

    @property
    def pid(self) -> int | None:
        """The recorder's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def buffered_records(self) -> int:
        """Records not yet answered for."""
        self.before_batch()
        return len(self._records) + len(self._sent)

    def _gather(self) -> None:
        self.calm_below_bytes = self._prompt_bytes
        self._gathering = self._loop.call_later(self._gather_s, self._flush)

    def _stop_gathering(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
            self.calm_below_bytes = self._buffer_bytes

    def _flush(self) -> None:
        self._stop_gathering()
        if self._transport is None or self._region is None or self._sent:
            return  # the recorder's return, or its answer, comes back here
        self.before_batch()
        if not self._records:
            self._rest()
            return
        count, size = _first(self._sizes)
        try:
            self._announced = self._region.write(self._records[:count], self._sizes[:count])
        except (OSError, MemoryError) as error:
            _log.error("there is no memory for a batch: %s", error or type(error).__name__)
            self._loop.call_later(_NO_MEMORY_WAIT_S, self._flush)
            return
        self._sent, self._sent_bytes = self._receipts[:count], size
        del self._records[:count], self._receipts[:count], self._sizes[:count]
        self._tries = 0
        self._send()

    def _send(self) -> None:
        assert self._transport is not None  # noqa: S101 - whoever calls looked
        assert self._announced is not None  # noqa: S101 - it was written before
        self._tries += 1
        self._sent_s = time.monotonic()
        self._transport.write(encode(self._announced))

    def _answered(self, ack: Ack) -> None:
        self.state = ack
        lost = ack.lost
        for index, reason in lost.items():
            self._sent[index].lost(reason)
        written = [each for index, each in enumerate(self._sent) if index not in lost] if lost else self._sent
        last, count = None, 0
        for receipt in written:  # those of one stream mostly follow each other
            if receipt is last:
                count += 1
                continue
            if last is not None:
                last.written(count)
            last, count = receipt, 1
        if last is not None:
            last.written(count)
        self._settled()

    def _settled(self) -> None:
        """The batch that was on the way needs no more thought."""
        self._let_go_sent()
        self._in_force.set()
        if self.buffered_bytes >= self._prompt_bytes or self._stopping:
            self._flush()
        elif self.buffered_bytes:  # what waits is counted and made into records once, when it goes
            self._gather()
        else:
            self._rest()

    def _rest(self) -> None:
        """Nothing waits; the next record begins a batch."""
        self._flush_is_due = False
        self.calm_below_bytes = 0
        self._emptied.set()

    # --- the recorder ---------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Start the recorder."""
        self._loop = asyncio.get_running_loop()
        await self._connect()

    def follow(self, setup: Setup) -> None:
        """Finish by this all that is not on its way to the recorder yet; ``in_force`` waits for what is."""
        if setup == self._setup:
            return
        self._setup = setup
        if self._transport is not None:
            self._transport.write(encode(setup))
            if self._sent:
                self._in_force.clear()

    async def in_force(self) -> None:
        """Wait until nothing will be written any more that is finished by an older setup than the newest."""
        await self._in_force.wait()

    def tick(self) -> None:
        """Called regularly: ends a recorder that does not answer, and gives memory back that is not needed."""
        self.before_batch()
        now_s = time.monotonic()
        if self._region is not None and now_s - self._rested_s >= _REST_EVERY_S:
            self._rested_s = now_s
            self._region.rest(is_in_use=bool(self._sent))
            self._rest_if_idle()
        if self._sent and self._transport is not None and now_s - self._sent_s > self._answer_timeout_s:
            _log.error("the recorder has not answered for %g s; it is started anew", self._answer_timeout_s)
            self._kill()

    def _rest_if_idle(self) -> None:
        was_idle, self._is_idle = self._is_idle, self._announced is self._rested_at and not self.buffered_bytes
        self._rested_at = self._announced
        if self._is_idle and not was_idle:
            self._when_idle()

    async def close(self, timeout_s: float) -> bool:
        """Hand over what is left and end the recorder; False when that took longer than ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        self._stopping = True
        self.before_batch()
        if (self._records or self._sent) and self._transport is None:
            await self._connect()  # the last try: there is no time for pauses between tries any more
        if (self._records or self._sent) and self._transport is not None:
            self._emptied.clear()
            self._flush()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), timeout_s)
        whole = not self._records and not self._sent
        self._lose_rest()
        if self._transport is not None:
            self._transport.close()
        process = self._process
        if process is not None:
            left_s = max(0.5, deadline_s - time.monotonic())
            try:
                await self._loop.run_in_executor(None, process.wait, left_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                whole = False
        if self._region is not None:
            self._region.close()
            self._region = None
        return whole

    def _lose_rest(self) -> None:
        for receipt in (*self._sent, *self._receipts):
            receipt.lost(REASON_RECORDER_FAILED)
        self._sent, self._records, self._receipts, self._sizes = [], [], [], []
        self.buffered_bytes = 0

    async def _connect(self) -> None:
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                await self._start(ours, theirs)
        except (OSError, MemoryError) as error:  # no process, descriptor or memory to be had now
            _log.error("the recorder cannot be started: %s", error or type(error).__name__)
            self._again_later(0.0)

    async def _start(self, ours: socket.socket, theirs: socket.socket) -> None:
        try:
            if self._region is None:
                self._region = BatchRegion()
            socket.send_fds(ours, [b"\0"], self._region.descriptors)
            self._process = self._start_recorder(theirs)
            theirs.close()
            self.restarts += 1
            await self._loop.create_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            raise

    def _again_later(self, lived_s: float) -> None:
        self._wait_s = next_wait_s(self._wait_s, lived_s)
        self._loop.call_later(self._wait_s, self._reconnect)

    def _reconnect(self) -> None:
        if not self._stopping:
            self._loop.create_task(self._connect())

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    # --- the socket -----------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # a base class of uvloop's own by duck typing only
        self._received = b""
        self._started_s = time.monotonic()
        self._transport.write(encode(self._setup))
        if self._sent:
            self._send()
        else:
            self._flush()

    def eof_received(self) -> None:
        """Part of asyncio.Protocol; the connection is closed at once."""

    def pause_writing(self) -> None:
        """Part of asyncio.Protocol; no more than one batch is ever on the way, so there is nothing to hold back."""

    def resume_writing(self) -> None:
        """Part of asyncio.Protocol."""

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        data = self._received + data
        while len(data) >= PREFIX.size:
            end = PREFIX.size + PREFIX.unpack_from(data)[0]
            if len(data) < end:
                break
            body, data = data[PREFIX.size : end], data[end:]
            # It does its work: were it to die after each batch, a short wait would still lose the least.
            self._wait_s = 0.0
            self._answered(decode_ack(body))
        self._received = data

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol; the recorder died, or is being ended."""
        self._transport = None
        self._in_force.set()  # what it was given and did not answer for is given to the next one, behind the newest
        self._keep_counts()
        if self._stopping:
            self._emptied.set()
            return
        process = self._process
        _log.error("the recorder ended%s; it is started anew", "" if process is None else f" (code {process.poll()})")
        if self._sent and self._tries >= _MAX_TRIES:
            for receipt in self._sent:
                receipt.lost(REASON_RECORDER_FAILED)
            self._let_go_sent()
        self._again_later(time.monotonic() - self._started_s)

    def _keep_counts(self) -> None:
        state = self.state
        self._write_errors, self._finishing_starts = self.write_errors, self.finishing_starts
        self._left_out += Counter(state.left_out)
        self.state = msgspec.structs.replace(state, write_errors=0, left_out={}, finishing_starts=0)

    def _let_go_sent(self) -> None:
        self.buffered_bytes -= self._sent_bytes
        self._sent, self._sent_bytes = [], 0
        if self._region is not None:
            self._region.answered()


def next_wait_s(last_s: float, lived_s: float) -> float:
    """The pause before a recorder is started anew. ``last_s``: the one before it; ``lived_s``: how long it lived.

    >>> next_wait_s(0.0, 0.1), next_wait_s(0.2, 0.1), next_wait_s(10.0, 0.1), next_wait_s(10.0, 3600.0)
    (0.2, 0.4, 10.0, 0.2)
    """
    if not last_s or lived_s >= _WELL_AFTER_S:
        return _FIRST_WAIT_S
    return min(2 * last_s, _LONGEST_WAIT_S)


def _first(sizes: list[int]) -> tuple[int, int]:
    """How many of the first records are one batch, and how large it is."""
    count, size = len(sizes), sum(sizes)
    if count <= _BATCH_RECORDS and size <= _BATCH_BYTES:
        return count, size
    count = size = 0
    for record_bytes in sizes[:_BATCH_RECORDS]:
        if count and size + record_bytes > _BATCH_BYTES:
            break
        count, size = count + 1, size + record_bytes
    return count, size


def _nothing() -> None:
    pass


def start_recorder_process(environ: Mapping[str, str]) -> StartRecorder:
    """Starts ``python -m logger_sidecar.recording.recorder`` with its socket as standard input."""

    def start(theirs: socket.socket) -> RecorderProcess:
        return subprocess.Popen(
            [sys.executable, "-m", "logger_sidecar.recording.recorder"], env=dict(environ), stdin=theirs.fileno()
        )

    return start
