"""Seldon's feedback as labels: the truth where it was sent, else the reward, of which 0 is one like any other."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from driftline.errors import EventError
from driftline.events import Label

_read = msgspec.json.Decoder(dict[str, Any])


def read_feedback(body: bytes, namespace: str, model: str, request_id: str, time_s: float) -> Sequence[Label]:
    """One label per row of the truth; without a truth one for row 0 with the reward. Raises EventError.

    >>> read_feedback(b'{"reward": 0}', "default", "flights", "r1", 1.0)[0].value
    0
    >>> body = b'{"truth": {"data": {"ndarray": [[1], [0]]}}, "reward": 1}'
    >>> [(label.row, label.value) for label in read_feedback(body, "default", "flights", "r1", 1.0)]
    [(0, 1), (1, 0)]
    """
    try:
        document = _read.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(f"feedback for '{request_id}'", [f"is not a JSON object: {error}"]) from error
    truth, reward = document.get("truth"), document.get("reward")
    if isinstance(truth, Mapping) and (values := _values(truth, request_id)):
        rows, is_reward = values, False
    elif isinstance(reward, int | float) and not isinstance(reward, bool):
        rows, is_reward = [reward], True
    else:
        raise EventError(f"feedback for '{request_id}'", ["has neither a truth nor a reward"])
    shared: dict[str, Any] = {"request_id": request_id, "observed_at_s": time_s, "model": model, "namespace": namespace}
    return [Label(value=value, row=row, reward=is_reward, **shared) for row, value in enumerate(rows)]


def _values(truth: Mapping[str, Any], request_id: str) -> list[Any]:
    data = truth.get("data")
    if isinstance(data, Mapping):
        tensor = data.get("tensor")
        if isinstance(tensor, Mapping):
            return _tensor_rows(tensor, request_id)
        rows = data.get("ndarray", [])
    elif "strData" in truth:
        rows = [truth["strData"]]
    else:
        rows = truth.get("jsonData", [])
    return [_one(row, place, request_id) for place, row in enumerate(rows if isinstance(rows, list) else [rows])]


def _tensor_rows(tensor: Mapping[str, Any], request_id: str) -> list[Any]:
    values, shape = tensor.get("values"), tensor.get("shape")
    if not isinstance(values, list) or (isinstance(shape, list) and shape and shape[0] != len(values)):
        fault = f"truth.data.tensor has shape {shape}; a label has one value per row"
        raise EventError(f"feedback for '{request_id}'", [fault])
    return [_one(value, place, request_id) for place, value in enumerate(values)]


def _one(value: Any, place: int, request_id: str) -> Any:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str | int | float | bool):
        return value
    raise EventError(f"feedback for '{request_id}'", [f"truth row {place} is {str(value)[:60]!r}, not one value"])
