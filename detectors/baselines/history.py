"""What a baseline is made of: windows of the past, as somebody keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from driftline.results import PastWindow, StreamKey, Verdict, WindowKey


class WindowHistory(Protocol):
    """Reads of windows that were evaluated before."""

    def past_windows(self, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> Sequence[PastWindow]:
        """Those evaluated windows of a segment that begin at one of these times, oldest first."""
        ...

    def past_states(self, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> Sequence[bytes]:
        """The states of these windows, of all partitions, in no order: they are to be merged."""
        ...

    def variant_windows(self, key: WindowKey, variant: str) -> Sequence[WindowKey]:
        """The same window and segment of another variant of the model, of each of its versions that has it."""
        ...

    def variant_states(self, key: WindowKey, variant: str) -> Sequence[bytes]:
        """The states of the same window and segment of another variant of the model, whatever its version."""
        ...


@dataclass(frozen=True, slots=True)
class KeptWindows:
    """A history in memory: windows of files, or of a replay. ``verdicts`` holds those that were evaluated so far."""

    states: Mapping[WindowKey, Sequence[bytes]]
    verdicts: dict[WindowKey, Verdict] = field(default_factory=dict)

    def past_windows(self, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> Sequence[PastWindow]:
        """As :class:`WindowHistory` has it."""
        wanted = frozenset(starts_s)
        found = [
            PastWindow(key.start_s, key.end_s, verdict)
            for key, verdict in self.verdicts.items()
            if key.start_s in wanted and (key.stream, key.segment) == (stream, segment)
        ]
        return sorted(found, key=lambda window: (window.start_s, window.end_s))

    def past_states(self, stream: StreamKey, segment: str, starts_s: Sequence[float]) -> Sequence[bytes]:
        """As :class:`WindowHistory` has it."""
        wanted = frozenset(starts_s)
        return [
            state
            for key, states in self.states.items()
            if key.start_s in wanted and (key.stream, key.segment) == (stream, segment)
            for state in states
        ]

    def variant_windows(self, key: WindowKey, variant: str) -> Sequence[WindowKey]:
        """As :class:`WindowHistory` has it."""
        model = (key.stream.namespace, key.stream.model)
        window = (key.segment, key.start_s, key.end_s)
        return [
            other
            for other in self.states
            if (other.stream.namespace, other.stream.model) == model
            and other.stream.variant == variant
            and (other.segment, other.start_s, other.end_s) == window
        ]

    def variant_states(self, key: WindowKey, variant: str) -> Sequence[bytes]:
        """As :class:`WindowHistory` has it."""
        return [state for other in self.variant_windows(key, variant) for state in self.states[other]]
