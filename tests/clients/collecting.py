"""A collector that takes events over HTTP from loggers that are programs of others, and says what it stored."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from collector.batches.loop import Collector
from collector.batches.payloads import PayloadWriter
from collector.labels.from_seldon import read_feedback
from collector.sources.inbox import LogInbox, Mailroom, inbox_reader
from collector.sources.interpreting import Interpreter
from collector.sources.joining import Joiner
from collector.sources.receiver import Receiver
from collector.store.migrate import migrate
from collector.store.store import Store
from driftline import names
from driftline.monitors import Monitor
from driftline.testing import ManualClock
from logger_sidecar.spool.source import SpoolSource
from logger_sidecar.spool.writer import SpoolWriter
from serving.decode_many import decode_many
from tests.collector.helpers import Parts, drain, tables
from tests.collector.payload_rows import read_payloads
from tests.collector.running import RunningApi
from tests.collector.sources.parts import outcomes
from tests.parts.processes import wait_until

#: Of the model that all servers beside this file serve: y = 2 a + 3 b + 1.
MONITOR = Monitor.model_validate(
    {
        "namespace": "shop",
        "model": "line",
        "task": "regression",
        "columns": [{"name": "a", "type": "numeric"}, {"name": "b", "type": "numeric"}],
        "prediction": {"column": "y"},
        "labels": {"reward": "label"},
    }
)
MONITORS = {MONITOR.name: MONITOR}
INTERPRETER = Interpreter(MONITORS, read_feedback)
#: A row as it is stored: request id, row, a, b, y.
Row = tuple[str, int, float, float, float]


class Receiving:
    """``url``: where events go while the block lasts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._address = f"sqlite:///{directory}/store.db"
        migrate(self._address)
        self._store = Store(self._address, prepare=False)
        self.registry = CollectorRegistry()
        app = FastAPI()
        inbox = LogInbox(
            SpoolWriter(directory / "inbox", max_bytes=1 << 26, segment_bytes=1 << 22, first_offset=1, fsync="batch")
        )
        Receiver(Mailroom(inbox, 1 << 24), INTERPRETER, time.time, self.registry, 1 << 22).add_routes(app)
        self._api = RunningApi(app)
        self.url = f"{self._api.url}/"

    def __enter__(self) -> Self:
        self._api.__enter__()
        return self

    def __exit__(self, *unused: object) -> None:
        self._api.__exit__(*unused)
        self._store.close()

    def counted(self, outcome: str) -> int:
        """Events that were answered so."""
        found = self.registry.collect()
        samples = [sample for family in found for sample in family.samples if sample.name == names.SOURCE_EVENTS.name]
        return round(sum(sample.value for sample in samples if sample.labels[names.OUTCOME] == outcome))

    def wait_for(self, events: int, timeout_s: float = 120.0) -> None:
        """Return once that many were accepted, and none refused."""
        wait_until(lambda: self.counted(names.OUTCOME_ACCEPTED) >= events, timeout_s, f"{events} events")
        assert self.counted(names.OUTCOME_ACCEPTED) == events
        assert self.counted(names.OUTCOME_REFUSED) == 0

    def store(self) -> "Stored":
        """Everything that came, read and committed."""
        source = SpoolSource(self._directory / "inbox", "inbox", self._store.position, decode=inbox_reader(INTERPRETER))
        try:
            return stored(self._store, self._address, source, self._directory)
        finally:
            source.close()


class Stored:
    """What a collector made of events: ``rows``, ``halves`` by what became of them, ``letters`` with their reasons.

    ``labels``: by request id and row.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        halves: Mapping[str, int],
        letters: Sequence[tuple[str, str]],
        labels: Mapping[tuple[str, int], float],
    ) -> None:
        self.rows = rows
        self.halves = halves
        self.letters = letters
        self.labels = labels


def stored(store: Store, address: str, source: Any, directory: Path) -> Stored:
    """What is in ``source``, read, paired, decoded and committed to ``store``."""
    parts = Parts(store, clock=ManualClock(time.time()), directory=directory, monitors=MONITORS)
    payloads = PayloadWriter(directory / "payloads")
    collector = Collector(
        source,
        store,
        decode_many,
        parts.statistics,
        MONITORS,
        parts.clock,
        parts.settings,
        payloads,
        parts.metrics,
        Joiner(store, MONITORS, 1e9),
    )
    drain(collector)
    found = read_payloads(directory / "payloads", store.payload_files(), MONITOR, 0.0, 1e12).to_pylist()
    held = {name: [dict(row) for row in rows] for name, rows in tables(address, "predictions", "labels").items()}
    # An id that is an UUID is its own key.
    predicted = {(row["request_id"] or str(row["request_key"]), row["row"]): row for row in held["predictions"]}
    asked = {(row["event_key"], row["row"]): place for place, row in predicted.items()}
    labels = {asked[row["event_key"], row["row"]]: float(row["label"]) for row in held["labels"]}
    assert len(predicted) == len(found)
    rows = []
    for one in found:
        prediction = float(predicted[one["_request_id"], one["_row"]]["prediction"])
        rows.append((one["_request_id"], one["_row"], one["a"], one["b"], prediction))
    letters = [(letter.reason, letter.detail) for letter in store.dead_letters(100)]
    return Stored(sorted(rows), outcomes(store), letters, labels)
