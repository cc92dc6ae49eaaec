"""Simulated Brownian bridges: what the difference of two distribution functions looks like when nothing has changed.

``sqrt(nm / (n + m))`` times the difference of two empirical distribution functions of one distribution tends to a
Brownian bridge, whatever the distribution and the sizes. One table of bridges, made once from a seed, therefore serves
every column, segment and window.

Source: M. D. Donsker, Justification and extension of Doob's heuristic approach, 1952.
"""

import numpy as np
from numpy.typing import NDArray

#: Steps of time; times are multiples of 1 / STEPS.
STEPS = 128
DRAWS = 4000


def absolute_bridges(rng: np.random.Generator, draws: int = DRAWS) -> NDArray[np.float32]:
    """Absolute values of ``draws`` bridges, shape (draws, STEPS + 1), from time 0 to 1."""
    walk = np.zeros((draws, STEPS + 1))
    walk[:, 1:] = np.cumsum(rng.standard_normal((draws, STEPS)), axis=1) / np.sqrt(STEPS)
    bridge = walk - np.outer(walk[:, -1], np.linspace(0.0, 1.0, STEPS + 1))
    absolute: NDArray[np.float32] = np.abs(bridge).astype(np.float32)
    return absolute
