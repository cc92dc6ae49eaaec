"""Benjamini-Yekutieli: Benjamini-Hochberg at a smaller rate, right however the columns hang together.

Benjamini-Hochberg holds for independent and for positively dependent p-values. Divided by ``1 + 1/2 + ... + 1/m`` its
rate holds for any dependence of ``m`` p-values: about a factor of 3.6 for twenty columns.

Source: Y. Benjamini, D. Yekutieli, The control of the false discovery rate in multiple testing under dependency, 2001,
theorem 1.3.

>>> rejected([0.001, 0.02, 0.9], 0.05), rejected([0.001, 0.015, 0.9], 0.05)
([True, False, False], [True, True, False])
"""

from collections.abc import Sequence

from detectors.error_control import benjamini_hochberg


def rejected(p_values: Sequence[float], rate: float) -> list[bool]:
    """For each p-value, in order, whether it is rejected at false discovery rate ``rate`` in (0, 1)."""
    return benjamini_hochberg.rejected(p_values, rate / _harmonic(len(p_values)))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """For each p-value, in order, the smallest rate at which it would be rejected, at most 1."""
    return [min(1.0, value * _harmonic(len(p_values))) for value in benjamini_hochberg.adjusted(p_values)]


def _harmonic(count: int) -> float:
    return sum(1.0 / rank for rank in range(1, count + 1)) if count else 1.0
