"""The page behind an alert: what it shows and what its one sentence says."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from alerts.evidence import MAXIMUM_DRIFTED, MAXIMUM_SAMPLES, build
from alerts.evidence_choice import bad_since
from driftline.errors import UnavailableError
from driftline.results import (
    Alert,
    Interval,
    Kind,
    Page,
    Result,
    SamplePayload,
    StreamKey,
    StreamSummary,
    Verdict,
    WindowKey,
)
from driftline.testing import ManualClock

DAY_S = 86400.0
HOUR_S = 3600.0
DECEMBER_S = datetime(2013, 12, 1, tzinfo=UTC).timestamp()
STREAM = StreamKey("default", "flight-delay", "1", "stable")
LABELS = {
    "alertname": "DriftlineCorrectnessBurn",
    "severity": "page",
    "slo": "correctness",
    "namespace": "default",
    "model": "flight-delay",
    "owner": "flights",
    "window": "1d",
}
ANNOTATIONS = {
    "summary": "s",
    "bad_percent": "54.2",
    "budget_percent": "20",
    "bad_events": "labelled predictions were wrong",
    "runbook_url": "http://x/runbooks/DriftlineCorrectnessBurn",
}
STARTED_S = DECEMBER_S + 6 * DAY_S
ALERT = Alert("firing", LABELS, ANNOTATIONS, STARTED_S, None, "abc")


@dataclass
class Store:
    """A store that holds what a test put in."""

    held: list[Result] = field(default_factory=list)
    payloads: list[SamplePayload] = field(default_factory=list)
    summaries: list[StreamSummary] = field(default_factory=lambda: [StreamSummary(STREAM, 100, 50, 0.0, STARTED_S)])
    broken: bool = False
    asked: list[tuple[float, float]] = field(default_factory=list)

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        if self.broken:
            raise UnavailableError("store", "locked")
        self.asked.append((since_s, until_s))
        found = [one for one in self.held if one.window.stream == stream and since_s <= one.window.start_s < until_s]
        return sorted(found, key=lambda one: one.window.start_s)

    def samples(self, stream: StreamKey, since_s: float, until_s: float, limit: int) -> Sequence[SamplePayload]:
        if self.broken:
            raise UnavailableError("store", "locked")
        return [one for one in self.payloads if since_s <= one.time_s < until_s][:limit]

    def streams(self) -> Sequence[StreamSummary]:
        return self.summaries


def _result(
    day: float,
    verdict: Verdict,
    *,
    kind: Kind = "drift",
    column: str = "wind",
    segment: str = "",
    effect: float = 0.2,
    detector: str = "ks",
    statistic: float = 0.5,
) -> Result:
    start_s = DECEMBER_S + day * DAY_S
    return Result(
        window=WindowKey(STREAM, segment, start_s, start_s + DAY_S),
        column=column,
        detector=detector,
        kind=kind,
        statistic=statistic,
        direction="smaller_is_worse" if kind == "performance" else "larger_is_worse",
        verdict=verdict,
        reason="",
        sample_size=100,
        effect=Interval(effect, effect - 0.1, effect + 0.1),
    )


def _accuracy(day: float, value: float, segment: str = "") -> Result:
    return _result(
        day,
        Verdict.OK,
        kind="performance",
        column="",
        segment=segment,
        detector="accuracy",
        statistic=value,
        effect=value,
    )


def _build(store: Store, alert: Alert = ALERT, since_s: float | None = None) -> Page:
    return build(alert, since_s, store, ManualClock(STARTED_S + HOUR_S))


def test_the_sentence_says_how_bad_since_when_and_what_moved() -> None:
    store = Store(
        held=[
            *(_accuracy(day, 0.85) for day in range(-3, 4)),
            *(_accuracy(day, 0.46) for day in (4, 5)),
            _result(4, Verdict.DRIFTED, column="wind", effect=0.31),
            _result(5, Verdict.DRIFTED, column="visibility", effect=0.4),
            _result(5, Verdict.WARNING, column="carrier", effect=0.9),
        ],
        payloads=[SamplePayload("r1", 0, STARTED_S - HOUR_S, "0", "1", None)],
    )
    page = _build(store)
    assert page.summary == (
        "flight-delay: 54.2 % of labelled predictions were wrong over the last 1d (objective: at most 20 %); "
        "bad since 5 Dec 00:00 UTC; "
        "most moved: visibility (effect 0.4), wind (effect 0.31)."
    )
    assert page.since_s == DECEMBER_S + 4 * DAY_S
    assert page.stream == STREAM
    assert [result.column for result in page.drifted] == ["visibility", "wind"]
    assert page.samples == tuple(store.payloads)


def test_an_alert_that_joins_an_incident_tells_the_incidents_beginning_and_its_own_where_that_is_later() -> None:
    store = Store(held=[*(_accuracy(day, 0.85) for day in range(-3, 4)), *(_accuracy(day, 0.46) for day in (4, 5))])
    later = "bad since 1 Dec 06:00 UTC (this alert: bad since 5 Dec 00:00 UTC)"
    assert f"; {later}." in _build(store, since_s=DECEMBER_S + DAY_S / 4).summary
    assert "; bad since 5 Dec 00:00 UTC." in _build(store, since_s=DECEMBER_S + 4 * DAY_S).summary
    unknown = _build(Store(held=[_accuracy(3, 0.85)]), since_s=DECEMBER_S).summary
    assert "; bad since 1 Dec 00:00 UTC (this alert: firing since " in unknown


@pytest.mark.parametrize(
    ("column", "by", "told"),
    [
        ("origin=EWR", "segment", "mostly where origin=EWR"),
        ("wind from 3 to 5", "value", "mostly where wind from 3 to 5"),
        ("carrier", "column", "mostly as carrier is mixed otherwise"),
    ],
)
def test_what_makes_most_of_it_is_said_in_a_word(column: str, by: str, told: str) -> None:
    explanation = _result(5, Verdict.WARNING, kind="explanation", column=column, detector=f"accuracy_change_by_{by}")
    assert f"; {told}." in _build(Store(held=[_accuracy(5, 0.46), explanation])).summary


def test_performance_shows_the_newest_windows_and_the_worst_segments() -> None:
    store = Store(
        held=[
            *(_accuracy(day, 0.8) for day in range(-5, 6)),
            *(_accuracy(5, 0.1 * n, f"origin={n}") for n in range(10)),
        ]
    )
    shown = _build(store).performance
    overall = [result for result in shown if result.window.segment == ""]
    assert [(result.window.start_s - DECEMBER_S) / DAY_S for result in overall] == [5, 4, 3, 2]
    assert [result.window.segment for result in shown[len(overall) :]] == [f"origin={n}" for n in range(6)]


def test_a_column_is_shown_once_with_its_largest_effect_and_the_list_is_short() -> None:
    columns = [_result(5, Verdict.DRIFTED, column=f"c{n}", effect=0.01 * n) for n in range(30)]
    again = [_result(4, Verdict.DRIFTED, column="c3", effect=0.9, detector="psi")]
    segment = [_result(5, Verdict.DRIFTED, column="c3", segment="origin=JFK", effect=0.8)]
    drifted = _build(Store(held=[*columns, *again, *segment, _accuracy(4, 0.1), _accuracy(5, 0.1)])).drifted
    assert len(drifted) == MAXIMUM_DRIFTED
    shown = [(one.column, one.window.segment) for one in drifted]
    assert shown[:3] == [("c3", ""), ("c29", ""), ("c28", "")]
    assert shown[-1] == ("c3", "origin=JFK")


def test_segments_do_not_crowd_the_other_columns_out() -> None:
    columns = [_result(5, Verdict.DRIFTED, column=f"c{n}", effect=0.1 * n) for n in range(1, 8)]
    segments = [_result(5, Verdict.DRIFTED, column="c7", segment=f"origin={n}", effect=0.95) for n in range(20)]
    drifted = _build(Store(held=[*segments, *columns])).drifted
    assert len(drifted) == MAXIMUM_DRIFTED
    assert {one.column for one in drifted} == {f"c{n}" for n in range(1, 8)}


def test_a_run_longer_than_the_first_look_is_followed_to_its_start() -> None:
    store = Store(held=[_accuracy(day, 0.5 if day >= -40 else 0.9) for day in range(-60, 6)])
    assert _build(store).since_s == DECEMBER_S - 40 * DAY_S
    assert len(store.asked) > 1


def test_a_drift_alert_follows_the_windows_verdicts_and_not_single_columns() -> None:
    store = Store(
        held=[
            _result(1, Verdict.DRIFTED, column="wind"),
            _result(1, Verdict.OK, column="", detector="window"),
            _result(2, Verdict.DRIFTED, column="", detector="window"),
            _result(3, Verdict.NOT_ENOUGH_EVIDENCE, column="", detector="window"),
            _result(4, Verdict.DRIFTED, column="", detector="window"),
        ]
    )
    alert = replace(ALERT, labels={**LABELS, "slo": "drift", "alertname": "DriftlineDriftBurn"})
    assert _build(store, alert).since_s == DECEMBER_S + 2 * DAY_S


def test_an_old_run_that_ended_is_not_joined_to_the_new_one() -> None:
    results = [_accuracy(day, value) for day, value in enumerate([0.5, 0.9, 0.5, 0.5, 0.9])]
    assert bad_since(results, "performance", 0.8) == DECEMBER_S + 2 * DAY_S
    assert bad_since(results[1:2], "performance", 0.8) is None


def test_a_regression_goes_by_its_warnings() -> None:
    errors = [
        _result(day, verdict, kind="performance", column="", detector="mae")
        for day, verdict in enumerate([Verdict.OK, Verdict.WARNING, Verdict.WARNING])
    ]
    assert _build(Store(held=errors)).since_s == DECEMBER_S + DAY_S


def test_without_evidence_the_page_says_what_is_missing() -> None:
    page = _build(Store())
    assert page.summary.endswith(
        "firing since 7 Dec 00:00 UTC. Missing evidence: no window has been evaluated in this time; "
        "no sample payload is stored for this time."
    )
    assert not page.drifted
    assert not page.performance
    assert not page.samples


def test_without_a_stream_the_page_says_so() -> None:
    assert "no stream of this model is in the store" in _build(Store(summaries=[])).summary


def test_a_store_that_does_not_answer_is_evidence_too() -> None:
    page = _build(Store(broken=True))
    assert "the store does not answer (store is unavailable: locked)" in page.summary
    assert page.runbook


def test_shadows_and_other_models_are_not_the_alerts_stream() -> None:
    newest = STARTED_S + 100
    canary = replace(STREAM, variant="canary")
    others = [
        StreamSummary(replace(STREAM, variant="shadow"), 9, 0, 0.0, newest + 9),
        StreamSummary(replace(STREAM, model="other"), 9, 0, 0.0, newest + 9),
        StreamSummary(STREAM, 9, 0, 0.0, newest - 9),
        StreamSummary(canary, 9, 0, 0.0, newest),
    ]
    assert _build(Store(summaries=others)).stream == canary


def test_repeats_and_the_resolution_are_the_same_page() -> None:
    first = _build(Store())
    over = _build(Store(), replace(ALERT, status="resolved", ends_at_s=STARTED_S + HOUR_S))
    other = _build(Store(), replace(ALERT, starts_at_s=STARTED_S + DAY_S))
    assert first.id == over.id != other.id
    assert over.summary.startswith("Over: ")


def test_the_runbook_names_the_model() -> None:
    text = _build(Store()).runbook
    assert 'model="flight-delay"' in text
    assert '"MODEL"' not in text


@pytest.mark.parametrize("labels", [{}, {"alertname": "SomethingElse"}])
def test_a_foreign_alert_still_becomes_a_page(labels: dict[str, str]) -> None:
    page = _build(Store(), replace(ALERT, labels=labels, annotations={}))
    assert page.stream is None
    assert "There is no runbook for" in page.runbook
    assert "firing since 7 Dec" in page.summary


def test_at_most_a_few_samples_are_shown() -> None:
    payloads = [SamplePayload(f"r{n}", 0, STARTED_S - n, "0", "1", None) for n in range(1, 30)]
    assert len(_build(Store(payloads=payloads)).samples) == MAXIMUM_SAMPLES
