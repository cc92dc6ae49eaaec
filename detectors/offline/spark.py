"""Rows beyond one machine: counted by Spark's executors, merged here. Extra ``driftline[spark]``.

Each executor counts the Arrow batches of its partitions into window states, as one process does with a file's pieces,
and sends these states: some hundred kilobytes, whatever the number of rows. Their sum is that of whole numbers, so that
the results are the same to the last digit. Parquet only, because Spark and pandas read a CSV's types differently.

A ranking's queries must be counted whole: Spark gathers the rows of each in one partition first, side by side.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from detectors.baselines.reference import Reference
from detectors.offline.files import OfflineWindows, Sampled, Span, whole_queries
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor
from driftline.results import StreamKey, WindowKey

try:
    from pyspark.errors import PySparkException
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.functions import expr
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

#: Done to each piece before it is counted, on the executors.
Prepare = Callable[[pd.DataFrame], pd.DataFrame]

#: Segment, start, end, rows, state, samples.
Told = tuple[str, float, float, int, bytes | None, bytes | None]
_NANOSECONDS = "spark.sql.legacy.parquet.nanosAsLong"
_FEWEST_NANOSECONDS = 10**16  # the spring of 1970; as many seconds are 300 million years
#: Column with the place of each row in the file.
ROW = "__driftline_row"
_SCHEMA = "segment string, start_s double, end_s double, rows long, state binary, samples binary"
_ARROW = pa.schema(
    [
        ("segment", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("rows", pa.int64()),
        ("state", pa.binary()),
        ("samples", pa.binary()),
    ]
)


def open_session(master: str | None = None) -> "SparkSession":
    """A session of this program's own Python; ``master`` as Spark spells it, the configured one when None."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("driftline analyze")
    if master is not None:
        builder = builder.master(master)
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "spark.sql.session.timeZone": "UTC",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def count_with_spark(
    session: "SparkSession", path: str, windows: OfflineWindows, prepare: Prepare, queries: Sequence[str] = ()
) -> None:
    """Count the Parquet rows at ``path`` (a file, a directory, an address that Spark can read) into ``windows``.

    ``queries``: of a ranking, the columns that may tell queries apart; the first that is there does. Raises
    ReferenceDataError with what Spark, or the first faulty piece, said.
    """
    counting = Counting(windows.monitor, windows.reference, windows.stream, windows.span, prepare)
    try:
        with _nanoseconds_as_numbers(session):
            rows = _with_times(_numbered(session.read.parquet(path)), windows.span.time_column)
            found = _gathered(rows, queries).mapInArrow(counting, _SCHEMA).collect()
    except PySparkException as error:
        raise ReferenceDataError(f"{path} cannot be counted with Spark: {_sentence(str(error))}") from error
    include(windows, (tuple(row) for row in found))


def include(windows: OfflineWindows, told: Iterable[Told]) -> None:
    """Add up what executors told, in any order."""
    for segment, start_s, end_s, rows, state, samples in told:
        windows.rows += rows
        if state is not None:
            windows.include(WindowKey(windows.stream, segment, start_s, end_s), bytes(state))
        if samples is not None:
            windows.include_samples((start_s, end_s), msgspec.msgpack.decode(bytes(samples), type=list[Sampled]))


@contextmanager
def _nanoseconds_as_numbers(session: "SparkSession") -> Iterator[None]:
    """Times in nanoseconds, as pandas writes them, are no type of Spark's: they are read as whole numbers."""
    before = session.conf.get(_NANOSECONDS, "false")
    session.conf.set(_NANOSECONDS, "true")
    try:
        yield
    finally:
        session.conf.set(_NANOSECONDS, before or "false")


def _with_times(rows: "DataFrame", column: str | None) -> "DataFrame":
    """With the column of times as times where it came as nanoseconds, which no number of seconds is as large as."""
    if column is None or dict(rows.dtypes).get(column) != "bigint":
        return rows
    quoted = f"`{column}`"
    first = rows.where(f"{quoted} is not null").select(column).head()
    if first is None or abs(first[0]) < _FEWEST_NANOSECONDS:
        return rows
    return rows.withColumn(column, expr(f"timestamp_micros({quoted} div 1000)"))


def _numbered(rows: "DataFrame") -> "DataFrame":
    """With the place of each row in its file, by which samples are named."""
    return rows.selectExpr("*", f"_metadata.row_index as {ROW}")


def _gathered(rows: "DataFrame", queries: Sequence[str]) -> "DataFrame":
    """With all rows of a query side by side; where no column tells them apart, counting says so."""
    known = next((name for name in queries if name in rows.columns), None)
    return rows if known is None else rows.repartition(rows[known]).sortWithinPartitions(known, ROW)


def _sentence(text: str) -> str:
    """The last line that a Python worker's traceback, or Spark itself, says something in."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    known = [line for line in lines if "ReferenceDataError" in line]
    return (
        known[-1].partition("ReferenceDataError:")[2].strip() if known else (lines[0] if lines else "no reason given")
    )


@dataclass(frozen=True, slots=True)
class Counting:
    """What an executor does with the Arrow batches of a partition; travels by pickling."""

    monitor: Monitor
    reference: Reference
    stream: StreamKey
    span: Span
    prepare: Prepare

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """One batch: the states of the partition's windows, and the samples of each."""
        windows = OfflineWindows(self.monitor, self.reference, self.stream, self.span)
        frames = (self.prepare(batch.to_pandas()) for batch in batches if batch.num_rows)
        for frame in whole_queries(frames, self.monitor):
            windows.add(frame.drop(columns=[ROW]), np.asarray(frame[ROW], dtype=np.int64))
        if windows.rows:
            yield self._told(windows)

    def _told(self, windows: OfflineWindows) -> pa.RecordBatch:
        told: list[Told] = [("", 0.0, 0.0, windows.rows, None, None)]
        for key, (state,) in windows.states().items():
            told.append((key.segment, key.start_s, key.end_s, 0, state, None))
        for (start_s, end_s), kept in windows.sampled().items():
            told.append(("", start_s, end_s, 0, None, msgspec.msgpack.encode(kept)))
        columns = zip(zip(*told, strict=True), _ARROW, strict=True)
        return pa.RecordBatch.from_arrays(
            [pa.array(column, type=field.type) for column, field in columns], schema=_ARROW
        )
