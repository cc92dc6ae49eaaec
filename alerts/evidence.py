"""The page behind an alert: what moved, since when, by how much, with samples and the runbook.

A page is always made, with whatever evidence there is: at three in the morning "the store does not answer" is
evidence too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

from alerts.evidence_choice import (
    ACCURACY,
    bad_since,
    is_of_whole_column,
    largest_effects,
    main_explanation,
    newest_performance,
)
from alerts.runbooks import alertnames, runbook
from driftline import names
from driftline.clock import Clock
from driftline.durations import parse_duration
from driftline.errors import DriftlineError
from driftline.results import ALL_ROWS, Alert, Kind, Page, Result, SamplePayload, StreamKey, StreamSummary

T = TypeVar("T")

DAY_S = 86400.0
MAXIMUM_SAMPLES = 8
MAXIMUM_DRIFTED = 12
#: Columns that the one sentence names.
NAMED_COLUMNS = 3
#: How far back the start of a bad run is looked for first, and how often that is doubled.
LOOK_BACK_S = 14 * DAY_S
DOUBLINGS = 4
SHADOW = "shadow"

#: Results of these kinds tell when it began; the second kind is asked where the first knows nothing.
_TELLING: dict[str, tuple[Kind, ...]] = {
    "correctness": ("performance", "drift"),
    "drift": ("drift",),
    "data_quality": ("quality", "drift"),
}


class EvidenceReader(Protocol):
    """What the store answers (``collector.store.store.Store``)."""

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        """The newest revision of each result of windows between the times, by window start."""
        ...

    def samples(self, stream: StreamKey, since_s: float, until_s: float, limit: int) -> Sequence[SamplePayload]:
        """Stored predictions, the most telling first."""
        ...

    def streams(self) -> Sequence[StreamSummary]:
        """Every stream at a glance."""
        ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What the store gave, and what it did not."""

    stream: StreamKey | None = None
    drifted: tuple[Result, ...] = ()
    performance: tuple[Result, ...] = ()
    explained: Result | None = None
    since_s: float | None = None
    samples: tuple[SamplePayload, ...] = ()
    missing: tuple[str, ...] = ()


def build(alert: Alert, since_s: float | None, reader: EvidenceReader, clock: Clock) -> Page:
    """The page of an alert; never raises for want of evidence.

    ``since_s``: since when the incident that it joins is known to be bad, so that its sentence tells the incident's
    beginning; the page's own ``since_s`` is of this alert.
    """
    now_s = clock()
    found = _gather(alert, reader, now_s) if alert.labels.get(names.MODEL) else _Found()
    return Page(
        id=alert.page_id,
        alert=alert,
        received_at_s=now_s,
        summary=_summary(alert, found, since_s),
        stream=found.stream,
        drifted=found.drifted,
        performance=found.performance,
        since_s=found.since_s,
        samples=found.samples,
        runbook=_runbook(alert),
    )


# --- gathering ----------------------------------------------------------------------------------------------------
def _gather(alert: Alert, reader: EvidenceReader, now_s: float) -> _Found:
    streams, fault = _ask(reader.streams)
    if fault is not None:
        return _Found(missing=(fault,))
    stream = _stream_of(alert, streams or ())
    if stream is None:
        return _Found(missing=("no stream of this model is in the store",))
    results, since_s, fault = _results_of(alert, reader, stream, now_s)
    window_s = _window_s(alert)
    recent_s = alert.starts_at_s - window_s if since_s is None else since_s
    samples, sample_fault = _ask(lambda: reader.samples(stream, recent_s, now_s, MAXIMUM_SAMPLES))
    found = _Found(
        stream=stream,
        drifted=largest_effects(results, recent_s, MAXIMUM_DRIFTED),
        performance=newest_performance(results),
        explained=main_explanation(results) if alert.labels.get(names.SLO) == "correctness" else None,
        since_s=since_s,
        samples=tuple(samples or ())[:MAXIMUM_SAMPLES],
    )
    faults = [text for text in (fault, sample_fault) if text is not None]
    return replace(found, missing=tuple(faults) or tuple(_gaps(alert, results, found)))


def _results_of(
    alert: Alert, reader: EvidenceReader, stream: StreamKey, now_s: float
) -> tuple[Sequence[Result], float | None, str | None]:
    """Results reaching back to the start of the bad run, that start, and why there are none."""
    results: Sequence[Result] = ()
    since_s: float | None = None
    look_back_s = max(LOOK_BACK_S, 2 * _window_s(alert))
    for _ in range(DOUBLINGS):
        from_s = alert.starts_at_s - look_back_s
        read, fault = _ask(partial(reader.results, stream, from_s, now_s))
        if read is None:
            return results, since_s, fault
        further = len(read) > len(results)
        results = read
        since_s = _bad_since(alert, results)
        begins_at_edge = since_s is not None and since_s == min(result.window.start_s for result in results)
        if not (further and begins_at_edge):
            break
        look_back_s *= 2
    return results, since_s, None


def _bad_since(alert: Alert, results: Sequence[Result]) -> float | None:
    kinds = _TELLING.get(alert.labels.get(names.SLO, ""), ())
    classified = any(result.kind == "performance" and result.detector == ACCURACY for result in results)
    target = _target(alert) if classified else None
    starts = (bad_since(results, kind, target) for kind in kinds)
    return next((start_s for start_s in starts if start_s is not None), None)


def _target(alert: Alert) -> float | None:
    try:
        return 1.0 - float(alert.annotations.get("budget_percent", "")) / 100.0
    except ValueError:
        return None


def _ask(question: Callable[[], T]) -> tuple[T | None, str | None]:
    try:
        return question(), None
    except DriftlineError as error:
        return None, f"the store does not answer ({error})"


def _stream_of(alert: Alert, streams: Iterable[StreamSummary]) -> StreamKey | None:
    """The model's stream with the newest events; an objective counts all versions but no shadows."""
    wanted = (alert.labels.get(names.NAMESPACE), alert.labels.get(names.MODEL))
    own = [
        summary
        for summary in streams
        if (summary.stream.namespace, summary.stream.model) == wanted and summary.stream.variant != SHADOW
    ]
    newest = max(own, key=lambda summary: (summary.last_event_s, summary.rows, summary.stream), default=None)
    return None if newest is None else newest.stream


def _window_s(alert: Alert) -> float:
    try:
        return parse_duration(alert.labels.get(names.WINDOW, ""))
    except ValueError:
        return DAY_S


def _gaps(alert: Alert, results: Sequence[Result], found: _Found) -> Iterable[str]:
    if not results:
        yield "no window has been evaluated in this time"
    elif not found.performance and alert.labels.get(names.SLO) == "correctness":
        yield "no window has accuracy results"
    if not found.samples:
        yield "no sample payload is stored for this time"


# --- saying -------------------------------------------------------------------------------------------------------
def _summary(alert: Alert, found: _Found, since_s: float | None) -> str:
    parts = [_what(alert), _since(alert, found, since_s)]
    if found.drifted:
        parts.append(f"most moved: {', '.join(_named(found.drifted))}")
    if found.explained is not None:
        parts.append(_where(found.explained))
    text = "; ".join(parts) + "."
    if found.missing:
        text += f" Missing evidence: {'; '.join(found.missing)}."
    return text if alert.status == "firing" else f"Over: {text}"


def _since(alert: Alert, found: _Found, since_s: float | None) -> str:
    """The incident's beginning, and this alert's where that is later."""
    own_s = alert.starts_at_s if found.since_s is None else found.since_s
    own = f"{'firing' if found.since_s is None else 'bad'} since {_moment(own_s)}"
    return own if since_s is None or since_s >= own_s else f"bad since {_moment(since_s)} (this alert: {own})"


def _where(explained: Result) -> str:
    """What makes most of a change of accuracy; how much is on the window's page and in the report."""
    if is_of_whole_column(explained):
        return f"mostly as {explained.column} is mixed otherwise"
    return f"mostly where {explained.column}"


def _what(alert: Alert) -> str:
    notes = alert.annotations
    if "bad_percent" in notes:
        model, bad, budget = alert.labels.get(names.MODEL, "?"), notes.get("bad_events", "bad"), notes["budget_percent"]
        window = alert.labels.get(names.WINDOW)
        over = f" over the last {window}" if window else ""
        return f"{model}: {notes['bad_percent']} % of {bad}{over} (objective: at most {budget} %)"
    return notes.get("summary") or alert.labels.get("alertname", "an alert without a name")


def _named(drifted: Sequence[Result]) -> list[str]:
    overall = [result for result in drifted if result.window.segment == ALL_ROWS] or list(drifted)
    return [_moved(result) for result in overall[:NAMED_COLUMNS]]


def _moved(result: Result) -> str:
    place = f" in {result.window.segment}" if result.window.segment != ALL_ROWS else ""
    effect = "" if result.effect is None else f" (effect {result.effect.value:.2g})"
    return f"{result.column or 'the whole window'}{place}{effect}"


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day} {moment:%b} {moment:%H:%M} UTC"


def _runbook(alert: Alert) -> str:
    alertname = alert.labels.get("alertname", "")
    text = runbook(alertname) if alertname in alertnames() else f"There is no runbook for '{alertname}'.\n"
    return text.replace('"MODEL"', f'"{alert.labels.get(names.MODEL, "MODEL")}"')
