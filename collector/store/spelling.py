"""Predictions and labels as text, spelt alike, so that they can be compared.

A model may answer ``1``, a label file may hold ``1.0``, a form may send ``true``: all mean the same class.
"""

import math
import re

from driftline.categories import category_of_float

_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")


def class_name(value: str | float | int | bool | None) -> str | None:
    """The class as text, as payloads and references spell it; None where there is none (None or NaN).

    Whole numbers that came as such keep all their digits, beyond those that a float has, too.

    >>> [class_name(value) for value in (1, 1.0, "1", "1.0", True, 0.5, "setosa", float("nan"))]
    ['1', '1', '1', '1', '1', '0.5', 'setosa', None]
    >>> class_name(9007199254740993), class_name(1e16)
    ('9007199254740993', '1e+16')
    """
    if value is None:
        return None
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, str):
        if math.isnan(value):
            return None
        value = category_of_float(float(value))
    whole = _WHOLE_NUMBER.fullmatch(value)
    return whole[1] if whole else value


def number_text(value: str | float | int | bool | None) -> str | None:
    """A number as text that reads back exactly; None where there is none. Raises ValueError for other text.

    >>> number_text(3), number_text("2.50"), number_text(float("nan"))
    ('3.0', '2.5', None)
    """
    if value is None:
        return None
    number = float(value)
    return None if math.isnan(number) else repr(number)
