"""Seldon's feedback as labels: the truth where it was sent, else the reward, of which 0 is one like any other.

One reward per request is all that Seldon's form has; for a batch, ``reward`` may be a list with one number per row.
A reward of its own is a label marked as such: the monitor says what it means (``labels.reward``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from driftline.errors import EventError
from driftline.events import Label

_read = msgspec.json.Decoder(dict[str, Any])


def read_feedback(body: bytes, namespace: str, model: str, request_id: str, time_s: float) -> Sequence[Label]:
    """One label per row of the truth, else one per reward; raises EventError.

    ``request_id`` is that of the header; where it is empty, the body's own ``meta.puid`` is taken.

    >>> label, = read_feedback(b'{"reward": 0}', "default", "flights", "r1", 1.0)
    >>> label.value, label.reward
    (0, True)
    >>> body = b'{"truth": {"data": {"ndarray": [[1], [0]]}}, "reward": 1}'
    >>> [(label.row, label.value) for label in read_feedback(body, "default", "flights", "r1", 1.0)]
    [(0, 1), (1, 0)]
    """
    try:
        document = _read.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventError(f"feedback for '{request_id}'", [f"is not a JSON object: {error}"]) from error
    request_id = request_id or _puid(document)
    truth, reward = document.get("truth"), document.get("reward")
    values = _truth_rows(truth, request_id) if isinstance(truth, Mapping) else []
    rewards = [] if values else _rewards(reward, document.get("response"), request_id)
    if not values and not rewards:
        raise EventError(f"feedback for '{request_id}'", ["has neither a truth nor a reward"])
    return [
        Label(
            request_id=request_id,
            value=value,
            observed_at_s=time_s,
            model=model,
            namespace=namespace,
            row=row,
            reward=not values,
        )
        for row, value in enumerate(values or rewards)
    ]


def _puid(document: Mapping[str, Any]) -> str:
    for half in ("response", "request", "truth"):
        message = document.get(half)
        meta = message.get("meta") if isinstance(message, Mapping) else None
        puid = meta.get("puid") if isinstance(meta, Mapping) else None
        if isinstance(puid, str) and puid:
            return puid
    return ""


def _rewards(reward: Any, response: Any, request_id: str) -> list[Any]:
    subject = f"feedback for '{request_id}'"
    if reward is None:
        return []
    if isinstance(reward, list):
        wrong = [each for each in reward if isinstance(each, bool) or not isinstance(each, int | float)]
        if wrong:
            raise EventError(subject, [f"reward {str(wrong[0])[:60]!r} is not a number"])
        return reward
    if isinstance(reward, bool) or not isinstance(reward, int | float):
        raise EventError(subject, [f"reward {str(reward)[:60]!r} is not a number"])
    rows = len(_message_rows(response, request_id)) if isinstance(response, Mapping) else 1
    if rows > 1:
        raise EventError(subject, [f"reward {reward} is one for {rows} rows; send a list with one for each"])
    return [reward]


def _truth_rows(truth: Mapping[str, Any], request_id: str) -> list[Any]:
    data = truth.get("data")
    names = data.get("names") if isinstance(data, Mapping) else None
    rows = _message_rows(truth, request_id)
    return [_one(row, names, place, request_id) for place, row in enumerate(rows)]


def _message_rows(message: Mapping[str, Any], request_id: str) -> list[Any]:
    data = message.get("data")
    if isinstance(data, Mapping):
        tensor = data.get("tensor")
        rows = _tensor_rows(tensor, request_id) if isinstance(tensor, Mapping) else data.get("ndarray", [])
    elif "strData" in message:
        rows = [message["strData"]]
    else:
        rows = message.get("jsonData", [])
    return rows if isinstance(rows, list) else [rows]


def _tensor_rows(tensor: Mapping[str, Any], request_id: str) -> list[Any]:
    values, shape = tensor.get("values"), tensor.get("shape")
    if not isinstance(values, list):
        raise EventError(f"feedback for '{request_id}'", ["data.tensor has no values"])
    if not isinstance(shape, list) or len(shape) < 2 or shape[0] in (0, len(values)):
        return values
    width, left = divmod(len(values), shape[0]) if isinstance(shape[0], int) else (0, 1)
    if left or width == 0:
        raise EventError(f"feedback for '{request_id}'", [f"data.tensor has {len(values)} values, its shape {shape}"])
    return [values[start : start + width] for start in range(0, len(values), width)]


def _one(value: Any, names: Any, place: int, request_id: str) -> Any:
    """A row's one value; of one number per class, the name of the class with the largest."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and isinstance(names, list) and len(names) == len(value) and _numbers(value):
        return str(names[value.index(max(value))])
    fault = f"truth row {place} is {str(value)[:60]!r}: neither one value nor one number per name"
    raise EventError(f"feedback for '{request_id}'", [fault])


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
