"""Where labels without a stream are taken: over HTTP, or by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.labels.book import LabelBook
from collector.labels.effects import INVALID, LabelEffects, save_effects
from collector.operating.metrics import CollectorMetrics
from collector.operating.tracing import NoTracing, Tracing
from collector.ports import WindowStatistics
from collector.store.erased import ErasedBook, nothing_erased
from collector.store.states import StateBook, StateCache
from collector.store.store import Store
from collector.store.transaction import Transaction
from collector.store.unmonitored import UNKNOWN, unmonitored_models
from driftline.clock import Clock
from driftline.events import Label
from driftline.monitors import Monitor

#: The partition under which labels that come without a stream (HTTP, sweep) keep their share of the statistics.
DESK = "labels:desk"


@dataclass(frozen=True, slots=True)
class LabelFault:
    """Why ``label``, at ``index`` of a submission, was refused."""

    index: int
    label: Label
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelReceipt:
    """What became of a submission: counts by outcome, and each refused label with its faults."""

    received: int
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: tuple[LabelFault, ...] = ()


def _nothing(_transaction: Transaction, _receipt: LabelReceipt) -> None:
    """Nothing more to write."""


def _any_model(_name: str) -> bool:
    return True


class LabelDesk:
    """Takes labels and joins them at once; safe to use from several threads and processes."""

    def __init__(
        self,
        store: Store,
        statistics: WindowStatistics,
        monitors: Mapping[str, Monitor],
        clock: Clock,
        metrics: CollectorMetrics,
        tracing: Tracing | None = None,
        erased: ErasedBook | None = None,
        *,
        maximum_unmonitored: int = 50,
    ) -> None:
        self._erased = erased or nothing_erased()
        self._tracing = tracing or NoTracing()
        self._store = store
        unmonitored = unmonitored_models(maximum_unmonitored, monitors, store.read)
        self._book = LabelBook(statistics, monitors, self._erased, unmonitored=unmonitored)
        self._clock = clock
        self._metrics = metrics

    def submit(
        self,
        labels: Sequence[Label],
        unreadable: int = 0,
        beside: Callable[[Transaction, LabelReceipt], None] = _nothing,
        allowed: Callable[[str], bool] = _any_model,
    ) -> LabelReceipt:
        """Store labels in one transaction; ``unreadable`` more could not even be read and are only counted.

        ``beside`` writes what belongs to the same transaction; labels of a model (NAMESPACE/MODEL) that is not
        ``allowed`` are refused. Raises TransientError (and stored nothing) when the
        database is away.
        """
        effects = LabelEffects()
        now_s = self._clock()
        usable, faults = self._book.refuse(labels, now_s, effects, allowed)
        effects.count(UNKNOWN, UNKNOWN, INVALID, unreadable)
        states = StateBook(StateCache(1))
        counted = {"labels": len(labels) + unreadable}
        with self._tracing.span("labels", counted), self._store.transaction() as transaction:
            transaction.lock_partition(DESK)
            self._erased.follow(transaction.connection)  # under the lock: one thread at a time
            refused = self._book.apply(transaction, states, DESK, usable, effects)
            save_effects(transaction, DESK, effects, states.changed())
            receipt = _receipt(labels, faults, refused, len(labels) + unreadable, effects)
            beside(transaction, receipt)
        self._metrics.label_delays(effects.delays_s)
        return receipt


def _receipt(
    labels: Sequence[Label],
    faults: Mapping[int, Sequence[str]],
    refused: Mapping[int, str],
    received: int,
    effects: LabelEffects,
) -> LabelReceipt:
    """``faults`` and ``refused`` by place in ``labels``."""
    reasons = {**faults, **{place: (reason,) for place, reason in refused.items()}}
    found = [LabelFault(place, labels[place], tuple(reasons[place])) for place in sorted(reasons)]
    return LabelReceipt(received, dict(effects.outcomes), tuple(found))
