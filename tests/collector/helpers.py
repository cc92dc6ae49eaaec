"""Hand-written parts for the collector's tests: a decoder, statistics that only count, events, a view of all tables."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from collector.batches.loop import Collector
from collector.batches.payloads import PayloadWriter
from collector.labels.book import LabelBook
from collector.labels.desk import LabelDesk
from collector.operating.metrics import CollectorMetrics
from collector.ports import BatchDecoder
from collector.settings import CollectorSettings
from collector.store import schema
from collector.store.database import connect
from collector.store.erased import ErasedBook
from collector.store.store import Store
from driftline import names
from driftline.columns import ColumnBatch, DecodedBatch, JudgedBatch
from driftline.errors import DecodeError
from driftline.events import InferenceEvent, Label, Payload
from driftline.monitors import Monitor
from driftline.records import Content, Record
from driftline.testing import Crash, ListSource, ManualClock

HOUR_S = 3600.0
START_S = 1_000_000 * HOUR_S

MONITOR = Monitor.model_validate(
    {
        "model": "flights",
        "task": "binary",
        "columns": [
            {"name": "distance", "type": "numeric", "required": True, "minimum": 0, "maximum": 5000},
            {"name": "carrier", "type": "categorical", "allowed": ["AA", "UA", "DL", "B6"]},
        ],
        "prediction": {"column": "late", "score": "score"},
        "segments": ["carrier"],
        "maximum_segments": 2,
        "windows": {"size": "1h", "lateness": "10m"},
        "labels": {"timeout": "2h"},
    }
)
REGRESSION = Monitor.model_validate(
    {
        "model": "delay",
        "task": "regression",
        "columns": [{"name": "distance", "type": "numeric"}],
        "prediction": {"column": "minutes"},
        "windows": {"size": "1h"},
        "slos": {"objectives": [{"kind": "correctness", "target": 0.9, "tolerance": 10}]},
    }
)
MONITORS = {monitor.name: monitor for monitor in (MONITOR, REGRESSION)}


class CountingStatistics:
    """Window statistics that anyone can check by hand: counts of rows, values and judged pairs, as JSON."""

    def __init__(self) -> None:
        self.calls = 0

    def observe(
        self, monitor: Monitor, state: bytes | None, rows: ColumnBatch, outlier_scores: NDArray[np.float64]
    ) -> bytes:
        assert len(outlier_scores) == rows.rows
        self.calls += 1
        counts = _read(state)
        _add(counts, "rows", rows.rows)
        for name, values in rows.numeric.items():
            _add(counts, f"sum {name}", float(np.nansum(values[np.isfinite(values)])))
            _add(counts, f"missing {name}", int(np.isnan(values).sum()))
        for name, texts in rows.text.items():
            for value in texts:
                _add(counts, f"{name}={value}", 1)
        return msgspec.json.encode(dict(sorted(counts.items())))

    def judge(self, monitor: Monitor, state: bytes | None, judged: JudgedBatch) -> bytes:
        counts = _read(state)
        for prediction, label, weight in zip(judged.prediction, judged.label, judged.weight, strict=True):
            _add(counts, f"judged {prediction}/{label}", int(weight))
        return msgspec.json.encode(dict(sorted(counts.items())))

    def judge_many(
        self, monitor: Monitor, states: Sequence[bytes | None], judged: JudgedBatch, counts: Sequence[int]
    ) -> list[bytes]:
        ends = np.cumsum(counts).tolist()
        parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        return [self.judge(monitor, state, judged.take(part)) for state, part in zip(states, parts, strict=True)]

    def answers(self, monitor: Monitor) -> Sequence[str]:
        return ()

    def outlier_scores(self, monitor: Monitor, rows: ColumnBatch) -> NDArray[np.float64]:
        values = rows.numeric.get("distance", np.full(rows.rows, np.nan))
        return np.where(np.isfinite(values), np.abs(values - 1000.0) / 1000.0, np.nan)


def merged(states: Iterable[bytes]) -> dict[str, float]:
    """What several partitions' states say together."""
    counts: dict[str, float] = {}
    for state in states:
        for name, value in _read(state).items():
            _add(counts, name, value)
    return counts


def decode(event: InferenceEvent, monitor: Monitor) -> ColumnBatch:
    """The request body is JSON ``{column: [values]}`` with the answers beside the inputs."""
    if event.status_code != 200:
        return ColumnBatch(0)
    try:
        body: dict[str, list[Any]] = msgspec.json.decode(event.request.body)
    except msgspec.MsgspecError as error:
        raise DecodeError("not_json", str(error)) from error
    types = {**dict(monitor.watched()), **{column.name: column.type for column in monitor.columns}}
    numeric = {name: _numbers(values) for name, values in body.items() if types.get(name) == "numeric"}
    text = {
        name: np.array(values, dtype=np.object_) for name, values in body.items() if types.get(name) == "categorical"
    }
    return ColumnBatch(len(next(iter(body.values()))), numeric, text)


def batched(decode: Callable[[InferenceEvent, Monitor], ColumnBatch]) -> BatchDecoder:
    """A decoder of one event as one of many."""

    def decode_many(events: Sequence[InferenceEvent], monitor: Monitor) -> DecodedBatch:
        batches: list[ColumnBatch] = []
        faults: list[tuple[int, DecodeError]] = []
        for place, event in enumerate(events):
            try:
                batches.append(decode(event, monitor))
            except DecodeError as error:
                batches.append(ColumnBatch(0))
                faults.append((place, error))
        counts = [batch.rows for batch in batches]
        rows = [number for count in counts for number in range(count)]
        owners = np.repeat(np.arange(len(events), dtype=np.intp), counts)
        return DecodedBatch(_stack([batch for batch in batches if batch.rows]), owners, np.array(rows, np.intp), faults)

    return decode_many


def _stack(batches: Sequence[ColumnBatch]) -> ColumnBatch:
    numeric = {name for batch in batches for name in batch.numeric}
    text = {name for batch in batches for name in batch.text}
    return ColumnBatch(
        sum(batch.rows for batch in batches),
        {name: _under(name, [(batch.numeric, batch.rows) for batch in batches], math.nan) for name in sorted(numeric)},
        {name: _under(name, [(batch.text, batch.rows) for batch in batches], None) for name in sorted(text)},
    )


def _under(name: str, parts: Sequence[tuple[Mapping[str, NDArray[Any]], int]], absent: Any) -> NDArray[Any]:
    dtype = np.object_ if absent is None else np.float64
    return np.concatenate([part[name] if name in part else np.full(rows, absent, dtype) for part, rows in parts])


def event(
    number: int,
    *,
    event_id: str | None = None,
    request_id: str | None = None,
    at_s: float | None = None,
    model: str = "flights",
    version: str = "3",
    status: int = 200,
    body: bytes | None = None,
    **columns: list[Any],
) -> InferenceEvent:
    """One inference of one row (or as many as ``columns`` have), a minute after the one before."""
    columns = columns or {
        "distance": [100.0 * (number % 20)],
        "carrier": [["AA", "UA", "DL"][number % 3]],
        "late": [str(number % 2)],
        "score": [0.25 + 0.5 * (number % 2)],
    }
    time_s = START_S + 60.0 * number if at_s is None else at_s
    return InferenceEvent(
        id=event_id or f"event-{number:06d}",
        source="/default/flights/pod",
        model=model,
        model_version=version,
        time_ns=round(time_s * 1e9),
        request_id=request_id or f"request-{number}",
        protocol="v2",
        status_code=status,
        request=Payload(content_type="application/json", body=msgspec.json.encode(columns) if body is None else body),
        response=Payload(content_type="application/json", body=b"{}"),
    )


def label(number: int, value: str | float | bool | None, *, after_s: float = 7200.0, **changes: Any) -> Label:
    """A label for the event of that number."""
    fields: dict[str, Any] = {
        "request_id": f"request-{number}",
        "value": value,
        "observed_at_s": START_S + 60.0 * number + after_s,
        "model": "flights",
    }
    return Label(**{**fields, **changes})


def records(contents: Sequence[Content], partition: str = "spool:0") -> list[Record]:
    """Contents as records of a partition with growing, not consecutive offsets."""
    return [Record(partition, 10 * place, 10 * place + 10, content) for place, content in enumerate(contents)]


@dataclass
class Parts:
    """Everything of a collector but its source."""

    store: Store
    clock: ManualClock = field(default_factory=lambda: ManualClock(START_S + 200 * HOUR_S))
    statistics: CountingStatistics = field(default_factory=CountingStatistics)
    settings: CollectorSettings = field(
        default_factory=lambda: CollectorSettings(minimum_batch_records=7, maximum_batch_records=50)
    )
    payloads: PayloadWriter | None = None
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    monitors: Mapping[str, Monitor] = field(default_factory=lambda: MONITORS)
    directory: Path = Path()

    def __post_init__(self) -> None:
        self.metrics = CollectorMetrics(self.registry)

    def collector(self, items: Sequence[Record | Crash]) -> Collector:
        """A collector as a fresh process would make it."""
        source = ListSource(items, self.store.position)
        return self.collector_of(source)

    def collector_of(self, source: Any) -> Collector:
        return Collector(
            source,
            self.store,
            batched(decode),
            self.statistics,
            self.monitors,
            self.clock,
            self.settings,
            self.payloads,
            self.metrics,
        )

    def book(self) -> LabelBook:
        return LabelBook(self.statistics, self.monitors)

    def desk(self, statistics: Any = None, erased: ErasedBook | None = None) -> LabelDesk:
        counting = statistics or self.statistics
        return LabelDesk(self.store, counting, self.monitors, self.clock, self.metrics, erased=erased)

    def judged(self) -> dict[str, int]:
        """Judged predictions by outcome."""
        metric = names.JUDGED_PREDICTIONS.name
        return {key.labels[4]: count for key, count in self.store.totals().items() if key.metric == metric}


def drain(collector: Collector) -> int:
    """Run until nothing is left; how many records were handled."""
    handled = 0
    while count := collector.run_once():
        handled += count
    return handled


def erasures(store: Store) -> int:
    """How many are remembered."""
    count = select(func.count()).select_from(schema.erased)
    return int(store.read(lambda connection: connection.execute(count).scalar_one()))


def tables(url: str, *names: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows (or the named ones'), sorted, with stream numbers replaced by names and states decoded.

    A window's count of 0 is left out: it is there or not by whether what was added and taken back came in one batch.
    """
    engine = connect(url)
    with engine.connect() as connection:
        streams = {row[0]: tuple(row[1:]) for row in connection.execute(select(schema.streams))}
        found: dict[str, list[tuple[Any, ...]]] = {}
        for table in schema.metadata.sorted_tables:
            if names and table.name not in names:
                continue
            rows = [_plain(dict(row), streams) for row in connection.execute(select(table)).mappings()]
            if table is schema.window_counts:
                rows = [row for row in rows if dict(row)["value"]]
            found[table.name] = sorted(rows, key=repr)
    engine.dispose()
    return found


def _plain(row: dict[str, Any], streams: Mapping[int, tuple[Any, ...]]) -> tuple[Any, ...]:
    if "stream_id" in row:
        row["stream_id"] = streams[row["stream_id"]]
    elif "variant" in row:
        del row["id"]
    if isinstance(row.get("state"), bytes):
        row["state"] = msgspec.json.decode(row["state"])
    return tuple(row.items())


def _read(state: bytes | None) -> dict[str, float]:
    return {} if state is None else msgspec.json.decode(state, type=dict[str, float])


def _add(counts: dict[str, float], name: str, value: float) -> None:
    counts[name] = counts.get(name, 0) + value
    if counts[name] == 0 or math.isnan(counts[name]):
        del counts[name]


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    read = {"inf": math.inf, "-inf": -math.inf, None: math.nan}
    return np.array([read.get(value, value) for value in values], dtype=np.float64)
