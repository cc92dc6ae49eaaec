"""Alerts that a monitor's objectives would have told of the past: the parts' counters as they would have stood, and the
embedded evaluation of the objectives on these, step by step.

Of the objectives, drift is replayed, and correctness of classifications; the others (availability, latency, capture,
data quality, the correctness of regressions and rankings) follow from single requests and rows, which window counts do
not hold.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alerts.evaluator import Sample
from alerts.options import SCRAPES_PER_LOOK
from alerts.replaying import notices
from alerts.slo import READINGS_PER_DELAY, objectives
from detectors.offline.replaying import Replayed
from driftline import names
from driftline.monitors import Monitor
from driftline.results import Alert, Verdict

#: Objectives that window counts can tell of.
REPLAYED = ("drift", "correctness")
STEPS_PER_WINDOW = 12
#: A replay decides no oftener than counters are scraped, and in no more steps than these.
_SHORTEST_STEP_S, _MOST_STEPS = 15.0, 50_000


def replayed_notices(monitor: Monitor, windows: Sequence[Replayed]) -> list[Alert]:
    """The alerts that the windows, sorted by their starts, would have caused, as they fired and as they resolved."""
    kept = tuple(slo for slo in monitor.slos.objectives if slo.kind in REPLAYED)
    if not kept or not windows:
        return []
    delay_s = monitor.labels.expected_delay
    begin_s = windows[0].key.start_s
    end_s = windows[-1].key.end_s + monitor.windows.lateness + max(delay_s, monitor.windows.size)
    every_s = decided_every_s(monitor, end_s - begin_s)
    wanted = objectives(
        monitor.model_copy(update={"slos": monitor.slos.model_copy(update={"objectives": kept})}), every_s
    )
    counters = Counters(tuple(windows), monitor.windows.lateness, delay_s)
    return notices(wanted, counters.at, begin_s, end_s, every_s)


def decided_every_s(monitor: Monitor, span_s: float) -> float:
    """Small enough that no objective's windows grow by it, as far as the number of steps allows."""
    labels_s = monitor.labels.expected_delay / (READINGS_PER_DELAY * SCRAPES_PER_LOOK)
    wanted_s = min(monitor.windows.size / STEPS_PER_WINDOW, labels_s)
    return max(wanted_s, _SHORTEST_STEP_S, span_s / _MOST_STEPS)


class Counters:
    """What the parts would have exported: windows by verdict once they are evaluated, labels as they come.

    Labels are taken to come evenly, each ``delay_s`` after its prediction. ``windows`` are sorted by their starts.
    """

    def __init__(self, windows: Sequence[Replayed], lateness_s: float, delay_s: float) -> None:
        self._delay_s = delay_s
        self._streams = []
        for stream in sorted({window.key.stream for window in windows}):
            mine = [window for window in windows if window.key.stream == stream]
            labels = dict(
                zip(names.STREAM, (stream.namespace, stream.model, stream.version, stream.variant), strict=True)
            )
            evaluated = {
                verdict: [window.key.end_s + lateness_s for window in mine if window.verdict is verdict]
                for verdict in Verdict
            }
            self._streams.append((labels, evaluated, _Arriving.of(mine)))

    def at(self, now_s: float) -> Iterable[Sample]:
        """Every counter as it stood."""
        for labels, evaluated, arriving in self._streams:
            for verdict, times_s in evaluated.items():
                told = {**labels, names.VERDICT: verdict.value}
                yield Sample(names.WINDOWS_EVALUATED.name, told, float(bisect_right(times_s, now_s)))
            judged, correct = arriving.by(now_s - self._delay_s)
            for outcome, value in ((names.OUTCOME_CORRECT, correct), (names.OUTCOME_INCORRECT, judged - correct)):
                yield Sample(names.JUDGED_PREDICTIONS.name, {**labels, names.OUTCOME: outcome}, math.floor(value))


@dataclass(frozen=True, slots=True)
class _Arriving:
    """Predictions with a label, and how many of them were right, added up over windows in their order."""

    starts_s: tuple[float, ...]
    size_s: float
    judged: tuple[int, ...]
    correct: tuple[int, ...]

    @classmethod
    def of(cls, windows: Sequence[Replayed]) -> "_Arriving":
        """The sums before each window, and after the last."""
        first = windows[0].key
        return cls(
            tuple(window.key.start_s for window in windows),
            first.end_s - first.start_s,
            tuple(itertools.accumulate((window.judged for window in windows), initial=0)),
            tuple(itertools.accumulate((window.correct for window in windows), initial=0)),
        )

    def by(self, time_s: float) -> tuple[float, float]:
        """Both sums over predictions made until then."""
        place = bisect_right(self.starts_s, time_s) - 1
        if place < 0:
            return 0.0, 0.0
        share = min(1.0, (time_s - self.starts_s[place]) / self.size_s)
        judged, correct = (
            sums[place] + share * (sums[place + 1] - sums[place]) for sums in (self.judged, self.correct)
        )
        return judged, correct
