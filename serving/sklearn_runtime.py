"""Runs scikit-learn models on a float matrix: categories become their codes, unknown ones and missing values NaN.

A matrix, not a DataFrame: ``HistGradientBoostingClassifier`` takes milliseconds to look at one row of the latter.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression

from driftline.errors import DecodeError
from serving import column_values, reasons
from serving.model_config import ModelConfig, TensorSpec
from serving.tensors import BYTES, NUMPY_TYPES, Tensor, Values

#: Models whose class is the one of the largest probability, so that one pass gives both. An SVC, for one, is not.
_CLASS_BY_PROBABILITY = (
    HistGradientBoostingClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
    ExtraTreesClassifier,
    LogisticRegression,
)


class SklearnRuntime:
    """A fitted scikit-learn estimator behind the protocol's tensors."""

    def __init__(self, estimator: Any, config: ModelConfig) -> None:
        self._estimator = estimator
        self._config = config
        self._codes = codes(config.categories)
        self._one_pass = isinstance(estimator, _CLASS_BY_PROBABILITY)
        self._wanted = {output.source for output in config.outputs}

    def predict(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the config; raises DecodeError on bad input."""
        matrix = encode(tensors, self._config.inputs, self._codes)
        prediction, shares = self._run(matrix)
        return [_output(spec, prediction, shares) for spec in self._config.outputs]

    def _run(self, matrix: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        if self._wanted == {"prediction"}:
            return np.asarray(self._estimator.predict(matrix)), np.empty((len(matrix), 0))
        shares = self._estimator.predict_proba(matrix)
        if self._one_pass:
            return self._estimator.classes_[shares.argmax(axis=1)], shares
        return np.asarray(self._estimator.predict(matrix)), shares


def load(config: ModelConfig, directory: Path, _device: str) -> SklearnRuntime:
    """Load the joblib artefact. It is a pickle: only models from a trusted place belong in the repository."""
    return SklearnRuntime(joblib.load(directory / config.artefact), config)


def codes(categories: Mapping[str, Sequence[str]]) -> dict[str, dict[str | None, float]]:
    """The code of every known category, by column."""
    return {name: {value: float(code) for code, value in enumerate(values)} for name, values in categories.items()}


def encode(
    tensors: Sequence[Tensor], inputs: Sequence[TensorSpec], known: Mapping[str, Mapping[str | None, float]]
) -> NDArray[np.float64]:
    """The matrix of shape [rows, inputs]; columns by name, or all of them in one tensor. Raises DecodeError."""
    columns = [_column(spec, values, known.get(spec.name)) for spec, values in _by_name(tensors, inputs)]
    rows = len(columns[0])
    for spec, column in zip(inputs, columns, strict=True):
        if len(column) != rows:
            detail = f"input '{spec.name}' has {len(column)} rows, '{inputs[0].name}' has {rows}"
            raise DecodeError(reasons.SHAPE_MISMATCH, detail)
    return np.column_stack(columns)


def _by_name(tensors: Sequence[Tensor], inputs: Sequence[TensorSpec]) -> list[tuple[TensorSpec, Values]]:
    found = {tensor.name: tensor for tensor in tensors}
    if len(tensors) == 1 and len(tensors[0].shape) == 2 and tensors[0].width == len(inputs):
        flat = tensors[0].values
        return [(spec, flat[index :: len(inputs)]) for index, spec in enumerate(inputs)]
    missing = [spec.name for spec in inputs if spec.name not in found]
    if missing:
        got = ", ".join(f"'{name[:40]}'" for name in list(found)[:20]) or "none"
        shown = ", ".join(f"'{name}'" for name in missing[:20])
        raise DecodeError(reasons.NO_COLUMNS, f"the request lacks the inputs {shown}; it has: {got}")
    for spec in inputs:
        if found[spec.name].width != 1:
            shape = list(found[spec.name].shape)
            raise DecodeError(reasons.SHAPE_MISMATCH, f"input '{spec.name}' has shape {shape}, not [rows]")
    return [(spec, found[spec.name].values) for spec in inputs]


def _column(spec: TensorSpec, values: Values, known: Mapping[str | None, float] | None) -> NDArray[np.float64]:
    if known is None:
        return column_values.numeric(spec.name, values)
    texts = column_values.text(spec.name, values)
    return np.array([known.get(text, np.nan) for text in texts], dtype=np.float64)


def _output(spec: TensorSpec, prediction: NDArray[Any], shares: NDArray[np.float64]) -> Tensor:
    if spec.source == "scores":
        return Tensor(spec.name, spec.datatype, shares.shape, shares.ravel().astype(NUMPY_TYPES[spec.datatype]))
    values = prediction if spec.source == "prediction" else shares[:, -1]
    if spec.datatype == BYTES:
        return Tensor(spec.name, BYTES, (len(values),), column_values.text(spec.name, values).tolist())
    return Tensor(spec.name, spec.datatype, (len(values),), values.astype(NUMPY_TYPES[spec.datatype]))
