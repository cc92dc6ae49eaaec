"""What every sequential test is: a frozen state, a pure step, an alarm, its evidence, and since when.

A test reads one observation after the other and never looks back. Its state holds all that it knows, has the same size
however long the stream is, and is the same bytes wherever it is kept. Observations are numbered from 0 in the order in
which the state saw them.
"""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

State = TypeVar("State")
Seen_contra = TypeVar("Seen_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a window, or one event, gave: of ``rows`` rows, how many hit each watched share (shape (shares,)).

    One event is a window of one row; its hit may also be any number in [0, 1], such as a score.
    """

    hits: NDArray[np.float64]
    rows: int


@dataclass(frozen=True, slots=True)
class Onset:
    """Where a change began: the number of the first observation after it, and the range that is nearly as likely.

    ``at`` and both ends are numbers of observations. ``earliest`` may lie before what the state remembers; then
    ``reaches_back`` is true.
    """

    at: int
    earliest: int
    latest: int
    reaches_back: bool = False


class OnlineTest(Protocol[State, Seen_contra]):
    """A sequential test; frozen, so that a test and a state say all there is to say."""

    def start(self) -> State:
        """The state before the first observation."""
        ...

    def step(self, state: State, seen: Seen_contra) -> State:
        """The state after one more observation; the given state stays as it is."""
        ...

    def alarm(self, state: State) -> bool:
        """Whether the test says that the stream has changed."""
        ...

    def evidence(self, state: State) -> float:
        """What the alarm is decided by: an e-value where the test makes a promise, else its own statistic."""
        ...

    def onset(self, state: State) -> Onset | None:
        """Since when, while the alarm stands; None without one, and where the test does not tell."""
        ...


def run(test: "OnlineTest[Any, Any]", stream: Any) -> list[int]:
    """The numbers of the observations at which an alarm began (it may stand for longer)."""
    state, alarms, stood = test.start(), [], False
    for number, seen in enumerate(stream):
        state = test.step(state, seen)
        stands = test.alarm(state)
        if stands and not stood:
            alarms.append(number)
        stood = stands
    return alarms
