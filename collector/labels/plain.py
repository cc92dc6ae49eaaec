"""Labels as columns: what most labels are, a request id and a plain value, read all at once.

What is not plain, or has a fault, is read label by label (``collector.labels.readings``).
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from collector.labels.readings import AHEAD_MAX_S, Usable, is_judgement
from collector.labels.scanning import LabelScanner, Spell
from collector.store.database import clean, key_texts
from collector.store.ids import KeyColumn, keys_of
from collector.store.spelling import class_name, number_text
from collector.store.waiting import LabelKey, PendingLabel
from driftline.columns import CodedTexts
from driftline.events import Label
from driftline.monitors import Monitor

_ROWS = 2**31


@dataclass(frozen=True, slots=True)
class PlainLabels:
    """Labels of one model, each of a request id and a row; every column has one value per label.

    ``places``: which of the labels that were given each is. ``keys``: of their request ids. ``texts``: the values as
    they are stored.
    """

    namespace: str
    model: str
    places: NDArray[np.intp]
    keys: KeyColumn
    rows: NDArray[np.int64]
    texts: CodedTexts
    observed_s: NDArray[np.float64]
    received_s: float

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: NDArray[np.bool_]) -> "PlainLabels":
        """Some of them, by mask."""
        if chosen.all():
            return self
        return replace(
            self,
            places=self.places[chosen],
            keys=self.keys.take(np.flatnonzero(chosen)),
            rows=self.rows[chosen],
            texts=self.texts.take(chosen),
            observed_s=self.observed_s[chosen],
        )

    def without_rivals(self, taken: Collection[LabelKey]) -> NDArray[np.bool_]:
        """Which of them are the only label of their row, of these and of those whose rows are ``taken``."""
        if not taken and not self.rows.any() and self.keys.surely_differ():
            return np.ones(len(self), dtype=np.bool_)
        keys = [label.key for _, label in self.one_by_one()]
        counts = Counter([*keys, *taken])
        return np.array([counts[key] == 1 for key in keys], dtype=np.bool_)

    def one_by_one(self) -> Iterator[tuple[int, PendingLabel]]:
        """Each label, with its place."""
        columns = (self.places, self.rows, self.texts.objects(), self.observed_s)
        values = zip(self.keys.ids, *(column.tolist() for column in columns), strict=True)
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
    labels: Sequence[Label],
    monitors: Mapping[str, Monitor],
    allowed: Callable[[str], bool],
    now_s: float,
    scanner: LabelScanner | None = None,
    classes: Mapping[str, Collection[str]] | None = None,
) -> list[PlainLabels]:
    """The plain ones among ``labels``, by model; of models that have a monitor and are ``allowed``.

    ``classes``: of models whose labels may name these only; a label of another is not plain.
    """

    def judged_alone(namespace: str, model: str) -> Monitor | None:
        name = f"{namespace}/{model}"
        monitor = monitors.get(name) if allowed(name) else None
        return None if monitor is None or monitor.task == "ranking" else monitor  # there rows count together

    def spell(monitor: Monitor) -> Spell:
        return partial(_text, monitor, (classes or {}).get(monitor.name, ()))

    if scanner is not None and labels:
        first = judged_alone(labels[0].namespace, labels[0].model)
        scanned = None if first is None else _scanned(list(labels), first, now_s, scanner, spell(first))
        if scanned is not None:
            return [scanned] if len(scanned) else []
    columns = _columns(labels)
    found = []
    for each, places in _by_model(columns["namespace"], columns["model"]).items():
        if monitor := judged_alone(*each):
            chosen = columns if len(places) == len(labels) else _columns([labels[place] for place in places])
            found.append(_plain_of(chosen, np.asarray(places, dtype=np.intp), monitor, now_s, spell(monitor)))
    return [plain for plain in found if len(plain)]


def _scanned(
    labels: list[Label], monitor: Monitor, now_s: float, scanner: LabelScanner, spell: Spell
) -> PlainLabels | None:
    """As :func:`_plain_of`, where all labels are of the monitor and nothing about them is rare; else None."""
    count = len(labels)
    raw, rows = np.empty((count, 16), dtype=np.uint8), np.empty(count, dtype=np.int64)
    observed_s, codes = np.empty(count), np.empty(count, dtype=np.int32)
    read = scanner.scan(labels, spell, now_s, raw, rows, observed_s, codes)
    if read is None:
        return None
    request_ids, texts = read
    plain = (rows >= 0) & (rows < _ROWS) & _are_times(observed_s, now_s) & (codes >= 0)
    keys, places = KeyColumn(request_ids, raw, np.ones(count, dtype=np.bool_)), np.arange(count, dtype=np.intp)
    coded = CodedTexts(texts, codes)
    return PlainLabels(monitor.namespace, monitor.model, places, keys, rows, coded, observed_s, now_s).take(plain)


def _columns(labels: Sequence[Label]) -> Mapping[str, Sequence[Any]]:
    """What labels say by field; read label by label, which costs a third of field by field."""
    said: list[Any] = []
    for label in labels:
        said += astuple(label)
    fields = Label.__struct_fields__
    return {name: said[number :: len(fields)] for number, name in enumerate(fields)}


def _by_model(namespaces: Sequence[str], models: Sequence[str]) -> Mapping[tuple[str, str], Sequence[int]]:
    """The places of each model's labels."""
    if _are_one(namespaces) and _are_one(models):  # nearly always
        return {(namespaces[0], models[0]): range(len(models))}
    by_model: dict[tuple[str, str], list[int]] = {}
    for place, model in enumerate(zip(namespaces, models, strict=True)):
        by_model.setdefault(model, []).append(place)
    return by_model


def _are_one(values: Sequence[object]) -> bool:
    return len(values) > 0 and values.count(values[0]) == len(values)


def _plain_of(
    columns: Mapping[str, Sequence[Any]], places: NDArray[np.intp], monitor: Monitor, now_s: float, spell: Spell
) -> PlainLabels:
    texts = _texts(spell, columns["value"])
    plain = texts.codes >= 0
    if any(columns["key"]) or any(columns["reward"]):
        pairs = zip(columns["key"], columns["reward"], strict=True)
        plain &= ~np.array([bool(key or reward) for key, reward in pairs], dtype=np.bool_)
    request_ids = columns["request_id"]
    keys = keys_of(request_ids)
    if not keys.own.all():
        plain &= np.array([bool(each) and "\0" not in each for each in request_ids], dtype=np.bool_)
        keys = keys_of(key_texts(request_ids))
    rows, fit = _whole(columns["row"])
    observed_s = _times(columns["observed_at_s"], now_s)
    plain &= fit & _are_times(observed_s, now_s)
    return PlainLabels(monitor.namespace, monitor.model, places, keys, rows, texts, observed_s, now_s).take(plain)


def _times(observed: Sequence[float | None], now_s: float) -> NDArray[np.float64]:
    """When each was observed: ``now_s`` where that is not said."""
    found = np.array(observed, dtype=np.float64)  # None is NaN here
    if np.isnan(found).any():
        found = np.array([now_s if each is None else each for each in observed], dtype=np.float64)
    return found


def _are_times(observed_s: NDArray[np.float64], now_s: float) -> NDArray[np.bool_]:
    """Which of these times ``readings.read_label`` takes."""
    return (observed_s >= 0.0) & (observed_s <= now_s + AHEAD_MAX_S)


def _whole(rows: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Numbers of rows, and which can be one."""
    if rows.count(0) == len(rows):  # mostly
        return np.zeros(len(rows), dtype=np.int64), np.ones(len(rows), dtype=np.bool_)
    try:
        found = np.array(rows, dtype=np.int64)
    except OverflowError:
        found = np.array([row if 0 <= row < _ROWS else -1 for row in rows], dtype=np.int64)
    return found, (found >= 0) & (found < _ROWS)


def _texts(spell: Spell, values: Sequence[str | float | int | bool | None]) -> CodedTexts:
    """Each value as ``readings.read_label`` spells it; None where it has to be looked at closely."""
    if float in set(map(type, values)):  # which may be as many as the labels, and 0.0 is -0.0 to a dictionary
        return CodedTexts.of([spell(value) for value in values])
    different = list(dict.fromkeys(values))
    spelt = CodedTexts.of([spell(value) for value in different])
    codes = dict(zip(different, spelt.codes.tolist(), strict=True))
    return CodedTexts(spelt.texts, np.fromiter(map(codes.__getitem__, values), np.int32, len(values)))


def _text(monitor: Monitor, classes: Collection[str], value: str | float | int | bool | None) -> str | None:
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
    return None if text is None or (classes and text not in classes) else clean(text)
