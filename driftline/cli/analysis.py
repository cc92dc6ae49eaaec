"""Two files compared as a window with its reference: for a notebook, a command, a pipeline that trains a model.

>>> from driftline.cli.analysis import analyze
>>> import numpy as np, pandas as pd
>>> rng = np.random.default_rng(0)
>>> before, now = (pd.DataFrame({"age": rng.normal(mean, 1, 2000)}) for mean in (40, 41))
>>> found = analyze(before, now)
>>> found.drifted, found.verdict.value
(('age',), 'drifted')
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd

from dashboards.report import ReportData, build_report, render_html, render_json, render_markdown
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.table_catalogue import needs_rows
from detectors.offline.files import OfflineResults, OfflineWindows, Progress, Span, pieces, row_count, whole_queries
from detectors.offline.in_time import reference_in_time
from detectors.offline.outline import Draft, draft
from driftline.cli.label_files import CLASSES, KnownLabels, LabelFile, known_labels, told_of_classes
from driftline.cli.payload_rows import QUERY as PAYLOAD_QUERY
from driftline.cli.payload_rows import as_monitored
from driftline.cli.report_files import ENDINGS, form_of
from driftline.cli.tables import Source, as_frame, is_file
from driftline.clock import Clock, system_clock
from driftline.errors import ReferenceDataError, SettingsError
from driftline.monitor_detectors import WindowSpec
from driftline.monitors import Monitor
from driftline.results import (
    ColumnShape,
    Result,
    Revision,
    SamplePayload,
    StreamKey,
    StreamSummary,
    Verdict,
    WindowKey,
    WindowLabels,
)

if TYPE_CHECKING:
    from detectors.offline.spark import Prepare

Engine = Literal["python", "spark"]
DAY_S = 86_400.0
# Of each window, and of each segment of the reference, as detectors that need rows look at; more where a monitor asks.
_KEPT_ROWS = 5000
# Rows of a file have no version; this variant is the one that nobody mentions.
_VERSION, _VARIANT = "", "stable"
# Columns that a remark lists; the others are counted.
_LISTED_COLUMNS = 12
_UNDATED = "No column of times was named: all rows are one window, dated today."
# The report has a sheet of styles for a page of its own, which must not become the notebook's.
_IN_NOTEBOOK = '<iframe srcdoc="{}" style="width: 100%; height: 42rem; border: 0" title="Drift report"></iframe>'


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns are no inputs: the truth, the model's answer and its score, and when each row was."""

    target: str | None = None
    prediction: str | None = None
    score: str | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found: as a report in three forms, and as results."""

    report: ReportData
    results: tuple[Result, ...]

    @property
    def verdict(self) -> Verdict:
        """Of the newest window."""
        return self.report.verdict

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that drifted in any window, the largest effect first."""
        return tuple(column.column for column in self.report.drifted)

    def html(self) -> str:
        """One HTML file with its own style and pictures."""
        return render_html(self.report)

    def json(self) -> str:
        """For other programs."""
        return render_json(self.report)

    def markdown(self) -> str:
        """For a ticket or a chat."""
        return render_markdown(self.report)

    def save(self, path: Path | str) -> None:
        """Write the form that the file's name asks for: .html, .json or .md."""
        forms = {"html": self.html, "json": self.json, "markdown": self.markdown}
        target = Path(path)
        form = form_of(target, list(forms))
        if form is None:
            endings = ", ".join(ENDINGS[each][0] for each in forms)
            raise SettingsError("analyze", [f"'{path}' ends in none of {endings}"])
        target.write_text(forms[form](), encoding="utf-8")

    def frame(self) -> pd.DataFrame:
        """Every result as a row: what was compared, by which detector, and what it found.

        ``window`` is its start, in UTC; an empty ``column`` is the window as a whole, an empty ``segment`` all rows.
        """
        names = ("effect", "effect_lower", "effect_upper")
        plain = ("segment", "column", "detector", "kind", "verdict", "statistic", "p_value", *names, "sample_size")
        rows = [
            {
                "window": pd.Timestamp(result.window.start_s, unit="s", tz="UTC"),
                "segment": result.window.segment,
                "column": result.column,
                "detector": result.detector,
                "kind": result.kind,
                "verdict": result.verdict.value,
                "statistic": result.statistic,
                "p_value": result.p_value,
                **dict(zip(names, _ends(result), strict=True)),
                "sample_size": result.sample_size,
                "reference_size": result.reference_size,
                "reason": result.reason,
            }
            for result in self.results
        ]
        return pd.DataFrame(rows, columns=["window", *plain, "reference_size", "reason"])

    def __repr__(self) -> str:
        """The verdict in a sentence."""
        return f"{self.verdict.value.replace('_', ' ')}: {self.report.sentence}"

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        return _IN_NOTEBOOK.format(escape(self.html()))


def _ends(result: Result) -> tuple[float | None, float | None, float | None]:
    effect = result.effect
    return (None, None, None) if effect is None else (effect.value, effect.lower, effect.upper)


def analyze(
    reference: Source,
    current: Source,
    *,
    target: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    time: str | None = None,
    labels: LabelFile | None = None,
    monitor: Monitor | None = None,
    model: str = "model",
    exact: bool = False,
    multivariate: Sequence[str] = (),
    engine: Engine = "python",
    spark_master: str | None = None,
    progress: Progress = lambda _done, _total: None,
    clock: Clock = system_clock,
) -> Analysis:
    """Compare ``current`` rows with ``reference`` rows, each a frame, an Arrow table or a Parquet or CSV file.

    Without a ``monitor`` one is drafted from the reference, as ``driftline init`` does; columns with one value are
    compared, too, and the report names those that are not. With a column of times the rows
    are cut into the monitor's windows; else they are one. Raises ReferenceDataError naming every column at fault.

    ``multivariate``: detectors of all input columns together, instead of the monitor's. ``progress`` is told after
    each piece of the current rows how many are done, and of how many.
    ``exact``: every value of either side has a bin of its own, so that none is rounded; both are held in memory.
    ``engine``: who counts the rows; Spark's executors give the same results to the last digit (extra ``spark``,
    ``current`` is Parquet at any address that Spark reads, ``spark_master`` as Spark spells it).
    """
    roles = Roles(target, prediction, score, time)
    frame = as_frame(reference, "the reference")
    drafted = None
    if monitor is None:
        drafted = _drafted(frame, roles, model, reference)
        monitor = _of_two_files(drafted)
    monitor = _looking_at_rows(monitor, (multivariate,) if isinstance(multivariate, str) else multivariate)
    _check_engine(engine, monitor, exact=exact)
    today_s = clock() // DAY_S * DAY_S
    stream = StreamKey(monitor.namespace, monitor.model, _VERSION, _VARIANT)
    span = Span(today_s, today_s + DAY_S, time)
    source = as_frame(current, "what came") if exact or not isinstance(current, str | Path) else Path(current)
    built = reference_in_time(frame, monitor, exact_with=source if isinstance(source, pd.DataFrame) and exact else None)
    name = Path(reference).name if isinstance(reference, str | Path) else f"{len(frame)} rows"
    built = replace(built, source=name, built_at_s=clock())
    windows = OfflineWindows(monitor, built, stream, span)
    known = None if labels is None else known_labels(labels, monitor)
    prepare = partial(_prepared, monitor=monitor, known=known)
    seen = (
        _count_with_spark(current, windows, prepare, spark_master)
        if engine == "spark"
        else _count(source, windows, prepare, progress)
    )
    if not windows.rows:
        raise ReferenceDataError(f"{_named(current)} has no rows")
    told = [] if time is not None else [_UNDATED]
    told += [] if drafted is None else _not_compared(drafted, seen.not_in(frame))
    found = windows.evaluate()
    told += _told_of_labels(known, monitor, frame, found, seen)
    return _reported(found, monitor, stream, clock, told)


def _check_engine(engine: Engine, monitor: Monitor, *, exact: bool) -> None:
    if engine not in get_args(Engine):
        raise SettingsError("analyze", [f"engine is '{engine}', not one of {', '.join(get_args(Engine))}"])
    if engine == "spark" and (exact or needs_rows(monitor.detectors.multivariate)):
        raise SettingsError("analyze", ["'exact' and detectors of rows hold rows in memory, which 'spark' is to avoid"])


def _looking_at_rows(monitor: Monitor, multivariate: Sequence[str]) -> Monitor:
    """The monitor with these detectors, or its own, and with rows for those that need some, whatever it keeps of
    traffic: these stay in memory.
    """
    detectors = monitor.detectors
    if multivariate:
        detectors = detectors.model_copy(update={"multivariate": tuple(multivariate)})
    check_detectors(monitor.model_copy(update={"detectors": detectors}))
    rows = max(_KEPT_ROWS, detectors.compared_rows) if needs_rows(detectors.multivariate) else 0
    return monitor.model_copy(update={"detectors": detectors.model_copy(update={"kept_rows": rows})})


def _reported(
    found: OfflineResults, monitor: Monitor, stream: StreamKey, clock: Clock, told: Sequence[str]
) -> Analysis:
    since_s = min(result.window.start_s for result in found.results)
    until_s = max(result.window.end_s for result in found.results)
    data = build_report(_Reader(found), monitor, stream, since_s, until_s, clock)
    return Analysis(replace(data, caveats=(*told, *data.caveats)), found.results)


def evidently_report(reference: Source, current: Source, monitor: Monitor, path: Path) -> None:
    """Evidently's own report on the monitor's input columns; raises MonitorError where it is not installed."""
    from detectors.adapters.evidently import save_report

    watched = [column for column in monitor.columns if column.drift]
    numeric = [column.name for column in watched if column.type == "numeric"]
    categorical = [column.name for column in watched if column.type == "categorical"]
    frames = as_frame(reference, "the reference"), as_frame(current, "what came")
    save_report(*frames, numeric, categorical, path)


def _named(source: Source) -> str:
    return str(source) if is_file(source) else "the frame of current rows"


def _drafted(frame: pd.DataFrame, roles: Roles, model: str, source: Source) -> Draft:
    name = str(source) if isinstance(source, Path | str) else "reference"
    inputs = frame.drop(columns=[roles.time]) if roles.time in frame.columns else frame
    return draft(
        inputs, model=model, reference_path=name, target=roles.target, prediction=roles.prediction, score=roles.score
    )


def _of_two_files(drafted: Draft) -> Monitor:
    """The drafted monitor for files: whatever their rows show is told, however few they are.

    How many rows a window needs is for traffic; so is that a constant may change, as a version does.
    """
    constant = {role.name for role in drafted.inputs if role.role == "constant"}
    columns = tuple(
        column.model_copy(update={"drift": True}) if column.name in constant else column
        for column in drafted.monitor.columns
    )
    return drafted.monitor.model_copy(update={"windows": WindowSpec(), "columns": columns})


def _not_compared(drafted: Draft, unexpected: Sequence[str]) -> list[str]:
    """Sentences on the reference's columns that are not compared, and on columns that it lacks."""
    compared = {column.name for column in drafted.monitor.columns if column.drift}
    compared |= {vector.name for vector in drafted.monitor.vectors}
    left_out = [
        f"{role.name} ({role.why})" for role in drafted.inputs if role.name not in compared and role.role != "constant"
    ]
    told = {"Not compared": left_out, "Only the current rows have": unexpected}
    return [f"{what}: {_listed(names)}." for what, names in told.items() if names]


def _told_of_labels(
    known: KnownLabels | None, monitor: Monitor, reference: pd.DataFrame, found: OfflineResults, seen: "_Seen"
) -> list[str]:
    """What is odd about the labels of the rows; ``known``: those that lie apart."""
    if seen.names and monitor.prediction.column not in seen.names:
        labelled = known is not None or (monitor.reference is not None and monitor.reference.label in seen.names)
        name = monitor.prediction.column
        return [f"Labels need predictions beside them: the rows have no column '{name}'."] if labelled else []
    labels = known.truth.unique() if known is not None and not seen.names else seen.labels
    told = told_of_classes(labels, monitor, reference)
    return told if known is None else known.remarks(used=any(result.coverage for result in found.results)) + told


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED_COLUMNS
    return ", ".join(names[:_LISTED_COLUMNS]) + (f" and {more} more" if more > 0 else "")


def _prepared(piece: pd.DataFrame, monitor: Monitor, known: KnownLabels | None) -> pd.DataFrame:
    """The piece under the monitor's names, with its labels where they lie apart."""
    piece = as_monitored(piece, monitor)
    return piece if known is None else known.beside(piece)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there was in the current rows: the columns' names, and every label. Nobody has seen Spark's."""

    names: tuple[str, ...] = ()
    labels: frozenset[object] = frozenset()

    def not_in(self, frame: pd.DataFrame) -> list[str]:
        """The columns that a frame has not."""
        return [name for name in self.names if name not in frame.columns]


def _count(source: Path | pd.DataFrame, windows: OfflineWindows, prepare: "Prepare", progress: Progress) -> _Seen:
    """Count the rows."""
    monitor, total = windows.monitor, row_count(source)
    target = None if monitor.reference is None or monitor.task not in CLASSES else monitor.reference.label
    names: tuple[str, ...] = ()
    labels: set[object] = set()
    for piece in whole_queries(map(prepare, pieces(source)), monitor):
        windows.add(piece)
        names = tuple(str(name) for name in piece.columns)
        if target in names:
            labels.update(piece[target].dropna().unique())
        progress(windows.rows, total)
    return _Seen(names, frozenset(labels))


def _count_with_spark(current: Source, windows: OfflineWindows, prepare: "Prepare", master: str | None) -> _Seen:
    """The same by Spark, which tells nothing of them."""
    if not is_file(current):
        raise SettingsError("analyze", ["engine 'spark' reads Parquet, and the current rows are a frame"])
    from detectors.offline import spark

    if not spark.AVAILABLE:
        raise SettingsError("analyze", ["engine 'spark' needs the extra: pip install 'driftline[spark]'"])
    monitor = windows.monitor
    queries = (monitor.ranking.query, PAYLOAD_QUERY) if monitor.task == "ranking" else ()
    spark.count_with_spark(spark.open_session(master), str(current), windows, prepare, queries)
    return _Seen()


@dataclass(frozen=True, slots=True)
class _Reader:
    """What a report reads, out of memory; all of it is of one stream."""

    found: OfflineResults

    def streams(self) -> Sequence[StreamSummary]:
        return ()

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        return self.found.results

    def samples(self, stream: StreamKey, since_s: float, until_s: float, limit: int) -> Sequence[SamplePayload]:
        return self.found.samples.get((since_s, until_s), ())[:limit]

    def shapes(self, key: WindowKey) -> Sequence[ColumnShape]:
        return self.found.shapes.get(key, ())

    def label_windows(
        self, namespace: str, model: str, since_s: float, *, segments: bool = False
    ) -> Sequence[WindowLabels]:
        return ()

    def revisions(self, key: WindowKey) -> Sequence[Revision]:
        return ()
