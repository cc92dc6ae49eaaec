"""The reference: what was expected, as frozen bins and the counts of the reference rows on them.

A numeric column has up to 256 bins between quantiles of the reference. A value that many rows share gets a bin of its
own, so that constant and few-valued columns lose nothing; a column of at most 100 distinct values keeps each of them.
Beyond the smallest and the largest reference value the bins go on, wider and wider, so that values never seen before
still have a place and a size. All segments of a column share the bins.

The reference is a window too: its counts per segment are vectors of the same layout as a window's. Of categories no row
is counted on a bin that it chose itself (``reference_categories.py``), so that a column may have fewer rows than
others.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.baselines.column_groups import fit_outcomes
from detectors.baselines.feature_directions import told_apart
from detectors.baselines.rows_in_order import InOrder, TogetherRows, arrays_of, read_together
from detectors.counts.binning import tally
from detectors.counts.column_outcomes import ReferenceOutcomes, read_outcomes
from detectors.counts.counting import coordinates, count_rows, matrix, numbers
from detectors.counts.feature_reference import ExpectedFeatures, ReferenceFeatures, fit_features
from detectors.counts.frames import load_frame, reference_labels, reference_rows, window_rows
from detectors.counts.layout import OUTLIERS, SCORED, ColumnLayout, Kind, Layout, column_kinds, row_columns
from detectors.counts.performance_bins import fitted_layout
from detectors.counts.performance_counts import PerformanceLayout, count_judged
from detectors.counts.random_features import NAME as MMD_FEATURES
from detectors.counts.random_features import FeatureColumn, FeatureMap
from detectors.counts.reference_bins import exact_cuts, most_frequent, numeric_cuts, representatives
from detectors.counts.reference_categories import KnownCategories, known_categories
from detectors.counts.row_samples import RowSamples
from detectors.counts.summary import Section
from detectors.counts.watched_vectors import FittedVector, WatchedVector, fit_vector, with_distances
from detectors.outliers import model as outlier_model
from detectors.outliers.catalogue import method
from detectors.outliers.model import OutlierModel
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.errors import ReferenceDataError
from driftline.monitor_ranking import RankingSpec
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS

__all__ = ["Reference", "build_reference", "load_frame", "load_reference"]

#: Of files; of others only what came before it can be read, which does not know rows beside the same hours.
FORMAT = "driftline reference 4"
_READABLE = (FORMAT, "driftline reference 3")

_OUTLIERS, _ROWS = "outliers/", "rows/"
_OUTLIER_SEED = 20080
_CHOOSING_SEED = 20081


@dataclass(frozen=True, slots=True)
class Reference:
    """What is expected of one monitor's windows.

    ``representatives``: per numeric column, one value per bin (the mean of its reference rows, or its middle; NaN for
    the infinite and missing bins). ``counts``: per segment, a vector of ``layout``. ``performance``: per segment, the
    reference's own judged predictions; empty when the reference has no label. ``source`` and ``built_at_s``: what it
    was made of, and when; empty and None where it was made in passing. ``features``: sums of random features, where the
    monitor asks for a test that needs them. ``vectors``: what is expected of those that are watched as wholes.
    ``outcomes``: how right the model was by groups of each column's values, where there are labels.
    ``rows``: per segment some rows themselves, shape (rows, places of ``row_columns``), where the monitor keeps any.
    ``together``: per segment how many rows hang together; empty where it was built before that was asked.
    """

    monitor: str
    layout: Layout
    representatives: Mapping[str, NDArray[np.float64]]
    counts: Mapping[str, NDArray[np.int64]]
    performance_layout: PerformanceLayout
    performance: Mapping[str, Section]
    outliers: OutlierModel | None
    source: str = ""
    built_at_s: float | None = None
    features: ReferenceFeatures | None = None
    vectors: Mapping[str, WatchedVector] = field(default_factory=dict)
    outcomes: ReferenceOutcomes | None = None
    rows: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    together: Mapping[str, TogetherRows] = field(default_factory=dict)

    def row_columns(self, monitor: Monitor) -> list[ColumnLayout]:
        """The columns that tests of several columns see: inputs with drift tests."""
        return row_columns(self.layout, monitor)

    @property
    def version(self) -> str:
        """Names the content: bins and counts, twelve hexadecimal digits. The same rows give the same version."""
        digest = hashlib.sha256(self.layout.fingerprint.encode())
        for segment, counts in sorted(self.counts.items()):
            digest.update(segment.encode() + counts.astype("<i8").tobytes())
        return digest.hexdigest()[:12]

    @property
    def told(self) -> str:
        """Version, source and day in words; empty where it was made in passing."""
        if self.built_at_s is None:
            return ""
        day = datetime.fromtimestamp(self.built_at_s, UTC).strftime("%Y-%m-%d")
        return f"reference {self.version} of {self.source}, built {day}"

    @property
    def fingerprint(self) -> str:
        """Counts merge and compare only when this is equal."""
        return self.layout.fingerprint

    def save(self, path: Path) -> None:
        """Write everything to one file, which :func:`load_reference` reads on any machine."""
        arrays: dict[str, NDArray[Any]] = {
            f"cuts/{index}": column.cuts for index, column in enumerate(self.layout.columns)
        }
        arrays |= {f"values/{name}": values for name, values in self.representatives.items()}
        arrays |= {f"counts/{name}": values for name, values in self.counts.items()}
        arrays |= {f"judged/{name}": section.values for name, section in self.performance.items()}
        if self.outliers is not None:
            arrays |= {f"{_OUTLIERS}{name}": values for name, values in self.outliers.scorer.arrays().items()}
        if self.features is not None:
            arrays |= _feature_arrays(self.features)
        if self.outcomes is not None:
            arrays["outcomes"] = self.outcomes.expected.values
        for place, vector in enumerate(self.vectors.values()):
            arrays |= {f"centres/{place}": vector.centres, **_feature_arrays(vector.features, f"vector {place} ")}
        arrays |= {f"{_ROWS}{name}": rows for name, rows in self.rows.items()} | arrays_of(self.together)
        header = np.frombuffer(json.dumps(self._header()).encode(), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, header=header, **arrays)

    def _header(self) -> dict[str, Any]:
        outliers = self.outliers
        return {
            "format": FORMAT,
            "monitor": self.monitor,
            "columns": [[column.name, column.kind, column.categories] for column in self.layout.columns],
            "segments": list(self.counts),
            "task": self.performance_layout.task,
            "positive": self.performance_layout.positive,
            "classes": self.performance_layout.classes,
            "strata": [self.performance_layout.cuts, self.performance_layout.centre, self.performance_layout.scale],
            "ranking": self.performance_layout.ranking.model_dump(mode="json"),
            "sums": {name: [str(total) for total in section.sums] for name, section in self.performance.items()},
            "outliers": None if outliers is None else [outliers.name, outliers.columns, outliers.threshold],
            "source": self.source,
            "built_at_s": self.built_at_s,
            "features": None if self.features is None else _feature_header(self.features.map),
            "outcomes": None if self.outcomes is None else self.outcomes.layout.spelt(),
            "vectors": {name: _feature_header(vector.features.map) for name, vector in self.vectors.items()},
        }

    def require_fit(self, monitor: Monitor) -> None:
        """Raise ReferenceDataError when the reference was built for other columns than the monitor's."""
        built = {column.name: column.kind for column in self.layout.columns}
        wanted: dict[str, Kind] = dict(column_kinds(monitor))
        faults = [f"column '{name}' ({kind}) is not in it" for name, kind in wanted.items() if built.get(name) != kind]
        faults += [f"column '{name}' is not in the monitor" for name in built if name not in wanted]
        if MMD_FEATURES in monitor.detectors.multivariate and self.features is None:
            faults.append(f"it was built without what '{MMD_FEATURES}' needs; build it again")
        if monitor.task == "ranking" and self.performance_layout.ranking != monitor.ranking:
            faults.append("it was built for another 'ranking'; build it again")
        for vector in monitor.vectors:
            known = self.vectors.get(vector.name)
            if known is not None and known.centres.shape[1] != vector.dimension:
                faults.append(f"vector '{vector.name}' has {known.centres.shape[1]} numbers in it")
        if faults:
            raise ReferenceDataError(f"the reference of {self.monitor} does not fit its monitor: {'; '.join(faults)}")


def build_reference(
    frame: pd.DataFrame,
    monitor: Monitor,
    exact_with: pd.DataFrame | None = None,
    *,
    seconds: NDArray[np.float64] | None = None,
    together: Mapping[str, TogetherRows] | None = None,
) -> Reference:
    """The reference of a monitor from rows with its columns, prediction and, where named, label.

    ``exact_with``: rows it is to be compared with; every value of either side has a bin of its own then. ``seconds``:
    when each row was, shape (rows,); without it rows hang together as they lie. ``together``: how many do, if another
    reference of the same rows, columns and segments knows it. Raises ReferenceDataError that names all faulty columns.
    """
    rows = reference_rows(frame, monitor)
    segments = _segments(rows, monitor)
    vectors = {vector.name: fit_vector(vector.name, rows, segments) for vector in monitor.vectors}
    rows = _with_distances(monitor, vectors, rows)
    later = None if exact_with is None else _later(exact_with, monitor, vectors)
    watched = dict(monitor.watched())
    columns: list[ColumnLayout] = []
    known: dict[int, KnownCategories] = {}
    middles: dict[str, NDArray[np.float64]] = {}
    for name, kind in column_kinds(monitor):
        if name not in watched:
            columns.append(ColumnLayout(name, kind))
        elif kind == "numeric":
            values = numbers(rows, name)
            compared = values if later is None else np.concatenate((values, numbers(later, name)))
            cuts = numeric_cuts(values) if later is None else exact_cuts(compared)
            columns.append(ColumnLayout(name, kind, cuts=cuts))
            middles[name] = representatives(compared, columns[-1])
        else:
            place = len(columns)
            known[place] = known_categories(list(rows.text[name]), np.random.default_rng((_CHOOSING_SEED, place)))
            columns.append(ColumnLayout(name, kind, categories=known[place].names))
    layout = Layout(tuple(columns))
    outliers = _fit_outliers(rows, monitor)
    judged = reference_labels(frame, rows, monitor)
    classes = fitted_layout(monitor, judged)
    counts = {
        name: _without_choosers(_segment_counts(layout, monitor, rows, outliers, chosen), layout, known)
        for name, chosen in segments.items()
    }
    outcomes = None if judged is None else fit_outcomes(monitor, layout, counts[ALL_ROWS], classes, rows, judged)
    together = together or InOrder.of(rows, judged, seconds).together(layout, monitor, segments)
    return Reference(
        monitor=monitor.name,
        layout=layout,
        representatives=middles,
        counts=counts,
        performance_layout=classes,
        performance=_performance(classes, judged, segments),
        outliers=None if outliers is None else outliers.model,
        features=_features(monitor, layout, rows, segments, together),
        outcomes=outcomes,
        vectors={name: fitted.vector for name, fitted in vectors.items()},
        rows=_kept_rows(monitor, layout, rows, segments),
        together=together,
    )


def _performance(
    layout: PerformanceLayout, judged: JudgedBatch | None, segments: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Section]:
    if judged is None:
        return {}
    return {name: count_judged(layout, judged.labelled(chosen)) for name, chosen in segments.items()}


def _with_distances(monitor: Monitor, fitted: Mapping[str, FittedVector], rows: ColumnBatch) -> ColumnBatch:
    made = {vector.distance: fitted[vector.name].distances for vector in monitor.vectors}
    return replace(rows, numeric={**rows.numeric, **made})


def _later(frame: pd.DataFrame, monitor: Monitor, fitted: Mapping[str, FittedVector]) -> ColumnBatch:
    known = {name: each.vector for name, each in fitted.items()}
    return with_distances(monitor, known, window_rows(frame, monitor))


def load_reference(path: Path) -> Reference:
    """Read what :meth:`Reference.save` wrote; raises ReferenceDataError naming the file and the trouble."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _from_arrays({name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ReferenceDataError(f"reference file {path} cannot be read: {error}") from error


def _from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Reference:
    header = json.loads(arrays["header"].tobytes())
    if header["format"] not in _READABLE:
        raise ValueError(f"it is '{header['format']}', not '{FORMAT}'")
    columns = tuple(
        ColumnLayout(name, kind, arrays[f"cuts/{index}"], tuple(categories))
        for index, (name, kind, categories) in enumerate(header["columns"])
    )
    cuts, centre, scale = header["strata"]
    outliers = None
    if header["outliers"] is not None:
        name, names, threshold = header["outliers"]
        kept = {key.removeprefix(_OUTLIERS): values for key, values in arrays.items() if key.startswith(_OUTLIERS)}
        outliers = OutlierModel(name, tuple(names), threshold, method(name).restore(kept))
    performance = PerformanceLayout(
        header["task"],
        header["positive"],
        tuple(header["classes"]),
        tuple(cuts),
        centre,
        scale,
        RankingSpec.model_validate(header.get("ranking", {})),
    )
    return Reference(
        monitor=header["monitor"],
        layout=Layout(columns),
        representatives={
            column.name: arrays[f"values/{column.name}"] for column in columns if f"values/{column.name}" in arrays
        },
        counts={name: arrays[f"counts/{name}"] for name in header["segments"]},
        performance_layout=performance,
        performance={
            name: Section(arrays[f"judged/{name}"], tuple(int(total) for total in sums))
            for name, sums in header["sums"].items()
        },
        outliers=outliers,
        source=header.get("source", ""),
        built_at_s=header.get("built_at_s"),
        features=_read_features(header.get("features"), header["segments"], arrays),
        outcomes=read_outcomes(header.get("outcomes"), performance, arrays),
        vectors=_read_vectors(header.get("vectors", {}), header["segments"], arrays),
        rows={key.removeprefix(_ROWS): values for key, values in arrays.items() if key.startswith(_ROWS)},
        together=read_together(arrays, header["segments"]),
    )


def _segment_counts(
    layout: Layout, monitor: Monitor, rows: ColumnBatch, outliers: outlier_model.Fit | None, chosen: NDArray[np.bool_]
) -> NDArray[np.int64]:
    vector = count_rows(layout, monitor, rows.take(chosen))
    if outliers is not None:
        scores = outliers.scores[chosen]
        vector[SCORED] = np.count_nonzero(~np.isnan(scores))
        vector[OUTLIERS] = np.count_nonzero(scores > outliers.model.threshold)
    return vector


def _without_choosers(
    vector: NDArray[np.int64], layout: Layout, known: Mapping[int, KnownCategories]
) -> NDArray[np.int64]:
    """A segment's counts without the rows that chose a column's categories, where some did."""
    for place, categories in known.items():
        rng = np.random.default_rng((_CHOOSING_SEED, place, 1))
        counts = layout.counts(vector, place)
        left = categories.left(counts, rng)
        rows, invalid, taken = int(counts.sum()), layout.invalid(vector, place), int(counts.sum() - left.sum())
        vector[layout.invalid_at][place] -= rng.hypergeometric(invalid, rows - invalid, taken)
        counts[:] = left
    return vector


def _segments(rows: ColumnBatch, monitor: Monitor) -> dict[str, NDArray[np.bool_]]:
    segments = {ALL_ROWS: np.ones(rows.rows, dtype=bool)}
    for column in monitor.segments:
        values = rows.text[column]
        for value in most_frequent(tally(list(values)), monitor.maximum_segments):
            segments[f"{column}={value}"] = values == value
    return segments


def _fit_outliers(rows: ColumnBatch, monitor: Monitor) -> outlier_model.Fit | None:
    names = tuple(column.name for column in monitor.columns if column.type == "numeric" and column.drift)
    names += tuple(name for vector in monitor.vectors for name in coordinates(vector.name, vector.dimension))
    if not names:
        return None
    spec = monitor.detectors
    rng = np.random.default_rng(_OUTLIER_SEED)
    return outlier_model.fit(method(spec.outliers), names, matrix(rows, names), spec.outlier_rate, rng)


def _features(
    monitor: Monitor,
    layout: Layout,
    rows: ColumnBatch,
    segments: Mapping[str, NDArray[np.bool_]],
    together: Mapping[str, TogetherRows],
) -> ReferenceFeatures | None:
    columns = row_columns(layout, monitor)
    if MMD_FEATURES not in monitor.detectors.multivariate or not columns:
        return None
    fitted = fit_features([(column.name, column.kind, column.categories) for column in columns], rows, segments)
    return told_apart(fitted, columns, rows, segments, together)


def _kept_rows(
    monitor: Monitor, layout: Layout, rows: ColumnBatch, segments: Mapping[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.float64]]:
    if not monitor.detectors.kept_rows:
        return {}
    kept = RowSamples(row_columns(layout, monitor), monitor.detectors.kept_rows)
    for name, chosen in segments.items():
        kept.add(name, rows.take(chosen), np.flatnonzero(chosen))
    return {name: kept.rows(name) for name in segments}


def _feature_header(features: FeatureMap) -> list[list[object]]:
    return [
        [column.name, column.kind, column.centre, column.scale, column.categories, column.centres]
        for column in features.columns
    ]


def _feature_arrays(features: ReferenceFeatures, of: str = "") -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {f"{of}features/weights": features.map.weights}
    for name, expected in features.expected.items():
        arrays |= {f"{of}feature sums/{name}": expected.sums, f"{of}feature spread/{name}": expected.spread}
        if len(expected.parts):
            arrays[f"{of}feature parts/{name}"] = expected.parts
    return arrays


def _read_features(
    header: Sequence[Sequence[Any]] | None, segments: Sequence[str], arrays: Mapping[str, NDArray[Any]], of: str = ""
) -> ReferenceFeatures | None:
    if header is None:
        return None
    # A file of an earlier version has no centres, as it has no vectors.
    columns = tuple(
        FeatureColumn(name, kind, centre, scale, tuple(categories), tuple(*centres))
        for name, kind, centre, scale, categories, *centres in header
    )
    expected = {
        name: ExpectedFeatures(
            arrays[f"{of}feature sums/{name}"],
            arrays[f"{of}feature spread/{name}"],
            arrays.get(f"{of}feature parts/{name}", np.empty((0, 0))),
        )
        for name in segments
    }
    return ReferenceFeatures(FeatureMap(columns, arrays[f"{of}features/weights"]), expected)


def _read_vectors(
    header: Mapping[str, Any], segments: Sequence[str], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, WatchedVector]:
    found = {}
    for place, (name, columns) in enumerate(header.items()):
        features = _read_features(columns, segments, arrays, f"vector {place} ")
        if features is not None:
            found[name] = WatchedVector(arrays[f"centres/{place}"], features)
    return found
