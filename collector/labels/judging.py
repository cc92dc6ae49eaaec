"""What a label says of its prediction: right or wrong, and what statistics count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from collector.store.judged import judged_batch
from collector.store.labels import LabelledRow
from collector.store.spelling import class_name
from collector.store.transaction import WindowRef
from driftline.columns import JudgedBatch
from driftline.monitors import Monitor


@dataclass(frozen=True, slots=True)
class Judgement:
    """A label that counts from now on (``weight`` 1) or no longer (-1)."""

    row: LabelledRow
    label: str
    weight: int


class Change(NamedTuple):
    """What labels change in the statistics of a window, and how many of them."""

    monitor: Monitor
    batch: JudgedBatch
    labels: int


def is_wrong(monitor: Monitor, row: LabelledRow) -> int | None:
    """1 when the row's label contradicts its prediction; None where neither can be said.

    Of a ranking, what is among the first places should be relevant; nothing is said of what is further down.
    """
    if row.prediction is None or row.label is None:
        return None
    if monitor.task == "ranking":
        ranking = monitor.ranking
        return None if row.rank is None or row.rank > ranking.cutoff else int(float(row.label) < ranking.relevant_from)
    if monitor.task == "binary":  # as statistics count: everything but the positive class is the negative one
        positive = class_name(monitor.prediction.positive)
        return int((row.prediction == positive) != (row.label == positive))
    if monitor.task == "multiclass":
        return int(row.prediction != row.label)
    tolerance = allowed_error(monitor)
    if tolerance is None:
        return None
    return int(not abs(float(row.prediction) - float(row.label)) <= tolerance)


def allowed_error(monitor: Monitor) -> float | None:
    """How far a regression may be off and still be right; None where the monitor does not say."""
    return next((slo.tolerance for slo in monitor.slos.objectives if slo.kind == "correctness"), None)


def changes_by_row(monitors: Mapping[str, Monitor], judgements: Sequence[Judgement]) -> dict[WindowRef, Change]:
    """What judgements change in each window, where every row counts for itself; rows without a prediction count not."""
    by_window: dict[WindowRef, list[Judgement]] = {}
    for judgement in judgements:
        if judgement.row.prediction is not None:
            for window in judgement.row.windows():
                by_window.setdefault(window, []).append(judgement)
    found = {}
    for window, judged in by_window.items():
        monitor = monitors[monitor_name(judged[0].row)]
        found[window] = Change(monitor, _judged_batch(monitor, judged), len(judged))
    return found


def monitor_name(row: LabelledRow) -> str:
    """The name of the monitor that a row is of."""
    return f"{row.stream.namespace}/{row.stream.model}"


def _judged_batch(monitor: Monitor, judged: Sequence[Judgement]) -> JudgedBatch:
    predictions = [judgement.row.prediction for judgement in judged]
    labels = [judgement.label for judgement in judged]
    scores = [judgement.row.score for judgement in judged]
    weight = np.array([judgement.weight for judgement in judged], dtype=np.int64)
    return judged_batch(monitor, predictions, scores, labels, weight)
