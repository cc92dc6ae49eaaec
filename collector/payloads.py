"""Payload rows as Parquet, for reports and for tests on exact values.

One file per batch and model, below ``namespace=/model=/hour=``. Its name follows from the offsets it holds, so that a
replay writes the same file again; only files registered in the store count, and what a crash left unregistered is
swept away.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from collector.predictions import PredictionColumns
from collector.rows import MonitorRows
from collector.transaction import PayloadFile
from driftline.errors import UnavailableError
from driftline.monitors import Monitor

#: Columns that every file has besides the monitor's own; ``_`` keeps them apart from a model's columns.
META_COLUMNS = ("_request_id", "_row", "_time_s", "_version", "_variant", "_prediction", "_score", "_valid")
_ORPHAN_AGE_S = 3600.0


class PayloadWriter:
    """Writes below ``directory``, which is made when it is not there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, batch: MonitorRows, rows: PredictionColumns) -> list[PayloadFile]:
        """Write one file; raises UnavailableError when the disk does not take it."""
        if not len(rows):
            return []
        monitor = batch.monitor
        times = [arrival.event.time_s for arrival in batch.arrivals]
        hour = datetime.fromtimestamp(min(times), UTC).strftime("%Y-%m-%dT%H")
        path = f"namespace={monitor.namespace}/model={monitor.model}/hour={hour}/{_name(batch)}.parquet"
        file = PayloadFile(path, monitor.namespace, monitor.model, min(times), max(times), len(rows))
        target = self._directory / path
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(_table(batch, rows), temporary, compression="zstd")
            temporary.replace(target)
        except (OSError, pa.ArrowException) as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise UnavailableError("payload directory", f"cannot write '{path}': {error}") from error
        return [file]

    def sweep(self, registered: Iterable[PayloadFile], age_s: float = _ORPHAN_AGE_S) -> int:
        """Remove files that no commit registered and that are older than ``age_s``; how many."""
        kept = {file.path for file in registered}
        removed = 0
        for path in (*self._directory.rglob("*.parquet"), *self._directory.rglob("*.tmp")):
            relative = path.relative_to(self._directory).as_posix()
            if relative not in kept and time.time() - path.stat().st_mtime > age_s:
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def read_payloads(
    directory: Path, files: Sequence[PayloadFile], monitor: Monitor, since_s: float, until_s: float
) -> "pa.Table":
    """The payload rows of a monitor with event time in [since_s, until_s), from registered files that exist."""
    wanted = [
        str(directory / file.path)
        for file in files
        if (file.namespace, file.model) == (monitor.namespace, monitor.model)
        and file.last_event_s >= since_s
        and file.first_event_s < until_s
        and (directory / file.path).exists()
    ]
    schema = payload_schema(monitor)
    if not wanted:
        return schema.empty_table()
    time_s = ds.field("_time_s")
    table = ds.dataset(wanted, schema=schema, format="parquet").to_table(
        filter=(time_s >= since_s) & (time_s < until_s)
    )
    return table.sort_by([("_time_s", "ascending"), ("_request_id", "ascending"), ("_row", "ascending")])


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
    ]
    types = {"numeric": pa.float64(), "categorical": pa.string()}
    return pa.schema([*meta, *((column.name, types[column.type]) for column in monitor.columns)])


def _table(batch: MonitorRows, rows: PredictionColumns) -> "pa.Table":
    streams = [arrival.stream for arrival in batch.arrivals]
    owners = batch.owners.tolist()
    values: dict[str, Any] = {
        "_request_id": rows.request_id,
        "_row": rows.row,
        "_time_s": rows.time_s,
        "_version": [streams[owner].version for owner in owners],
        "_variant": [streams[owner].variant for owner in owners],
        "_prediction": rows.prediction,
        "_score": rows.score,
        "_valid": [bool(valid) for valid in rows.valid],
    }
    schema = payload_schema(batch.monitor)
    arrays = []
    for column in schema:
        source = values.get(column.name)
        if source is None:
            source = batch.columns.numeric.get(column.name, batch.columns.text.get(column.name))
        arrays.append(pa.nulls(len(rows), column.type) if source is None else pa.array(source, column.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _name(batch: MonitorRows) -> str:
    first, last = batch.arrivals[0].record, batch.arrivals[-1].record
    places = [(arrival.record.partition, arrival.record.offset) for arrival in batch.arrivals]
    digest = hashlib.sha256(repr(places).encode()).hexdigest()[:16]
    return f"{first.offset:020d}-{last.offset:020d}-{digest}"
