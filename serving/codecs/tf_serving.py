"""TensorFlow Serving's REST API beyond V1's rows: columns, bytes in base64, classify and regress.

``:predict`` with ``inputs`` (named columns, or one tensor without a name) is answered with ``outputs``;
``:classify`` and ``:regress`` take ``examples`` with a shared ``context`` and answer ``results``.
Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

from collections.abc import Collection, Mapping
from typing import Any

from driftline.errors import DecodeError
from serving import reasons
from serving.base64_texts import bytes_of
from serving.column_values import shown
from serving.tensors import Tensor

#: Names of the fields of an answer that lists classes with their shares.
CLASS, SHARE = "class", "share"


def columns(field: str, content: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """Columns by name, of which only the ``wanted`` are read; raises DecodeError.

    >>> [tensor.values for tensor in columns("inputs", {"age": [[31], [44]], "x": [1, 2]}, ["age"])]
    [[31, 44]]
    """
    result = []
    for name in wanted:
        values = content.get(name)
        if values is None:
            continue
        if not isinstance(values, list):
            raise DecodeError(reasons.MALFORMED, f"{field}.{name} is not a list of values")
        result.append(Tensor(name, "", (len(values),), plain_values(values)))
    return result


def examples(document: Mapping[str, Any]) -> object:
    """The rows of a classify or regress request: each example with what the context says for all of them."""
    rows, context = document["examples"], document.get("context")
    if isinstance(context, dict) and isinstance(rows, list):
        return [{**context, **row} if isinstance(row, dict) else row for row in rows]
    return rows


def results(document: Mapping[str, Any], positive: str) -> list[Tensor] | None:
    """Class and share of the positive class of each row of a classify answer; None where they are numbers (regress)."""
    rows = document["results"]
    if not isinstance(rows, list) or not rows or not all(map(_is_classes, rows)):
        return None
    best = [max(row, key=lambda pair: pair[1])[0] for row in rows]
    shares = [next((share for name, share in row if name == positive), None) for row in rows]
    return [Tensor(CLASS, "", (len(rows),), best), Tensor(SHARE, "", (len(rows),), shares)]


def plain_value(value: Any) -> Any:
    """The bytes of ``{"b64": text}``, any other value as it is; raises DecodeError where the text is not base64."""
    if type(value) is dict and len(value) == 1 and isinstance(text := value.get("b64"), str):
        try:
            return bytes_of(text)
        except ValueError as error:
            raise DecodeError(reasons.MALFORMED, f"b64 is {shown(text)}, which is not base64: {error}") from error
    return value


def plain_values(values: list[Any]) -> list[Any]:
    """Values of one field: models of TensorFlow take each as a list of one, and bytes in base64."""
    kind = type(values[0]) if values else None
    if kind is list:
        is_each_one = all(type(value) is list and len(value) == 1 for value in values)
        return [value[0] for value in values] if is_each_one else values
    if kind is dict:
        return [plain_value(value) for value in values]
    return values


def _is_classes(row: object) -> bool:
    return (
        isinstance(row, list)
        and bool(row)
        and all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], int | float) and pair[1] == pair[1]
            for pair in row
        )
    )
