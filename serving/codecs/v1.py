"""The V1 protocol of KServe: ``instances`` (or ``inputs``) in, ``predictions`` out, row by row.

Rows come as scalars, lists or objects. They are read into tensors without a datatype: one per field when rows have
named fields, else a single one without a name.

>>> [(tensor.name, tensor.shape, tensor.values) for tensor in rows_to_tensors("instances", [{"a": 1}, {"a": 2}], ["a"])]
[('a', (2,), [1, 2])]
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from driftline.errors import DecodeError
from serving import reasons
from serving.codecs import tf_serving
from serving.codecs.tf_serving import plain_value, plain_values
from serving.tensors import Tensor

#: Name of the tensor made of rows that name nothing.
UNNAMED = ""
#: Objects with one field each, one within the other, around a row.
_MOST_WRAPPINGS = 8


def request_tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The tensors of a request; of named fields only the ``wanted``. Raises DecodeError."""
    if "instances" in document:
        return rows_to_tensors("instances", document["instances"], wanted)
    return columns_or_rows("inputs", document["inputs"], wanted)


def response_tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The tensors of a response; of named fields only the ``wanted``. Raises DecodeError."""
    if "predictions" in document:
        return columns_or_rows("predictions", document["predictions"], wanted)
    return columns_or_rows("outputs", document["outputs"], wanted)


def rows_to_tensors(field: str, rows: object, wanted: Collection[str]) -> list[Tensor]:
    """Rows as tensors; raises DecodeError when they are no rows, or not all of one kind."""
    if not isinstance(rows, list):
        raise DecodeError(reasons.MALFORMED, f"{field} is {_kind(rows)}, not a list of rows")
    if not rows:
        return []
    if isinstance(rows[0], dict):
        return _from_objects(field, rows, wanted)
    if isinstance(rows[0], list):
        return [_from_lists(field, rows)]
    for index, row in enumerate(rows):
        if isinstance(row, dict | list):
            raise _mixed(field, index, row, "a value")
    return [Tensor(UNNAMED, "", (len(rows),), rows)]


def write_response(predictions: Sequence[Any]) -> bytes:
    """The JSON of a response."""
    return msgspec.json.encode({"predictions": predictions})


def columns_or_rows(field: str, content: object, wanted: Collection[str]) -> list[Tensor]:
    """Columns by name where ``content`` is an object, as TensorFlow Serving has them, else rows."""
    if isinstance(content, dict):
        return tf_serving.columns(field, content, wanted)
    return rows_to_tensors(field, content, wanted)


def _from_objects(field: str, rows: list[Any], wanted: Collection[str]) -> list[Tensor]:
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _mixed(field, index, row, "an object")
    present = set(rows[0]) if len(rows) == 1 else set().union(*rows)
    found = [name for name in wanted if name in present]
    if not found and len(present) == 1:
        return _from_only_field(field, rows, *present)
    return [Tensor(name, "", (len(rows),), plain_values([row.get(name) for row in rows])) for name in found]


def _from_only_field(field: str, rows: list[Any], name: str) -> list[Tensor]:
    # SageMaker's {"features": [...]}, or bytes of TensorFlow ({"b64": ...}): the row itself, in a wrapping.
    if name == "b64":
        return [Tensor(UNNAMED, "", (len(rows),), [plain_value(row) for row in rows])]
    values = [row.get(name) for row in rows]
    if all(isinstance(value, list | dict) for value in values) and field.count("[]") < _MOST_WRAPPINGS:
        return rows_to_tensors(f"{field}[].{name}", values, ())
    return []


def _from_lists(field: str, rows: list[Any]) -> Tensor:
    width = len(rows[0])
    flat: list[Any] = []
    for index, row in enumerate(rows):
        if not isinstance(row, list):
            raise _mixed(field, index, row, "a list")
        if len(row) != width:
            raise DecodeError(reasons.SHAPE_MISMATCH, f"{field}[{index}] has {len(row)} values, {field}[0] has {width}")
        flat.extend(row)
    return Tensor(UNNAMED, "", (len(rows), width), flat)


def _mixed(field: str, index: int, row: object, expected: str) -> DecodeError:
    return DecodeError(reasons.MALFORMED, f"{field}[{index}] is {_kind(row)}, {field}[0] is {expected}")


def _kind(value: object) -> str:
    words = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return words.get(type(value), "null")
