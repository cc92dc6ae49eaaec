"""When each row of a file or a frame was: a column of times, of texts that spell them, or of seconds since 1970."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from driftline.errors import ReferenceDataError

#: Seconds since 1970 of the year 2200: larger numbers are another unit's.
_LAST_S = 7_258_118_400.0
_UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
# A day and a month, either of which may come first, and a year.
_WRITTEN = r"^\s*(\d{1,2})([/.-])(\d{1,2})\2(?:\d{4}|\d{2})(?!\d)"
_TIME_OF_DAY = r"\s*\d{1,2}:\d{2}"
_MONTHS = 12


def seconds_of(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Seconds since the epoch of a column of times (UTC where none is said) or of such seconds, shape (rows,).

    Raises ReferenceDataError naming the first row that holds none, or a date that may be two.

    >>> seconds_of(pd.DataFrame({"at": ["20.10.2026", "01.11.2026"]}), "at")
    array([1.7924544e+09, 1.7934912e+09])
    """
    if name not in frame.columns:
        raise ReferenceDataError(f"the time column '{name}' is missing; there are {', '.join(map(str, frame.columns))}")
    series = frame[name]
    if types.is_numeric_dtype(series):
        times_s = series.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        parsed = pd.to_datetime(series, utc=True, errors="coerce", format="mixed", dayfirst=_day_first(series, name))
        times_s = ((parsed - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(times_s))
    if len(wrong):
        raise ReferenceDataError(f"the time column '{name}' holds {series.iloc[wrong[0]]!r} in row {wrong[0]}, no time")
    if types.is_numeric_dtype(series) and np.abs(times_s).max(initial=0.0) > _LAST_S:
        row = int(np.argmax(np.abs(times_s) > _LAST_S))
        told = f"{series.iloc[row]} in row {row}, no seconds since 1970{_unit(float(times_s[row]))}"
        raise ReferenceDataError(f"the time column '{name}' holds {told}")
    return times_s


def _unit(value: float) -> str:
    """What a number beyond all seconds may be."""
    unit = next((unit for unit, parts in _UNITS.items() if abs(value) <= _LAST_S * parts), None)
    return "" if unit is None else f"; divide {unit} by {_UNITS[unit]:,.0f}"


def _day_first(series: pd.Series, name: str) -> bool:
    """Whether dates such as 13/10/2026 begin with the day: what one of them must mean goes for all.

    Raises ReferenceDataError where none of them tells, where they contradict each other, and for times without a date.
    """
    if types.is_datetime64_any_dtype(series):
        return False
    texts = series.reset_index(drop=True).dropna().astype(str)
    written = texts.str.extract(_WRITTEN)
    first, second = written[0].astype(np.float64), written[2].astype(np.float64)
    of_day, by_day, by_month = texts[texts.str.match(_TIME_OF_DAY)], texts[first > _MONTHS], texts[second > _MONTHS]
    either = texts[first.notna() & (first != second)]
    fault = ""
    if len(of_day):
        fault = f"{_first(of_day)}, a time without a date"
    elif len(by_day) and len(by_month):
        fault = f"{_first(by_day)} and {_first(by_month)}: does the day or the month come first? Write 2026-10-13"
    elif len(either) and not len(by_day) and not len(by_month):
        fault = f"{_first(either)}: does the day or the month come first? Write 2026-10-13"
    if fault:
        raise ReferenceDataError(f"the time column '{name}' holds {fault}")
    return bool(len(by_day))


def _first(texts: pd.Series) -> str:
    return f"{texts.iloc[0]!r} in row {texts.index[0]}"
