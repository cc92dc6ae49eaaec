"""Which window a moment belongs to: event time, aligned to the epoch, the end excluded."""

import math

import numpy as np
from numpy.typing import NDArray


def window_of(time_s: float, size_s: float) -> tuple[float, float]:
    """Start and end of the window that holds ``time_s``; windows are aligned to the epoch, the end is excluded.

    >>> window_of(7300.0, 3600.0)
    (7200.0, 10800.0)
    """
    number = math.floor(time_s / size_s)
    start_s = number * size_s
    # Division rounds: near a boundary the quotient may be one window off.
    if time_s < start_s:
        number -= 1
    elif time_s >= (number + 1) * size_s:
        number += 1
    return number * size_s, (number + 1) * size_s


def windows_of(times_s: NDArray[np.float64], size_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Starts and ends of the windows of many times, each as :func:`window_of` says."""
    numbers = np.floor(times_s / size_s)
    numbers -= times_s < numbers * size_s
    numbers += times_s >= (numbers + 1) * size_s
    return numbers * size_s, (numbers + 1) * size_s
