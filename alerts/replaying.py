"""The alerts that a history of counters would have caused: the embedded evaluation, run over it."""

import math
from collections.abc import Callable, Iterable, Sequence

from alerts.evaluator import Evaluator, Sample
from alerts.options import RuleOptions
from alerts.slo import Objective
from driftline.results import Alert

#: The counters as they stood at a time.
CountersAt = Callable[[float], Iterable[Sample]]


def notices(
    objectives: Sequence[Objective],
    counters_at: CountersAt,
    since_s: float,
    until_s: float,
    step_s: float,
    options: RuleOptions | None = None,
) -> list[Alert]:
    """The alerts delivered from ``since_s`` to ``until_s``, evaluated every ``step_s``, in the order of their delivery.

    Each alert once when it fires and once when it is over, without repeats. A ticket for which a page spoke was told to
    nobody, as in production, and is left out.
    """
    told: list[Alert] = []
    now_s = since_s
    evaluator = Evaluator(objectives, lambda: counters_at(now_s), told.extend, lambda: now_s, options, math.inf)
    while now_s <= until_s:
        evaluator.step()
        now_s += step_s
    return told
