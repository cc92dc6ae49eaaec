"""From records to decoded events, labels and dead letters; nothing is written here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.batches.forgetting import NOTHING_ERASED, Forgetting
from collector.ports import BatchDecoder
from collector.store.database import clean, key_text
from collector.store.transaction import DeadLetter
from collector.store.unmonitored import UnmonitoredModels
from driftline import names
from driftline.columns import ColumnBatch
from driftline.errors import PermanentError
from driftline.events import InferenceEvent, Label, Payload, encode_frame
from driftline.monitors import Monitor
from driftline.records import Malformed, Record
from driftline.results import StreamKey

UNKNOWN = "unknown"
#: The version of streams beyond the bound of a model.
OTHER = "other"

UNKNOWN_MODEL = "unknown_model"
BAD_TIME = "bad_time"
UNSTORABLE = "unstorable"
NOT_JOINED = "not_joined"


#: Plain ids that are no longer are their own keys.
_SHORT_ID = 64
#: An event's id and its time: a replay has both, and a sender that uses an id again means another event.
EventKey = tuple[str, float]


# A msgspec Struct, not a dataclass: one is made for every event, at a tenth of the cost.
class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An event that could be read, with its place in the batch and what it is known by: ``event_id`` and ``time_s``."""

    order: int
    record: Record
    event: InferenceEvent
    stream: StreamKey
    event_id: str
    time_s: float


def event_keys(records: Sequence[Record]) -> list[EventKey]:
    """What each event of the records is known by."""
    events = [event for record in records if isinstance(event := record.content, InferenceEvent)]
    ids = [event.id for event in events]
    together = "".join(ids)
    if not together.isascii() or "\0" in together or max(map(len, ids), default=0) > _SHORT_ID:
        ids = [key_text(each) for each in ids]
    return list(zip(ids, [event.time_ns / 1e9 for event in events], strict=True))


@dataclass(frozen=True, slots=True)
class MonitorEvents:
    """The events of one monitor that could be read, and all their rows, one under the other.

    ``owners``: for each row its event, as its place in ``arrivals``; ``rows``: its place within its request;
    ``counts``: how many rows each event has, none where nothing was predicted.
    """

    monitor: Monitor
    arrivals: Sequence[Arrival]
    columns: ColumnBatch
    owners: NDArray[np.intp]
    rows: NDArray[np.intp]
    counts: Sequence[int]

    def rows_of(self, place: int) -> ColumnBatch:
        """The rows of the event at ``place``."""
        return self.columns.take(np.flatnonzero(self.owners == place))


@dataclass(frozen=True, slots=True)
class LabelArrival:
    """A label with its place in the batch."""

    order: int
    partition: str
    label: Label


@dataclass(slots=True)
class Intake:
    """What a batch of records holds; ``duplicates``: the streams of events that were stored before."""

    monitors: list[MonitorEvents] = field(default_factory=list)
    labels: list[LabelArrival] = field(default_factory=list)
    dead: list[tuple[DeadLetter, StreamKey]] = field(default_factory=list)
    duplicates: list[tuple[str, StreamKey]] = field(default_factory=list)
    #: Events of what was erased: none of them is kept, and those of ``thinned`` without some of their rows.
    erased: list[Arrival] = field(default_factory=list)
    thinned: list[tuple[Arrival, int]] = field(default_factory=list)

    def arrivals(self) -> Iterator[Arrival]:
        """Every event that could be read."""
        for found in self.monitors:
            yield from found.arrivals


class StreamNames:
    """Which stream an event belongs to, with at most ``maximum`` versions and variants told apart per model.

    Anybody can ask for any version of a model; without a bound, metrics and windows would grow with their imagination.
    """

    def __init__(self, known: Iterable[StreamKey], maximum: int) -> None:
        self._maximum = maximum
        self._known: dict[tuple[str, str], set[StreamKey]] = {}
        self._spelt: dict[tuple[str, str, str, str], StreamKey] = {}
        self._last: tuple[InferenceEvent, StreamKey] | None = None
        for stream in known:
            self._known.setdefault((stream.namespace, stream.model), set()).add(stream)

    def stream(self, event: InferenceEvent) -> StreamKey:
        """The event's stream; beyond the bound, the stream ``other`` of its model."""
        if self._last is not None and _same_stream(event, self._last[0]):
            return self._last[1]
        version = event.model_version or answered_version(event.response) or UNKNOWN
        spelling = (event.namespace, event.model, version, event.variant)
        found = self._spelt.get(spelling)
        if found is None:
            found = self._bounded(event, version)
            if found.version != OTHER:  # other spellings have no end
                self._spelt[spelling] = found
        self._last = event, found
        return found

    def _bounded(self, event: InferenceEvent, version: str) -> StreamKey:
        stream = StreamKey(event.namespace, event.model, clean(version)[:100], clean(event.variant)[:100])
        known = self._known.setdefault((event.namespace, event.model), set())
        if stream not in known:
            if len(known) >= self._maximum:
                return StreamKey(event.namespace, event.model, OTHER, OTHER)
            known.add(stream)
        return stream


def _same_stream(event: InferenceEvent, other: InferenceEvent) -> bool:
    """Whether what names the stream is the very same in both, as in events that were read together."""
    return (
        event.model_version != ""  # else the answer tells
        and event.model_version is other.model_version
        and event.model is other.model
        and event.namespace is other.namespace
        and event.variant is other.variant
    )


class _Answer(msgspec.Struct):
    model_version: str | None = None


_answer_decoder = msgspec.json.Decoder(_Answer)


def answered_version(response: Payload) -> str:
    """The ``model_version`` that a server of the Open Inference Protocol answers with, empty when there is none."""
    body = response.body
    if response.content_encoding or b'"model_version"' not in body:
        return ""
    length = response.headers.get(names.HEADER_BINARY_LENGTH, "")
    if length.isascii() and length.isdigit():
        body = body[: int(length)]
    try:
        return _answer_decoder.decode(body).model_version or ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


class Reader:
    """Reads records: decodes what is good, makes dead letters of what is not."""

    def __init__(
        self,
        decoder: BatchDecoder,
        monitors: Mapping[str, Monitor],
        streams: StreamNames,
        *,
        maximum_raw_bytes: int,
        maximum_future_s: float,
        forgetting: Forgetting | None = None,
        unmonitored: UnmonitoredModels | None = None,
    ) -> None:
        self._unmonitored = unmonitored or UnmonitoredModels(0, ())
        self._forgetting = forgetting or NOTHING_ERASED
        self._decoder = decoder
        self._monitors = monitors
        self._by_model = {(monitor.namespace, monitor.model): name for name, monitor in monitors.items()}
        self._streams = streams
        self._maximum_raw_bytes = maximum_raw_bytes
        self._maximum_future_s = maximum_future_s

    def read(self, records: Sequence[Record], keys: Iterable[EventKey], known: set[EventKey], now_s: float) -> Intake:
        """Sort out the records; events in ``known``, or met twice here, are duplicates. ``keys``: of each event."""
        intake = Intake()
        seen = set(known)
        latest_s = now_s + self._maximum_future_s
        chosen: dict[str, list[Arrival]] = {}
        is_erased, stream = self._forgetting.event, self._streams.stream
        upcoming = iter(keys)
        for order, record in enumerate(records):
            content = record.content
            if isinstance(content, InferenceEvent):
                key = next(upcoming)
                if key in seen:
                    intake.duplicates.append((record.counted_in, self._counted_as(content)))
                    continue
                seen.add(key)
                if is_erased(content):
                    intake.erased.append(Arrival(order, record, content, self._counted_as(content), key[0], key[1]))
                    continue
                monitor = self._by_model.get((content.namespace, content.model))
                if monitor is not None and 0 < key[1] <= latest_s:
                    arrival = Arrival(order, record, content, stream(content), key[0], key[1])
                    chosen.setdefault(monitor, []).append(arrival)
                else:
                    intake.dead.append(self._unusable(record, content, now_s))
            elif isinstance(content, Label):
                intake.labels.append(LabelArrival(order, record.counted_in, content))
            elif isinstance(content, Malformed):
                intake.dead.append(self._malformed(record, content, now_s))
            else:  # nobody paired it; a fault of ours
                detail = f"{type(content).__name__} was neither paired nor taken apart"
                intake.dead.append(self.reject(record, NOT_JOINED, detail, now_s))
        for name, arrivals in chosen.items():
            decoded = self._decode(intake, self._monitors[name], arrivals, now_s)
            intake.monitors.append(self._forgetting.rows(decoded, intake))
        return intake

    def reject(self, record: Record, reason: str, detail: str, now_s: float) -> tuple[DeadLetter, StreamKey]:
        """The dead letter of any record."""
        content = record.content
        if isinstance(content, Malformed):
            return self._malformed(record, content, now_s)
        if not isinstance(content, InferenceEvent | Label):
            return self._malformed(record, Malformed(reason, detail, msgspec.json.encode(content)), now_s)
        raw = encode_frame(content) if isinstance(content, InferenceEvent) else msgspec.json.encode(content)
        event_id = key_text(content.id) if isinstance(content, InferenceEvent) else None
        if isinstance(content, InferenceEvent):
            stream = self._counted_as(content)
        else:
            stream = self._counted_under(content.namespace, content.model)
        letter = DeadLetter(
            partition=record.place,
            offset=record.offset,
            event_id=event_id,
            namespace=clean(content.namespace),
            model=clean(content.model),
            reason=reason,
            detail=clean(detail)[:1000],
            time_s=now_s,
            raw=raw[: self._maximum_raw_bytes],
            event_time_s=content.time_s if isinstance(content, InferenceEvent) else None,
        )
        return letter, stream

    def _unusable(self, record: Record, event: InferenceEvent, now_s: float) -> tuple[DeadLetter, StreamKey]:
        if (event.namespace, event.model) not in self._by_model:
            detail = f"no monitor for '{event.namespace}/{event.model}'; 'driftline init' writes one"
            return self.reject(record, UNKNOWN_MODEL, detail, now_s)
        detail = f"event time {event.time_s} is not between 1970 and {self._maximum_future_s:g} s from now ({now_s})"
        return self.reject(record, BAD_TIME, detail, now_s)

    def _decode(self, intake: Intake, monitor: Monitor, arrivals: Sequence[Arrival], now_s: float) -> MonitorEvents:
        """All rows of one monitor's events; those that cannot be read become dead letters."""
        decoded = self._decoder([arrival.event for arrival in arrivals], monitor)
        _check_lengths(decoded.columns)
        counts = np.bincount(decoded.events, minlength=len(arrivals))
        owners = decoded.events
        if decoded.faults:
            good = np.ones(len(arrivals), dtype=np.bool_)
            for place, error in decoded.faults:
                good[place] = False
                intake.dead.append(self.reject(arrivals[place].record, error.reason, error.detail, now_s))
            owners = (np.cumsum(good) - 1)[owners]
            counts = counts[good]
            arrivals = [arrivals[place] for place in np.flatnonzero(good).tolist()]
        return MonitorEvents(monitor, arrivals, decoded.columns, owners, decoded.rows, counts.tolist())

    def _counted_as(self, event: InferenceEvent) -> StreamKey:
        if (event.namespace, event.model) not in self._by_model:
            return self._counted_under(event.namespace, event.model)
        return self._streams.stream(event)

    def _counted_under(self, namespace: str, model: str) -> StreamKey:
        """Where something is counted that belongs to no stream of a monitor, as far as its model is known."""
        return StreamKey(*self._unmonitored.named(namespace, model), UNKNOWN, UNKNOWN)

    def _malformed(self, record: Record, content: Malformed, now_s: float) -> tuple[DeadLetter, StreamKey]:
        letter = DeadLetter(
            partition=record.place,
            offset=record.offset,
            event_id=None,
            namespace=clean(content.namespace),
            model=clean(content.model),
            reason=content.reason,
            detail=clean(content.detail)[:1000],
            time_s=now_s,
            raw=content.raw[: self._maximum_raw_bytes],
        )
        return letter, self._counted_under(content.namespace, content.model)


def _check_lengths(columns: ColumnBatch) -> None:
    for name, values in (*columns.numeric.items(), *columns.text.items()):
        if len(values) != columns.rows:
            raise PermanentError(f"column '{name}' has {len(values)} values for {columns.rows} rows")
