"""Tensors of one or many events as the columns of a monitor.

What each column is taken from, in this order:

* a place or a feature of its own, where the monitor says so (``from``, ``as``);
* a value of a tensor that the monitor's ``tensors`` name;
* *inputs*: a tensor (or a row's field) of the column's name with one value per row; or, when no name fits, the only
  tensor if it has as many values per row as there are such columns, in the monitor's order;
* *prediction*: the output of its name; or, when no name fits, the only output. An output with several values per row
  is read as class probabilities when each row is one (prediction: index of the largest), else as prediction and score;
* *score*: the output of its name; of two values per row, the second (the positive class).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from driftline.columns import CodedTexts, ColumnBatch, NumericColumn, VectorColumn
from driftline.errors import DecodeError
from serving import column_values, reasons
from serving.codecs.tf_serving import CLASS, SHARE
from serving.plan import NUMERIC, VECTOR, Plan, Target, names_of
from serving.row_values import feature_values, from_tensor, vector_rows
from serving.tensors import Tensor, Values


class SplitError(Exception):
    """The events must be looked at apart: what one of them means depends on its values."""


class Columns:
    """The columns found so far; all have the same number of rows."""

    def __init__(self) -> None:
        self._numeric: dict[str, NumericColumn] = {}
        self._text: dict[str, NDArray[np.object_]] = {}
        self._coded: dict[str, CodedTexts] = {}
        self._vectors: dict[str, VectorColumn] = {}
        self._rows = -1
        self._first = ""
        #: The rows of each event, once they are known.
        self.counts: NDArray[np.intp] | None = None

    @property
    def rows(self) -> int:
        """How many rows they have; -1 while there is no column."""
        return self._rows

    def add(self, name: str, kind: str, values: Values) -> None:
        """Add a column; raises DecodeError when its rows or values do not fit."""
        self._check_rows(name, len(values))
        if kind == NUMERIC:
            self._numeric[name] = column_values.numeric(name, values)
        else:
            coded = column_values.coded(values)
            if coded is not None:
                self._coded[name] = coded
            self._text[name] = column_values.text(name, values) if coded is None else coded.objects()

    def add_vectors(self, name: str, values: VectorColumn) -> None:
        """Add a vector for each row; raises DecodeError when there are not as many as rows."""
        self._check_rows(name, len(values))
        self._vectors[name] = values

    def _check_rows(self, name: str, rows: int) -> None:
        if rows != self._rows:
            if self._rows >= 0:
                raise DecodeError(reasons.SHAPE_MISMATCH, f"'{name}' has {rows} rows, '{self._first}' has {self._rows}")
            self._rows, self._first = rows, name

    def batch(self) -> ColumnBatch:
        """All of them."""
        return ColumnBatch(max(self._rows, 0), self._numeric, self._text, self._coded, self._vectors)


def by_name(tensors: Sequence[Tensor], wanted: Mapping[str, object]) -> dict[str, Tensor]:
    """Tensors by their names; raises DecodeError where one that is wanted is there twice."""
    found = {tensor.name: tensor for tensor in tensors}
    if len(found) != len(tensors):
        names = [tensor.name for tensor in tensors if tensor.name in wanted]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DecodeError(reasons.MALFORMED, f"'{twice}' is there twice")
    return found


def add_held(columns: Columns, found: Mapping[str, Tensor], plan: Plan) -> bool:
    """Columns that are values of one tensor; whether there were any."""
    is_any = False
    for name, held in plan.held.items():
        tensor = found.get(name)
        if tensor is None:
            continue
        is_any = True
        if tensor.width != len(held) or (len(tensor.shape) < 2 and len(held) > 1):
            raise DecodeError(
                reasons.SHAPE_MISMATCH,
                f"tensor '{name}' has shape {list(tensor.shape)}; the monitor has {len(held)} columns for each row",
            )
        _add_held(columns, tensor, held, plan)
    return is_any


def _add_held(columns: Columns, tensor: Tensor, held: Sequence[str], plan: Plan) -> None:
    width = len(held)
    values = tensor.values
    if all(plan.kinds[name] == NUMERIC for name in held):
        # Once for all columns, and each column's numbers side by side.
        flat = column_values.numeric(tensor.name, values)
        values_by_column = np.ascontiguousarray(flat.reshape(-1, width).T)
        for place, name in enumerate(held):
            columns.add(name, NUMERIC, values_by_column[place])
        return
    for place, name in enumerate(held):
        columns.add(name, plan.kinds[name], values[place::width])


def add_named(columns: Columns, found: Mapping[str, Tensor], plan: Plan) -> bool:
    """Columns that are tensors of their own names; whether there were any."""
    is_any = False
    for name, kind in plan.inputs.items():
        tensor = found.get(name)
        if tensor is not None:
            columns.add(name, kind, tensor.values if len(tensor.shape) == 1 else _one_per_row(tensor))
            is_any = True
    return is_any


def add_target(columns: Columns, target: Target, tensor: Tensor) -> None:
    """A column with a source or a feature of its own, from the tensor that it leads to."""
    if target.kind == VECTOR:
        columns.add_vectors(target.name, vector_rows(target.name, target.dimension, tensor))
    elif target.feature is None:
        columns.add(target.name, target.kind, _one_per_row(tensor))
    else:
        columns.add(target.name, target.kind, feature_values(target.name, target.feature, tensor))


def find_target(target: Target, found: Mapping[str, Tensor]) -> Tensor | None:
    """The tensor, or the part of one, that a target's path leads to."""
    if target.path is None:
        return found.get(target.name)
    for name, taken in names_of(target.path):
        tensor = found.get(name)
        if tensor is not None and (part := from_tensor(tensor, target.path.steps[taken:])) is not None:
            return part
    return None


def add_only_input(columns: Columns, tensors: Sequence[Tensor], plan: Plan, *, loose: bool) -> None:
    """The columns by their order in the only tensor, when no name fits; raises DecodeError when it does not either."""
    if len(tensors) != 1 or not loose:
        raise DecodeError(
            reasons.NO_COLUMNS, f"the request has {_named(tensors)}; the monitor knows {_list(plan.request.names)}"
        )
    tensor, width = tensors[0], len(plan.inputs)
    if not width or tensor.width != width or (width > 1 and len(tensor.shape) != 2):
        raise DecodeError(
            reasons.SHAPE_MISMATCH,
            f"the request has {_named(tensors)}; without names it needs shape [rows, {width}], "
            "a value for each of the monitor's columns",
        )
    for index, (name, kind) in enumerate(plan.inputs.items()):
        columns.add(name, kind, tensor.values[index::width])


def add_outputs(
    columns: Columns,
    tensors: Sequence[Tensor],
    found: Mapping[str, Tensor],
    plan: Plan,
    counts: NDArray[np.intp],
    *,
    loose: bool,
) -> None:
    """Prediction and score; ``counts``: rows of each event. Raises DecodeError, or SplitError."""
    kind, name, score = plan.prediction_kind, plan.prediction, plan.score if plan.finds_score else None
    is_found = False
    if plan.finds_prediction and name in found:
        columns.add(name, kind, _one_per_row(found[name]))
        is_found = True
    if score is not None and score in found:
        columns.add(score, NUMERIC, _score(found[score]))
        is_found = True
    if is_found or not plan.finds_prediction or not loose:
        return
    if CLASS in found:
        _add_classes(columns, found, plan)
    elif len(tensors) == 1:
        _add_only_output(columns, tensors[0], plan, score, counts)


def _add_classes(columns: Columns, found: Mapping[str, Tensor], plan: Plan) -> None:
    columns.add(plan.prediction, plan.prediction_kind, found[CLASS].values)
    if plan.finds_score and plan.score is not None and SHARE in found:
        columns.add(plan.score, NUMERIC, found[SHARE].values)


def _add_only_output(columns: Columns, tensor: Tensor, plan: Plan, score: str | None, counts: NDArray[np.intp]) -> None:
    kind, name = plan.prediction_kind, plan.prediction
    if tensor.width == 1:
        columns.add(name, kind, tensor.values)
    elif kind != NUMERIC and (shares := _probabilities(tensor, counts)) is not None:
        columns.add(name, kind, shares.argmax(axis=1))
        if score is not None and tensor.width == 2:
            columns.add(score, NUMERIC, shares[:, 1])
    elif score is not None and tensor.width == 2:
        columns.add(name, kind, tensor.values[0::2])
        columns.add(score, NUMERIC, tensor.values[1::2])
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


def _probabilities(tensor: Tensor, counts: NDArray[np.intp]) -> NumericColumn | None:
    """The rows of a tensor where each is a distribution over classes, else None; SplitError where events differ."""
    try:
        shares = np.array(tensor.values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        if len(counts) > 1:
            raise SplitError from error
        return None
    if shares.ndim != 1 or not shares.size:
        return None
    rows = shares.reshape(-1, tensor.width)
    # Half-precision outputs sum to one within a few thousandths.
    fits = np.all((rows >= 0) & (rows <= 1), axis=1) & (abs(rows.sum(axis=1) - 1) < 5e-3)
    if fits.all():
        return rows
    if len(counts) > 1:
        raise SplitError
    return None


def _named(tensors: Sequence[Tensor]) -> str:
    if not tensors:
        return "no tensor or field that the monitor names"
    shown = ", ".join(f"'{tensor.name[:40]}' {list(tensor.shape)}" for tensor in tensors[:5])
    return shown + (f" and {len(tensors) - 5} more" if len(tensors) > 5 else "")


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:20])
