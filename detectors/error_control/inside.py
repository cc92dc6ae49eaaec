"""What controls false alarms among the columns of one window, by the name that a monitor gives it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detectors.error_control import benjamini_hochberg, benjamini_yekutieli, e_benjamini_hochberg


@dataclass(frozen=True, slots=True)
class Inside:
    """``rejected(p_values, rate)`` and ``adjusted(p_values)``, each in the order of the p-values."""

    name: str
    rejected: Callable[[Sequence[float], float], list[bool]]
    adjusted: Callable[[Sequence[float]], list[float]]

    def p_value(self, p_values: Sequence[float]) -> float:
        """The smallest rate at which anything is rejected: a p-value of "nothing at all has changed"."""
        return min(1.0, *self.adjusted(p_values)) if p_values else 1.0


INSIDE: tuple[Inside, ...] = (
    Inside("benjamini_hochberg", benjamini_hochberg.rejected, benjamini_hochberg.adjusted),
    Inside("benjamini_yekutieli", benjamini_yekutieli.rejected, benjamini_yekutieli.adjusted),
    Inside("e_bh", e_benjamini_hochberg.rejected_p, e_benjamini_hochberg.adjusted_p),
)

_BY_NAME = {each.name: each for each in INSIDE}


def inside(name: str) -> Inside:
    """The procedure of that name; raises KeyError."""
    return _BY_NAME[name]
