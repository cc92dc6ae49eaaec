"""The V1 protocol of TensorFlow Serving and KServe: ``instances`` or ``inputs`` in, ``predictions`` out.

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
from serving.tensors import Tensor

#: Name of the tensor made of rows that name nothing.
UNNAMED = ""


def request_tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The tensors of a request; of named fields only the ``wanted``. Raises DecodeError."""
    if "instances" in document:
        return rows_to_tensors("instances", document["instances"], wanted)
    return _columns_or_rows("inputs", document["inputs"], wanted)


def response_tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The tensors of a response; of named fields only the ``wanted``. Raises DecodeError."""
    if "predictions" in document:
        return _columns_or_rows("predictions", document["predictions"], wanted)
    return _columns_or_rows("outputs", document["outputs"], wanted)


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


def _columns_or_rows(field: str, content: object, wanted: Collection[str]) -> list[Tensor]:
    if not isinstance(content, dict):
        return rows_to_tensors(field, content, wanted)
    result = []
    for name in wanted:
        values = content.get(name)
        if values is None:
            continue
        if not isinstance(values, list):
            raise DecodeError(reasons.MALFORMED, f"{field}.{name} is {_kind(values)}, not a list of values")
        result.append(Tensor(name, "", (len(values),), _unwrap(values)))
    return result


def _from_objects(field: str, rows: list[Any], wanted: Collection[str]) -> list[Tensor]:
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _mixed(field, index, row, "an object")
    present = set(wanted).intersection(*([set().union(*rows)] if len(rows) > 1 else [rows[0]]))
    return [
        Tensor(name, "", (len(rows),), _unwrap([row.get(name) for row in rows])) for name in wanted if name in present
    ]


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


def _unwrap(values: list[Any]) -> list[Any]:
    # TensorFlow models take each field as a list of one.
    if values and type(values[0]) is list:
        return [value[0] if type(value) is list and len(value) == 1 else value for value in values]
    return values


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
