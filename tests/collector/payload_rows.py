"""The rows of the collector's payload files, read back as a table."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from collector.batches.payloads import PayloadFiles, payload_schema
from collector.store.transaction import PayloadFile
from driftline.monitors import Monitor


def read_payloads(
    root: Path | str, files: Sequence[PayloadFile], monitor: Monitor, since_s: float, until_s: float
) -> pa.Table:
    """The payload rows of a monitor with event time in [since_s, until_s), from registered files that exist."""
    place = PayloadFiles(root)
    schema = payload_schema(monitor)
    tables = [schema.empty_table()]
    for file in files:
        wanted = (file.namespace, file.model) == (monitor.namespace, monitor.model)
        if wanted and file.last_event_s >= since_s and file.first_event_s < until_s:
            table = place.read(file.path)
            if table is not None:
                time_s = table["_time_s"].to_numpy()
                tables.append(_conformed(table.filter((time_s >= since_s) & (time_s < until_s)), schema))
    found = pa.concat_tables(tables)
    return found.sort_by([("_time_s", "ascending"), ("_request_id", "ascending"), ("_row", "ascending")])


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of ``schema``, in its order; those that an older file lacks are missing in every row."""
    arrays = [
        table[column.name].cast(column.type) if column.name in table.column_names else pa.nulls(len(table), column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
