"""Labels as columns: what most labels are, a request id and a plain value, read all at once.

What is not plain, or has a fault, is read label by label (``collector.labels.readings``).
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from collector.labels.readings import END_OF_TIME_S, Usable, is_judgement
from collector.store.database import SHORT_KEY, clean, key_text
from collector.store.spelling import class_name, number_text
from collector.store.waiting import LabelKey, PendingLabel
from driftline.events import Label
from driftline.monitors import Monitor

_ROWS = 2**31
_model_of = attrgetter("namespace", "model")


@dataclass(frozen=True, slots=True)
class PlainLabels:
    """Labels of one model, each of a request id and a row; every column has one value per label.

    ``places``: which of the labels that were given each is. ``texts``: the values as they are stored.
    """

    namespace: str
    model: str
    places: NDArray[np.intp]
    request_ids: Sequence[str]
    rows: NDArray[np.int64]
    texts: NDArray[np.object_]
    observed_s: NDArray[np.float64]
    received_s: float

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: NDArray[np.bool_]) -> "PlainLabels":
        """Some of them, by mask."""
        if chosen.all():
            return self
        ids = [self.request_ids[number] for number in np.flatnonzero(chosen).tolist()]
        return replace(
            self,
            places=self.places[chosen],
            request_ids=ids,
            rows=self.rows[chosen],
            texts=self.texts[chosen],
            observed_s=self.observed_s[chosen],
        )

    def without_rivals(self, taken: Collection[LabelKey]) -> NDArray[np.bool_]:
        """Which of them are the only label of their row, of these and of those whose rows are ``taken``."""
        if not taken and not self.rows.any() and len(set(self.request_ids)) == len(self):
            return np.ones(len(self), dtype=np.bool_)
        keys = [label.key for _, label in self.one_by_one()]
        counts = Counter([*keys, *taken])
        return np.array([counts[key] == 1 for key in keys], dtype=np.bool_)

    def one_by_one(self) -> Iterator[tuple[int, PendingLabel]]:
        """Each label, with its place."""
        columns = (self.places, self.rows, self.texts, self.observed_s)
        values = zip(self.request_ids, *(column.tolist() for column in columns), strict=True)
        for request_id, place, row, text, observed_s in values:
            key = LabelKey(self.namespace, self.model, request_id, row)
            yield place, PendingLabel(key, text, observed_s, self.received_s)


@dataclass(frozen=True, slots=True)
class UsableLabels:
    """Labels that can be stored and joined, each with its place among those given: as columns, and one by one."""

    plain: Sequence[PlainLabels]
    others: Sequence[tuple[int, Usable]]

    def __bool__(self) -> bool:
        return bool(self.plain or self.others)


def plain_labels(
    labels: Sequence[Label], monitors: Mapping[str, Monitor], allowed: Callable[[str], bool], now_s: float
) -> list[PlainLabels]:
    """The plain ones among ``labels``, by model; of models that have a monitor and are ``allowed``."""
    by_model: dict[tuple[str, str], list[int]] = {}
    for place, named in enumerate(map(_model_of, labels)):
        by_model.setdefault(named, []).append(place)
    found = []
    for (namespace, model), places in by_model.items():
        name = f"{namespace}/{model}"
        monitor = monitors.get(name) if allowed(name) else None
        if monitor is not None and monitor.task != "ranking":  # there rows count together, not each by itself
            found.append(_plain_of(labels, places, monitor, now_s))
    return [plain for plain in found if len(plain)]


def _plain_of(labels: Sequence[Label], places: Sequence[int], monitor: Monitor, now_s: float) -> PlainLabels:
    chosen = labels if len(places) == len(labels) else [labels[place] for place in places]
    texts = np.empty(len(places), dtype=np.object_)
    texts[:] = _texts(monitor, [label.value for label in chosen])
    plain = [
        text is not None
        and label.request_id != ""
        and label.key == ""
        and not label.reward
        and 0 <= label.row < _ROWS
        and 0 <= label.observed_at_s < END_OF_TIME_S
        and "\0" not in label.request_id
        for label, text in zip(chosen, texts.tolist(), strict=True)
    ]
    kept = np.flatnonzero(plain)
    if len(kept) < len(places):
        chosen, texts = [chosen[number] for number in kept.tolist()], texts[kept]
    return PlainLabels(
        monitor.namespace,
        monitor.model,
        np.array(places, dtype=np.intp)[kept],
        _key_texts([label.request_id for label in chosen]),
        np.array([label.row for label in chosen], dtype=np.int64),
        texts,
        np.array([label.observed_at_s for label in chosen], dtype=np.float64),
        now_s,
    )


def _key_texts(request_ids: list[str]) -> list[str]:
    """Each as ``database.key_text`` has it, which nearly always is as it is."""
    if max(map(len, request_ids), default=0) <= SHORT_KEY and "".join(request_ids).isascii():
        return request_ids
    return [key_text(each) for each in request_ids]


def _texts(monitor: Monitor, values: Sequence[str | float | int | bool | None]) -> list[str | None]:
    """Each value as ``readings.read_label`` spells it; None where it has to be looked at closely."""
    if float in set(map(type, values)):  # which may be as many as the labels, and 0.0 is -0.0 to a dictionary
        return [_text(monitor, value) for value in values]
    known = {value: _text(monitor, value) for value in set(values)}
    return [known[value] for value in values]


def _text(monitor: Monitor, value: str | float | int | bool | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        if "\0" in value or is_judgement(value):
            return None
    elif not (math.isfinite(value) if isinstance(value, float) else abs(value) < 2**63):
        return None
    try:
        text = number_text(value) if monitor.task == "regression" else class_name(value)
    except ValueError:
        return None
    return None if text is None else clean(text)
