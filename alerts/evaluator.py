"""Embedded evaluation: the burn-rate alerts without Prometheus, from the same objectives and with the same answers.

It reads the counters, keeps what the longest window needs, and decides each alert as the generated rule would: bad
ratio of the short window and proven bad ratio of the long one above the threshold. A window with fewer than
two samples decides nothing, as in Prometheus.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from alerts.burn import Window, proven_ratio, windows
from alerts.fingerprint import fingerprint
from alerts.history import CounterHistory
from alerts.options import RuleOptions
from alerts.selectors import Selector
from alerts.slo import Objective
from alerts.texts import burn_annotations, burn_labels, format_value
from driftline import names, rule_names
from driftline.clock import Clock
from driftline.errors import TransientError
from driftline.results import Alert

_log = logging.getLogger(__name__)

#: Samples are kept this much longer than the longest window, so that a late step still finds its first one.
MARGIN = 1.05


class Sample(NamedTuple):
    """One scraped sample; ``labels`` tell targets apart too (``instance``)."""

    name: str
    labels: Mapping[str, str]
    value: float


Scrape = Callable[[], Iterable[Sample]]
Deliver = Callable[[Sequence[Alert]], None]
_SeriesKey = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Decision:
    """How one alert stands: whether it fires, and the bad ratio of its long window (NaN where there were no events)."""

    objective: Objective
    window: Window
    firing: bool
    long_ratio: float


@dataclass(slots=True)
class _State:
    """What was decided and told about one alert so far."""

    starts_at_s: float | None = None
    quiet_since_s: float | None = None
    alert: Alert | None = None
    told_at_s: float | None = None
    resolution: Alert | None = None


class Evaluator:
    """Evaluates objectives step by step; not thread-safe, one per process.

    ``scrape`` gives the present samples of all targets; ``deliver`` takes firing and resolved alerts and may raise
    TransientError: what it did not take is offered again with the next step. ``clock``: the monitors' clock.
    ``repeat_s``: a firing alert is delivered again after this long on that clock.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        scrape: Scrape,
        deliver: Deliver,
        clock: Clock,
        options: RuleOptions | None = None,
        repeat_s: float = 4 * 3600.0,
    ) -> None:
        self._scrape = scrape
        self._deliver = deliver
        self._clock = clock
        self._options = options or RuleOptions()
        self._repeat_s = repeat_s
        self._rows = [(objective, window) for objective in objectives for window in windows(objective)]
        self._states: dict[tuple[str, Window], _State] = {
            (objective.id, window): _State() for objective, window in self._rows
        }
        self._keep_s = _longest_windows(self._rows)
        self._series: dict[Selector, dict[_SeriesKey, CounterHistory]] = {selector: {} for selector in self._keep_s}
        self._by_metric: dict[str, list[Selector]] = {}
        for selector in self._keep_s:
            self._by_metric.setdefault(selector.metric, []).append(selector)

    def step(self) -> tuple[Decision, ...]:
        """Scrape, decide, deliver: one turn."""
        now_s = self._clock()
        self.observe(self._scrape(), now_s)
        decisions = self.evaluate(now_s)
        self._settle(decisions, now_s)
        return decisions

    def observe(self, samples: Iterable[Sample], at_s: float) -> None:
        """Take one scrape's samples, as of ``at_s``; what no objective counts is passed over."""
        for sample in samples:
            for selector in self._by_metric.get(sample.name, ()):
                if selector.matches(sample.name, sample.labels):
                    self._history(selector, sample).add(at_s, sample.value)
        self._forget(at_s)

    def evaluate(self, at_s: float) -> tuple[Decision, ...]:
        """Every alert as it stands at ``at_s``; delivers nothing."""
        return tuple(self._decide(objective, window, at_s) for objective, window in self._rows)

    def firing(self) -> tuple[Alert, ...]:
        """The alerts that fire now, in the order of the objectives."""
        return tuple(state.alert for state in self._states.values() if state.alert is not None)

    # --- deciding -------------------------------------------------------------------------------------------------
    def _decide(self, objective: Objective, window: Window, at_s: float) -> Decision:
        long_bad, long_total = self._counts(objective, at_s, window.long_s)
        short_bad, short_total = self._counts(objective, at_s, window.short_s)
        lower, short = proven_ratio(long_bad, long_total), _ratio(short_bad, short_total)
        return Decision(
            objective=objective,
            window=window,
            # Comparisons with NaN are false, in Python as in PromQL: without events nothing fires.
            firing=lower > window.threshold and short > window.threshold,
            long_ratio=_ratio(long_bad, long_total),
        )

    def _counts(self, objective: Objective, at_s: float, window_s: float) -> tuple[float, float]:
        total = self._increase(objective.total, at_s, window_s)
        counted = self._increase(objective.counted, at_s, window_s)
        if total is None:
            return math.nan, math.nan
        if objective.counts == "good":
            return (math.nan if counted is None else max(total - counted, 0.0)), total
        return (0.0 if counted is None else counted), total

    def _increase(self, selector: Selector, at_s: float, window_s: float) -> float | None:
        """``sum(increase(selector[window]))``; None where no series has two samples in the window."""
        found = [history.increase(at_s, window_s) for history in self._series[selector].values()]
        rises = [rise for rise in found if rise is not None]
        return math.fsum(rises) if rises else None

    # --- telling --------------------------------------------------------------------------------------------------
    def _settle(self, decisions: Sequence[Decision], now_s: float) -> None:
        for decision in decisions:
            self._move(self._states[decision.objective.id, decision.window], decision, now_s)
        due = [state for state in self._states.values() if self._is_due(state, now_s)]
        alerts = [alert for state in due if (alert := state.resolution or state.alert) is not None]
        if not alerts:
            return
        try:
            self._deliver(alerts)
        except TransientError as error:
            _log.warning("%d alerts could not be delivered and are offered again: %s", len(alerts), error)
            return
        for state in due:
            _told(state, now_s)

    def _move(self, state: _State, decision: Decision, now_s: float) -> None:
        if decision.firing:
            if state.starts_at_s is None:
                state.starts_at_s, state.told_at_s = now_s, None
            state.alert = self._alert(decision, state.starts_at_s)
            state.resolution = state.quiet_since_s = None
        elif state.alert is not None and not _is_kept(state, decision.window, now_s):
            told, last = state.told_at_s is not None, state.alert
            state.resolution = _resolved(last, now_s) if told else None
            state.alert = state.starts_at_s = state.quiet_since_s = None

    def _is_due(self, state: _State, now_s: float) -> bool:
        if state.resolution is not None:
            return True
        if state.alert is None or self._is_muted(state.alert):
            return False
        return state.told_at_s is None or now_s - state.told_at_s >= self._repeat_s

    def _is_muted(self, alert: Alert) -> bool:
        """Whether a page of the same incident speaks for this ticket, as Alertmanager's inhibition has it."""
        if alert.labels[names.SEVERITY] != names.SEVERITY_TICKET:
            return False
        return any(
            other.labels[names.SEVERITY] == names.SEVERITY_PAGE
            and all(other.labels[label] == alert.labels[label] for label in rule_names.INCIDENT)
            for other in self.firing()
        )

    def _alert(self, decision: Decision, starts_at_s: float) -> Alert:
        objective, window = decision.objective, decision.window
        labels = {"alertname": rule_names.ALERT_OF_KIND[objective.kind], **burn_labels(objective, window)}
        value = format_value(100.0 * decision.long_ratio)
        return Alert(
            status="firing",
            labels=labels,
            annotations=burn_annotations(objective, window, self._options, value),
            starts_at_s=starts_at_s,
            ends_at_s=None,
            fingerprint=fingerprint(labels),
        )

    # --- remembering ----------------------------------------------------------------------------------------------
    def _history(self, selector: Selector, sample: Sample) -> CounterHistory:
        key = (sample.name, frozenset(sample.labels.items()))
        histories = self._series[selector]
        if key not in histories:
            histories[key] = CounterHistory(self._keep_s[selector] * MARGIN)
        return histories[key]

    def _forget(self, at_s: float) -> None:
        """Drop series that have not been seen for longer than any window: a replaced pod must not stay for ever."""
        for selector, histories in self._series.items():
            oldest_s = at_s - self._keep_s[selector] * MARGIN
            for key in [key for key, history in histories.items() if history.newest_s < oldest_s]:
                del histories[key]


def _longest_windows(rows: Iterable[tuple[Objective, Window]]) -> dict[Selector, float]:
    longest: dict[Selector, float] = {}
    for objective, window in rows:
        for selector in (objective.total, objective.counted):
            longest[selector] = max(window.long_s, longest.get(selector, 0.0))
    return longest


def _is_kept(state: _State, window: Window, now_s: float) -> bool:
    """Whether an alert whose condition does not hold still fires, as ``keep_firing_for`` has it."""
    if state.quiet_since_s is None:
        state.quiet_since_s = now_s
    return now_s - state.quiet_since_s < window.kept_s


def _ratio(bad: float, total: float) -> float:
    return bad / total if total > 0 else math.nan


def _resolved(alert: Alert, now_s: float) -> Alert:
    return Alert("resolved", alert.labels, alert.annotations, alert.starts_at_s, now_s, alert.fingerprint)


def _told(state: _State, now_s: float) -> None:
    if state.resolution is not None:
        state.resolution, state.told_at_s = None, None
    else:
        state.told_at_s = now_s
