"""A stream of labels, one JSON object a line, of any length: taken in batches, in bounded memory.

Lines are numbered from 1, empty ones included, so that what is told of a line can be found in the file.
"""

import codecs
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.concurrency import run_in_threadpool

from collector.labels.desk import LabelReceipt
from collector.labels.from_json import ReadLabel, label_from_json
from driftline.events import Label

LONGEST_LINE = 64 * 1024
_BATCH_LINES = 5_000
_BATCH_BYTES = 2 * 1024 * 1024

Submit = Callable[[Sequence[Label], int], LabelReceipt]


@dataclass(frozen=True, slots=True)
class LineFault:
    """Why a line was refused; ``index``: its place among the labels, from 0. ``label`` None: it cannot be read."""

    line: int
    index: int
    label: Label | None
    faults: tuple[str, ...]


@dataclass(slots=True)
class LineProgress:
    """How far a stream is joined: everything up to ``line``. ``faults`` are those of the newest batch."""

    line: int = 0
    received: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    faults: tuple[LineFault, ...] = ()


class LineCutter:
    """Cuts chunks into numbered lines, of at most ``LONGEST_LINE`` bytes each."""

    def __init__(self) -> None:
        self._left = bytearray()
        self._number = 0
        self._skipping = False

    def cut(self, chunk: bytes, *, last: bool = False) -> list[tuple[int, bytes | None]]:
        """The lines that end in ``chunk``; None stands for one that is too long."""
        self._left += chunk
        parts = bytes(self._left).split(b"\n")
        self._left = bytearray() if last else bytearray(parts[-1])
        lines = [self._numbered(part) for part in (parts if last else parts[:-1])]
        if len(self._left) > LONGEST_LINE:  # nothing of a line that is too long need be kept
            self._skipping = True
            self._left.clear()
        return lines

    def _numbered(self, part: bytes) -> tuple[int, bytes | None]:
        self._number += 1
        if self._number == 1:
            part = part.removeprefix(codecs.BOM_UTF8)
        too_long, self._skipping = self._skipping or len(part) > LONGEST_LINE, False
        return self._number, None if too_long else part


async def take_lines(chunks: AsyncIterator[bytes], submit: Submit) -> AsyncIterator[LineProgress]:
    """Join the labels of a stream batch by batch, telling how far it is after each, at least once.

    Raises TransientError when a batch could not be stored; what was told before is stored.
    """
    progress = LineProgress()
    cutter = LineCutter()
    batch: list[tuple[int, bytes | None]] = []
    size_bytes = 0
    async for chunk in chunks:
        for line in cutter.cut(chunk):
            batch.append(line)
            size_bytes += len(line[1] or b"")
            if len(batch) >= _BATCH_LINES or size_bytes >= _BATCH_BYTES:
                yield await run_in_threadpool(_take, batch, submit, progress)
                batch, size_bytes = [], 0
    batch.extend(cutter.cut(b"", last=True))
    yield await run_in_threadpool(_take, batch, submit, progress)


def _take(lines: Sequence[tuple[int, bytes | None]], submit: Submit, progress: LineProgress) -> LineProgress:
    wanted = [(number, line) for number, line in lines if line is None or line.strip()]
    read = [_read(line) for _, line in wanted]
    labels = [part.label for part in read if part.label is not None]
    faults = []
    if wanted:
        receipt = submit(labels, len(read) - len(labels))
        progress.outcomes.update(receipt.outcomes)
        told: dict[int, Any] = {fault.index: fault for fault in receipt.faults}
        usable = 0
        for place, ((number, _), part) in enumerate(zip(wanted, read, strict=True)):
            index = progress.received + place
            if part.label is None:
                faults.append(LineFault(number, index, None, (part.fault or "",)))
                continue
            if usable in told:
                faults.append(LineFault(number, index, part.label, told[usable].faults))
            usable += 1
        progress.received += len(wanted)
    progress.refused += len(faults)
    progress.faults = tuple(faults)
    progress.line = max(progress.line, lines[-1][0] if lines else 0)
    return progress


def _read(line: bytes | None) -> ReadLabel:
    if line is None:
        return ReadLabel(None, f"the line has more than {LONGEST_LINE} bytes")
    return label_from_json(line)
