"""What detectors conclude and what people are shown: frozen values shared by makers and showers."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import msgspec


class Verdict(StrEnum):
    """What a result means for the person who reads it."""

    OK = "ok"
    WARNING = "warning"
    DRIFTED = "drifted"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


#: As ``driftline_drift_state`` exports it.
VERDICT_STATE = {Verdict.NOT_ENOUGH_EVIDENCE: 0, Verdict.OK: 1, Verdict.WARNING: 2, Verdict.DRIFTED: 3}

Kind = Literal["drift", "outliers", "quality", "performance", "explanation", "sequential", "budget"]
Direction = Literal["larger_is_worse", "smaller_is_worse"]

#: The column name of a result about the whole window.
WHOLE_WINDOW = ""
#: What is said of a metric whose interval heavy tails may break, in its reason and beside the interval.
HEAVY_TAILS = "errors have heavy tails: a few rows decide it, and such an interval may hold less often than 95 %"
#: What is said, in its reason and among a report's caveats, of a metric that some labelled rows are not part of.
LEFT_OUT = "left out, whose answer or error is no number, or beyond 1e76"
#: The column name of a result about all input columns together.
ALL_COLUMNS = "all columns"
#: The segment of all rows; others are spelt ``column=value``.
ALL_ROWS = ""


class Interval(msgspec.Struct, frozen=True, gc=False):
    """A value with the ends of its interval (95 % unless said); there is one per result, so that it is made quickly."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, order=True)
class StreamKey:
    """One stream of predictions: what is monitored apart from all others."""

    namespace: str
    model: str
    version: str
    variant: str


@dataclass(frozen=True, slots=True, order=True)
class WindowKey:
    """One window of one segment of a stream; start and end in seconds since the epoch, event time, end excluded."""

    stream: StreamKey
    segment: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """One detector's conclusion about one column (or the whole) of one window.

    ``statistic`` with its ``direction``; ``p_value`` where the detector has one; ``effect`` with its interval where it
    has one; ``coverage``: share of the rows that have what the detector needs (labels, mostly). ``reason`` says the
    verdict in a sentence for people. ``reference_value``: the same statistic on the reference, where that means
    something. ``heavy_tails``: a few rows decide the statistic, and its interval may hold less often than it says.
    """

    window: WindowKey
    column: str
    detector: str
    kind: Kind
    statistic: float
    direction: Direction
    verdict: Verdict
    reason: str
    sample_size: int
    reference_size: int = 0
    p_value: float | None = None
    effect: Interval | None = None
    coverage: float | None = None
    reference_value: float | None = None
    heavy_tails: bool = False


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """A column's distribution in a window beside the reference, ready to draw: shares per bin, each summing to one."""

    column: str
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SamplePayload:
    """One stored prediction shown as evidence."""

    request_id: str
    row: int
    time_s: float
    prediction: str
    label: str | None
    outlier_score: float | None
    columns: dict[str, str | float | None] = field(default_factory=dict)
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as Alertmanager's webhook sends it: labels, annotations and times in seconds since the epoch."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at_s: float
    ends_at_s: float | None
    fingerprint: str

    @property
    def page_id(self) -> str:
        """Of the page of an incident that this alert began: the same for every notice of it, so that they replace it.

        >>> Alert("firing", {}, {}, 12.5, None, "ab12").page_id
        'ab12-12'
        """
        return f"{self.fingerprint}-{int(self.starts_at_s)}"


@dataclass(frozen=True, slots=True)
class Page:
    """An incident with its evidence, as the on-call person opens it.

    ``alert``: its gravest, the first of those; ``follow_ups``: the others of the incident in the order in which they
    began. ``received_at_s``: when the newest of them came. ``since_s``: since when it is bad, the earliest that the
    evidence of any told; ``newest_since_s``: what that of the newest that joined told. None where that is not known.
    """

    id: str
    alert: Alert
    received_at_s: float
    summary: str
    stream: StreamKey | None
    drifted: tuple[Result, ...] = ()
    performance: tuple[Result, ...] = ()
    since_s: float | None = None
    samples: tuple[SamplePayload, ...] = ()
    runbook: str = ""
    follow_ups: tuple[Alert, ...] = ()
    newest_since_s: float | None = None

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All alerts of the incident, in the order in which they began."""
        return tuple(sorted((self.alert, *self.follow_ups), key=lambda alert: alert.starts_at_s))

    @property
    def firing(self) -> bool:
        """Whether any of them still fires."""
        return any(alert.status == "firing" for alert in self.alerts)

    @property
    def starts_at_s(self) -> float:
        """When the first of them began."""
        return self.alerts[0].starts_at_s

    @property
    def ends_at_s(self) -> float | None:
        """When the last of them was over; None while one fires."""
        return None if self.firing else max(alert.ends_at_s or alert.starts_at_s for alert in self.alerts)


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """A stream at a glance, for the first page people see."""

    stream: StreamKey
    rows: int
    labelled_rows: int
    first_event_s: float
    last_event_s: float


@dataclass(frozen=True, slots=True)
class DueWindow:
    """A closed window whose statistics changed since it was last evaluated; ``change`` counts its changes."""

    key: WindowKey
    change: int


@dataclass(frozen=True, slots=True)
class PastWindow:
    """A window that was evaluated: when it was, and its first verdict on drift."""

    start_s: float
    end_s: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class WindowLabels:
    """Counts of one window of a segment: its rows, those with a label, and first labels by class of their delay.

    The classes are those of ``driftline.maturity``. ``wrong_delays``: of those labels that say "wrong".
    """

    stream: StreamKey
    start_s: float
    end_s: float
    rows: int
    labelled: int
    delays: dict[int, int] = field(default_factory=dict)
    segment: str = ALL_ROWS
    wrong_delays: dict[int, int] = field(default_factory=dict)

    @property
    def key(self) -> WindowKey:
        """The window."""
        return WindowKey(self.stream, self.segment, self.start_s, self.end_s)


@dataclass(frozen=True, slots=True)
class OutcomeMaturity:
    """Shares of the labels that should have come by now: of those that say "right", and "wrong".

    ``rights``, ``wrongs``: labels of older windows that this is known from.
    """

    right: float
    wrong: float
    rights: int
    wrongs: int


@dataclass(frozen=True, slots=True)
class LabelState:
    """How complete the labels of one window of a segment are.

    ``expected``: rows that ever get a label, by the monitor's word; ``coverage``: share of them that have one.
    ``maturity``: share of labels that should have come by now, by the delays of earlier windows; None while nothing is
    known of long delays. ``mature``: accuracy counts as final. ``by_outcome``: the maturity of labels that say "right"
    and of those that say "wrong", where enough of both are known.
    """

    window: WindowLabels
    expected: float
    coverage: float
    maturity: float | None
    mature: bool
    by_outcome: OutcomeMaturity | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """One evaluation of a window, with what was known of its labels then; the newest is what everybody is shown."""

    number: int
    evaluated_at_s: float
    rows: int
    labelled: int
    maturity: float | None
    mature: bool | None
    results: tuple[Result, ...] = ()
