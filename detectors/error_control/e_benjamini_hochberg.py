"""e-BH: which of several e-values to reject, right however they hang together.

The ``k`` largest are rejected for the largest ``k`` whose k-th e-value is at least ``m / (rate * k)``. E-values that
were never p-values lose nothing; p-values have to be calibrated first, which costs more than Benjamini-Yekutieli does.

Source: R. Wang, A. Ramdas, False discovery rate control with e-values, 2022, definition 2 and theorem 2.

>>> rejected([100.0, 40.0, 1.0], 0.05), rejected([100.0, 30.0, 1.0], 0.05)
([True, True, False], [True, True, False])
>>> rejected([50.0, 30.0, 1.0], 0.05), rejected([50.0, 20.0, 1.0], 0.05)
([True, True, False], [False, False, False])
"""

from collections.abc import Sequence

from detectors.error_control import benjamini_hochberg
from detectors.error_control.calibrators import to_e


def rejected(e_values: Sequence[float], rate: float) -> list[bool]:
    """For each e-value, in order, whether it is rejected at false discovery rate ``rate`` in (0, 1)."""
    return benjamini_hochberg.rejected(_inverse(e_values), rate)


def adjusted(e_values: Sequence[float]) -> list[float]:
    """For each e-value, in order, the smallest rate at which it would be rejected, at most 1."""
    return [min(1.0, value) for value in benjamini_hochberg.adjusted(_inverse(e_values))]


def rejected_p(p_values: Sequence[float], rate: float) -> list[bool]:
    """As :func:`rejected`, for the e-values of p-values."""
    return rejected([to_e(value) for value in p_values], rate)


def adjusted_p(p_values: Sequence[float]) -> list[float]:
    """As :func:`adjusted`, for the e-values of p-values."""
    return adjusted([to_e(value) for value in p_values])


def _inverse(e_values: Sequence[float]) -> list[float]:
    # The rule is that of Benjamini-Hochberg on the inverses; those of e-values below 1 may be above 1.
    return [1.0 / value if value > 0.0 else float("inf") for value in e_values]
