"""What controls false alarms across the windows of a stream, by the name that a monitor gives it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from detectors.error_control.fading import Fading
from detectors.error_control.lord import Lord
from detectors.error_control.saffron import Saffron, addis


class Control(Protocol):
    """Which level the next test has, given all tests before; frozen, with frozen states."""

    def start(self) -> Any:
        """Nothing tested."""
        ...

    def level(self, state: Any) -> float:
        """The level of the next test."""
        ...

    def step(self, state: Any, p_value: float) -> Any:
        """The state after a test's p-value; rejected when it is at most the level."""
        ...

    def spent(self, state: Any) -> float:
        """Share of the rate that is spent, in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class Across:
    """``make(rate)`` remembers everything; ``fading(rate, keep)`` weighs what is long ago less, None: it cannot."""

    name: str
    make: Callable[[float], Control]
    fading: Callable[[float, float], Control] | None


ACROSS: tuple[Across, ...] = (
    Across("lord", Lord, Fading),
    Across("saffron", Saffron, lambda rate, keep: Fading(rate, keep, candidate=0.5)),
    Across("addis", addis, None),
)


def control(name: str, rate: float, keep: float | None) -> Control:
    """The procedure of that name; ``keep``: weight of a test one test later, None: all weigh the same.

    Raises KeyError, and ValueError where the procedure cannot forget.
    """
    chosen = {each.name: each for each in ACROSS}[name]
    if keep is None:
        return chosen.make(rate)
    if chosen.fading is None:
        raise ValueError(f"'{name}' has no form that forgets")
    return chosen.fading(rate, keep)


def fold(procedure: Control, p_values: Iterable[float]) -> Any:
    """The state after all these p-values, in order."""
    state = procedure.start()
    for p_value in p_values:
        state = procedure.step(state, p_value)
    return state
