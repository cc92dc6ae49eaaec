"""Tables as people have them in a notebook, as the frames that rows are counted from.

>>> import pandas as pd, pyarrow as pa
>>> as_frame(pa.table({"age": [40, 41]}), "reference").columns.tolist()
['age']
>>> as_frame(pd.DataFrame([[1.0, 2.0]]), "reference").columns.tolist()
['0', '1']
"""

from pathlib import Path
from typing import Protocol, runtime_checkable

import pandas as pd
import pyarrow as pa

from detectors.counts.frames import load_frame
from driftline.errors import ReferenceDataError


@runtime_checkable
class ArrowTable(Protocol):
    """What hands over its columns as Arrow does: tables of pyarrow, frames of Polars, relations of DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule with the stream."""
        ...


#: A frame, a table, or a Parquet or CSV file.
Source = Path | str | pd.DataFrame | ArrowTable


def is_file(source: Source) -> bool:
    """Whether the rows lie in a file, to be read in pieces."""
    return isinstance(source, str | Path)


def as_frame(source: Source, what: str) -> pd.DataFrame:
    """The rows, each column with a text of its own as name; ``what`` they are, for messages.

    Raises ReferenceDataError where ``source`` is no table, or two columns have one name.
    """
    frame = load_frame(Path(source)) if isinstance(source, str | Path) else _frame(source, what)
    names = ["_".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in frame.columns]
    if names == list(frame.columns) and len(set(names)) == len(names):
        return frame
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ReferenceDataError(f"{what} has several columns of one name: {', '.join(twice)}")
    return frame.set_axis(names, axis=1)


def _frame(table: object, what: str) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    if isinstance(table, ArrowTable) and not isinstance(table, pd.Series):
        try:
            arrow = pa.table(table)
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise ReferenceDataError(f"{what} is a {_kind(table)} that is no table: {error}") from error
        frame: pd.DataFrame = arrow.to_pandas()
        return frame
    raise ReferenceDataError(
        f"{what} is a {_kind(table)}; a frame of pandas or Polars, a table of Arrow, or the path of a Parquet or CSV "
        "file is expected"
    )


def _kind(table: object) -> str:
    return f"{type(table).__module__.partition('.')[0]}.{type(table).__name__}".removeprefix("builtins.")
