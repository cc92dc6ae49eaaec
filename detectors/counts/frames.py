"""Reference data from files and frames to columns, with every fault named by its column."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pandas.api import types
from pandas.errors import EmptyDataError

from detectors.counts.binning import category
from detectors.counts.counting import numbers
from detectors.counts.layout import Kind, column_kinds
from detectors.counts.vector_frames import vector_column, vector_fault
from driftline.columns import CodedTexts, ColumnBatch, JudgedBatch
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".gz")
_OTHER_MARKS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
#: Columns of a file that a message lists.
_LISTED = 12
#: Names less alike than this are no slip of the pen.
_ALIKE = 0.65
#: Why a column of a frame cannot be used, or None.
FaultOf = Callable[[pd.DataFrame, str, Kind], str | None]


def load_frame(path: Path) -> pd.DataFrame:
    """Read a Parquet or CSV file; raises ReferenceDataError naming the file and the trouble."""
    if not path.is_file():
        raise ReferenceDataError(f"file {path} {'is a directory' if path.is_dir() else 'does not exist'}")
    with reading(path):
        if path.suffix in PARQUET:
            distinct_names(pq.read_schema(path).names)
            return pd.read_parquet(path)
        if path.suffix in CSV:
            distinct_header(path)
            return separated(pd.read_csv(path))
    raise ReferenceDataError(f"file {path} is neither .parquet nor .csv")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong inside is a ReferenceDataError that names the file."""
    try:
        yield
    except EmptyDataError as error:
        raise ReferenceDataError(f"file {path} is empty") from error
    except (ValueError, OSError, ImportError) as error:
        raise ReferenceDataError(f"file {path} cannot be read: {error}") from error


def distinct_names(names: Iterable[object]) -> None:
    """Raises ValueError naming the columns whose name is there twice: nobody could tell which of them is meant."""
    twice = [repr(str(name)) for name, times in Counter(names).items() if times > 1]
    if twice:
        more = f" and {len(twice) - _LISTED} more" if len(twice) > _LISTED else ""
        raise ValueError(f"several of its columns have one name: {', '.join(twice[:_LISTED])}{more}")


def distinct_header(path: Path) -> None:
    """:func:`distinct_names` of a CSV file; pandas calls the second ``age`` ``age.1``. Columns may have no name."""
    first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    distinct_names(name for name in first.iloc[0] if name)


def separated(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a CSV file as they are; raises ValueError where something else than a comma separates its columns."""
    only = str(frame.columns[0]) if len(frame.columns) == 1 else ""
    mark = next((mark for mark in _OTHER_MARKS if mark in only), None)
    if mark is not None:
        raise ValueError(f"its first line is '{only}', separated by {_OTHER_MARKS[mark]}; commas are expected")
    return frame


def reference_rows(frame: pd.DataFrame, monitor: Monitor) -> ColumnBatch:
    """The frame's rows as a monitor's columns; raises ReferenceDataError naming every faulty column."""
    if not len(frame):
        raise ReferenceDataError(f"the reference of {monitor.name} has no rows")
    return _rows(frame, monitor, f"the reference of {monitor.name}", _column_fault, needed=True)


def window_rows(frame: pd.DataFrame, monitor: Monitor) -> ColumnBatch:
    """As :func:`reference_rows`, of rows to be compared with it: there may be none, and columns may have lost all
    their values, which is for the detectors to say.
    """
    return _rows(frame, monitor, f"the rows for {monitor.name}", _unreadable, needed=False)


def _rows(frame: pd.DataFrame, monitor: Monitor, what: str, fault_of: FaultOf, *, needed: bool) -> ColumnBatch:
    watched = dict(monitor.watched())
    made = {vector.distance for vector in monitor.vectors}
    numeric: dict[str, NDArray[np.float64]] = {}
    coded: dict[str, CodedTexts] = {}
    faults: list[str] = []
    for name, kind in (column for column in column_kinds(monitor) if column[0] not in made):
        fault = fault_of(frame, name, kind) if name in watched or name in monitor.segments else None
        if fault is not None:
            faults.append(fault)
        elif name in frame.columns and kind == "numeric":
            numeric[name] = as_numbers(frame[name])
        elif name in frame.columns:
            coded[name] = _texts(frame[name])
    vector_faults = (vector_fault(frame, spec, needed=needed) for spec in monitor.vectors)
    faults += [fault for fault in vector_faults if fault is not None]
    if faults:
        lacks = any(fault.endswith("is missing") for fault in faults)
        raise ReferenceDataError(f"{what}: {'; '.join([*faults, *([_there_are(frame)] if lacks else [])])}")
    vectors = {spec.name: vector_column(frame, spec) for spec in monitor.vectors}
    text = {name: values.objects() for name, values in coded.items()}
    return ColumnBatch(len(frame), numeric, text, coded, vectors)


def _column_fault(frame: pd.DataFrame, name: str, kind: Kind) -> str | None:
    """Why a column cannot be a reference."""
    # An empty text is a missing value, too. Most columns end the search with their first value.
    if name in frame.columns and all(isinstance(value, str) and not value for value in frame[name].dropna()):
        return f"column '{name}' has no values, all {len(frame)} are missing"
    fault = _unreadable(frame, name, kind)
    if fault is None and kind == "numeric" and not np.isfinite(as_numbers(frame[name])).any():
        return f"column '{name}' has no finite value"
    return fault


def _unreadable(frame: pd.DataFrame, name: str, kind: Kind) -> str | None:
    """Why a column is not one of its kind."""
    if name not in frame.columns:
        near = difflib.get_close_matches(name, [str(column) for column in frame.columns], n=1, cutoff=_ALIKE)
        return f"column '{name}' is missing" + (f"; did you mean '{near[0]}'?" if near else "")
    series = frame[name]
    if kind == "categorical":
        return None
    if types.is_datetime64_any_dtype(series) or types.is_timedelta64_dtype(series):
        return f"column '{name}' holds times ({series.dtype}), not numbers"
    if types.is_numeric_dtype(series):
        return None
    numeric = pd.to_numeric(series, errors="coerce")
    wrong = series[numeric.isna() & series.notna()]
    if len(wrong):
        return f"column '{name}' holds {wrong.iloc[0]!r} in row {wrong.index[0]}, which is not a number"
    return None


def _there_are(frame: pd.DataFrame) -> str:
    listed = [str(column) for column in frame.columns[:_LISTED]]
    more = len(frame.columns) - len(listed)
    return f"there are {', '.join(listed)}{f' and {more} more' if more else ''}"


def as_numbers(series: pd.Series) -> NDArray[np.float64]:
    """The values as float64, shape (rows,); NaN where they are missing. Decimals are rounded to it."""
    values = series if types.is_numeric_dtype(series) else pd.to_numeric(series, errors="coerce")
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _texts(series: pd.Series) -> CodedTexts:
    codes, unique = pd.factorize(series)
    names: dict[str | None, int] = {None: -1}
    numbers = [names.setdefault(category(value), len(names) - 1) for value in unique]
    # What is missing has the code -1, which is the last number.
    known = np.array([*numbers, -1], dtype=np.int32)
    return CodedTexts([name for name in names if name is not None], known[codes])


def reference_labels(frame: pd.DataFrame, rows: ColumnBatch, monitor: Monitor) -> JudgedBatch | None:
    """Every row's prediction beside its label, weight 0 where the label is missing; None where there is
    no label or no prediction.

    Of a ranking all candidates count, for their queries' sake, and those without a label have the label NaN.
    Raises ReferenceDataError where a reference's label cannot be one.
    """
    label = None if monitor.reference is None else monitor.reference.label
    if label is None or not rows.names().issuperset(name for name, _ in monitor.outputs()):
        return None
    fault = _column_fault(frame, label, _label_kind(monitor))
    if fault is not None:
        raise ReferenceDataError(f"the reference of {monitor.name}: {fault} (the label)")
    return _judged(frame, rows, monitor, label)


def judged_rows(frame: pd.DataFrame, rows: ColumnBatch, monitor: Monitor) -> JudgedBatch | None:
    """As :func:`reference_labels`, of rows to be compared: none or all of which may have a label."""
    label = None if monitor.reference is None else monitor.reference.label
    if label is None or label not in frame.columns or monitor.prediction.column not in rows.names():
        return None
    fault = _unreadable(frame, label, _label_kind(monitor))
    if fault is not None:
        raise ReferenceDataError(f"the rows for {monitor.name}: {fault} (the label)")
    return _judged(frame, rows, monitor, label)


def _label_kind(monitor: Monitor) -> Kind:
    return "numeric" if monitor.predicts_numbers else "categorical"


def _judged(frame: pd.DataFrame, rows: ColumnBatch, monitor: Monitor, label: str) -> JudgedBatch:
    if monitor.task == "ranking":
        return _judged_queries(frame, rows, monitor, label)
    score = np.full(rows.rows, np.nan)
    if monitor.prediction.score is not None:
        score = numbers(rows, monitor.prediction.score)
    known = frame[label].notna().to_numpy().astype(np.int64)
    if _label_kind(monitor) == "numeric":
        truth = as_numbers(frame[label])
        return JudgedBatch(numbers(rows, monitor.prediction.column), score, truth, known)
    return JudgedBatch(rows.text[monitor.prediction.column], score, _texts(frame[label]).objects(), known)


def _judged_queries(frame: pd.DataFrame, rows: ColumnBatch, monitor: Monitor, label: str) -> JudgedBatch:
    query, _ = pd.factorize(query_column(frame, monitor))
    said, none = numbers(rows, monitor.prediction.column), np.full(rows.rows, np.nan)
    return JudgedBatch(said, none, as_numbers(frame[label]), np.ones(rows.rows, dtype=np.int64), query.astype(np.int64))


def query_column(frame: pd.DataFrame, monitor: Monitor) -> pd.Series:
    """What tells queries of a ranking apart; raises ReferenceDataError where it is missing or incomplete."""
    name = monitor.ranking.query
    if name not in frame.columns:
        fault = f"column '{name}' is missing, which tells queries apart (ranking.query)"
    elif frame[name].isna().any():
        fault = f"column '{name}' tells queries apart, and row {frame.index[frame[name].isna()][0]} has none"
    else:
        return frame[name]
    raise ReferenceDataError(f"the rows for {monitor.name}: {fault}")
