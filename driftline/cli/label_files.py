"""Labels that lie apart from their rows, found by a key; and what is odd about labels, said."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from pandas.api import types

from detectors.counts.binning import category
from driftline.cli.tables import Source, as_frame, is_file
from driftline.errors import ReferenceDataError, SettingsError
from driftline.monitors import Monitor

#: Tasks whose labels are classes.
CLASSES = ("binary", "multiclass")
# So many of what is odd are named.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class LabelFile:
    """Labels that lie apart, with the truth in the target's column; ``key`` is a column of theirs and of the rows."""

    source: Source
    key: str


@dataclass(frozen=True)
class KnownLabels:
    """The truth by key. ``name``: of the file. ``key``: the column of the rows that says it."""

    name: str
    key: str
    truth: pd.Series

    def beside(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with their labels; raises ReferenceDataError where they have no key.

        Keys that are numbers on one side and texts on the other, as a CSV and a Parquet file have them, are compared
        as texts.
        """
        if self.key not in rows.columns:
            raise ReferenceDataError(f"the current rows lack the column '{self.key}' that labels are found by")
        keys = rows[self.key]
        if types.is_numeric_dtype(keys.dtype) == types.is_numeric_dtype(self.truth.index.dtype):
            found = keys.map(self.truth)
        else:
            found = keys.map(category).map(self._by_text)
        return rows.assign(**{str(self.truth.name): found})

    @cached_property
    def _by_text(self) -> pd.Series:
        truth = self.truth.set_axis(self.truth.index.map(category))
        return truth[~truth.index.duplicated(keep="last")]

    def remarks(self, *, used: bool) -> list[str]:
        """Why no row has one of these labels, in a sentence; empty where some have. ``used``: some have."""
        told = self.truth.dropna()
        if not len(told):
            return [f"{self.name} holds no labels."]
        if not used:
            first = ", ".join(repr(key) for key in told.index[:_NAMED])
            return [f"None of the {len(told):,} labels of {self.name} is of a row here, by '{self.key}' ({first})."]
        return []


def told_of_classes(labels: Iterable[object], monitor: Monitor, reference: pd.DataFrame) -> list[str]:
    """In a sentence, which of these labels of rows are none of the reference's classes; empty where there are none."""
    target = None if monitor.reference is None else monitor.reference.label
    if monitor.task not in CLASSES or target not in reference.columns:
        return []
    classes = set(map(category, reference[target].dropna().unique()))
    unknown = sorted({text for label in labels if (text := category(label)) is not None and text not in classes})
    if not unknown:
        return []
    named = ", ".join(f"'{each}'" for each in unknown[:_NAMED]) + (", ..." if len(unknown) > _NAMED else "")
    counted = "not positive" if monitor.task == "binary" else "wrong"
    return [f"Labels that are none of the reference's classes count as {counted} ({named}): are they spelt otherwise?"]


def known_labels(labels: LabelFile, monitor: Monitor) -> KnownLabels:
    """The truth by key, the last of several; raises SettingsError or ReferenceDataError where there is none."""
    target = None if monitor.reference is None else monitor.reference.label
    if target is None:
        raise SettingsError("analyze", ["labels need a target: the name of the column with the truth"])
    frame = as_frame(labels.source, "the file of labels")
    name = str(labels.source) if is_file(labels.source) else "the frame of labels"
    missing = [column for column in (labels.key, target) if column not in frame.columns]
    if missing:
        raise ReferenceDataError(f"{name} lacks the columns {', '.join(missing)}")
    truth: pd.Series = frame.drop_duplicates(labels.key, keep="last").set_index(labels.key)[target].rename(target)
    return KnownLabels(name, labels.key, truth)
