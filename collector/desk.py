"""Where labels without a stream are taken: over HTTP, or by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collector.labels import INVALID, UNKNOWN, LabelBook, LabelEffects
from collector.metrics import CollectorMetrics
from collector.ports import WindowStatistics
from collector.service import DESK
from collector.states import StateBook, StateCache
from collector.store import Store
from driftline.clock import Clock
from driftline.events import Label
from driftline.monitors import Monitor


@dataclass(frozen=True, slots=True)
class LabelFault:
    """Why the label at ``index`` of a submission was refused."""

    index: int
    request_id: str | None
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelReceipt:
    """What became of a submission: counts by outcome, and each refused label with its faults."""

    received: int
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: tuple[LabelFault, ...] = ()


class LabelDesk:
    """Takes labels and joins them at once; safe to use from several threads and processes."""

    def __init__(
        self,
        store: Store,
        statistics: WindowStatistics,
        monitors: Mapping[str, Monitor],
        clock: Clock,
        metrics: CollectorMetrics,
    ) -> None:
        self._store = store
        self._book = LabelBook(statistics, monitors)
        self._clock = clock
        self._metrics = metrics

    def submit(self, labels: Sequence[Label], unreadable: int = 0) -> LabelReceipt:
        """Store labels in one transaction; ``unreadable`` more could not even be read and are only counted.

        Raises TransientError (and stored nothing) when the database is away.
        """
        effects = LabelEffects()
        now_s = self._clock()
        usable, faults = self._book.refuse(labels, now_s, effects)
        for _ in range(unreadable):
            effects.count(UNKNOWN, UNKNOWN, INVALID)
        states = StateBook(StateCache(1))
        with self._store.transaction() as transaction:
            transaction.lock_partition(DESK)
            self._book.apply(transaction, states, DESK, usable, effects)
            transaction.save_window_states(states.changed())
            transaction.add_totals(DESK, effects.totals)
            transaction.add_spans(DESK, effects.spans)
        self._metrics.label_delays(effects.delays_s)
        refused = tuple(
            LabelFault(index, label.request_id, tuple(found))
            for index, (label, found) in enumerate(zip(labels, faults, strict=True))
            if found
        )
        return LabelReceipt(len(labels) + unreadable, dict(effects.outcomes), refused)
