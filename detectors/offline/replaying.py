"""Windows of the past judged once more, in their order, by a monitor as it stands or as it might be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detectors.baselines.reference import Reference
from detectors.counts.performance_counts import CORRECT, JUDGED
from detectors.counts.summary import StateError, WindowState, merge
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.offline.files import evaluate_in_order, window_verdict
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, Result, Verdict, WindowKey


@dataclass(frozen=True, slots=True)
class Replayed:
    """One window of all rows: its verdict on drift, all results, and its predictions with a label, how many right.

    Of regressions and rankings nobody knows how many were right: their counts hold errors and sums over queries, not
    judgements; then both are 0.
    """

    key: WindowKey
    verdict: Verdict
    results: tuple[Result, ...]
    judged: int
    correct: int

    @property
    def rows(self) -> int:
        """Rows of the window."""
        return max((result.sample_size for result in self.results if result.kind == "drift"), default=0)

    @property
    def drifted(self) -> tuple[Result, ...]:
        """The deciding results of the columns that drifted, the largest effect first."""
        first: dict[str, Result] = {}
        for result in self.results:
            if result.kind == "drift" and result.column:
                first.setdefault(result.column, result)
        found = [result for result in first.values() if result.verdict is Verdict.DRIFTED]
        return tuple(sorted(found, key=lambda result: -(result.effect.value if result.effect else 0.0)))


def replay(monitor: Monitor, reference: Reference, states: Mapping[WindowKey, Sequence[bytes]]) -> list[Replayed]:
    """Every window of all rows, the oldest first, each against the baseline that it would have had then."""
    evaluator = Evaluator(monitor, reference, default_bridge())
    whole = {key: found for key, found in states.items() if key.segment == ALL_ROWS}
    layout = reference.performance_layout
    replayed = []
    for key, found in evaluate_in_order(evaluator, whole):
        section = None if monitor.predicts_numbers else _merged(states[key]).section(layout.fingerprint)
        judged, correct = (0, 0) if section is None else (int(section.values[JUDGED]), int(section.values[CORRECT]))
        replayed.append(Replayed(key, window_verdict(found.results), found.results, judged, correct))
    return replayed


def _merged(states: Sequence[bytes]) -> WindowState:
    readable = []
    for state in states:
        try:
            readable.append(WindowState.from_bytes(state))
        except StateError:  # told in the log where the window was evaluated
            continue
    return merge(readable)
