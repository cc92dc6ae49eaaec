"""From one inference event to the columns its monitor names: the collector's ``Decoder``.

<<<<<<< HEAD
The format is found in the content; the event's protocol only says what to try first. What each column is taken from:

* *inputs*: a tensor (or a row's field) of the column's name with one value per row; or, when no name fits, the only
  tensor if it has as many values per row as the monitor has columns, in the monitor's order;
* *prediction*: the output of its name; or, when no name fits, the only output. An output with several values per row
  is read as class probabilities when each row is one (prediction: index of the largest), else as prediction and score;
* *score*: the output of its name; of two values per row, the second (the positive class).

An answer outside 200-299, or with a gRPC error, is a batch of no rows: nothing was predicted. Where nobody logged the
answer, the rows have inputs and no prediction.

``decode`` raises nothing but DecodeError, whose reasons are in ``serving.reasons``.
=======
It is ``serving.decode_many`` for a single event. What each column is taken from: ``serving.extraction``; how a format
is recognised: ``serving.recognition``.
>>>>>>> ec4e51d (Codecs are found by content, one file each; columns may come from any place in a payload, and be features of texts, vectors and images)
"""

from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from serving.decode_many import decode_many


def decode(event: InferenceEvent, monitor: Monitor) -> ColumnBatch:
<<<<<<< HEAD
    """The rows of one inference; see the module's docstring. Raises DecodeError."""
    if not event.answer_unknown and (not 200 <= event.status_code < 300 or event.grpc_status):
        return ColumnBatch(0)
    if event.truncated:
        raise DecodeError(
            reasons.TRUNCATED,
            f"event '{event.id}' holds a body cut at {_longest(event)} bytes; raise the capture limit",
        )
    columns = _Columns()
    types = {column.name: column.type for column in monitor.columns}
    _add_inputs(columns, request_tensors(event.request, event.protocol, types), types)
    if event.answer_unknown:
        return columns.batch()
    outputs = [monitor.prediction.column]
    if monitor.prediction.score is not None:
        outputs.append(monitor.prediction.score)
    _add_outputs(columns, response_tensors(event.response, event.protocol, outputs), monitor)
    return columns.batch()


class _Columns:
    """The values found so far; all columns have the same number of rows."""

    def __init__(self) -> None:
        self._numeric: dict[str, Values] = {}
        self._text: dict[str, Values] = {}
        self._rows = -1
        self._first = ""

    def add(self, name: str, kind: str, values: Values) -> None:
        (self._numeric if kind == "numeric" else self._text)[name] = values
        if len(values) == self._rows:
            return
        if self._rows >= 0:
            raise DecodeError(
                reasons.SHAPE_MISMATCH, f"'{name}' has {len(values)} rows, '{self._first}' has {self._rows}"
            )
        self._rows, self._first = len(values), name

    def batch(self) -> ColumnBatch:
        numeric = {name: column_values.numeric(name, values) for name, values in self._numeric.items()}
        text = {name: column_values.text(name, values) for name, values in self._text.items()}
        return ColumnBatch(max(self._rows, 0), numeric, text)


def _add_inputs(columns: _Columns, tensors: list[Tensor], types: Mapping[str, str]) -> None:
    found = False
    for tensor in tensors:
        kind = types.get(tensor.name)
        if kind is not None:
            columns.add(tensor.name, kind, tensor.values if len(tensor.shape) == 1 else _one_per_row(tensor))
            found = True
    if found:
        return
    if len(tensors) != 1:
        raise DecodeError(reasons.NO_COLUMNS, f"the request has {_named(tensors)}; the monitor knows {_list(types)}")
    tensor, width = tensors[0], len(types)
    if tensor.width != width or (width > 1 and len(tensor.shape) != 2):
        raise DecodeError(
            reasons.SHAPE_MISMATCH,
            f"the request has {_named(tensors)}; without names it needs shape [rows, {width}], "
            "a value for each of the monitor's columns",
        )
    for index, (name, kind) in enumerate(types.items()):
        columns.add(name, kind, tensor.values[index::width])


def _add_outputs(columns: _Columns, tensors: list[Tensor], monitor: Monitor) -> None:
    kind = "numeric" if monitor.task == "regression" else "categorical"
    name, score = monitor.prediction.column, monitor.prediction.score
    by_name = {tensor.name: tensor for tensor in tensors}
    if name in by_name:
        columns.add(name, kind, _one_per_row(by_name[name]))
    if score is not None and score in by_name:
        columns.add(score, "numeric", _score(by_name[score]))
    if name in by_name or score in by_name or len(tensors) != 1:
        return
    tensor = tensors[0]
    if tensor.width == 1:
        columns.add(name, kind, tensor.values)
    elif kind == "categorical" and (shares := _probabilities(tensor)) is not None:
        columns.add(name, kind, shares.argmax(axis=1))
        if score is not None and tensor.width == 2:
            columns.add(score, "numeric", shares[:, 1])
    elif score is not None and tensor.width == 2:
        columns.add(name, kind, tensor.values[0::2])
        columns.add(score, "numeric", tensor.values[1::2])
    else:
        expected = f"'{name}' takes one" if score is None else f"'{name}' and '{score}' take two"
        raise DecodeError(
            reasons.SHAPE_MISMATCH, f"the response has {tensor.width} values per row and no name that fits; {expected}"
        )


def _one_per_row(tensor: Tensor) -> Values:
    if len(tensor.shape) > 1 and tensor.width != 1:
        raise DecodeError(
            reasons.SHAPE_MISMATCH, f"'{tensor.name}' has shape {list(tensor.shape)}; a column has one value per row"
        )
    return tensor.values


def _score(tensor: Tensor) -> Values:
    if len(tensor.shape) == 2 and tensor.width == 2:
        return tensor.values[1::2]
    return _one_per_row(tensor)


def _probabilities(tensor: Tensor) -> NumericColumn | None:
    """The rows of a tensor where each is a distribution over classes, else None."""
    try:
        shares = np.array(tensor.values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    if shares.ndim != 1 or not shares.size:
        return None
    rows = shares.reshape(-1, tensor.width)
    # Half-precision outputs sum to one within a few thousandths.
    is_distribution = bool(np.all((rows >= 0) & (rows <= 1)) and np.all(abs(rows.sum(axis=1) - 1) < 5e-3))
    return rows if is_distribution else None


def _named(tensors: list[Tensor]) -> str:
    if not tensors:
        return "no tensor or field that the monitor names"
    shown = ", ".join(f"'{tensor.name[:40]}' {list(tensor.shape)}" for tensor in tensors[:5])
    return shown + (f" and {len(tensors) - 5} more" if len(tensors) > 5 else "")


def _list(names: Mapping[str, str]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:20])


def _longest(event: InferenceEvent) -> int:
    return max(len(event.request.body), len(event.response.body))
=======
    """The rows of one inference; raises nothing but DecodeError, whose reasons are in ``serving.reasons``."""
    batch = decode_many([event], monitor)
    for _place, fault in batch.faults:
        raise fault
    return batch.columns
>>>>>>> ec4e51d (Codecs are found by content, one file each; columns may come from any place in a payload, and be features of texts, vectors and images)
