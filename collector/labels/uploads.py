"""Uploaded files of labels: kept on disk, joined in the background, batch by batch, however often that is broken off.

How far a file is joined is written in the transaction that joins its labels, so that a restart goes on where it was
and no row counts twice. The file lies beside the collector that received it; when it is joined, it goes.
"""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from collector.labels.desk import LabelDesk, LabelReceipt
from collector.labels.from_files import FileBatch, FileRow, read_batches, rows_in
from collector.labels.from_json import UploadError
from collector.operating.tracing import NoTracing, Tracing
from collector.store.store import Store
from collector.store.transaction import Transaction
from collector.store.uploads import (
    CANCELLED,
    DONE,
    FAILED,
    ColumnNames,
    FileFault,
    Upload,
    add_upload,
    find_upload,
    first_faults,
    merged_outcomes,
    move_upload,
    newest_uploads,
    waiting_upload_count,
    waiting_uploads,
)
from driftline.access import Grant
from driftline.clock import Clock
from driftline.errors import PermanentError, TransientError, UnavailableError
from driftline.events import new_event_id

_log = logging.getLogger(__name__)
_BATCH_ROWS = 5_000
_LONGEST_PAUSE_S = 10.0
_LOOK_EVERY_S = 1.0
_SUFFIX = ".labels"
_BROKEN_OFF_S = 3600.0


class TooManyUploadsError(TransientError):
    """As many files wait as may."""


class UploadDesk:
    """Receives files and tells how far they are; safe to use from several threads."""

    def __init__(self, store: Store, directory: Path, clock: Clock, maximum_waiting: int) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._maximum_waiting = maximum_waiting
        #: Set when there is something to do.
        self.arrived = threading.Event()

    def new_path(self) -> tuple[str, Path]:
        """An id, and where its file is to be written; raises TooManyUploadsError, UnavailableError."""
        if self._store.read(waiting_upload_count) >= self._maximum_waiting:
            raise TooManyUploadsError(f"{self._maximum_waiting} uploads wait to be joined; send this one later")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError("upload directory", str(error)) from error
        upload_id = new_event_id(round(self._clock() * 1e9))
        return upload_id, self.path(upload_id)

    def path(self, upload_id: str) -> Path:
        """Where the file of an upload lies."""
        return self._directory / f"{upload_id}{_SUFFIX}"

    def receive(self, upload_id: str, name: str, columns: ColumnNames) -> Upload:
        """The file is written: look at its beginning, and let it be joined. Raises UploadError, and drops the file."""
        path = self.path(upload_id)
        try:
            rows_total = rows_in(path)
            next(iter(read_batches(path, columns, 0.0, 0, 1)), None)
        except UploadError:
            path.unlink()
            raise
        upload = Upload(
            id=upload_id,
            state="waiting",
            name=name[:200],
            size_bytes=path.stat().st_size,
            columns=columns,
            received_at_s=self._clock(),
            rows_total=rows_total,
        )
        with self._store.transaction() as transaction:
            add_upload(transaction, upload)
        self.arrived.set()
        return upload

    def find(self, upload_id: str) -> Upload | None:
        """How far one upload is."""
        return self._store.read(lambda connection: find_upload(connection, upload_id))

    def newest(self, limit: int) -> Sequence[Upload]:
        """The newest uploads first."""
        return self._store.read(lambda connection: newest_uploads(connection, limit))

    def tidy(self) -> None:
        """Drop files that nobody will join: of uploads that have ended, or that broke off an hour ago."""
        for path in self._directory.glob(f"*{_SUFFIX}"):
            upload = self.find(path.name.removesuffix(_SUFFIX))
            broken_off = upload is None and time.time() - path.stat().st_mtime > _BROKEN_OFF_S
            if broken_off or (upload is not None and upload.state != "waiting"):
                path.unlink(missing_ok=True)

    def cancel(self, upload_id: str) -> Upload | None:
        """Join no more of it; what is joined stays. Raises TransientError when it moves on at this moment."""
        upload = self.find(upload_id)
        if upload is None or upload.state != "waiting":
            return upload
        cancelled = msgspec.structs.replace(upload, state=CANCELLED, finished_at_s=self._clock())
        with self._store.transaction() as transaction:
            move_upload(transaction, upload, cancelled)
        self.path(upload_id).unlink(missing_ok=True)
        return cancelled


class UploadWorker:
    """Joins waiting files, one after the other, in a thread of its own."""

    def __init__(
        self,
        store: Store,
        labels: LabelDesk,
        uploads: UploadDesk,
        clock: Clock,
        *,
        batch_rows: int = _BATCH_ROWS,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing or NoTracing()
        self._store = store
        self._labels = labels
        self._uploads = uploads
        self._clock = clock
        self._batch_rows = batch_rows
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, args=(self._stop,), name="uploads", daemon=True)

    def start(self) -> None:
        """Work in a thread until :meth:`close`."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Finish the batch in hand, within ``timeout_s``."""
        self._stop.set()
        self._uploads.arrived.set()
        self._thread.join(timeout_s)

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; what a part that is away refuses is tried again, ever less often."""
        pause_s = _LOOK_EVERY_S
        tidy = False
        while not stop.is_set():
            try:
                if not tidy:
                    self._uploads.tidy()
                    tidy = True
                found = self.run_once(stop)
                pause_s = _LOOK_EVERY_S
            except TransientError as error:
                _log.warning("uploads wait: %s", error)
                found = False
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            if not found:
                self._uploads.arrived.wait(pause_s)
                self._uploads.arrived.clear()

    def run_once(self, stop: threading.Event) -> bool:
        """Join the oldest file that lies here, to its end or until ``stop``; whether there was one."""
        for upload in self._store.read(waiting_uploads):
            path = self._uploads.path(upload.id)
            if path.exists():
                with self._tracing.span("upload", {"bytes": upload.size_bytes}):
                    self._join(upload, path, stop)
                return True
        return False

    def _join(self, upload: Upload, path: Path, stop: threading.Event) -> None:
        try:
            batches = read_batches(path, upload.columns, upload.received_at_s, upload.rows_read, self._batch_rows)
            for batch in batches:
                if stop.is_set():
                    return
                upload = self._take(upload, batch)
            end = msgspec.structs.replace(upload, state=DONE, bytes_read=upload.size_bytes)
        except PermanentError as error:
            end = msgspec.structs.replace(upload, state=FAILED, error=str(error))
        with self._store.transaction() as transaction:
            move_upload(transaction, upload, msgspec.structs.replace(end, finished_at_s=self._clock()))
        path.unlink(missing_ok=True)

    def _take(self, upload: Upload, batch: FileBatch) -> Upload:
        if not batch.rows:
            return upload
        moved: list[Upload] = []

        def note(transaction: Transaction, receipt: LabelReceipt) -> None:
            after = msgspec.structs.replace(
                upload,
                rows_read=upload.rows_read + len(batch.rows),
                bytes_read=batch.bytes_read,
                outcomes=merged_outcomes(upload, receipt.outcomes),
                faults=first_faults(upload, _faults(batch.rows, receipt, upload.columns)),
            )
            move_upload(transaction, upload, after)
            moved.append(after)

        labels = [row.label for row in batch.rows if row.label is not None]
        sender = Grant(f"of upload {upload.id}", frozenset(), upload.columns.allowed)
        self._labels.submit(labels, len(batch.rows) - len(labels), beside=note, allowed=sender.allows_model)
        return moved[-1]


def _faults(rows: Sequence[FileRow], receipt: LabelReceipt, columns: ColumnNames) -> list[FileFault]:
    """Faults of reading and of joining, in the order of the lines."""
    told = {fault.index: fault for fault in receipt.faults}
    faults = []
    usable = 0
    for row in rows:
        if row.fault is not None:
            faults.append(row.fault)
        if row.label is None:
            continue
        if usable in told:
            for reason in told[usable].faults:
                field = reason.partition(" ")[0]
                value = getattr(row.label, field, None)
                column = columns.column_of(field) if value is not None else ""
                faults.append(FileFault(row.line, column, "" if value is None else str(value)[:100], reason))
        usable += 1
    return faults
