"""Predictions and labels as text, spelt alike, so that they can be compared.

A model may answer ``1``, a label file may hold ``1.0``, a form may send ``true``: all mean the same class.
"""

import math
import re

_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")


def class_name(value: str | float | int | bool | None) -> str | None:
    """The class as text; None where there is none (None or NaN).

    >>> [class_name(value) for value in (1, 1.0, "1", "1.0", True, 0.5, "setosa", float("nan"))]
    ['1', '1', '1', '1', '1', '0.5', 'setosa', None]
    """
    if value is None:
        return None
    if isinstance(value, str):
        whole = _WHOLE_NUMBER.fullmatch(value)
        return whole[1] if whole else value
    number = float(value)
    if math.isnan(number):
        return None
    return str(int(number)) if number.is_integer() else repr(number)


def number_text(value: str | float | int | bool | None) -> str | None:
    """A number as text that reads back exactly; None where there is none. Raises ValueError for other text.

    >>> number_text(3), number_text("2.50"), number_text(float("nan"))
    ('3.0', '2.5', None)
    """
    if value is None:
        return None
    number = float(value)
    return None if math.isnan(number) else repr(number)
