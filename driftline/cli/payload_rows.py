"""Rows of the collector's payload files, named as a monitor names them, so that they are read like any other file."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from collector.batches.payloads import META_COLUMNS, PayloadFiles
from collector.store.store import Store
from driftline.monitors import Monitor

#: The column of times in payload files, in seconds, and the one that tells requests apart.
TIME, QUERY = "_time_s", "_request_id"


def payload_frames(
    store: Store, root: Path | str, monitor: Monitor, since_s: float, until_s: float
) -> Iterator[pd.DataFrame]:
    """The rows of a monitor's registered files that touch [since_s, until_s), file by file, the oldest first."""
    files = PayloadFiles(root)
    for file in store.payload_files(monitor.namespace, monitor.model):
        if file.last_event_s >= since_s and file.first_event_s < until_s:
            table = files.read(file.path)
            if table is not None:
                yield as_monitored(table.to_pandas(), monitor)


def as_monitored(frame: pd.DataFrame, monitor: Monitor) -> pd.DataFrame:
    """Rows of a payload file with the names that the monitor has for answers; of any other frame, as they are.

    >>> columns = [{"name": "x", "type": "numeric"}]
    >>> monitor = Monitor.model_validate({"model": "m", "task": "binary", "columns": columns})
    >>> row = dict.fromkeys(META_COLUMNS, "1") | {"x": 2.0}
    >>> as_monitored(pd.DataFrame([row]), monitor)["prediction"].tolist()
    ['1']
    """
    if not set(META_COLUMNS) <= set(frame.columns):
        return frame
    named = {"_prediction": monitor.prediction.column}
    if monitor.prediction.score is not None:
        named["_score"] = monitor.prediction.score
    if monitor.task == "ranking":
        named[QUERY] = monitor.ranking.query
    return frame.rename(columns=named)
