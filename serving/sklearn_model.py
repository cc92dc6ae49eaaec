"""Writing a fitted scikit-learn model into a model repository."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from serving import model_config
from serving.model_config import ModelConfig, TensorSpec
from serving.tensors import BYTES

ARTEFACT = "model.joblib"


def save_sklearn_model(
    directory: Path,
    name: str,
    version: str,
    model: Any,
    *,
    inputs: Sequence[tuple[str, str]],
    categories: Mapping[str, Sequence[str]] | None = None,
    prediction: str = "prediction",
    score: str | None = None,
    variant: str = "stable",
) -> Path:
    """Write ``directory/NAME/VERSION`` with artefact and ``model.json``; returns that directory.

    ``model``: fitted on a float matrix whose columns are ``inputs`` (name, datatype) in this order.
    ``categories``: the values of each categorical input in the order of their codes; others are missing to the model.
    ``prediction``: name of the output with the class or number. ``score``: name of the output with the probability of
    the last class, for models with ``predict_proba``.
    """
    target = directory / name / version
    target.mkdir(parents=True, exist_ok=True)
    outputs = [TensorSpec(prediction, _datatype(model))]
    if score is not None:
        outputs.append(TensorSpec(score, "FP64", source="score"))
    config = ModelConfig(
        platform="sklearn_joblib",
        artefact=ARTEFACT,
        inputs=tuple(TensorSpec(column, datatype) for column, datatype in inputs),
        outputs=tuple(outputs),
        variant=variant,
        categories={column: tuple(values) for column, values in (categories or {}).items()},
    )
    joblib.dump(model, target / ARTEFACT)
    # Last, so that a half-written model is no model.
    model_config.write_config(target / model_config.FILE_NAME, config)
    return target


def _datatype(model: Any) -> str:
    classes = getattr(model, "classes_", None)
    if classes is None:
        return "FP64"
    kind = np.asarray(classes).dtype.kind
    return {"i": "INT64", "u": "UINT64", "b": "BOOL", "f": "FP64"}.get(kind, BYTES)
