"""Windows of the past judged once more, in their order, by a monitor as it stands or as it might be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detectors.baselines.reference import Reference
from detectors.counts.performance_counts import CORRECT, JUDGED
from detectors.counts.summary import merge_readable
from detectors.evaluating.accuracy_tests import STANDING
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.evaluating.row_tables import LabelledRows, TableOfWindow, no_labelled_rows, no_table
from detectors.evaluating.sequential import PREFIX
from detectors.offline.files import evaluate_in_order, window_verdict
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, VERDICT_STATE, Result, StreamKey, Verdict, WindowKey


@dataclass(frozen=True, slots=True)
class Replayed:
    """One window of all rows or of a segment: its verdict on drift, all results, its labelled rows, how many right.

    ``accuracy_fell``: where the monitor asks for a sequential test of accuracy, its alarm if one began here.

    Of regressions and rankings nobody knows how many were right: their counts hold errors and sums over queries, not
    judgements; then both are 0.
    """

    key: WindowKey
    verdict: Verdict
    results: Sequence[Result]
    judged: int
    correct: int
    accuracy_fell: Result | None = None

    @property
    def rows(self) -> int:
        """Rows of the window."""
        return max((result.sample_size for result in self.results if result.kind == "drift"), default=0)

    @property
    def sequential(self) -> Verdict | None:
        """What the deciding sequential test says of any column; None where the monitor asks for none."""
        budgets = (result.detector for result in self.results if result.kind == "budget")
        name = next((detector for detector in budgets if detector.startswith(PREFIX)), None)
        told = [result.verdict for result in self.results if result.kind == "drift" and result.detector == name]
        return max(told, key=VERDICT_STATE.__getitem__, default=None)

    @property
    def drifted(self) -> tuple[Result, ...]:
        """The deciding results of the columns that drifted, the largest effect first."""
        first: dict[str, Result] = {}
        for result in self.results:
            if result.kind == "drift" and result.column:
                first.setdefault(result.column, result)
        found = [result for result in first.values() if result.verdict is Verdict.DRIFTED]
        return tuple(sorted(found, key=lambda result: -(result.effect.value if result.effect else 0.0)))


def replay(
    monitor: Monitor,
    reference: Reference,
    states: Mapping[WindowKey, Sequence[bytes]],
    table: TableOfWindow = no_table,
    labelled: LabelledRows = no_labelled_rows,
) -> list[Replayed]:
    """Every window, the oldest first, each against the baseline that it would have had then.

    ``table``: its rows beside those it is compared with, for detectors that need some. ``labelled``: its labelled rows.
    Of segments those that the reference has rows of.
    """
    evaluator = Evaluator(monitor, reference, default_bridge())
    known = {key: found for key, found in states.items() if key.segment in {ALL_ROWS, *reference.counts}}
    layout = reference.performance_layout
    replayed, stood = [], dict[tuple[StreamKey, str], bool]()
    for key, found in evaluate_in_order(evaluator, known, table, labelled):
        section = None if monitor.predicts_numbers else merge_readable(states[key]).section(layout.fingerprint)
        judged, correct = (0, 0) if section is None else (int(section.values[JUDGED]), int(section.values[CORRECT]))
        alarm = next((each for each in found.results if _says_that_accuracy_fell(each)), None)
        began = None if stood.get((key.stream, key.segment)) else alarm
        stood[key.stream, key.segment] = alarm is not None
        replayed.append(Replayed(key, window_verdict(found.results), found.results, judged, correct, began))
    return replayed


def _says_that_accuracy_fell(result: Result) -> bool:
    return result.detector.startswith(STANDING) and result.verdict is Verdict.WARNING
