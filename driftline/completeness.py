"""Is every inference accounted for: what sidecars counted against what the store has, with the difference explained.

::

    requests  =  logged + sampled out + dropped by reason                   what the sidecars say
    logged    =  stored + undecodable by reason + on its way + lost         what the store says of it

Events that were stored later, by a replay, were undecodable before; they count once. Pure arithmetic over samples.

>>> made = [Sample(names.CAPTURE_EVENTS.name, {"namespace": "d", "model": "m", "outcome": "logged", "reason": ""}, 3.0)]
>>> balance_of(made).models["d/m"].missing
3
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from driftline import names

#: Counted by the store and shown by every collector: of several collectors' figures one is the truth, not their sum.
OF_THE_STORE = (names.COLLECTOR_EVENTS, names.DEAD_LETTER_REPLAYS, names.HALVES)
#: Counted by each sidecar, shipper or collector for itself.
OF_EACH = (names.SIDECAR_REQUESTS, names.CAPTURE_EVENTS, names.SHIPPER_EVENTS)
#: How much is on its way.
ON_THE_WAY = (names.SHIPPER_LAG_BYTES, names.COLLECTOR_LAG, names.WAITING_HALVES, names.CAPTURE_QUEUE_EVENTS)
#: Where events are counted that could not be read far enough to know their model, or are of no model with a monitor.
UNKNOWN = "unknown/unknown"


class Sample(NamedTuple):
    """A metric's name, its labels, its value, and which process it is from."""

    name: str
    labels: Mapping[str, str]
    value: float
    instance: str = ""


@dataclass(slots=True)
class ModelBalance:
    """The counts of one model, as whole events."""

    requests: int = 0
    logged: int = 0
    sampled_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    duplicates: int = 0
    undecodable: Counter[str] = field(default_factory=Counter)
    replayed: int = 0

    @property
    def uncounted(self) -> int:
        """Requests that are in none of the sidecars' outcomes; their answers are being given, or not yet settled."""
        return self.requests - self.logged - self.sampled_out - self.dropped.total()

    @property
    def arrived(self) -> int:
        """Events that the store knows, each once."""
        return self.stored - self.replayed + self.undecodable.total()

    @property
    def missing(self) -> int:
        """Logged, and not arrived: on its way, lost, or known to no model. Below zero: other loggers sent events."""
        return self.logged - self.arrived


@dataclass(slots=True)
class Balance:
    """All models, and what may lie between both sides.

    ``on_the_way``: metrics of things that wait, by name, where they are not zero. ``lost``: events that sinks gave up,
    by sink and reason. ``halves``: requests and answers of other loggers, which no sidecar counted, by outcome.
    """

    models: dict[str, ModelBalance] = field(default_factory=dict)
    on_the_way: dict[str, float] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    halves: Counter[str] = field(default_factory=Counter)

    @property
    def joined(self) -> int:
        """Events that were made of other loggers' halves: one of each pair, and of each that was left alone."""
        alone = (names.OUTCOME_UNPAIRED, names.OUTCOME_REFUSED)
        return self.halves[names.OUTCOME_PAIRED] // 2 + sum(self.halves[outcome] for outcome in alone)

    @property
    def missing(self) -> int:
        """Logged and not arrived, of all models together; those of no known model count as arrived."""
        return sum(model.missing for model in self.models.values()) + self.joined

    @property
    def unexplained(self) -> int:
        """Missing events that no sink gave up, while none is on its way: they were lost without being counted."""
        left = self.missing - self.lost.total()
        return 0 if self.on_the_way and left > 0 else left

    @property
    def closes(self) -> bool:
        """Whether every request is in an outcome and every logged event has arrived."""
        return self.missing == 0 and all(model.uncounted == 0 for model in self.models.values())

    def sentences(self) -> list[str]:
        """What there is to say about the difference, for people."""
        if self.closes:
            return ["everything that was logged has arrived"]
        found = []
        if uncounted := sum(model.uncounted for model in self.models.values()):
            found.append(
                f"{uncounted} requests are in no outcome yet: answered a moment ago, or counted by another start"
            )
        found += [f"{number} were given up by {sink}" for sink, number in sorted(self.lost.items())]
        found += [f"on its way: {name} is {value:g}" for name, value in sorted(self.on_the_way.items())]
        unknown = self.models.get(UNKNOWN)
        if unknown is not None and unknown.arrived:
            found.append(f"{unknown.arrived} arrived without a known model: 'driftline deadletters list' says which")
        if self.unexplained > 0:
            found.append(
                f"{self.unexplained} are lost, and nothing says where; under traffic the newest may be on their way: "
                "balance again"
            )
        if self.unexplained < 0:
            found.append(
                f"{-self.unexplained} more arrived than were logged: a sidecar was started anew since, or others sent "
                "them; balance over a time (--over, --prometheus) instead"
            )
        return found


def balance_of(samples: Iterable[Sample]) -> Balance:
    """The balance of counters' values, or of their increases."""
    balance = Balance()
    for (name, given), value in _merged(samples).items():
        labels, number = dict(given), round(value)
        if name in _ON_THE_WAY:
            if value > 0:
                balance.on_the_way[name] = balance.on_the_way.get(name, 0.0) + value
        elif name == names.SHIPPER_EVENTS.name:
            if labels.get(names.OUTCOME) == names.OUTCOME_FAILED and number:
                balance.lost[f"{labels.get(names.SINK)} ({labels.get(names.REASON)})"] += number
        elif name == names.HALVES.name:
            balance.halves[labels.get(names.OUTCOME, "")] += number
        elif name in _COUNTS:
            key = f"{labels.get(names.NAMESPACE)}/{labels.get(names.MODEL)}"
            _COUNTS[name](balance.models.setdefault(key, ModelBalance()), labels, number)
    return balance


def increases(before: Iterable[Sample], after: Iterable[Sample]) -> list[Sample]:
    """What was counted between two readings; a counter that fell was started anew. Gauges are as they are now."""
    old = {_identity(sample): sample.value for sample in before}
    counters = {metric.name for metric in (*OF_THE_STORE, *OF_EACH)}
    found = []
    for sample in after:
        start = old.get(_identity(sample), 0.0) if sample.name in counters else 0.0
        risen = sample.value - start
        found.append(sample._replace(value=risen if risen >= 0 else sample.value))
    return found


def _requests(model: ModelBalance, _labels: Mapping[str, str], number: int) -> None:
    model.requests += number


def _captured(model: ModelBalance, labels: Mapping[str, str], number: int) -> None:
    outcome = labels.get(names.OUTCOME)
    if outcome == names.OUTCOME_LOGGED:
        model.logged += number
    elif outcome == names.OUTCOME_SAMPLED_OUT:
        model.sampled_out += number
    elif number:
        model.dropped[labels.get(names.REASON, "")] += number


def _collected(model: ModelBalance, labels: Mapping[str, str], number: int) -> None:
    outcome = labels.get(names.OUTCOME)
    if outcome == names.OUTCOME_STORED:
        model.stored += number
    elif outcome == names.OUTCOME_DUPLICATE:
        model.duplicates += number
    elif number:
        reason = names.OUTCOME_ERASED if outcome == names.OUTCOME_ERASED else labels.get(names.REASON, "")
        model.undecodable[reason] += number


def _replayed(model: ModelBalance, labels: Mapping[str, str], number: int) -> None:
    if labels.get(names.OUTCOME) == names.OUTCOME_STORED:
        model.replayed += number


_COUNTS: Mapping[str, Callable[[ModelBalance, Mapping[str, str], int], None]] = {
    names.SIDECAR_REQUESTS.name: _requests,
    names.CAPTURE_EVENTS.name: _captured,
    names.COLLECTOR_EVENTS.name: _collected,
    names.DEAD_LETTER_REPLAYS.name: _replayed,
}
_ON_THE_WAY = {metric.name for metric in ON_THE_WAY}
_OF_THE_STORE = {metric.name for metric in OF_THE_STORE} | {names.WAITING_HALVES.name, names.COLLECTOR_LAG.name}

_Series = tuple[str, tuple[tuple[str, str], ...]]


def _series(sample: Sample) -> _Series:
    return sample.name, tuple(sorted(sample.labels.items()))


def _identity(sample: Sample) -> tuple[_Series, str]:
    return _series(sample), sample.instance


def _merged(samples: Iterable[Sample]) -> dict[_Series, float]:
    """One value per series: the largest of what every collector shows of the store, the sum of everything else."""
    found: dict[_Series, float] = {}
    for sample in samples:
        key = _series(sample)
        if sample.name in _OF_THE_STORE:
            found[key] = max(found.get(key, 0.0), sample.value)
        else:
            found[key] = found.get(key, 0.0) + sample.value
    return found
