"""The values of named columns, wherever a protocol's JSON keeps them.

Objects: the member of that name (V1 rows, ``inputs`` as an object, MLflow's records). Tensors of V2: the data of the
tensor with that name. Seldon's ``names`` beside ``ndarray`` or ``tensor``, MLflow's ``columns`` beside ``data``: the
values in that column; beside Seldon's ``tftensor``: the whole of it. Values without a name cannot be found by one.
Requests that a server refuses are logged too, so nothing is asked of their form but what finds a value by its name.

>>> from logger_sidecar.finishing.redaction_values import Replacement
>>> body = {"instances": [{"age": 31, "email": "a@b.c"}]}
>>> redact_columns(body, {"email": Replacement(None)}), body
(True, {'instances': [{'age': 31, 'email': '[redacted]'}]})
"""

from collections.abc import Mapping
from typing import Any

from logger_sidecar.finishing.redaction_values import Replacement

#: Of the top level, and the names of containers there; never themselves a column.
_CONTAINERS = frozenset(
    {"inputs", "outputs", "instances", "predictions", "dataframe_split", "dataframe_records", "data", "jsonData"}
)
#: Beside which list of names their values stand.
_SPLITS = (("names", "ndarray"), ("columns", "data"))
Replacements = Mapping[str, Replacement]


def redact_columns(document: Any, columns: Replacements) -> bool:
    """Replace the columns' values in place; whether there were any."""
    if not isinstance(document, dict):
        return _redact(document, columns)
    changed = False
    for name, value in document.items():
        if name in _CONTAINERS and isinstance(value, dict | list):
            changed |= _redact(value, columns)
    rest = {name: value for name, value in document.items() if name not in _CONTAINERS or not _holds(value)}
    if _redact_members(rest, columns):
        document.update(rest)
        changed = True
    return _redact_split(document, columns) or changed


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list)


def _redact(value: Any, columns: Replacements) -> bool:
    if isinstance(value, list):
        return sum(_redact(item, columns) for item in value if isinstance(item, dict | list)) > 0
    if not isinstance(value, dict):
        return False
    if "name" in value and ("datatype" in value or "data" in value or "shape" in value):
        return _redact_tensor(value, columns)
    changed = _redact_split(value, columns)
    return _redact_members(value, columns) or changed


def _redact_members(holder: dict[str, Any], columns: Replacements) -> bool:
    changed = False
    for name, value in holder.items():
        replacement = columns.get(name)
        if replacement is not None and value is not None:
            holder[name] = replacement.value(value)
            changed = True
        elif isinstance(value, dict | list):
            changed |= _redact(value, columns)
    return changed


def _redact_tensor(tensor: dict[str, Any], columns: Replacements) -> bool:
    """A tensor, or a row that has some members of one."""
    replacement = columns.get(tensor["name"]) if isinstance(tensor["name"], str) else None
    if replacement is not None and tensor.get("data") is not None:
        tensor["data"] = replacement.value(tensor["data"])
        return True
    if "datatype" in tensor and "shape" in tensor:
        return _redact(tensor.get("data"), columns)  # its name and shape are no values
    return _redact_members(tensor, columns)


def _redact_split(holder: dict[str, Any], columns: Replacements) -> bool:
    """Values that stand in the order of names beside them."""
    changed = False
    for names_key, values_key in _SPLITS:
        names, values = holder.get(names_key), holder.get(values_key)
        if isinstance(names, list) and isinstance(values, list):
            changed |= _redact_rows(values, _placed(names, columns))
    names, tensor = holder.get("names"), holder.get("tensor")
    if isinstance(names, list) and holder.get("tftensor") is not None:
        for _, replacement in _placed(names, columns)[:1]:
            holder["tftensor"] = replacement.value(holder["tftensor"])
            changed = True
    if isinstance(names, list) and isinstance(tensor, dict) and isinstance(tensor.get("values"), list) and names:
        values = tensor["values"]
        for place, replacement in _placed(names, columns):
            values[place :: len(names)] = [replacement.value(value) for value in values[place :: len(names)]]
            changed = True
    return changed


def _placed(names: list[Any], columns: Replacements) -> list[tuple[int, Replacement]]:
    """Place and replacement of each column, in order; pandas writes a name of several levels as a list."""
    placed: dict[int, Replacement] = {}
    for place, name in enumerate(names):
        for level in name if isinstance(name, list) else [name]:
            replacement = columns.get(level) if isinstance(level, str) else None
            # Of two levels that are named, the one that leaves nothing of the value decides.
            if replacement is not None and (place not in placed or replacement.key is None):
                placed[place] = replacement
    return list(placed.items())


def _redact_rows(rows: list[Any], placed: list[tuple[int, Replacement]]) -> bool:
    # What is no list stands in one row that is not wrapped in a list of rows.
    changed = False
    for row in (rows, *rows) if any(not isinstance(row, list | dict) for row in rows) else rows:
        if not isinstance(row, list):
            continue
        for place, replacement in placed:
            if place >= len(row):
                break
            row[place] = replacement.value(row[place])
            changed = True
    return changed
