"""The alerts that a history of counters would have raised: the embedded evaluation, run through time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from alerts.evaluator import Evaluator, Sample
from alerts.options import RuleOptions
from alerts.slo import Objective
from driftline.results import Alert

#: The counters as they stood at a time.
CountersAt = Callable[[float], Iterable[Sample]]

#: Steps within which an alert that fires again is the same alert.
AGAIN_STEPS = 3


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert that somebody would have been told: as delivered first, when it was over (None: it still fires), and
    how often it fired in that time.
    """

    alert: Alert
    ended_at_s: float | None
    times: int = 1


def raised(
    objectives: Sequence[Objective],
    counters_at: CountersAt,
    since_s: float,
    until_s: float,
    step_s: float,
    options: RuleOptions | None = None,
) -> list[Raised]:
    """All alerts from ``since_s`` to ``until_s``, decided every ``step_s``, in the order in which they were told.

    Where an alert fires again within three steps after it was over, it is the same alert: so soon Alertmanager would
    not have said either. A ticket for which a page spoke already was told to nobody, as in production, and is left out.
    """
    told: list[Raised] = []
    newest: dict[str, int] = {}
    now_s = since_s

    def deliver(alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            place = newest.get(alert.fingerprint)
            if place is None or not _goes_on(told[place], alert, AGAIN_STEPS * step_s):
                newest[alert.fingerprint] = len(told)
                told.append(Raised(alert, None))
            else:
                told[place] = _followed(told[place], alert)

    evaluator = Evaluator(objectives, lambda: counters_at(now_s), deliver, lambda: now_s, options)
    while now_s <= until_s:
        evaluator.step()
        now_s += step_s
    return told


def _goes_on(known: Raised, alert: Alert, within_s: float) -> bool:
    return known.ended_at_s is None or alert.starts_at_s - known.ended_at_s <= within_s


def _followed(known: Raised, alert: Alert) -> Raised:
    """What is known of an alert that was delivered once more: repeated, over, or on again."""
    if alert.status == "resolved":
        return replace(known, ended_at_s=alert.ends_at_s)
    again = known.ended_at_s is not None
    return replace(known, ended_at_s=None, times=known.times + again)
