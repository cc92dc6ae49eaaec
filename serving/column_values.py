"""Values of a payload as a monitor's columns: float64 with NaN for a missing number, or text with None.

Two rules hold everywhere. A number in a text column is spelt without a trailing ``.0``, and true and false are ``1``
and ``0``, so that the class 1 is one class whether a server says ``1``, ``1.0``, ``true`` or ``"1"``. A text that is no
number in a numeric column is refused by name and value, never quietly made missing.
"""

import math
from typing import Any

import numpy as np

from driftline.categories import LARGEST_WHOLE, category_of_float
from driftline.columns import CodedTexts, NumericColumn, TextColumn
from driftline.errors import DecodeError
from serving import reasons
from serving.tensors import Values

# Ready-made types: looking one up is a third of the time it takes to make an array of one value.
_FLOAT64 = np.dtype(np.float64)
_OBJECT = np.dtype(np.object_)
_PLAIN_TEXT = frozenset({str, type(None)})
_PLAIN_NUMBERS = frozenset({bool, int})


def numeric(name: str, values: Values) -> NumericColumn:
    """The values as numbers; null and NaN become NaN, infinities stay. Raises DecodeError ``wrong_type``.

    >>> numeric("delay", [1, None, "2.5", True])
    array([1. , nan, 2.5, 1. ])
    """
    try:
        column = np.array(list(values) if isinstance(values, CodedTexts) else values, _FLOAT64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _not_a_number(name, values) from error
    if column.ndim != 1:
        raise _not_a_number(name, values)
    return column


def text(name: str, values: Values) -> TextColumn:
    """The values as text; null and NaN become None. Raises DecodeError ``wrong_type`` for lists and objects.

    >>> text("carrier", ["AA", None, 1.0, 2, True, 0.5]).tolist()
    ['AA', None, '1', '2', '1', '0.5']
    """
    if isinstance(values, CodedTexts):
        return values.objects()
    types = set(map(type, values))
    if types <= _PLAIN_TEXT:
        return np.array(values, _OBJECT)
    if len(types) == 1 and types <= _PLAIN_NUMBERS:  # only so are equal values spelt alike
        spelt = {value: _spell(name, 0, value) for value in set(values)}
        return np.array([spelt[value] for value in values], _OBJECT)
    column = np.empty(len(values), dtype=np.object_)
    for row, value in enumerate(_python_values(values)):
        column[row] = value if type(value) is str else _spell(name, row, value)
    return column


def coded(values: Values) -> CodedTexts | None:
    """What :func:`text` makes of the values, where only the different ones of them have to be looked at.

    >>> coded(np.array([1.0, 0.0, np.nan, 1.0]))
    CodedTexts(texts=['0', '1'], codes=array([ 1,  0, -1,  1], dtype=int32))
    """
    if isinstance(values, CodedTexts):
        return values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        return None
    different, places = np.unique(values, return_inverse=True)
    spelt = CodedTexts.of([_spell("", 0, value) for value in _python_values(different)])
    return spelt.take(places)


def _python_values(values: Values) -> list[Any]:
    if isinstance(values, np.ndarray):
        exact: list[Any] = values.tolist()
        if values.dtype.kind != "f":
            return exact
        # A float32 is spelt as itself (0.1), not as the float64 nearest to it (0.10000000149011612); but a whole number
        # is an identity and keeps all its digits, as integers do.
        is_whole = [value.is_integer() and abs(value) < LARGEST_WHOLE for value in exact]
        return [one if whole else float(str(value)) for one, whole, value in zip(exact, is_whole, values, strict=True)]
    return list(values)


def _spell(name: str, row: int, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return _spell_whole(value)
    if isinstance(value, float):
        return None if math.isnan(value) else category_of_float(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        # Bytes that are no UTF-8 stay apart from each other as \\xNN.
        return value.decode("utf-8", "backslashreplace")
    raise DecodeError(reasons.WRONG_TYPE, f"column '{name}' has {shown(value)} in row {row}, which is not a category")


def _spell_whole(value: int) -> str:
    # Python refuses to spell integers of thousands of digits; no category is one.
    return str(value) if abs(value) < 1 << 128 else "beyond 128 bits"


def _not_a_number(name: str, values: Values) -> DecodeError:
    for row, value in enumerate(values):
        try:
            if np.array([value], dtype=np.float64).ndim == 1:
                continue
        except (ValueError, TypeError, OverflowError):
            pass
        detail = f"column '{name}' has {shown(value)} in row {row}, which is not a number"
        return DecodeError(reasons.WRONG_TYPE, detail)
    return DecodeError(reasons.WRONG_TYPE, f"column '{name}' has values that are not numbers")


def shown(value: object) -> str:
    """A value as messages show it: short, whatever it is."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    if isinstance(value, int):
        return "a whole number too large for a float"
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."
