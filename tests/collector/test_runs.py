"""What comes in runs is stored and counted as if every record had come alone, whatever stands between."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.settings import CollectorSettings
from collector.sources.event_templates import EventReader
from collector.sources.kafka_records import RawRecords, write_headers
from collector.sources.record_scanning import record_scanner
from collector.store.erased import Erased, remember_erased
from collector.store.ids import key_of
from collector.store.store import Store
from driftline.events import InferenceEvent, KafkaMessage, Payload, encode_inference
from driftline.record_batches import RecordBatch, RecordRun
from driftline.records import Record
from driftline.testing import OneWay
from tests.collector.helpers import START_S, Parts, drain, event, label, tables

PARTITION = "kafka:inference:0"
#: What stands between the events that are alike.
ODD = (
    "again", "broken body", "bytes", "damaged", "erased", "far ahead", "label", "other model", "other version",
    "failed", "said version", "strange id", "traced", "two rows", "unknown model",
)  # fmt: skip
Item = tuple[str, KafkaMessage | None]


def item(number: int, kind: str) -> Item:
    """A message of a kind, or none for a label; its number says when and of what."""
    made = event(number)
    changes: dict[str, dict[str, Any]] = {
        "again": {"id": "event-000001", "time_ns": event(1).time_ns},
        "broken body": {"request": Payload(content_type="application/json", body=b'{"distance": [1,}')},
        "erased": {"request_id": "request-erased"},
        "far ahead": {"time_ns": round((START_S + 10**8) * 1e9)},
        "other model": {"model": "delay"},
        "other version": {"model_version": f"{number % 3}"},
        "failed": {"status_code": 503},
        "said version": {
            "model_version": "",
            "response": Payload(content_type="application/json", body=b'{"model_version":"%d"}' % (number % 2)),
        },
        "strange id": {"id": f"\u00e9-{number}", "request_id": "r" * 600},
        "traced": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        "two rows": {"request": Payload(content_type="application/json", body=TWO_ROWS)},
        "unknown model": {"model": "nobody"},
    }
    if kind == "label":
        return kind, None
    headers, key, value = encode_inference(msgspec.structs.replace(made, **changes.get(kind, {})))
    if kind == "damaged":
        headers = [(name, b"1.5e" if name == "ce_durationms" else value) for name, value in headers]
    return kind, KafkaMessage(headers, key, b"\xff" + value if kind == "bytes" else value)


TWO_ROWS = msgspec.json.encode(
    {"distance": [1.0, 2.0], "carrier": ["UA", "B6"], "late": ["0", "1"], "score": [0.5, 0.25]}
)


def alone(items: Sequence[Item]) -> RecordBatch:
    """Each record by itself, read by a reader that knows nothing."""
    return RecordBatch.of([[record for at in range(len(items)) for record in together(items[at : at + 1], at)]])


def together(items: Sequence[Item], first: int = 0) -> RecordBatch:
    """All records as a batch; events that are alike in runs."""
    messages = [(at, message) for at, (_, message) in enumerate(items) if message is not None]
    raw = [(write_headers(message.headers), message.value) for _, message in messages]
    places = np.array([at for at, _ in messages], np.intp)
    read = EventReader(record_scanner()).read([RawRecords.of(raw, places.tolist())] if raw else [])
    runs = [(places[of], RecordRun(PARTITION, places[of] + first, run)) for of, run in read.runs]
    others = {
        at: Record("kafka:labels:0", at + first, at + first + 1, label(at + first, "1"))
        for at, (_, message) in enumerate(items)
        if message is None
    }
    for of, content in read.others.items():
        offset = int(places[of]) + first
        others[int(places[of])] = Record(PARTITION, offset, offset + 1, content)
    return RecordBatch(runs, dict(sorted(others.items())))


class BatchSource(OneWay):
    """A record source over one batch."""

    def __init__(self, batch: RecordBatch) -> None:
        self._left = batch

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        taken, self._left = self._left[:max_records], self._left[max_records:]
        return taken


def stored(directory: Path, name: str, batch: RecordBatch, at_once: int) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that a collector leaves of the batch."""
    shutil.copy(directory / "store.db", directory / name)
    url = f"sqlite:///{directory / name}"
    store = Store(url, prepare=False)
    with store.transaction() as transaction:
        erased = Erased("default", "flights", "request_id", key_of("request-erased"))
        remember_erased(transaction, erased, START_S)
    sizes = CollectorSettings(minimum_batch_records=at_once, maximum_batch_records=at_once, maximum_streams=3)
    drain(Parts(store, settings=sizes).collector_of(BatchSource(batch)))
    store.close()
    found = tables(url)
    for volatile in ("erased", "label_delays"):
        found.pop(volatile, None)
    return found


drawn = st.lists(st.one_of(st.just("plain"), st.just("plain"), st.sampled_from(ODD)), max_size=24)


@settings(max_examples=6, deadline=None)
@given(kinds=drawn, at_once=st.integers(3, 60))
def test_a_batch_with_runs_leaves_what_its_records_leave_that_come_one_by_one(
    kinds: list[str], at_once: int, migrated: Path
) -> None:
    kinds = ["plain"] * 6 + kinds + ["plain"] * 3
    items = [item(number, kind) for number, kind in enumerate(kinds)]
    with TemporaryDirectory() as scratch:
        shutil.copy(migrated, Path(scratch) / "store.db")
        one_by_one = stored(Path(scratch), "alone.db", alone(items), 8)
        assert stored(Path(scratch), "together.db", together(items), at_once) == one_by_one
        assert len(one_by_one["predictions"]) >= 9


def test_events_that_are_alike_come_in_one_run_and_odd_ones_beside_it() -> None:
    kinds = ["plain"] * 9 + ["strange id", "label", "plain", "failed", "plain"]
    batch = together([item(number, kind) for number, kind in enumerate(kinds)])
    assert [places.tolist() for places, _ in batch.runs] == [[*range(1, 9), 11, 13]]
    assert list(batch.others) == [0, 9, 10, 12]


def of_everything(check: Callable[[RecordBatch, list[Record]], None]) -> None:
    batch = together([item(number, kind) for number, kind in enumerate(["plain"] * 5 + list(ODD) + ["plain"] * 5)])
    check(batch, list(batch))


def test_a_batch_is_a_sequence_of_its_records() -> None:
    def check(batch: RecordBatch, records: list[Record]) -> None:
        assert [record.offset for record in records] == list(range(len(batch)))
        assert list(batch[7:20:3]) == records[7:20:3]
        assert batch[-1] == records[-1]
        chosen = np.arange(len(batch)) % 3 > 0
        assert list(batch.apart(chosen)) == records
        assert list(batch.only(chosen)) == [record for record, kept in zip(records, chosen, strict=True) if kept]
        assert list(RecordBatch.of([batch, records, batch[:4]])) == records + records + records[:4]
        assert batch.partitions() == {record.partition for record in records}

    of_everything(check)


def test_an_event_of_a_run_is_the_event_that_was_sent() -> None:
    sent = [event(number) for number in range(20)]
    batch = together([item(number, "plain") for number in range(20)])
    assert len(batch.runs) == 1
    found = [record.content for record in batch]
    assert found == sent
    assert all(isinstance(each, InferenceEvent) and type(each.time_ns) is int for each in found)
