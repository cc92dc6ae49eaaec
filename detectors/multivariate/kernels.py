"""Kernels: how near two rows are, from their squared distance. Data, so that a device can be told them.

>>> from detectors.multivariate.arrays import HOST
>>> kernel, squares = gaussian(1.0), np.array([0.0, 2.0], dtype=np.float32)
>>> kernel.values(HOST, squares, np.float32(kernel.number)).astype(float).round(4).tolist()
[1.0, 0.3679]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.multivariate.arrays import Arrays

#: From squared distances of rows and a kernel's number to its values; it may overwrite the distances.
KernelValues = Callable[[Arrays, Any, np.float32], Any]


@dataclass(frozen=True, slots=True)
class Kernel:
    """``values`` is one of few functions; ``number``, what it is given besides, may be any."""

    values: KernelValues
    number: float = 0.0


def gaussian(width: float) -> Kernel:
    """``exp(-d^2 / (2 width^2))``."""
    return Kernel(_gaussian, -0.5 / width**2)


def nearness() -> Kernel:
    """``-d``: of it follows the energy distance."""
    return Kernel(_nearness)


def _gaussian(arrays: Arrays, squares: Any, factor: np.float32) -> Any:
    squares *= factor
    return arrays.xp.exp(squares, **arrays.into(squares))


def _nearness(arrays: Arrays, squares: Any, _number: np.float32) -> Any:
    distances = arrays.xp.sqrt(squares, **arrays.into(squares))
    return arrays.xp.negative(distances, **arrays.into(distances))
