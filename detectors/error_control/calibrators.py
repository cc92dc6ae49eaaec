"""From p-values to e-values. An e-value is what a bet that began with 1 has become; large is evidence.

``to_e`` mixes all bets ``k * p ** (k - 1)``, k in (0, 1): its mean under a uniform p-value is exactly 1.

Source: V. Vovk, R. Wang, E-values: calibration, combination and applications, 2021, equation (2).

>>> round(to_e(0.001), 2), round(to_e(0.5), 2)
(20.79, 0.64)
"""

import math

# Near 1 the closed form loses its digits; its limit there is 1/2.
_NEAR_ONE = 1e-4
_SMALLEST = 1e-300


def to_e(p_value: float) -> float:
    """The e-value of a p-value in [0, 1]; finite even for 0."""
    p_value = max(p_value, _SMALLEST)
    if p_value > 1.0 - _NEAR_ONE:
        return 0.5 + (1.0 - p_value) / 3.0
    log = math.log(p_value)
    return (1.0 - p_value + p_value * log) / (p_value * log * log)
