r"""Comma-separated values, as SageMaker and MLflow take and give them, with or without a line of names (RFC 4180).

An empty field is missing. All values are texts; a column that is numeric reads them as numbers.

>>> [(tensor.name, tensor.values) for tensor in tensors(b"age,city\n31,Paris\n,Rome\n", ["age", "city"], None)]
[('age', ['31', None]), ('city', ['Paris', 'Rome'])]
"""

import csv
import io
from collections import Counter
from collections.abc import Collection, Sequence

from driftline.errors import DecodeError
from serving import reasons
from serving.codecs.v1 import UNNAMED
from serving.tensors import Tensor


def is_table(body: bytes, wanted: Collection[str], width: int) -> bool:
    """Whether a text of unknown type is a table: it names what is wanted, or has as many values per row, some numbers.

    ``width``: columns that a table without names has.
    """
    try:
        rows = _rows(body)
    except DecodeError:
        return False
    if not rows or len(set(map(len, rows))) > 1:
        return False
    return not set(rows[0]).isdisjoint(wanted) or (
        len(rows[0]) == width and all(any(map(_is_number, row)) for row in rows)
    )


def tensors(body: bytes, wanted: Collection[str], header: bool | None) -> list[Tensor]:
    """The ``wanted`` columns by name, or one tensor of all values where there are no names; raises DecodeError.

    ``header``: whether the first line holds names; None: it does where one of them is wanted.
    """
    rows = _rows(body)
    if not rows:
        return []
    for place, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise DecodeError(
                reasons.SHAPE_MISMATCH, f"line {place + 1} has {len(row)} values, the first has {len(rows[0])}"
            )
    known = [name for name in rows[0] if name in wanted]
    if twice := [name for name, times in Counter(known).items() if times > 1]:
        raise DecodeError(reasons.SHAPE_MISMATCH, f"the first line names '{twice[0]}' several times")
    has_names = bool(known) if header is None else header
    names, data = (rows[0], rows[1:]) if has_names else ([], rows)
    if has_names and known:
        places = [(name, names.index(name)) for name in known]
        return [Tensor(name, "", (len(data),), [row[place] or None for row in data]) for name, place in places]
    return [Tensor(UNNAMED, "", (len(data), len(rows[0])), [value or None for row in data for value in row])]


def _rows(body: bytes) -> Sequence[list[str]]:
    try:
        text = body.decode("utf-8-sig")
        return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DecodeError(reasons.MALFORMED, f"the body is not CSV: {error}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
