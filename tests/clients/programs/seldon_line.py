"""The model ``line``, as Seldon Core 1's wrapper for Python serves it over REST and gRPC."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Line:
    """y = 2 a + 3 b + 1; anything but two columns is an error."""

    def predict(self, rows: Any, names: Sequence[str], meta: Any = None) -> Any:
        """A list of one value per row."""
        numbers = np.asarray(rows, float)
        if numbers.shape[1] != 2:
            raise ValueError("two columns are wanted")
        return (numbers @ [2.0, 3.0] + 1).reshape(-1, 1)

    def class_names(self) -> list[str]:
        """The names of the columns that are answered."""
        return ["y"]

    def send_feedback(self, features: Any, names: Any, reward: float, truth: Any, routing: Any = None) -> list[Any]:
        """Take any."""
        return []
