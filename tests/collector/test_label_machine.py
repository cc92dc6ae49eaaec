"""Labels and erasures in every order, against a model of dictionaries: a state machine on both databases.

``DRIFTLINE_PROOF_ORDERS`` makes it longer, ``DRIFTLINE_PROOF_SEED`` another one (``make proofs``).
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import Connection

from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.labels.desk import LabelDesk
from collector.store import schema
from collector.store.erased import ErasedBook
from collector.store.store import Store
from driftline import names
from driftline.events import InferenceEvent, Label
from driftline.monitors import Monitor
from driftline.records import Record
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, merged
from tests.collector.label_model import RIGHT, WRONG, LabelModel, ModelLabel, NewRow

ORDERS_TRIED = int(os.environ.get("DRIFTLINE_PROOF_ORDERS", "60"))
SEED = int(os.environ.get("DRIFTLINE_PROOF_SEED", "0"))
ORDERS = ("A", "B", "C")
CUSTOMERS = ("anna", "ben")
ROOM = 3
#: Not emptied between two orders: the numbers of streams and layouts, which the store remembers, and the audit, which
#: only grows.
_KEPT = {schema.streams.name, schema.row_layouts.name, schema.audit.name}
_FIELDS = MONITOR.model_dump(mode="json", exclude_defaults=True)
KEYED = Monitor.model_validate(
    {
        **_FIELDS,
        "columns": [
            *_FIELDS["columns"],
            {"name": "order", "type": "categorical", "drift": False},
            {"name": "customer", "type": "categorical", "drift": False},
        ],
        "labels": {"timeout": "2h", "key": "order", "maximum_waiting": ROOM},
        "subject": {"column": "customer"},
    }
)

numbers = st.integers(0, 3)
values = st.sampled_from(["0", "1", None, RIGHT, WRONG])
moments = st.integers(1, 4)


def rows_of(number: int, *, twin: bool) -> list[NewRow]:
    """Two rows per event, of one customer or of two; orders are shared between events, and some rows have none."""
    second = None if number % 2 else ORDERS[(number + 1) % len(ORDERS)]
    return [
        NewRow(str((number + twin) % 2), ORDERS[number % len(ORDERS)], CUSTOMERS[number // 2]),
        NewRow("1", second, CUSTOMERS[number % 2]),
    ]


class LabelMachine(RuleBasedStateMachine):
    """Streamed records are queued and committed together; the desk, the eraser and the sweep act at once.

    All orders use one store, emptied before each: opening one, and preparing its statements, costs more than an order.
    """

    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        with self.store.transaction() as transaction:
            _empty(transaction.connection)
        self.parts = Parts(self.store, monitors={KEYED.name: KEYED})
        self.desk = LabelDesk(
            self.store,
            self.parts.statistics,
            self.parts.monitors,
            self.parts.clock,
            self.parts.metrics,
            erased=ErasedBook(SubjectHasher().hash),
        )
        self.eraser = Eraser(self.store, SubjectHasher(), self.parts.clock, None)
        self.model = LabelModel(maximum_waiting=ROOM)
        self.offset = 0
        self.queue: list[tuple[Record, Any]] = []

    # --- what comes ---------------------------------------------------------------------------------------------
    @precondition(lambda self: len(self.queue) < 5)
    @rule(number=numbers, twin=st.booleans())
    def predict(self, number: int, twin: bool) -> None:
        rows = rows_of(number, twin=twin)
        made = event(
            number,
            event_id=f"event-{number}{'-twin' if twin else ''}",
            request_id=f"request-{number}",
            at_s=START_S + 60 * number + 1800 * twin,
            distance=[100.0] * len(rows),
            carrier=["AA"] * len(rows),
            late=[row.prediction for row in rows],
            score=[0.5] * len(rows),
            order=[row.key for row in rows],
            customer=[row.subject for row in rows],
        )
        self._stream(made, (made.id, made.request_id, made.time_s, rows))

    @precondition(lambda self: len(self.queue) < 5)
    @rule(number=numbers, row=st.integers(0, 1), value=values, moment=moments)
    def stream_label(self, number: int, row: int, value: str | None, moment: int) -> None:
        label = ModelLabel(f"request-{number}", "", row, value, START_S + HOUR_S * moment)
        self._stream(sent(label), label)

    @precondition(lambda self: len(self.queue) < 5)
    @rule(key=st.sampled_from(ORDERS), value=values, moment=moments)
    def stream_keyed_label(self, key: str, value: str | None, moment: int) -> None:
        label = ModelLabel("", key, 0, value, START_S + HOUR_S * moment)
        self._stream(sent(label), label)

    @rule(
        labels=st.lists(
            st.tuples(st.sampled_from([*ORDERS, "0", "1", "2", "3"]), values, moments), min_size=1, max_size=3
        )
    )
    def post(self, labels: list[tuple[str, str | None, int]]) -> None:
        made = []
        for subject, value, moment in labels:
            request_id, key = ("", subject) if subject in ORDERS else (f"request-{subject}", "")
            made.append(ModelLabel(request_id, key, 0, value, START_S + HOUR_S * moment))
        receipt = self.desk.submit([sent(label) for label in made])
        before = Counter(self.model.outcomes)
        self._take(made)
        assert Counter(receipt.outcomes) == self.model.outcomes - before
        self._compare()

    # --- what happens -------------------------------------------------------------------------------------------
    @rule()
    def commit(self) -> None:
        drain(self.parts.collector([record for record, _ in self.queue]))
        last: dict[str, int] = {}
        for order, (_, content) in enumerate(self.queue):
            if isinstance(content, tuple) and content[0] not in self.model.known and content[0] not in last:
                kept = [row for row in content[3] if not self.model.is_erased(content[1], row.subject)]
                subjects = [content[0], content[1], *(row.key for row in kept if row.key)] if kept else []
                last |= dict.fromkeys(subjects, order)
        labels = [(order, found) for order, (_, found) in enumerate(self.queue) if isinstance(found, ModelLabel)]
        early = [found for order, found in labels if order < last.get(found.key or found.request_id, -1)]
        self._take(early)
        for _, content in self.queue:
            if isinstance(content, tuple):
                self.model.store(*content)
        self.model.join_waiting()
        self._take([found for order, found in labels if order >= last.get(found.key or found.request_id, -1)])
        self.queue.clear()
        self._compare()

    @rule(hours=st.sampled_from([0.5, 1.5]))
    def pass_time(self, hours: float) -> None:
        self.parts.clock.advance(hours * HOUR_S)

    @rule()
    def sweep(self) -> None:
        self.parts.collector([]).sweep()
        self.model.expire(self.parts.clock() - KEYED.labels.timeout)
        self._compare()

    @precondition(lambda self: len(self.model.erased) < 2)
    @rule(number=numbers)
    def erase_request(self, number: int) -> None:
        self._erase("request_id", f"request-{number}")

    @precondition(lambda self: not self.model.erased)
    @rule(customer=st.sampled_from(CUSTOMERS))
    def erase_subject(self, customer: str) -> None:
        self._erase("subject", customer)

    def _erase(self, kind: Any, value: str) -> None:
        found = self.eraser.erase(Selector("default", "flights", kind, value), "somebody")
        expected = self.model.erase(value)
        assert {name: found.removed.get(name, 0) for name in expected} == expected
        self._compare()

    # --- what must hold -----------------------------------------------------------------------------------------
    def _compare(self) -> None:
        """The store is what the model says; asked after every step that writes, the others only queue."""
        self.store.read(self._statistics_are_those_of_the_model)
        self.store.read(self._counters_are_those_of_the_model)
        self.store.read(self._what_waits_is_what_waits_in_the_model)

    def _statistics_are_those_of_the_model(self, connection: Connection) -> None:
        """What was erased is counted all the same: a count is of nobody in particular."""
        counted = [*self.model.rows.values(), *self.model.gone]
        labelled = [row for row in counted if row.label is not None]
        expected = Counter(f"judged {row.prediction}/{row.label}" for row in labelled)
        states: dict[str, list[bytes]] = {"": [], "carrier=AA": []}
        for segment, state in connection.exec_driver_sql("SELECT segment, state FROM window_states"):
            states[segment].append(state)
        for parts in states.values():
            found = merged(parts)
            assert {name: n for name, n in found.items() if name.startswith("judged")} == expected
            assert found.get("rows", 0) == len(counted)
        spans = connection.exec_driver_sql("SELECT sum(rows), sum(labelled_rows) FROM stream_spans").one()
        assert (spans[0] or 0, spans[1] or 0) == (len(counted), len(labelled))
        counts = Counter({"rows": len(counted), "labelled": len(labelled)})
        delayed = [row for row in counted if row.delay_class is not None]
        counts.update(f"delay/{row.delay_class}" for row in delayed)
        counts.update(f"wrong_delay/{row.delay_class}" for row in delayed if row.judged == "incorrect")
        assert _window_counts(connection) == {"": +counts, **({"carrier=AA": +counts} if counts["rows"] else {})}

    def _counters_are_those_of_the_model(self, connection: Connection) -> None:
        outcomes: Counter[str] = Counter()
        judged: Counter[str] = Counter()
        for metric, spelt, value in connection.exec_driver_sql("SELECT metric, labels, value FROM totals"):
            labels = msgspec.json.decode(spelt)
            if metric == names.LABELS.name:
                outcomes[labels[2]] += value
            elif metric == names.JUDGED_PREDICTIONS.name:
                judged[labels[4]] += value
        assert outcomes == self.model.outcomes
        counted = [*self.model.rows.values(), *self.model.gone]
        assert judged == Counter(row.judged for row in counted if row.judged is not None)

    def _what_waits_is_what_waits_in_the_model(self, connection: Connection) -> None:
        """And what is kept: of what was erased nothing."""
        waiting = "SELECT request_id, '', row FROM labels_pending"
        keyed = "SELECT '', key, row FROM labels_pending_keys"
        found = {tuple(row) for statement in (waiting, keyed) for row in connection.exec_driver_sql(statement)}
        assert found == set(self.model.waiting)
        keys = connection.exec_driver_sql("SELECT key, request_id, row FROM prediction_keys")
        assert {tuple(row) for row in keys} == set(self.model.keys)
        for table, expected in (
            ("predictions", list(self.model.rows.values())),
            ("labels", [row for row in self.model.rows.values() if row.label_time_s is not None]),
        ):
            kept = connection.exec_driver_sql(f"SELECT DISTINCT time_s, row FROM {table}")
            assert sorted(map(tuple, kept)) == sorted((row.time_s, row.row) for row in expected)

    # --- helpers ------------------------------------------------------------------------------------------------
    def _stream(self, content: InferenceEvent | Label, modelled: Any) -> None:
        self.queue.append((Record("spool:0", self.offset, self.offset + 1, content), modelled))
        self.offset += 1

    def _take(self, labels: list[ModelLabel]) -> None:
        """Those that can be joined are, in their order; then the others begin to wait, request ids first."""
        waiting = [label for label in labels if self.model.target(label) is None]
        joined = [label for label in labels if self.model.target(label) is not None]
        for label in [*joined, *sorted(waiting, key=lambda label: label.key != "")]:
            self.model.label(label, self.parts.clock())


def _window_counts(connection: Connection) -> dict[str, Counter[str]]:
    """All counts of all windows, by segment."""
    counts: dict[str, Counter[str]] = {"": Counter()}
    for spelt, value in connection.exec_driver_sql("SELECT kind, value FROM window_counts"):
        kind, _, segment = spelt.partition("|")
        counts.setdefault(segment, Counter())[kind] += value
    return {segment: +found for segment, found in counts.items()}


def _empty(connection: Connection) -> None:
    tables = [table.name for table in schema.metadata.sorted_tables if table.name not in _KEPT]
    if connection.dialect.name == "sqlite":
        for table in reversed(tables):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    else:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)}")


def sent(label: ModelLabel) -> Label:
    judged = label.value in (RIGHT, WRONG)
    value: str | float | None = float(label.value == RIGHT) if judged else label.value
    return Label(
        request_id=label.request_id,
        key=label.key,
        row=label.row,
        value=value,
        reward=judged,
        observed_at_s=label.observed_s,
        model="flights",
    )


@contextmanager
def _copy_of(template: Path) -> Iterator[Store]:
    """A store of its own, in memory where that is possible: so many transactions are not waited for on a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        shutil.copy(template, f"{directory}/store.db")
        store = Store(f"sqlite:///{directory}/store.db", prepare=False)
        try:
            yield store
        finally:
            store.close()


def _run(store: Store, examples: int, steps: int) -> None:
    machine = seed(SEED)(type("Machine", (LabelMachine,), {"store": store}))
    rules = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    run_state_machine_as_test(machine, settings=rules)


def test_labels_in_any_order_leave_what_the_model_says(migrated: Path) -> None:
    with _copy_of(migrated) as store:
        _run(store, 20, 15)


@pytest.mark.slow
@pytest.mark.timeout(300 + 5 * ORDERS_TRIED)
def test_labels_in_many_orders_leave_what_the_model_says(migrated: Path) -> None:
    with _copy_of(migrated) as store:
        _run(store, ORDERS_TRIED, 40)


@pytest.mark.real
def test_labels_in_any_order_leave_what_the_model_says_on_postgresql(postgres_store: str) -> None:
    store = Store(postgres_store, prepare=False)
    _run(store, 6, 12)
    store.close()
