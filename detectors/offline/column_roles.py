"""What each column of training data seems to be, told by its values and its name, with the reason in words.

Nothing here is certain, so every guess says what it rests on: a person who reads it knows better at once.

>>> import pandas as pd
>>> found = column_role("order_id", pd.Series([f"A-{number}" for number in range(200)]))
>>> found.role, found.why
('identifier', '200 different texts in 200 rows: each names its row')
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from detectors.counts.frames import as_numbers
from detectors.counts.reference_bins import MAXIMUM_CATEGORIES
from detectors.counts.vector_frames import numbers_of
from detectors.statistics.reasons import percent
from driftline.monitors import LONGEST_VECTOR

#: ``numeric``, ``boolean``, ``category``, ``constant`` (one value): can be watched. ``calendar``: a part of a date, in
#: every window another. ``entity``: whom or what a row is about. ``identifier``: the row itself. ``text``: words. The
#: ``vector``: as many numbers in each row, watched as a whole. The others have nothing that could be compared:
#: ``time``, ``empty``, ``nested`` (other lists, mappings), and ``nameless``.
Role = Literal[
    "numeric", "boolean", "category", "constant", "calendar", "entity", "identifier", "time", "text", "empty", "nested",
    "vector", "nameless",
]  # fmt: skip

#: Whole numbers or texts that differ this often are not categories by their name alone.
_FEW = 50
#: What pandas calls values of columns of objects that are numbers all the same.
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")
#: Values looked at where looking at all of them says no more.
_SAMPLE = 2000
_VECTORS = 200
#: Vectors of which fewer have the same length are lists.
_ALIKE = 0.9
_FEWEST_WORDS = 3.0
_MOST = 0.5
_IDENTITY = re.compile(r"(^|_)(id|ids|key|uuid|guid|code|zip|postcode|plz|iban|email|phone|ssn)$")
_SUBJECT = re.compile(r"(^|_)(user|customer|client|person|patient|member|account|subject|email|phone|driver|employee)")
_TIME = re.compile(r"(^|_)(time|timestamp|ts|date|datetime|at|epoch|when|day_of|created|updated)($|_)")
_CALENDAR = {
    "year": (1900, 2200), "quarter": (1, 4), "month": (1, 12), "week": (0, 53), "weekofyear": (0, 53), "day": (1, 31),
    "dayofweek": (0, 7), "weekday": (0, 7), "dow": (0, 7), "dayofyear": (0, 366),
}  # fmt: skip
_CLOCK = {"hour": (0, 23), "minute": (0, 59), "second": (0, 59)}
_TIME_TEXT = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}( .*)?")
#: Seconds since 1970 of the years 1990 to 2100, and of their milliseconds, microseconds and nanoseconds.
_EPOCH = (631_152_000.0, 4_102_444_800.0)
_EPOCH_UNITS = (1.0, 1e3, 1e6, 1e9)
#: Whole numbers that are all different and lie further apart than this were drawn to be so.
_NO_COUNT = 2.0**31
#: Beyond integers of 64 bits every float is a whole number, and counts or names nothing.
_LARGEST_WHOLE = 2.0**64


@dataclass(frozen=True, slots=True)
class ColumnRole:
    """What a column seems to be, why, and what was counted to say so.

    ``distinct``: different values, missing ones apart; ``missing``: their share of the rows. ``subject``: the name
    speaks of a person. ``dimension``: a vector's numbers, else 0.
    """

    name: str
    role: Role
    why: str
    distinct: int
    missing: float
    subject: bool = False
    dimension: int = 0


def column_role(name: str, series: pd.Series) -> ColumnRole:
    """What the column seems to be; ``series`` has all its values, in the order of the rows."""
    missing = float(series.isna().mean()) if len(series) else 1.0
    if not name:
        return ColumnRole(name, "nameless", "it has no name, which no request could say", 0, missing)
    known = series.dropna()
    subject = bool(_SUBJECT.search(_plain(name)))
    if known.empty:
        return ColumnRole(name, "empty", "no value in any row", 0, missing)
    dimension = _dimension(known)
    if dimension:
        return ColumnRole(name, "vector", f"vectors of {dimension:,} numbers", 0, missing, dimension=dimension)
    if not _hashable(known):
        kind = type(known.iloc[0]).__name__
        return ColumnRole(name, "nested", f"each value is a {kind}", 0, missing)
    distinct = int(known.nunique())
    role, why = _role(_plain(name), known, distinct)
    return ColumnRole(name, role, why, distinct, missing, subject)


def is_number(series: pd.Series) -> bool:
    """Whether each value that is there is a number, of whatever type the column is; true and false are none.

    >>> is_number(pd.Series([1, 2.5, None], dtype=object)), is_number(pd.Series([1, "a"]))
    (True, False)
    """
    if types.is_bool_dtype(series) or types.is_complex_dtype(series):
        return False
    if series.dtype != object:
        return types.is_numeric_dtype(series) or types.infer_dtype(series, skipna=True) in _NUMBERS
    known = series.dropna()
    return all(types.infer_dtype(part, skipna=True) in _NUMBERS for part in (known.iloc[:_SAMPLE], known))


def natural_range(name: str) -> tuple[float, float] | None:
    """The smallest and the largest number that a part of a date or of a time of day can be, by its name.

    >>> natural_range("Hour"), natural_range("amount")
    ((0.0, 23.0), None)
    """
    found = {**_CALENDAR, **_CLOCK}.get(_plain(name).replace("_", ""))
    return None if found is None else (float(found[0]), float(found[1]))


def _plain(name: str) -> str:
    """A name as words of small letters: ``customerID`` and ``Customer-Id`` are ``customer_id``."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def _hashable(known: pd.Series) -> bool:
    if known.dtype != object:
        return True
    return all(getattr(value, "__hash__", None) is not None for value in known.iloc[:_SAMPLE])


def _dimension(known: pd.Series) -> int:
    """How many numbers each value is, lists and arrays of them or their spelling as JSON; 0 where they are not."""
    if known.dtype != object and not types.is_string_dtype(known):
        return 0
    sample = known.iloc[:: max(1, len(known) // _VECTORS)]
    first = sample.iloc[0]
    if not isinstance(first, list | np.ndarray) and not (isinstance(first, str) and first.lstrip().startswith("[")):
        return 0
    try:
        lengths = [len(found) for found in map(numbers_of, sample) if found is not None]
    except (ValueError, TypeError):
        return 0
    length = max(set(lengths), key=lengths.count, default=0)
    # One number is a column, and other lengths count as missing: of lists that differ in length most would.
    return length if 2 <= length <= LONGEST_VECTOR and lengths.count(length) >= _ALIKE * len(lengths) else 0


def _role(name: str, known: pd.Series, distinct: int) -> tuple[Role, str]:
    inferred = types.infer_dtype(known.iloc[:_SAMPLE], skipna=True)
    if types.is_datetime64_any_dtype(known) or inferred in ("datetime", "date", "time", "timedelta", "period"):
        return "time", f"values are times ({known.dtype if known.dtype != object else inferred})"
    if types.is_timedelta64_dtype(known) or isinstance(known.dtype, pd.PeriodDtype):
        return "time", f"values are times ({known.dtype})"
    if types.is_bool_dtype(known) or inferred == "boolean":
        return "boolean", "true and false, which travel as 1 and 0"
    if is_number(known):
        return _of_numbers(name, as_numbers(known), distinct)
    role, why = _of_texts(name, known, distinct)
    if (role in ("identifier", "entity") or distinct > MAXIMUM_CATEGORIES) and _all_spell_numbers(known):
        why += "; all spell numbers, which are compared where the file has them as numbers"
    return role, why


def _all_spell_numbers(known: pd.Series) -> bool:
    sample = known.iloc[:: max(1, len(known) // _SAMPLE)]
    return bool(pd.to_numeric(sample, errors="coerce").notna().all())


def _of_numbers(name: str, values: NDArray[np.float64], distinct: int) -> tuple[Role, str]:
    if not np.isfinite(values).any():
        return "empty", "no finite number in any row"
    whole = bool((np.abs(values) <= _LARGEST_WHOLE).all() and (values == np.floor(values)).all())
    if _TIME.search(name) and _is_epoch(values):
        return "time", "seconds, or parts of them, since 1970"
    low, high = float(values.min()), float(values.max())
    first, last = _CALENDAR.get(name.replace("_", ""), (1, 0))
    if whole and first <= low and high <= last:
        return "calendar", "part of the date, so that every window has others"
    if distinct == 1:
        return "constant", f"{values[0]:.12g} in every row; drift: true tells of any other"
    if not whole:
        return "numeric", ""
    counted_up = high - low == len(values) - 1 or high - low > _NO_COUNT
    if distinct == len(values) > _FEW and (counted_up or _IDENTITY.search(name)):
        return "identifier", f"{distinct:,} different whole numbers in {len(values):,} rows: each names its row"
    if _IDENTITY.search(name) and distinct > _FEW:
        return "entity", f"{distinct:,} whole numbers that name something and measure nothing"
    if _IDENTITY.search(name):
        return "category", f"{distinct} whole numbers that name something and measure nothing"
    return "numeric", ""


def _is_epoch(values: NDArray[np.float64]) -> bool:
    low, high = float(values.min()), float(values.max())
    return any(_EPOCH[0] * unit <= low and high <= _EPOCH[1] * unit for unit in _EPOCH_UNITS)


def _of_texts(name: str, known: pd.Series, distinct: int) -> tuple[Role, str]:
    rows = len(known)
    sample = [str(value) for value in known.iloc[:: max(1, rows // _SAMPLE)]]
    if all(_TIME_TEXT.fullmatch(text) for text in sample):
        return "time", f"texts that are times, such as {shown(sample[0])}"
    if distinct == 1:
        return "constant", f"{shown(sample[0])} in every row; drift: true tells of any other"
    if distinct > _FEW and distinct > rows // 2:
        if sum(len(text.split()) for text in sample) >= _FEWEST_WORDS * len(sample):
            return "text", f"{distinct:,} different texts of several words"
        if distinct == rows:
            return "identifier", f"{distinct:,} different texts in {rows:,} rows: each names its row"
        return "entity", f"{distinct:,} different texts in {rows:,} rows"
    if distinct > MAXIMUM_CATEGORIES and (_IDENTITY.search(name) or _SUBJECT.search(name)):
        return "entity", f"{distinct:,} texts that name something"
    if distinct > MAXIMUM_CATEGORIES:
        covered = float(known.value_counts().iloc[:MAXIMUM_CATEGORIES].sum()) / rows
        told = (
            f"{distinct:,} different texts; the {MAXIMUM_CATEGORIES} most frequent make {percent(covered)} of the rows"
        )
        return ("category", f"{told}, others count as unseen") if covered > _MOST else ("entity", told)
    return "category", ""


def shown(text: str) -> str:
    r"""A value in quotes, short and of one line, fit for a comment.

    >>> shown("two\nlines, and " + "x" * 50)
    "'two lines, and xxxxxxxxx...'"
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"'{plain}'" if len(plain) <= _LONGEST else f"'{plain[:_LONGEST]}...'"


_LONGEST = 24
