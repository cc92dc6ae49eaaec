"""A store with a month of flights as the pages would find it: calm autumn days, then a December that moves."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from driftline.monitors import Monitor, parse_monitor
from driftline.p_values import p_text
from driftline.results import (
    Alert,
    ColumnShape,
    Interval,
    Page,
    Result,
    Revision,
    SamplePayload,
    StreamKey,
    StreamSummary,
    Verdict,
    WindowKey,
    WindowLabels,
)

DAY_S = 86400.0
FIRST_S = 1384300800.0  # 2013-11-13
CALM_DAYS, MOVED_DAYS = 18, 12
NOW_S = FIRST_S + (CALM_DAYS + MOVED_DAYS) * DAY_S + 5400
STABLE = StreamKey("default", "flights", "1", "stable")
CANARY = StreamKey("default", "flights", "2", "canary")
RUNBOOK = """# Correctness burns its budget

1. Open the *drift report* and see which columns moved.
2. Ask `driftline doctor` whether labels arrive at all.

| if | then |
| --- | --- |
| one column moved alone | ask its owner upstream |
| everything moved | the season did; retrain |

<script>alert("runbook")</script>
"""
NUMERIC = ("distance", "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib", "hour")
CATEGORICAL = ("carrier", "origin", "dest")
MONITOR: Monitor = parse_monitor(
    "model: flights\ntask: binary\nowner: airlines-ml\n"
    "description: Will a flight from New York arrive more than 15 minutes late?\n"
    "prediction: {column: late, score: probability}\nsegments: [origin]\n"
    "reference: {path: autumn.parquet, label: late}\n"
    "columns:\n"
    + "".join(f"- {{name: {name}, type: numeric}}\n" for name in NUMERIC)
    + "".join(f"- {{name: {name}, type: categorical}}\n" for name in CATEGORICAL),
    "flights.yaml",
)
SEGMENTS = ("origin=EWR", "origin=JFK", "origin=LGA")
_MOVES = {
    "temp": 0.42,
    "dewp": 0.38,
    "visib": 0.21,
    "precip": 0.16,
    "probability": 0.14,
    "humid": 0.08,
    "pressure": 0.07,
}


@dataclass
class FakeReader:
    """Holds results as the store would; ``hostile`` renames a column to something that breaks careless pages."""

    streams_: Sequence[StreamSummary] = ()
    results_: Sequence[Result] = ()
    samples_: Sequence[SamplePayload] = ()
    shapes_: dict[WindowKey, tuple[ColumnShape, ...]] = field(default_factory=dict)

    def streams(self) -> Sequence[StreamSummary]:
        return self.streams_

    def results(self, stream: StreamKey, since_s: float, until_s: float) -> Sequence[Result]:
        return [
            result
            for result in self.results_
            if result.window.stream == stream and result.window.end_s > since_s and result.window.start_s < until_s
        ]

    def samples(self, stream: StreamKey, since_s: float, until_s: float, limit: int) -> Sequence[SamplePayload]:
        return [sample for sample in self.samples_ if since_s <= sample.time_s < until_s][:limit]

    def shapes(self, key: WindowKey) -> Sequence[ColumnShape]:
        return self.shapes_.get(key, ())

    def label_windows(
        self, namespace: str, model: str, since_s: float, *, segments: bool = False
    ) -> Sequence[WindowLabels]:
        found = {}
        for result in self.results_:
            key = result.window
            if (segments or not key.segment) and result.kind == "performance" and key.end_s > since_s:
                labelled = result.sample_size
                rows = round(labelled / result.coverage) if result.coverage else 0
                found[key] = WindowLabels(
                    key.stream, key.start_s, key.end_s, rows, labelled, {34: labelled}, key.segment
                )
        return [found[key] for key in sorted(found)]

    def revisions(self, key: WindowKey) -> Sequence[Revision]:
        results = tuple(result for result in self.results_ if result.window == key)
        return [
            Revision(1, key.end_s + 3600, 100, 40, 0.4, mature=False, results=()),
            Revision(2, key.end_s + 8 * 86400, 100, 90, 1.0, mature=True, results=results),
        ]


@dataclass
class FakePages:
    """Pages in memory."""

    kept: dict[str, Page] = field(default_factory=dict)
    saves: int = 0

    def save_page(self, page: Page) -> None:
        self.saves += 1
        self.kept[page.id] = page

    def pages(self, limit: int) -> Sequence[Page]:
        return sorted(self.kept.values(), key=lambda page: -page.received_at_s)[:limit]

    def page(self, page_id: str) -> Page | None:
        return self.kept.get(page_id)


def flights_reader(hostile: str = "wind_gust") -> FakeReader:
    """A month of flights, seeded; the column ``wind_gust`` goes by the name ``hostile``."""
    rng = random.Random(2013)
    results: list[Result] = []
    shapes: dict[WindowKey, tuple[ColumnShape, ...]] = {}
    samples: list[SamplePayload] = []
    for day in range(CALM_DAYS + MOVED_DAYS):
        start = FIRST_S + day * DAY_S
        for segment in ("", *SEGMENTS):
            key = WindowKey(STABLE, segment, start, start + DAY_S)
            results += _window(key, day, rng, hostile)
            shapes[key] = tuple(_shape(name if name != "wind_gust" else hostile, day) for name in _watched())
        samples += [_sample(day, number, start, rng, hostile) for number in range(12)]
    key = WindowKey(CANARY, "", FIRST_S + 29 * DAY_S, FIRST_S + 30 * DAY_S)
    results += [_drift(key, name, 29, rng, rows=41, short=True) for name in _watched()]
    return FakeReader(
        streams_=(
            StreamSummary(STABLE, 26_412, 24_106, FIRST_S, NOW_S - 240),
            StreamSummary(CANARY, 41, 0, FIRST_S + 29 * DAY_S, NOW_S - 900),
        ),
        results_=results,
        samples_=samples,
        shapes_=shapes,
    )


def flights_alert(status: str = "firing", model: str = "flights") -> Alert:
    """The page of December."""
    return Alert(
        status="resolved" if status == "resolved" else "firing",
        labels={
            "alertname": "DriftlineCorrectnessBurn",
            "severity": "page",
            "slo": "correctness",
            "concern": "quality",
            "namespace": "default",
            "model": model,
            "owner": "airlines-ml",
        },
        annotations={
            "summary": "flights is wrong too often: the correctness budget burns 9 times too fast",
            "description": "31 % of labelled predictions were wrong in the last day; the objective is 80 % right.",
        },
        starts_at_s=NOW_S - 3600,
        ends_at_s=NOW_S - 60 if status == "resolved" else None,
        fingerprint="c0ffee12",
    )


def flights_page(reader: FakeReader, alert: Alert) -> Page:
    """What the alerts room would build."""
    newest = [r for r in reader.results_ if r.window.start_s == NOW_S - 5400 - DAY_S and r.window.stream == STABLE]
    return Page(
        id="made-elsewhere",
        alert=alert,
        received_at_s=NOW_S - 3500,
        summary=alert.annotations["summary"],
        stream=STABLE,
        drifted=tuple(r for r in newest if r.kind == "drift" and r.verdict is Verdict.DRIFTED),
        performance=tuple(r for r in reader.results_ if r.kind == "performance" and r.window.end_s > NOW_S - 3 * DAY_S),
        since_s=FIRST_S + CALM_DAYS * DAY_S,
        samples=tuple(reader.samples_[-6:]),
        runbook=RUNBOOK,
    )


def _watched() -> tuple[str, ...]:
    return (*NUMERIC, *CATEGORICAL, "late", "probability")


def _window(key: WindowKey, day: int, rng: random.Random, hostile: str) -> list[Result]:
    rows = round((900 + 60 * math.sin(day)) / (1 if not key.segment else 3))
    named = {name: hostile if name == "wind_gust" else name for name in _watched()}
    found = [_drift(key, name, day, rng, rows, shown=named[name]) for name in _watched()]
    drifted = [result.column for result in found if result.verdict is Verdict.DRIFTED]
    whole = Verdict.DRIFTED if drifted else Verdict.OK
    found.append(
        _result(key, "", "window", "drift", float(len(drifted)), whole, f"{len(drifted)} of 15 columns drifted", rows)
    )
    found += [_psi(result) for result in found[:2]]
    if not key.segment:
        missing = 0.031 if day > 20 else 0.004
        found.append(
            _result(
                key,
                "visib",
                "missing_rate",
                "quality",
                missing,
                Verdict.WARNING if day > 20 else Verdict.OK,
                f"{missing * 100:.1f} % of the values are missing, 0.4 % before",
                rows,
                reference_value=0.004,
            )
        )
        found.append(
            _result(
                key,
                "",
                "mahalanobis",
                "outliers",
                0.012 + 0.002 * max(0, day - 18),
                Verdict.OK,
                "about as many rows as usual are far from everything in the reference",
                rows,
                reference_value=0.01,
            )
        )
    return found + _performance(key, day, rng, rows)


def _performance(key: WindowKey, day: int, rng: random.Random, rows: int) -> list[Result]:
    age = CALM_DAYS + MOVED_DAYS - 1 - day
    coverage = 0.97 if age > 2 else (0.78, 0.46, 0.0)[2 - age]
    labels = round(rows * coverage)
    if not labels:
        return [
            _result(
                key,
                "",
                "accuracy",
                "performance",
                0.0,
                Verdict.NOT_ENOUGH_EVIDENCE,
                "0 % of the rows have labels",
                0,
                coverage=0.0,
            )
        ]
    made = []
    for name, calm, moved in (("accuracy", 0.845, 0.69), ("f1", 0.52, 0.44), ("auc", 0.75, 0.68)):
        value = (calm if day < CALM_DAYS else moved) + rng.gauss(0, 0.015)
        half = 1.96 * math.sqrt(value * (1 - value) / labels)
        made.append(
            _result(
                key,
                "",
                name,
                "performance",
                value,
                Verdict.OK,
                f"{name} {value:.3f} on {labels} labels",
                labels,
                direction="smaller_is_worse",
                effect=Interval(value, value - half, min(1.0, value + half)),
                coverage=coverage,
                reference_value=calm,
            )
        )
    return made


def _drift(
    key: WindowKey, name: str, day: int, rng: random.Random, rows: int, *, shown: str = "", short: bool = False
) -> Result:
    moved = _MOVES.get(name, 0.03) if day >= CALM_DAYS else 0.03
    effect = max(0.0, moved + rng.gauss(0, 0.012))
    verdict = Verdict.DRIFTED if effect >= 0.1 else Verdict.WARNING if effect > 0.065 else Verdict.OK
    if short:
        return _result(
            key, name, "ks", "drift", 0.0, Verdict.NOT_ENOUGH_EVIDENCE, f"{name}: {rows} rows; 100 are needed", rows
        )
    numeric = name in NUMERIC or name == "probability"
    p_value = 10 ** (-effect * 90) if verdict is not Verdict.OK else rng.uniform(0.05, 0.95)
    told = f"moved by {effect:.2f}, margin 0.10" if verdict is not Verdict.OK else "is as it was"
    reason = f"{shown or name} {told} ({p_text(p_value)})"
    return _result(
        key,
        shown or name,
        "ks" if numeric else "chi_square",
        "drift",
        effect,
        verdict,
        reason,
        rows,
        p_value=p_value,
        effect=Interval(effect, max(0.0, effect - 0.03), effect + 0.03),
        reference_size=60_000,
    )


def _psi(result: Result) -> Result:
    return _result(
        result.window,
        result.column,
        "psi",
        "drift",
        result.statistic**2,
        result.verdict,
        result.reason,
        result.sample_size,
    )


def _result(
    key, column, detector, kind, statistic, verdict, reason, size, direction="larger_is_worse", **more
) -> Result:  # type: ignore[no-untyped-def]
    return Result(key, column, detector, kind, statistic, direction, verdict, reason, size, **more)


def _shape(name: str, day: int) -> ColumnShape:
    if name in ("origin", "late", "carrier", "dest"):
        bins = {"origin": ("EWR", "JFK", "LGA"), "late": ("0", "1")}.get(
            name, ("UA", "B6", "EV", "DL", "AA", "MQ", "all others")
        )
        before = [1.0 / (index + 1.5) for index in range(len(bins))]
        now = [value * (1.3 if index == 1 and day >= CALM_DAYS else 1.0) for index, value in enumerate(before)]
    else:
        bins = (*(f"{index * 5} to {index * 5 + 5}" for index in range(16)), "missing")
        shift = 8 * _MOVES.get(name, 0.0) if day >= CALM_DAYS else 0.0
        before = [math.exp(-(((index - 8) / 3) ** 2)) for index in range(16)] + [0.02]
        now = [math.exp(-(((index - 8 + shift) / 3) ** 2)) for index in range(16)] + [0.03]
    return ColumnShape(name, bins, tuple(v / sum(before) for v in before), tuple(v / sum(now) for v in now))


def _sample(day: int, number: int, start: float, rng: random.Random, hostile: str) -> SamplePayload:
    label = "1" if number < 5 else rng.choice("01") if number < 10 else None
    columns: dict[str, str | float | None] = {
        "carrier": "EV",
        "origin": "EWR",
        "dest": "BNA",
        "distance": 748.0,
        "hour": 17.0,
    }
    columns |= {"temp": 35.06, "dewp": 33.8, "visib": 1.25 if number % 2 else None, hostile: 28.77}
    return SamplePayload(
        request_id=f"2013-{day:02d}-{number:04d}-ev4412",
        row=0,
        time_s=start + 3600 * (number + 5),
        prediction="0",
        label=label,
        outlier_score=41.0 - 3 * number if number < 7 else None,
        columns=columns,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" if number % 3 == 0 else None,
    )
