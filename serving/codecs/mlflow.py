"""MLflow's scoring protocol (``/invocations``): ``dataframe_split`` and ``dataframe_records``.

``instances`` and ``inputs`` are as in V1 and TensorFlow Serving. Before MLflow 2.0 the data frame was the whole body:
``{"columns": [...], "data": [[...]]}`` or a list of records. Source: https://mlflow.org/docs/latest/ml/deployment/
"""

from collections.abc import Collection, Mapping
from typing import Any

from driftline.errors import DecodeError
from serving import reasons
from serving.codecs.v1 import UNNAMED, rows_to_tensors
from serving.tensors import Tensor

_SPLIT, _RECORDS = "dataframe_split", "dataframe_records"


def is_request(document: Mapping[str, Any]) -> bool:
    """Whether an object holds a data frame."""
    return _SPLIT in document or _RECORDS in document or _is_split(document)


def request_tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The ``wanted`` columns of the data frame; all of it as one tensor where none has a name that is wanted.

    >>> frame = {"columns": ["age", "x"], "data": [[31, 0], [44, 0]]}
    >>> [(tensor.name, tensor.values) for tensor in request_tensors({"dataframe_split": frame}, ["age"])]
    [('age', [31, 44])]
    """
    if _RECORDS in document:
        return rows_to_tensors(_RECORDS, document[_RECORDS], wanted)
    split = document.get(_SPLIT, document)
    if not isinstance(split, dict) or not _is_split(split):
        raise DecodeError(reasons.MALFORMED, f"{_SPLIT} has no list of columns, or no list of data")
    names, rows = split["columns"], split["data"]
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise DecodeError(reasons.SHAPE_MISMATCH, f"data[{place}] is no list of {len(names)} values")
    if len(set(map(str, names))) != len(names):
        raise DecodeError(reasons.SHAPE_MISMATCH, "columns has a name twice")
    places = [(name, names.index(name)) for name in wanted if name in names]
    if places:
        return [Tensor(name, "", (len(rows),), [row[place] for row in rows]) for name, place in places]
    return [Tensor(UNNAMED, "", (len(rows), len(names)), [value for row in rows for value in row])]


def _is_split(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("columns"), list) and isinstance(document.get("data"), list)
