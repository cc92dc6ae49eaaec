"""Payload rows as Parquet, for reports and for tests on exact values.

A batch writes one file per model and hour of event time, below ``namespace=/model=/hour=``; rolling
(``collector.keeping.rolling``) makes few large files of the many small ones. A file's name follows from the offsets it
holds, so that a replay writes the same file again; only files registered in the store count, and what a crash left
unregistered is swept away.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from collector.batches.payload_places import open_file_system
from collector.batches.rows import MonitorRows
from collector.store.predictions import PredictionColumns
from collector.store.transaction import PayloadFile
from driftline.columns import VectorColumn
from driftline.errors import SettingsError, UnavailableError
from driftline.monitors import Monitor

#: Columns that every file has besides the monitor's own; ``_`` keeps them apart from a model's columns.
META_COLUMNS = (
    "_request_id",
    "_row",
    "_time_s",
    "_version",
    "_variant",
    "_prediction",
    "_score",
    "_valid",
    "_subject",
)
HOUR_S = 3600.0
_ORPHAN_AGE_S = 3600.0
#: What must not be told of an address: ``s3://KEY:SECRET@BUCKET``.
_PASSWORD = re.compile(r"(://[^/@:\s]*):[^@\s]*@")


class PayloadFiles:
    """Files below a directory, or below an address of an object store (``collector.batches.payload_places``).

    Nobody sees half of a file: a directory gets it under another name first, an object store when it is complete.
    """

    def __init__(self, root: Path | str) -> None:
        self._local = root if isinstance(root, Path) else None
        try:
            system, path = open_file_system(root)
        except (pa.ArrowException, OSError, ValueError, ImportError) as error:
            fault = _PASSWORD.sub(r"\1:***@", f"'{root}' is no place for payload files: {error}")
            raise SettingsError("payloads", [fault]) from None  # whose words have the address, too
        self._files: Any = fs.SubTreeFileSystem(path, system)

    def write(self, path: str, table: "pa.Table") -> None:
        """Put a file there, over what stood under this name; raises UnavailableError when that fails."""
        target = path if self._local is None else f"{path}.{os.getpid()}.tmp"
        try:
            if self._local is not None:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            pq.write_table(table, target, filesystem=self._files, compression="zstd")
            if self._local is not None:
                (self._local / target).replace(self._local / path)
        except (OSError, pa.ArrowException) as error:
            self.remove([target])
            raise UnavailableError("payload directory", f"cannot write '{path}': {error}") from error

    def read(self, path: str) -> "pa.Table | None":
        """A file's rows; None when it is not there. Raises UnavailableError."""
        try:
            with self._files.open_input_file(path) as file:
                return pq.read_table(file)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            raise UnavailableError("payload directory", f"cannot read '{path}': {error}") from error

    def values(self, path: str) -> int:
        """How many values a file has, each number of a vector one; 0 when it is not there or cannot be read."""
        try:
            with self._files.open_input_file(path) as file:
                metadata = pq.ParquetFile(file).metadata
        except (OSError, pa.ArrowException):
            return 0
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        return sum(group.column(place).num_values for group in groups for place in range(metadata.num_columns))

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files; what is not there, or cannot be removed now, is left to the sweep."""
        for path in paths:
            try:
                self._files.delete_file(path)
            except (OSError, pa.ArrowException):
                continue

    def sweep(self, registered: Iterable[PayloadFile], age_s: float = _ORPHAN_AGE_S) -> int:
        """Remove files that no commit registered and that are older than ``age_s``; how many."""
        kept = {file.path for file in registered}
        try:
            found = self._files.get_file_info(fs.FileSelector("", recursive=True, allow_not_found=True))
        except (OSError, pa.ArrowException) as error:
            raise UnavailableError("payload directory", f"cannot be listed: {error}") from error
        orphans = [
            each.path
            for each in found
            if each.type == fs.FileType.File
            and each.path.endswith((".parquet", ".tmp"))
            and each.path not in kept
            and time.time() - each.mtime.timestamp() > age_s
        ]
        self.remove(orphans)
        return len(orphans)


class PayloadWriter:
    """Writes a batch's rows below ``root``, which is made when it is not there."""

    def __init__(self, root: Path | str) -> None:
        self.files = PayloadFiles(root)

    def write(self, batch: MonitorRows, rows: PredictionColumns) -> list[PayloadFile]:
        """Write a file per hour of event time; raises UnavailableError when they cannot be written."""
        if not len(rows):
            return []
        monitor = batch.monitor
        table = _table(batch, rows)
        times = np.asarray(rows.time_s, dtype=np.float64)
        hours = np.floor(times / HOUR_S)
        written = []
        for hour in np.unique(hours).tolist():
            here = np.flatnonzero(hours == hour)
            path = f"{hour_folder(monitor.namespace, monitor.model, hour * HOUR_S)}/{_name(batch)}.parquet"
            first_s, last_s = float(times[here].min()), float(times[here].max())
            self.files.write(path, table if len(here) == len(rows) else table.take(here))
            written.append(PayloadFile(path, monitor.namespace, monitor.model, first_s, last_s, len(here)))
        return written

    def sweep(self, registered: Iterable[PayloadFile], age_s: float = _ORPHAN_AGE_S) -> int:
        """Remove files that no commit registered and that are older than ``age_s``; how many."""
        return self.files.sweep(registered, age_s)


def hour_folder(namespace: str, model: str, time_s: float) -> str:
    """Where the payload rows of an hour are.

    >>> hour_folder("default", "flights", 1_700_000_000.0)
    'namespace=default/model=flights/hour=2023-11-14T22'
    """
    hour = datetime.fromtimestamp(time_s // HOUR_S * HOUR_S, UTC).strftime("%Y-%m-%dT%H")
    return f"namespace={namespace}/model={model}/hour={hour}"


def payload_schema(monitor: Monitor) -> "pa.Schema":
    """The columns of a monitor's payload files."""
    meta = [
        ("_request_id", pa.string()),
        ("_row", pa.int32()),
        ("_time_s", pa.float64()),
        ("_version", pa.string()),
        ("_variant", pa.string()),
        ("_prediction", pa.string()),
        ("_score", pa.float64()),
        ("_valid", pa.bool_()),
        ("_subject", pa.string()),
    ]
    types = {"numeric": pa.float64(), "categorical": pa.string()}
    columns = [(column.name, types[column.type]) for column in monitor.columns]
    vectors = [(vector.name, pa.list_(pa.float32())) for vector in monitor.vectors if vector.kept]
    return pa.schema([*meta, *columns, *vectors])


def _table(batch: MonitorRows, rows: PredictionColumns) -> "pa.Table":
    streams, codes = batch.arrivals.streams()
    rows_streams = codes[batch.owners].tolist()
    values: dict[str, Any] = {
        "_request_id": rows.request_id,
        "_row": rows.row,
        "_time_s": rows.time_s,
        "_version": [streams[code].version for code in rows_streams],
        "_variant": [streams[code].variant for code in rows_streams],
        "_prediction": rows.prediction,
        "_score": rows.score,
        "_valid": [bool(valid) for valid in rows.valid],
        "_subject": rows.subject or [None] * len(rows),
    }
    schema = payload_schema(batch.monitor)
    values |= {**batch.columns.text, **batch.columns.numeric}
    values |= {name: _lists(vectors) for name, vectors in batch.columns.vectors.items()}
    arrays = [
        pa.array(values[column.name], column.type) if column.name in values else pa.nulls(len(rows), column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _lists(vectors: VectorColumn) -> "pa.Array":
    """A list of float32 for each row; null where a row has no vector, or lacks some of its numbers."""
    missing = np.isnan(vectors).any(axis=1)
    with np.errstate(over="ignore"):
        numbers = vectors[~missing].astype(np.float32).ravel()
    ends = np.cumsum(np.where(missing, 0, vectors.shape[1]))
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers), mask=pa.array(missing))


def _name(batch: MonitorRows) -> str:
    places = batch.arrivals.places()
    first, last = places[0][1], places[-1][1]
    digest = hashlib.sha256(repr(list(places)).encode()).hexdigest()[:16]
    return f"{first:020d}-{last:020d}-{digest}"
