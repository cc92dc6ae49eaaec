"""What became of labels: the outcomes, and what they change beside rows and window states."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collector.store.bulk import upsert_together
from collector.store.counts import DELAY, LABELLED, WRONG_DELAY, WindowCounts, added_window_counts
from collector.store.labels import LabelledRow
from collector.store.transaction import (
    Span,
    StateKey,
    TotalKey,
    Transaction,
    WindowState,
    added_spans,
    added_totals,
    changed_states,
    total,
)
from collector.store.waiting import PendingLabel
from driftline import names
from driftline.maturity import class_of

JOINED = "joined"
PENDING = "pending"
DUPLICATE = "duplicate"
CORRECTED = "corrected"
WITHDRAWN = "withdrawn"
EXPIRED = "expired"
#: Its request or its subject was erased.
ERASED = "erased"
INVALID = "invalid"
UNKNOWN_MODEL = "unknown_model"
#: Whoever sent it may not label this model.
FORBIDDEN = "forbidden"
#: Its key has several predictions, and the monitor refuses to choose.
AMBIGUOUS = "ambiguous"
#: It has no prediction yet, and as many labels wait already as the monitor allows.
WAITING_FULL = "waiting_full"


@dataclass(slots=True)
class LabelEffects:
    """What labels did, to be counted in the same transaction and, ``delays_s``, after it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    totals: Counter[TotalKey] = field(default_factory=Counter)
    spans: dict[int, Span] = field(default_factory=dict)
    windows: WindowCounts = field(default_factory=Counter)
    #: Namespace, model, and delays of their labels.
    delays_s: list[tuple[str, str, Sequence[float] | NDArray[np.float64]]] = field(default_factory=list)

    def count(self, namespace: str, model: str, outcome: str, labels: int = 1) -> None:
        """So many labels ended like this, of a monitored model or of one as ``UnmonitoredModels`` names it."""
        if labels:
            self.outcomes[outcome] += labels
            self.totals[total(names.LABELS, namespace, model, outcome)] += labels

    def judged(self, row: LabelledRow) -> None:
        """The row's first label says whether it was right; counted once and never revised."""
        outcome = names.OUTCOME_INCORRECT if row.wrong else names.OUTCOME_CORRECT
        stream = row.stream
        labels = (stream.namespace, stream.model, stream.version, stream.variant, outcome)
        self.totals[total(names.JUDGED_PREDICTIONS, *labels)] += 1

    def labelled(self, row: LabelledRow, count: int) -> None:
        """The row has one label more or less."""
        self.spans.setdefault(row.stream_id, Span()).labelled_rows += count
        for window in row.windows():
            self.windows[window, LABELLED] += count

    def first_label(self, row: LabelledRow, label: PendingLabel) -> None:
        """The row's first label came; how long it took is counted once, whatever becomes of the label."""
        self.delays_s.append((row.stream.namespace, row.stream.model, [max(0.0, label.observed_at_s - row.time_s)]))
        number = class_of(label.received_at_s - row.time_s)
        for window in row.windows():
            self.windows[window, f"{DELAY}{number}"] += 1
            if row.wrong:
                self.windows[window, f"{WRONG_DELAY}{number}"] += 1


def save_effects(
    transaction: Transaction, partition: str, effects: LabelEffects, states: Mapping[StateKey, WindowState]
) -> None:
    """Write what labels changed beside rows, with the changed states of windows."""
    upserts = (
        changed_states(states),
        added_totals({partition: effects.totals}),
        added_spans({partition: effects.spans}),
        added_window_counts({partition: effects.windows}),
    )
    upsert_together(transaction.connection, upserts)
