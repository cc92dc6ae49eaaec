"""Which window a moment belongs to: event time, aligned to the epoch, the end excluded."""

import numpy as np
from numpy.typing import NDArray


def windows_of(times_s: NDArray[np.float64], size_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Starts and ends of the windows that hold ``times_s``, both of its shape; a window of ``size_s`` excludes its end.

    >>> [bounds.tolist() for bounds in windows_of(np.array([0.0, 7300.0]), 3600.0)]
    [[0.0, 7200.0], [3600.0, 10800.0]]
    """
    numbers = np.floor(times_s / size_s)
    # Division rounds: near a boundary the quotient may be one window off.
    numbers -= times_s < numbers * size_s
    numbers += times_s >= (numbers + 1) * size_s
    return numbers * size_s, (numbers + 1) * size_s
