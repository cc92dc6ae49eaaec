"""Pairing: requests and answers that came as events of their own become inferences, in whatever order they come.

A half whose other half is not there waits in the store. What waits, what need not wait any more and the inferences that
come of it are written in one transaction with the positions of the streams, so that a replay, a restart or a rebalance
changes nothing. A copy of a half (same source, id and type) is known and counted as a duplicate. Of several requests
that share everything, the first answer belongs to the first.

Every half ends in one outcome, and with those that wait they add up to all received:
``paired``, ``unpaired``, ``duplicate``, ``refused`` (no monitor), ``erased`` (before it came), ``not_inference`` (a GET
of health or metadata).
"""

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from collector.ports import JoinedBatch
from collector.store.erased import ErasedBook, nothing_erased
from collector.store.halves import (
    LONE_ANSWER,
    Waiting,
    begin_waiting,
    end_waiting,
    forget_settled,
    half_bytes,
    settle,
    settled,
    waiting_of_pairs,
)
from collector.store.store import Store
from collector.store.transaction import TotalKey, Transaction, total
from driftline import names
from driftline.events import InferenceEvent, Label
from driftline.halves import Half, join_halves, lone_half, lone_request
from driftline.monitors import Monitor
from driftline.record_batches import RecordBatch
from driftline.records import Content, Due, Ignored, Malformed, One, Record, Several

_UNKNOWN = "unknown"
_FORGET_EVERY_S = 60.0


@dataclass(slots=True)
class _Effects:
    """What pairing a batch leaves in the store; a ``BatchPart``."""

    now_s: float
    forget_before_s: float | None
    begun: dict[str, Waiting] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    counts: dict[str, Counter[TotalKey]] = field(default_factory=dict)

    def write(self, transaction: Transaction) -> None:
        """Write all of it."""
        end_waiting(transaction, self.ended)
        begin_waiting(transaction, list(self.begun.values()))
        settle(transaction, self.settled, self.now_s)
        for partition in sorted(self.counts):
            transaction.add_totals(partition, self.counts[partition])
        if self.forget_before_s is not None:
            forget_settled(transaction, self.forget_before_s)

    def count(self, record: Record, namespace: str, model: str, outcome: str) -> None:
        key = total(names.HALVES, namespace, model, outcome)
        self.counts.setdefault(record.counted_in, Counter())[key] += 1


#: What needs no joining.
_WHOLE = frozenset({InferenceEvent, Label, Malformed})


class Joiner:
    """Pairs the halves of a batch with each other and with those that wait; a ``HalfJoiner``.

    ``remember_s``: how long a copy of a half is known as one after it was settled.
    """

    def __init__(
        self, store: Store, monitors: Mapping[str, Monitor], remember_s: float, erased: ErasedBook | None = None
    ) -> None:
        self._erased = erased or nothing_erased()
        self._store = store
        self._monitors = monitors
        self._remember_s = remember_s
        self._next_forget = time.monotonic()

    def join(self, records: Sequence[Record], now_s: float) -> JoinedBatch:
        """Events for halves; everything else as it was, taken apart where a record holds several things."""
        effects = _Effects(now_s, self._forget_before(now_s))
        batch = RecordBatch.of([records])
        if {
            type(record.content) for record in batch.others.values()
        } <= _WHOLE:  # nearly always: a batch of our own events
            return JoinedBatch(records, effects)
        parts = [part for record in records for part in _parts(record)]
        halves = _Batch(self._monitors, effects, self._erased)
        halves.look_up(self._store, parts)
        return JoinedBatch([made for part in parts for made in halves.take(part)], effects)

    def _forget_before(self, now_s: float) -> float | None:
        if time.monotonic() < self._next_forget:
            return None
        self._next_forget = time.monotonic() + _FORGET_EVERY_S
        return now_s - self._remember_s


class _Keyed(NamedTuple):
    """A half with what it is known by, worked out once."""

    half: Half
    identity: str
    pair: str


class _Batch:
    """The halves that matter to one batch of records."""

    def __init__(self, monitors: Mapping[str, Monitor], effects: _Effects, erased: ErasedBook) -> None:
        self._erased = erased
        self._monitors = monitors
        self._effects = effects
        self._known: set[str] = set()
        self._stored: set[str] = set()
        self._waiting: dict[tuple[str, str], deque[_Keyed]] = {}
        self._came: Iterator[_Keyed] = iter(())

    def look_up(self, store: Store, parts: Sequence[Record]) -> None:
        """Read what the store knows of the halves in ``parts``: two queries, however many they are."""
        halves = [_keyed(part.content) for part in parts if isinstance(part.content, Half)]
        self._came = iter(halves)
        pairs = {half.pair for half in halves}
        pairs.update(part.content.pair for part in parts if isinstance(part.content, Due))
        with store.reading() as connection:
            self._known = settled(connection, [half.identity for half in halves])
            for half, _ in waiting_of_pairs(connection, sorted(pairs)):
                keyed = _keyed(half)
                self._stored.add(keyed.identity)
                self._queue(keyed.pair, half.kind).append(keyed)

    def take(self, record: Record) -> Iterator[Record]:
        """What becomes of one record; they must come in the order in which they were looked up."""
        content = record.content
        if isinstance(content, Half):
            yield from self._take_half(record, next(self._came))
        elif isinstance(content, Due):
            yield from self._take_due(record, content)
        elif isinstance(content, Ignored):
            self._effects.count(record, _UNKNOWN, _UNKNOWN, names.OUTCOME_IGNORED)
        else:
            yield record

    # --- a half arrives -------------------------------------------------------------------------------------------
    def _take_half(self, record: Record, keyed: _Keyed) -> Iterator[Record]:
        half, identity, pair = keyed
        self._count(record, half, names.OUTCOME_RECEIVED)
        if half.model and f"{half.namespace}/{half.model}" not in self._monitors:
            self._count(record, half, names.OUTCOME_REFUSED)
            yield _changed(record, content=lone_half(half))
            return
        if identity in self._known or identity in self._stored:
            self._count(record, half, names.OUTCOME_DUPLICATE)
            return
        if self._erased.request(half.namespace, half.model or half.answered_model, half.request_id):
            self._count(record, half, names.OUTCOME_ERASED)
            self._known.add(identity)
            self._effects.settled.append(identity)
            return
        others = self._queue(pair, "response" if half.kind == "request" else "request")
        if others:
            self._known.add(identity)
            self._effects.settled.append(identity)
            yield from self._pair(record, half, self._leave(others.popleft()))
        else:
            self._stored.add(identity)
            self._queue(pair, half.kind).append(keyed)
            self._effects.begun[identity] = Waiting(half, self._effects.now_s)

    # --- halves that waited are looked at -------------------------------------------------------------------------
    def _take_due(self, record: Record, due: Due) -> Iterator[Record]:
        requests, responses = self._queue(due.pair, "request"), self._queue(due.pair, "response")
        if due.reason == "met":
            number = 0
            while requests and responses:
                part = _changed(record, part=number)
                yield from self._pair(part, self._leave(requests.popleft()), self._leave(responses.popleft()))
                number += 1
            return
        for queue in (requests, responses):
            for keyed in [keyed for keyed in queue if keyed.identity in due.identities]:
                queue.remove(keyed)
                yield from self._give_up(record, self._leave(keyed), due)

    def _give_up(self, record: Record, half: Half, due: Due) -> Iterator[Record]:
        monitor = self._monitors.get(f"{half.namespace}/{half.model}")
        if half.kind == "request" and not half.payload.body:
            self._count(record, half, names.OUTCOME_NOT_INFERENCE)
            return
        if half.kind == "request" and monitor is not None and monitor.pairing.unpaired_requests == "drop":
            self._count(record, half, names.OUTCOME_DROPPED)
            return
        self._count(record, half, names.OUTCOME_UNPAIRED)
        if half.kind == "response":
            since = "too much was waiting" if due.reason == "full" else "no request came in time"
            detail = f"answer '{half.id}' to request '{half.request_id}': {since}"
            raw = half_bytes(half)
            yield _changed(
                record, content=Malformed(LONE_ANSWER, detail, raw, 1, half.namespace, half.model or _UNKNOWN)
            )
        else:
            yield _changed(record, content=lone_request(half))

    # --- both -----------------------------------------------------------------------------------------------------
    def _pair(self, record: Record, first: Half, second: Half) -> Iterator[Record]:
        request, response = (first, second) if first.kind == "request" else (second, first)
        # Loggers also log GETs of health and metadata, whose requests have no body.
        outcome = names.OUTCOME_PAIRED if request.payload.body else names.OUTCOME_NOT_INFERENCE
        for half in (request, response):
            self._count(record, half, outcome)
        if outcome == names.OUTCOME_PAIRED:
            yield _changed(record, content=join_halves(request, response))

    def _leave(self, keyed: _Keyed) -> Half:
        """The half waits no more, whether it did so in the store or only since this batch began."""
        identity = keyed.identity
        self._stored.discard(identity)
        self._known.add(identity)
        self._effects.settled.append(identity)
        if self._effects.begun.pop(identity, None) is None:
            self._effects.ended.append(identity)
        return keyed.half

    def _queue(self, pair: str, kind: str) -> deque[_Keyed]:
        return self._waiting.setdefault((pair, kind), deque())

    def _count(self, record: Record, half: Half, outcome: str) -> None:
        known = f"{half.namespace}/{half.model}" in self._monitors
        place = (half.namespace, half.model) if known else (_UNKNOWN, _UNKNOWN)
        self._effects.count(record, *place, outcome)


def _keyed(half: Half) -> _Keyed:
    return _Keyed(half, half.identity, half.pair)


#: A record with other content, in the same place.
_changed = msgspec.structs.replace


def _parts(record: Record) -> Iterator[Record]:
    content: Content = record.content
    if not isinstance(content, Several):
        yield record
        return
    one: One
    for number, one in enumerate(content.contents):
        yield _changed(record, content=one, part=number)
