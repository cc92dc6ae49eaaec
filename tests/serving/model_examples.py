"""Small real models in a repository, for the tests of the model server."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from serving.sklearn_model import save_sklearn_model

CITIES = ("Oslo", "Paris", "Rome")


def write_classifier(directory: Path, version: str = "1", variant: str = "stable") -> Any:
    """A tree over a category and a number, either of which may lack; returns the fitted estimator."""
    rng = np.random.default_rng(1)
    matrix = np.column_stack([rng.integers(0, len(CITIES), 400), rng.normal(size=400)]).astype(float)
    answer = (matrix[:, 0] + matrix[:, 1] > 1).astype(int)
    estimator = DecisionTreeClassifier(max_depth=3, min_samples_leaf=20, random_state=0)
    estimator.fit(matrix, answer)
    save_sklearn_model(
        directory,
        "credit",
        version,
        estimator,
        inputs=[("city", "BYTES"), ("income", "FP64")],
        categories={"city": CITIES},
        prediction="default",
        score="probability",
        variant=variant,
    )
    return estimator


def write_regressor(directory: Path) -> None:
    """y = 2 a + 3 b + 1, exactly."""
    matrix = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 5.0]])
    estimator = LinearRegression().fit(matrix, matrix @ [2.0, 3.0] + 1.0)
    save_sklearn_model(directory, "line", "1", estimator, inputs=[("a", "FP64"), ("b", "FP64")], prediction="y")
