"""What each page shows, gathered from the reader: plain values for the templates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from dashboards import words
from dashboards.history import (
    HEADLINE_METRICS,
    ColumnFinding,
    History,
    Measure,
    WindowView,
    findings_of,
    group,
    measure_of,
)
from dashboards.incidents import gravest_first, severity_of
from dashboards.ports import Reader
from driftline.access import Grant
from driftline.maturity import history_s, label_states
from driftline.monitors import Monitor
from driftline.names import SEVERITY_PAGE
from driftline.results import (
    ALL_ROWS,
    ColumnShape,
    LabelState,
    Page,
    Revision,
    SamplePayload,
    StreamKey,
    StreamSummary,
    Verdict,
    WindowKey,
)

_DAY_S = 86400.0
_DEFAULT_MARGIN = 0.1
_STRIP = 30
_LABEL_WINDOWS = 10


def may_see(grant: Grant, stream: StreamKey | None) -> bool:
    """Whether what is of a stream may be shown; what is of none only to those who may see all."""
    return grant.unlimited if stream is None else grant.allows_model(f"{stream.namespace}/{stream.model}")


def visible(pages: Sequence[Page], grant: Grant) -> Sequence[Page]:
    """The pages that may be shown."""
    return [page for page in pages if may_see(grant, page.stream)]


@dataclass(frozen=True, slots=True)
class Card:
    """One stream on the first page."""

    summary: StreamSummary
    history: History
    name: str
    href: str
    sentence: str
    age_s: float
    open_pages: tuple[Page, ...]

    @property
    def shown(self) -> tuple[WindowView, ...]:
        """The windows of the strip."""
        return self.history.windows[-_STRIP:]


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment's newest window, with the newest measure that has labels and the start of its window.

    ``labels``: how complete the segment's labels are in the measured window, or else in the newest.
    """

    name: str
    window: WindowView
    measure: Measure | None
    measured_s: float | None
    labels: LabelState | None = None


@dataclass(frozen=True, slots=True)
class ColumnCard:
    """A column's finding with its distribution, where one is kept."""

    finding: ColumnFinding
    shape: ColumnShape | None


def model_href(stream: StreamKey, path: str = "", **more: str) -> str:
    """The address of a stream's page, or of a page below it."""
    base = f"/models/{quote(stream.namespace, safe='')}/{quote(stream.model, safe='')}{path}"
    return f"{base}?{urlencode({'version': stream.version, 'variant': stream.variant, **more})}"


def report_href(stream: StreamKey, **more: str) -> str:
    """The address of a stream's report."""
    base = f"/report/{quote(stream.namespace, safe='')}/{quote(stream.model, safe='')}"
    return f"{base}?{urlencode({'version': stream.version, 'variant': stream.variant, **more})}"


def window_href(window: WindowView, segment: str = ALL_ROWS) -> str:
    """The address of one window's page."""
    return key_href(window.key, segment)


def key_href(key: WindowKey, segment: str = ALL_ROWS) -> str:
    """The same of a window that is known by its key only."""
    more = {"segment": segment} if segment else {}
    return model_href(key.stream, f"/windows/{int(key.start_s)}", **more)


def margin_of(monitor: Monitor | None) -> float:
    """The effect that matters; the usual one where there is no monitor."""
    return _DEFAULT_MARGIN if monitor is None else monitor.detectors.minimum_effect


def read_history(reader: Reader, summary: StreamSummary, monitor: Monitor | None, windows: int) -> History:
    """The newest ``windows`` windows of a stream."""
    size_s = _DAY_S if monitor is None else monitor.windows.size
    until_s = summary.last_event_s + size_s
    return group(reader.results(summary.stream, until_s - (windows + 1) * size_s, until_s), monitor)


def cards(reader: Reader, pages: Sequence[Page], monitors: Mapping[str, Monitor], now_s: float) -> list[Card]:
    """Every stream, those with open pages, tickets and drift first."""
    made = []
    for summary in reader.streams():
        stream = summary.stream
        history = read_history(reader, summary, monitors.get(f"{stream.namespace}/{stream.model}"), _STRIP)
        made.append(
            Card(
                summary=summary,
                history=history,
                name=words.stream_name(stream),
                href=model_href(stream),
                sentence=words.newest_sentence(history),
                age_s=max(0.0, now_s - summary.last_event_s),
                open_pages=open_pages([page for page in pages if concerns(page, stream)]),
            )
        )
    return sorted(made, key=lambda card: (*_waiting(card.open_pages), -_urgency(card.history), card.name))


def open_pages(pages: Iterable[Page]) -> tuple[Page, ...]:
    """Those of which an alert still fires, the gravest first."""
    return gravest_first(page for page in pages if page.firing)


def _waiting(pages: Sequence[Page]) -> tuple[int, int]:
    """A key to sort by: the most pages of severity ``page`` first, then the most pages of any."""
    return -sum(severity_of(page) == SEVERITY_PAGE for page in pages), -len(pages)


def concerns(page: Page, stream: StreamKey) -> bool:
    """Whether a page is about a stream (or about its whole model)."""
    if page.stream is not None and page.stream.version:
        return page.stream == stream
    labels = page.alert.labels
    return (labels.get("namespace"), labels.get("model")) == (stream.namespace, stream.model)


def segment_rows(history: History, labels: Mapping[WindowKey, LabelState]) -> list[SegmentRow]:
    """Each segment's newest window, the worst first; ``labels``: how complete they are, as far as it is known."""
    newest = history.newest
    rows = [
        _segment_row(name, windows, labels)
        for name, windows in history.segments.items()
        if newest is None or windows[-1].key.start_s == newest.key.start_s
    ]
    return sorted(rows, key=lambda row: (-len(row.window.drifted), _measured(row.measure), row.name))


def _segment_row(name: str, windows: Sequence[WindowView], labels: Mapping[WindowKey, LabelState]) -> SegmentRow:
    labelled = next((window for window in reversed(windows) if window.headline is not None), None)
    if labelled is None:
        return SegmentRow(name, windows[-1], None, None, labels.get(windows[-1].key))
    return SegmentRow(name, windows[-1], labelled.headline, labelled.key.start_s, labels.get(labelled.key))


def column_cards(findings: Sequence[ColumnFinding], shapes: Sequence[ColumnShape]) -> list[ColumnCard]:
    """Findings with their distributions, in the findings' order."""
    by_name = {shape.column: shape for shape in shapes}
    return [ColumnCard(finding, by_name.get(finding.column)) for finding in findings]


@dataclass(frozen=True, slots=True)
class PageView:
    """A page as the on-call person reads it; ``window``: the newest of those in which columns drifted."""

    page: Page
    window: WindowKey | None
    columns: tuple[ColumnCard, ...]
    segments: tuple[SegmentRow, ...]
    measures: tuple[Measure, ...]
    samples: tuple[SamplePayload, ...]
    lasting_s: float
    objective: str
    severity: str


def page_view(reader: Reader, page: Page, monitor: Monitor | None, now_s: float) -> PageView:
    """The page with distributions of its drifted columns and its worst segments; ``monitor``: of its stream."""
    drifted = (result for result in page.drifted if result.window.segment == ALL_ROWS and result.column)
    findings = findings_of(drifted, monitor)
    window = max((finding.deciding.window for finding in findings), key=lambda key: key.start_s, default=None)
    return PageView(
        page=page,
        window=window,
        columns=tuple(_own_shapes(reader, findings)),
        segments=tuple(_page_segments(reader, page, monitor, window, now_s))[:6],
        measures=_headlines(page),
        samples=page.samples,
        lasting_s=max(0.0, (now_s if page.ends_at_s is None else page.ends_at_s) - page.starts_at_s),
        objective=page.alert.labels.get("slo", ""),
        severity=severity_of(page) or "ticket",
    )


def _own_shapes(reader: Reader, findings: Sequence[ColumnFinding]) -> list[ColumnCard]:
    # Evidence may come from several windows; each column is drawn as it was in its own.
    windows = {finding.deciding.window for finding in findings}
    shapes = {(key, shape.column): shape for key in windows for shape in reader.shapes(key)}
    return [
        ColumnCard(finding, shapes.get((finding.deciding.window, finding.column)))
        for finding in sorted(findings, key=lambda finding: 0.0 if finding.effect is None else -finding.effect.value)
    ]


def _headlines(page: Page) -> tuple[Measure, ...]:
    # The newest window that has labels: a metric on no labels is no metric.
    whole = [result for result in page.performance if result.window.segment == ALL_ROWS and result.sample_size > 0]
    newest = max((result.window.start_s for result in whole), default=0.0)
    found = [measure_of(result) for result in whole if result.window.start_s == newest]
    order = {name: place for place, name in enumerate(HEADLINE_METRICS)}
    return tuple(sorted(found, key=lambda measure: order.get(measure.name.partition("@")[0], len(order))))


def _page_segments(
    reader: Reader, page: Page, monitor: Monitor | None, window: WindowKey | None, now_s: float
) -> list[SegmentRow]:
    if page.stream is None or window is None:
        return []
    # Labels come late: the newest measure may be some windows back.
    earlier_s = _LABEL_WINDOWS * (window.end_s - window.start_s)
    history = group(reader.results(window.stream, window.start_s - earlier_s, window.end_s), monitor)
    return segment_rows(history, segment_labels(reader, monitor, history, now_s))


def _measured(measure: Measure | None) -> float:
    if measure is None:
        return float("inf")
    return -measure.value if measure.result.direction == "larger_is_worse" else measure.value


def _urgency(history: History) -> int:
    order = {Verdict.DRIFTED: 3, Verdict.WARNING: 2, Verdict.OK: 1}
    return order.get(history.newest_judged.verdict, 0) if history.newest_judged else 0


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """One evaluation of a window as people read it."""

    revision: Revision
    headline: Measure | None


def label_state_of(reader: Reader, monitor: Monitor | None, key: WindowKey, now_s: float) -> LabelState | None:
    """How complete the labels of a window are; None without a monitor, and for windows that were never counted."""
    if monitor is None:
        return None
    since_s = min(key.start_s, now_s - history_s(monitor))
    windows = reader.label_windows(monitor.namespace, monitor.model, since_s, segments=key.segment != ALL_ROWS)
    return next((state for state in label_states(monitor, windows, now_s) if state.window.key == key), None)


def segment_labels(
    reader: Reader, monitor: Monitor | None, history: History, now_s: float
) -> dict[WindowKey, LabelState]:
    """How complete labels are, by window, of all rows and of each segment."""
    if monitor is None:
        return {}
    since_s = min([now_s - history_s(monitor), *(window.key.start_s for window in history.windows)])
    windows = reader.label_windows(monitor.namespace, monitor.model, since_s, segments=bool(history.segments))
    return {state.window.key: state for state in label_states(monitor, windows, now_s)}


def revision_rows(revisions: Sequence[Revision]) -> list[RevisionRow]:
    """The newest first, each with the measure that stands for its accuracy."""
    rows = []
    for revision in reversed(revisions):
        history = group(result for result in revision.results if result.kind == "performance")
        views = (*history.windows, *(window for found in history.segments.values() for window in found))
        rows.append(RevisionRow(revision, views[0].headline if views else None))
    return rows
