"""The drift report: what moved, since when, by how much, and what to think of it, in one file.

``build_report`` gathers, ``render_html``, ``render_json`` and ``render_markdown`` show. The HTML holds its own style
and pictures and nothing from elsewhere; its size depends on windows and columns, never on rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dashboards import views, words
from dashboards.history import ColumnFinding, History, WindowView, group
from dashboards.method import method
from dashboards.ports import Reader
from dashboards.rendering import Renderer
from driftline.clock import Clock
from driftline.maturity import quantile_s
from driftline.monitors import Monitor
from driftline.results import LEFT_OUT, ColumnShape, LabelState, SamplePayload, StreamKey, Verdict, WindowKey

_LARGEST_TIMELINE = 120
_SAMPLES = 8
_MATURE_COVERAGE = 0.8


@dataclass(frozen=True, slots=True)
class DriftedColumn:
    """A column that drifted within the period: when first, how often, and its worst window's finding and shape."""

    column: str
    windows: int
    first_s: float
    worst: ColumnFinding
    shape: ColumnShape | None


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything a report says. Times in seconds since the epoch."""

    stream: StreamKey
    monitor: Monitor
    since_s: float
    until_s: float
    made_at_s: float
    verdict: Verdict
    sentence: str
    accuracy_sentence: str
    against: str
    rows: int
    history: History
    drifted: tuple[DriftedColumn, ...]
    newest: WindowView | None
    segments: tuple[views.SegmentRow, ...]
    samples: tuple[SamplePayload, ...]
    method: tuple[str, ...]
    caveats: tuple[str, ...]


def build_report(
    reader: Reader, monitor: Monitor, stream: StreamKey, since_s: float, until_s: float, clock: Clock
) -> ReportData:
    """The report of one stream over the windows that touch [since_s, until_s)."""
    history = group(reader.results(stream, since_s, max(until_s, since_s + 1)), monitor)
    newest = history.newest
    drifted = _drifted_columns(reader, history)
    labels = views.segment_labels(reader, monitor, history, clock())
    samples = () if newest is None else reader.samples(stream, newest.key.start_s, newest.key.end_s, _SAMPLES)
    return ReportData(
        stream=stream,
        monitor=monitor,
        since_s=since_s,
        until_s=until_s,
        made_at_s=clock(),
        verdict=_verdict(history),
        sentence=_sentence(history, drifted),
        accuracy_sentence=_accuracy_sentence(history),
        against="" if newest is None else newest.against,
        rows=sum(window.rows for window in history.windows),
        history=history,
        drifted=drifted,
        newest=newest,
        segments=tuple(views.segment_rows(history, labels)),
        samples=tuple(samples),
        method=method(monitor),
        caveats=_caveats(monitor, history, _provisional(history, labels)),
    )


def render_html(data: ReportData) -> str:
    """One HTML file with its own style and pictures."""
    return Renderer().page("report.html", {"data": data, "margin": data.monitor.detectors.minimum_effect})


def render_json(data: ReportData) -> str:
    """The report as JSON, for other programs."""
    plain = {
        "stream": data.stream,
        "monitor": data.monitor.name,
        "since_s": data.since_s,
        "until_s": data.until_s,
        "made_at_s": data.made_at_s,
        "verdict": data.verdict,
        "sentence": data.sentence,
        "accuracy": data.accuracy_sentence,
        "against": data.against,
        "explained": [found.reason for found in data.history.explained],
        "rows": data.rows,
        "windows": [_window_facts(window) for window in data.history.windows],
        "drifted": [_column_facts(column) for column in data.drifted],
        "segments": [
            {"segment": row.name, **_window_facts(row.window), "labels": _label_facts(row.labels)}
            for row in data.segments
        ],
        "method": data.method,
        "caveats": data.caveats,
    }
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def render_markdown(data: ReportData) -> str:
    """The report as Markdown, for a ticket or a chat."""
    return Renderer().page("report.md", {"data": data})


# --- gathering ----------------------------------------------------------------------------------------------------
def _drifted_columns(reader: Reader, history: History) -> tuple[DriftedColumn, ...]:
    seen: dict[str, list[tuple[WindowView, ColumnFinding]]] = {}
    for window in history.windows:
        for finding in window.drifted:
            seen.setdefault(finding.column, []).append((window, finding))
    columns = []
    for name, found in seen.items():
        window, worst = max(found, key=lambda pair: pair[1].effect_size)
        shape = next((shape for shape in reader.shapes(window.key) if shape.column == name), None)
        columns.append(DriftedColumn(name, len(found), found[0][0].key.start_s, worst, shape))
    return tuple(sorted(columns, key=lambda column: (-column.worst.effect_size, column.column)))


def _verdict(history: History) -> Verdict:
    for verdict in (Verdict.DRIFTED, Verdict.WARNING, Verdict.OK):
        if any(window.verdict is verdict for window in history.windows):
            return verdict
    return Verdict.NOT_ENOUGH_EVIDENCE


def _sentence(history: History, drifted: Sequence[DriftedColumn]) -> str:
    told = words.history_sentence(history)
    if not drifted:
        return told
    names = words.listed([column.column for column in drifted])
    return f"{told} What moved most: {names}."


def _accuracy_sentence(history: History) -> str:
    labelled = [(window, found) for window in history.windows if (found := window.headline) is not None]
    if not labelled:
        return "No answer of the model has a label, so nothing can be said about accuracy."
    window, newest = labelled[-1]
    name = words.metric_name(newest.name)
    told = f"{name} was {words.measure(newest)} on {words.span(window.key.start_s, window.key.end_s)}, "
    told += f"with {words.coverage(newest)}"
    if newest.reference is not None:
        told += f"; the reference has {words.metric_value(newest.name, newest.reference)}"
    return f"{told}.{_over_all_windows(history)}"


def _over_all_windows(history: History) -> str:
    newest = history.newest
    alarms = [] if newest is None else [each for each in newest.sequential if each.verdict is Verdict.WARNING]
    return "".join(f" Over all windows so far: {each.reason}." for each in alarms)


def _provisional(history: History, labels: Mapping[WindowKey, LabelState]) -> int:
    """How many of the windows have an accuracy that is not final."""
    states = (labels.get(window.key) for window in history.windows)
    return sum(state is not None and not state.mature for state in states)


def _caveats(monitor: Monitor, history: History, provisional: int) -> tuple[str, ...]:
    caveats = []
    few = [window for window in history.windows if window.rows < monitor.windows.minimum_rows]
    if few:
        caveats.append(
            f"{len(few)} of {len(history.windows)} windows have fewer than {monitor.windows.minimum_rows} rows and are "
            "answered 'not enough evidence'."
        )
    immature = [
        window
        for window in history.windows
        if (found := window.headline) is None or (found.coverage is not None and found.coverage < _MATURE_COVERAGE)
    ]
    if immature:
        caveats.append(
            f"In {len(immature)} of {len(history.windows)} windows fewer than {words.share(_MATURE_COVERAGE, 0)} of "
            "the predictions have a label yet; accuracy may still move, and early labels are rarely a fair sample."
        )
    lacking = sum(any(LEFT_OUT in measure.result.reason for measure in window.measures) for window in history.windows)
    if lacking:
        caveats.append(
            f"In {lacking} of {len(history.windows)} windows labelled rows are {LEFT_OUT}: "
            "accuracy is that of the others."
        )
    if provisional:
        caveats.append(
            f"The accuracy of {provisional} of {len(history.windows)} windows is provisional: by the delays of earlier "
            "windows, labels are still to come."
        )
    if monitor.reference is None:
        caveats.append("The monitor names no reference, so drift cannot be judged.")
    if len(history.windows) > _LARGEST_TIMELINE:
        caveats.append(f"The timeline shows the newest {_LARGEST_TIMELINE} of {len(history.windows)} windows.")
    newest = history.newest
    caveats.extend(f"False alarms, {spent.detector}: {spent.reason}." for spent in (newest.budgets if newest else ()))
    caveats.append("Drift says that inputs or outputs changed, not that the model is wrong; read it beside accuracy.")
    return tuple(caveats)


def _window_facts(window: WindowView) -> dict[str, object]:
    headline = window.headline
    return {
        "start_s": window.key.start_s,
        "end_s": window.key.end_s,
        "verdict": window.verdict,
        "rows": window.rows,
        "drifted": [finding.column for finding in window.drifted],
        "metric": None if headline is None else headline.name,
        "value": None if headline is None else headline.value,
        "interval": None if headline is None else headline.interval,
        "coverage": None if headline is None else headline.coverage,
    }


def _label_facts(state: LabelState | None) -> dict[str, object] | None:
    if state is None:
        return None
    return {
        "start_s": state.window.start_s,
        "coverage": state.coverage,
        "maturity": state.maturity,
        "mature": state.mature,
        "delay_p50_s": quantile_s(state.window.delays, 0.5),
        "delay_p95_s": quantile_s(state.window.delays, 0.95),
    }


def _column_facts(column: DriftedColumn) -> dict[str, object]:
    deciding = column.worst.deciding
    return {
        "column": column.column,
        "windows": column.windows,
        "first_s": column.first_s,
        "effect": column.worst.effect,
        "p_value": column.worst.p_value,
        "detector": deciding.detector,
        "statistic": deciding.statistic,
        "reason": deciding.reason,
        "shape": column.shape,
    }
