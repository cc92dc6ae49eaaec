"""From records to decoded events, labels and dead letters; nothing is written here."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.batches.arrivals import Arrival, Arrivals, ArrivedRun
from collector.batches.contents import Intake, LabelArrival, MonitorEvents, Rejected
from collector.batches.forgetting import NOTHING_ERASED, Forgetting
from collector.ports import BatchDecoder
from collector.store.database import clean, key_text, key_texts
from collector.store.transaction import DeadLetter
from collector.store.unmonitored import UnmonitoredModels
from driftline import names
from driftline.clock import moment
from driftline.columns import ColumnBatch
from driftline.errors import PermanentError
from driftline.event_runs import EventRun, in_order
from driftline.events import InferenceEvent, Label, Payload, encode_frame
from driftline.joined_bytes import Positions
from driftline.monitors import Monitor
from driftline.record_batches import RecordBatch, RecordRun
from driftline.records import Malformed, Record
from driftline.results import StreamKey

UNKNOWN = "unknown"
#: The version of streams beyond the bound of a model.
OTHER = "other"

UNKNOWN_MODEL = "unknown_model"
BAD_TIME = "bad_time"
UNSTORABLE = "unstorable"
NOT_JOINED = "not_joined"


#: An event's id and its time: a replay has both, and a sender that uses an id again means another event.
EventKey = tuple[str, float]


def event_keys(records: Sequence[Record]) -> list[EventKey]:
    """What each event of the records is known by: of runs first, then of all others."""
    batch = RecordBatch.of([records])
    others = [event for record in batch.others.values() if isinstance(event := record.content, InferenceEvent)]
    runs = [run.events for _, run in batch.runs]
    ids = [*chain.from_iterable(run.ids for run in runs), *(event.id for event in others)]
    times_s = [*chain.from_iterable(_times_s(run) for run in runs), *(event.time_s for event in others)]
    return list(zip(key_texts(ids), times_s, strict=True))


def _times_s(run: EventRun) -> list[float]:
    times_s: list[float] = (run.times_ns / 1e9).tolist()
    return times_s


class Numbered(NamedTuple):
    """A record that is in no run, with its place; ``key``: of an event; ``is_copy``: of one that was met before."""

    order: int
    record: Record
    key: EventKey | None
    is_copy: bool


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

    def read(self, records: Sequence[Record], keys: Sequence[EventKey], known: set[EventKey], now_s: float) -> Intake:
        """Sort out the records; events in ``known``, or met twice here, are duplicates. ``keys``: as event_keys has."""
        intake = Intake()
        batch = RecordBatch.of([records])
        by_place = _by_place(batch, keys)
        copies = _copies(batch, by_place, keys, known)
        batch = self._without_unusual(batch, copies, now_s)
        chosen: dict[str, tuple[list[ArrivedRun], list[Arrival]]] = {}
        runs = deque(self._one_stream_each(batch))
        for order, record in batch.others.items():
            while runs and runs[0][0][0] < order:  # streams are told apart in the order in which they come
                self._take_run(runs.popleft(), by_place, chosen)
            self._take(intake, chosen, Numbered(order, record, by_place[order], bool(copies[order])), now_s)
        for run in runs:
            self._take_run(run, by_place, chosen)
        for name, (found, others) in sorted(chosen.items(), key=_first_order):
            decoded = self._decode(intake, self._monitors[name], Arrivals.of(found, others), now_s)
            intake.monitors.append(self._forgetting.rows(decoded, intake))
        return intake

    def _without_unusual(self, batch: RecordBatch, copies: NDArray[np.bool_], now_s: float) -> RecordBatch:
        """Out of the runs goes what has to be looked at alone: copies, what was erased, what nobody can use."""
        latest_s = now_s + self._maximum_future_s
        unusual = copies.copy()
        for places, run in batch.runs:
            events = run.events
            like, times_s = events.like, events.times_ns / 1e9
            if (like.namespace, like.model) not in self._by_model:
                unusual[places] = True
            unusual[places] |= ~((times_s > 0) & (times_s <= latest_s))
            erased = self._forgetting.requests(like.namespace, like.model, events.request_ids)
            unusual[places[erased]] = True
        return batch.apart(unusual) if unusual.any() else batch

    def _one_stream_each(self, batch: RecordBatch) -> list[tuple[Positions, RecordRun]]:
        """The runs by their first events; where answers say the version, a run for each of them."""
        found: list[tuple[Positions, RecordRun]] = []
        for places, run in batch.runs:
            if run.events.like.model_version:
                found.append((places, run))
                continue
            responses, like = run.events.responses, run.events.like
            versions = [
                answered_version(msgspec.structs.replace(like.response, body=responses.piece(place)))
                for place in range(len(run))
            ]
            for version in dict.fromkeys(versions):
                here = np.array([each == version for each in versions], dtype=np.bool_)
                part = run if here.all() else run.take(np.flatnonzero(here))
                versioned = msgspec.structs.replace(like, model_version=version)
                found.append((places[here], replace(part, events=replace(part.events, like=versioned))))
        return sorted(found, key=lambda placed: int(placed[0][0]))

    def _take_run(
        self,
        placed: tuple[Positions, RecordRun],
        by_place: Sequence[EventKey | None],
        chosen: dict[str, tuple[list[ArrivedRun], list[Arrival]]],
    ) -> None:
        places, run = placed
        like = run.events.like
        event_ids = [key[0] for place in places.tolist() if (key := by_place[place]) is not None]
        arrived = ArrivedRun(places, run, self._streams.stream(like), event_ids, run.events.times_ns / 1e9)
        chosen.setdefault(self._by_model[like.namespace, like.model], ([], []))[0].append(arrived)

    def _take(
        self,
        intake: Intake,
        chosen: dict[str, tuple[list[ArrivedRun], list[Arrival]]],
        numbered: Numbered,
        now_s: float,
    ) -> None:
        """One record that is in no run."""
        order, record, key, is_copy = numbered
        content = record.content
        if isinstance(content, InferenceEvent) and key is not None:
            if is_copy:
                intake.duplicates.append((record.counted_in, self._counted_as(content)))
                return
            if self._forgetting.event(content):
                intake.erased.append(Arrival(order, record, content, self._counted_as(content), *key))
                return
            monitor = self._by_model.get((content.namespace, content.model))
            if monitor is not None and 0 < key[1] <= now_s + self._maximum_future_s:
                arrival = Arrival(order, record, content, self._streams.stream(content), *key)
                chosen.setdefault(monitor, ([], []))[1].append(arrival)
            else:
                intake.dead.append(self._unusable(record, content, now_s))
        elif isinstance(content, Label):
            intake.labels.append(LabelArrival(order, record.counted_in, content))
        elif isinstance(content, Malformed):
            intake.dead.append(self._malformed(record, content, now_s))
        else:  # nobody paired it; a fault of ours
            detail = f"{type(content).__name__} was neither paired nor taken apart"
            intake.dead.append(self.reject(record, NOT_JOINED, detail, now_s))

    def reject(self, record: Record, reason: str, detail: str, now_s: float) -> Rejected:
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
        return Rejected(letter, stream)

    def _unusable(self, record: Record, event: InferenceEvent, now_s: float) -> Rejected:
        if (event.namespace, event.model) not in self._by_model:
            detail = f"no monitor for '{event.namespace}/{event.model}'; 'driftline init' writes one"
            return self.reject(record, UNKNOWN_MODEL, detail, now_s)
        detail = f"event time {moment(event.time_s)} is {self._why_bad(event.time_s, now_s)}"
        return self.reject(record, BAD_TIME, detail, now_s)

    def _why_bad(self, time_s: float, now_s: float) -> str:
        if time_s > now_s:
            return f"more than {self._maximum_future_s:g} s ahead of the collector's clock, {moment(now_s)}"
        return "not after the beginning of 1970"

    def _decode(self, intake: Intake, monitor: Monitor, arrivals: Arrivals, now_s: float) -> MonitorEvents:
        """All rows of one monitor's events; those that cannot be read become dead letters."""
        decoded = self._decoder(arrivals.events(), monitor)
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
            arrivals = arrivals.take(np.flatnonzero(good).tolist())
        return MonitorEvents(monitor, arrivals, decoded.columns, owners, decoded.rows, counts.tolist())

    def _counted_as(self, event: InferenceEvent) -> StreamKey:
        if (event.namespace, event.model) not in self._by_model:
            return self._counted_under(event.namespace, event.model)
        return self._streams.stream(event)

    def _counted_under(self, namespace: str, model: str) -> StreamKey:
        """Where something is counted that belongs to no stream of a monitor, as far as its model is known."""
        return StreamKey(*self._unmonitored.named(namespace, model), UNKNOWN, UNKNOWN)

    def _malformed(self, record: Record, content: Malformed, now_s: float) -> Rejected:
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
        return Rejected(letter, self._counted_under(content.namespace, content.model), content.events)


def _by_place(batch: RecordBatch, keys: Sequence[EventKey]) -> Sequence[EventKey | None]:
    """The key of each record, None of what is no event."""
    left = iter(keys)
    runs: list[tuple[Positions, Sequence[EventKey | None]]] = []
    for places, run in batch.runs:
        runs.append((places, list(islice(left, len(run)))))
    others = {
        place: next(left) if isinstance(record.content, InferenceEvent) else None
        for place, record in batch.others.items()
    }
    return in_order(len(batch), runs, others)


def _copies(
    batch: RecordBatch, by_place: Sequence[EventKey | None], keys: Sequence[EventKey], known: set[EventKey]
) -> NDArray[np.bool_]:
    """Which records hold an event that is known, or that came before in the batch."""
    copies = np.zeros(len(batch), np.bool_)
    seen = set(keys)
    if known or len(seen) < len(keys):
        seen = set(known)
        for place, key in enumerate(by_place):
            if key is not None:
                copies[place] = key in seen
                seen.add(key)
    return copies


def _first_order(chosen: tuple[str, tuple[Sequence[ArrivedRun], Sequence[Arrival]]]) -> int:
    runs, others = chosen[1]
    return min([*(int(run.orders[0]) for run in runs), *(arrival.order for arrival in others[:1])])


def _check_lengths(columns: ColumnBatch) -> None:
    for name, values in (*columns.numeric.items(), *columns.text.items(), *columns.vectors.items()):
        if len(values) != columns.rows:
            raise PermanentError(f"column '{name}' has {len(values)} values for {columns.rows} rows")
