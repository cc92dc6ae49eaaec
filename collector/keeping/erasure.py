"""Erasing what is known of a request or a subject: rows, labels, columns, keys, files, dead letters, halves.

What is erased stays erased: events, rows, labels and halves of it that arrive later (out of a spool, of Kafka, of a
file of labels that waits to be joined, or by a replay) are counted as ``erased`` and not kept, for as long as rows are
(``collector.store.erased``). Files of labels that wait are not rewritten: they are gone as soon as they are joined, and
the answer says how many wait.

Counts stay: of a window, of a stream, of a metric. They say how many, of nobody in particular. The id of an erased
event stays too, so that a replay of its stream does not bring it back.
"""

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Row, Text, cast, delete, func, insert, select

from collector.batches.payloads import PayloadFiles
from collector.batches.subjects import SubjectHasher
from collector.keeping.retention import KEEPER
from collector.store import schema
from collector.store.database import key_text, reading
from collector.store.erased import ERASED_STATUS, Erased, remember_erased, wait_for_writers
from collector.store.file_space import empty_log
from collector.store.ids import key_of
from collector.store.store import Store
from collector.store.transaction import PayloadFile, Transaction, total
from collector.store.uploads import waiting_upload_count
from driftline import names
from driftline.clock import Clock
from driftline.errors import EventError
from driftline.events import decode_frame

#: Under this name erasures, rolling and retention of files take turns.
FILES = "payload:files"
ERASE = "erase"
_LONGEST_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Selector:
    """What is to be erased of one model: a request by its id, or a subject by its key."""

    namespace: str
    model: str
    kind: Literal["request_id", "subject"]
    value: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, by kind, and where it is audited."""

    audit_id: int
    removed: Mapping[str, int]
    #: Files of labels that wait, in which rows of it may stand until they are joined.
    waiting_uploads: int = 0


@dataclass(frozen=True, slots=True)
class _Places:
    """Rows that are to go: their events, the requests that they belong to, and which rows of these they are."""

    rows: Sequence[tuple[str, int, float]]
    events: Sequence[tuple[str, float, int]]
    requests: Sequence[str]
    numbered: Sequence[tuple[str, int]]


class Eraser:
    """Erases in one transaction, with its audit; payload files are written anew without the rows first."""

    def __init__(self, store: Store, subjects: SubjectHasher, clock: Clock, payloads: PayloadFiles | None) -> None:
        self._store = store
        self._subjects = subjects
        self._clock = clock
        self._payloads = payloads

    def erase(self, selector: Selector, actor: str) -> Erasure:
        """Erase and audit, whether anything was found or not. Raises TransientError, and then nothing was erased yet.

        ``actor``: who asked, such as the name of a token; never a secret.
        """
        removed: Counter[str] = Counter()
        # First and on its own, because whoever writes is waited for: what they wrote is there afterwards, and no more.
        with self._store.transaction() as transaction:
            remember_erased(transaction, self._erased(selector), self._clock())
        with self._store.transaction() as transaction:
            transaction.lock_partition(FILES)
            places = self._find(transaction, selector)
            dropped = self._rewrite(transaction, selector, places.requests, removed)
            # Whoever joins a label to one of these rows now would leave it behind. Not before files are written anew:
            # nobody can write until this transaction ends.
            wait_for_writers(transaction)
            _erase_rows(transaction, selector, places, removed)
            _erase_texts(transaction, selector, removed)
            transaction.add_totals(
                KEEPER,
                {
                    total(names.COLLECTOR_REMOVED, selector.namespace, selector.model, kind): count
                    for kind, count in removed.items()
                    if count  # a name that nothing is stored of makes no series
                },
            )
            made = transaction.connection.execute(
                insert(schema.audit).values(
                    at_s=self._clock(),
                    actor=actor,
                    action=ERASE,
                    namespace=selector.namespace,
                    model=selector.model,
                    selector=selector.kind,
                    digest=self._digest(selector),
                    removed=msgspec.json.encode(dict(sorted(removed.items()))).decode(),
                )
            )
        if self._payloads is not None:
            self._payloads.remove(file.path for file in dropped)
        empty_log(self._store.engine)
        assert made.inserted_primary_key is not None  # noqa: S101 - a single-row insert always has one
        waiting = self._store.read(waiting_upload_count)
        return Erasure(int(made.inserted_primary_key[0]), dict(removed), waiting)

    def knows(self, namespace: str, model: str) -> bool:
        """Whether anything is stored that names this model; raises TransientError."""
        tables = (schema.streams, schema.dead_letters, schema.waiting_halves, schema.labels_pending)
        with reading(self._store.engine) as connection:
            return any(
                connection.execute(
                    select(select(table).where(table.c.namespace == namespace, table.c.model == model).exists())
                ).scalar_one()
                for table in tables
            )

    def audited(self, limit: int) -> list[dict[str, Any]]:
        """The newest entries of the audit."""
        statement = select(schema.audit).order_by(schema.audit.c.id.desc()).limit(limit)
        with reading(self._store.engine) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _erased(self, selector: Selector) -> Erased:
        if selector.kind == "subject":
            return Erased(selector.namespace, selector.model, "subject", self._digest(selector))
        return Erased(selector.namespace, selector.model, "request_id", key_of(key_text(selector.value)))

    def _digest(self, selector: Selector) -> str:
        if selector.kind == "subject":
            return self._subjects.hash(selector.namespace, selector.model, selector.value)
        return hashlib.sha256(selector.value.encode("utf-8", "replace")).hexdigest()

    def _find(self, transaction: Transaction, selector: Selector) -> _Places:
        rows, streams = schema.predictions.c, schema.streams.c
        statement = (
            select(
                rows.event_key,
                rows.row,
                rows.time_s,
                rows.stream_id,
                func.coalesce(rows.event_id, cast(rows.event_key, Text)),
                func.coalesce(rows.request_id, cast(rows.request_key, Text)),
            )
            .join_from(schema.predictions, schema.streams, rows.stream_id == streams.id)
            .where(streams.namespace == selector.namespace, streams.model == selector.model)
        )
        if selector.kind == "request_id":
            statement = statement.where(rows.request_key == key_of(key_text(selector.value)))
        else:
            statement = statement.where(
                rows.subject == self._subjects.hash(selector.namespace, selector.model, selector.value)
            )
        found = transaction.connection.execute(statement).all()
        requests = {request_id for *_, request_id in found}
        if selector.kind == "request_id":
            requests.add(key_text(selector.value))
        return _Places(
            [(key, row, time_s) for key, row, time_s, *_ in found],
            sorted({(event_id, time_s, stream_id) for _, _, time_s, stream_id, event_id, _ in found}),
            sorted(requests),
            sorted({(request_id, row) for _, row, *_, request_id in found}),
        )

    def _rewrite(
        self, transaction: Transaction, selector: Selector, requests: Sequence[str], removed: Counter[str]
    ) -> list[PayloadFile]:
        """Write the files that hold erased rows anew; the old ones, which are to be removed once this is committed."""
        if self._payloads is None:
            return []
        dropped = []
        for file in self._store.payload_files(selector.namespace, selector.model):
            table = self._payloads.read(file.path)
            if table is None:
                continue
            gone = _gone(table, selector, requests, self._digest(selector))
            count = int(pc.sum(gone).as_py() or 0)
            if not count:
                continue
            removed["payload_rows"] += count
            left = table.filter(pc.invert(gone))
            if len(left):
                digest = hashlib.sha256(f"{file.path}/{self._digest(selector)}".encode()).hexdigest()[:16]
                path = f"{file.path.rpartition('/')[0]}/erased-{digest}.parquet"
                self._payloads.write(path, left)
                times = left["_time_s"]
                span = (float(pc.min(times).as_py()), float(pc.max(times).as_py()))
                transaction.add_payload_files([PayloadFile(path, file.namespace, file.model, *span, len(left))])
            transaction.drop_payload_files([file])
            dropped.append(file)
        return dropped


def _gone(table: Any, selector: Selector, requests: Sequence[str], subject: str) -> Any:
    """Whether each row of a payload file is to go."""
    if selector.kind == "subject" and "_subject" in table.column_names:
        return pc.fill_null(pc.equal(table["_subject"], subject), False)
    return pc.is_in(table["_request_id"], value_set=pa.array(requests, pa.string()))


def _erase_rows(transaction: Transaction, selector: Selector, places: _Places, removed: Counter[str]) -> None:
    """Rows with all that hangs on them; their events stay known by id and time."""
    connection = transaction.connection
    for table, kind in (
        (schema.labels, "labels"),
        (schema.prediction_columns, "columns"),
        (schema.predictions, "predictions"),
    ):
        for event_key, row, time_s in places.rows:
            here = (table.c.event_key == event_key, table.c.row == row, table.c.time_s == time_s)
            removed[kind] += connection.execute(delete(table).where(*here)).rowcount
    known = transaction.known_rowless([(event_id, time_s) for event_id, time_s, _ in places.events])
    transaction.insert_rowless(
        [
            (event_id, stream_id, time_s, ERASED_STATUS)
            for event_id, time_s, stream_id in places.events
            if (event_id, time_s) not in known
        ]
    )
    for table, kind in ((schema.labels_pending, "pending"), (schema.prediction_keys, "keys")):
        of_request = table.c.namespace == selector.namespace, table.c.model == selector.model
        if selector.kind == "request_id":
            statement = delete(table).where(*of_request, table.c.request_id == key_text(selector.value))
            removed[kind] += connection.execute(statement).rowcount
            continue
        for request_id, row in places.numbered:  # others of the same request stay
            statement = delete(table).where(*of_request, table.c.request_id == request_id, table.c.row == row)
            removed[kind] += connection.execute(statement).rowcount
    if selector.kind == "subject":  # where the business key is the subject, labels may wait for it
        table = schema.labels_pending_keys
        of_model = (table.c.namespace == selector.namespace, table.c.model == selector.model)
        statement = delete(table).where(*of_model, table.c.key == key_text(selector.value))
        removed["pending"] += connection.execute(statement).rowcount


def _erase_texts(transaction: Transaction, selector: Selector, removed: Counter[str]) -> None:
    """What is kept as it came, dead letters and waiting halves, where it speaks of the selected."""
    connection = transaction.connection
    letters, halves = schema.dead_letters, schema.waiting_halves
    # A letter whose model could not be read is looked at for every model.
    statement = select(letters.c.partition, letters.c.offset, letters.c.raw).where(
        letters.c.namespace.in_([selector.namespace, "unknown"]), letters.c.model.in_([selector.model, "unknown"])
    )
    for partition, offset in _speaking_of(connection.execute(statement), selector):
        here = (letters.c.partition == partition, letters.c.offset == offset)
        removed["dead_letters"] += connection.execute(delete(letters).where(*here)).rowcount
        tries = schema.replay_attempts
        connection.execute(delete(tries).where(tries.c.partition == partition, tries.c.offset == offset))
    # An answer may be the only one to say the model: until its request comes, it has none.
    of_model = (halves.c.namespace == selector.namespace, halves.c.model.in_([selector.model, ""]))
    if selector.kind == "request_id":
        of_request = (*of_model, halves.c.request_id == key_text(selector.value))
        if gone := connection.execute(delete(halves).where(*of_request)).rowcount:
            removed["halves"] += gone
        return
    waiting = select(halves.c.identity, halves.c.half).where(*of_model)
    for (identity,) in _speaking_of(connection.execute(waiting), selector):
        removed["halves"] += connection.execute(delete(halves).where(halves.c.identity == identity)).rowcount


def _speaking_of(rows: Iterable[Row[Any]], selector: Selector) -> Iterator[Sequence[Any]]:
    """Keys of rows (the last value is what came) in which the selected value stands as a word of its own."""
    word = re.compile(rb"(?<![0-9A-Za-z])" + re.escape(selector.value.encode("utf-8", "replace")) + rb"(?![0-9A-Za-z])")
    for row in list(rows):
        key, raw = row[:-1], row[-1]
        if any(word.search(text) for text in _texts(bytes(raw), selector)):
            yield key


def _texts(raw: bytes, selector: Selector) -> Iterator[bytes]:
    """What came, and what a frame holds: the id alone for a request, bodies without their coding for a subject."""
    try:
        event = decode_frame(raw)
    except EventError:
        yield raw
        return
    if selector.kind == "request_id":
        yield event.request_id.encode()
        return
    for part in (event.request, event.response):
        yield msgspec.json.encode(dict(part.headers))
        yield part.body
        if part.content_encoding in ("gzip", "deflate"):
            try:
                yield zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(part.body, _LONGEST_BODY)
            except zlib.error:
                continue
