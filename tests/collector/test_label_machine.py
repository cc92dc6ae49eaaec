"""Labels in every order, against a model of dictionaries: a state machine on both databases.

``DRIFTLINE_PROOF_ORDERS`` makes it longer (``make proofs``).
"""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from collector.labels.desk import LabelDesk
from collector.store import schema
from collector.store.database import connect
from collector.store.store import Store
from driftline import names
from driftline.events import InferenceEvent, Label
from driftline.monitors import Monitor
from driftline.records import Record
from driftline.results import StreamKey, WindowKey
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, merged
from tests.collector.label_model import RIGHT, WRONG, LabelModel, ModelLabel

ORDERS_TRIED = int(os.environ.get("DRIFTLINE_PROOF_ORDERS", "20"))
ORDERS = ("A", "B", "C")
ROOM = 3
STREAM = StreamKey("default", "flights", "3", "stable")
_FIELDS = MONITOR.model_dump(mode="json", exclude_defaults=True)
KEYED = Monitor.model_validate(
    {
        **_FIELDS,
        "columns": [*_FIELDS["columns"], {"name": "order", "type": "categorical", "drift": False}],
        "labels": {"timeout": "2h", "key": "order", "maximum_waiting": ROOM},
    }
)

numbers = st.integers(0, 3)
values = st.sampled_from(["0", "1", None, RIGHT, WRONG])
moments = st.integers(1, 4)


def prediction_of(number: int, *, twin: bool) -> list[tuple[str, str | None]]:
    """Two rows per event; orders are shared between events, and the second row of odd ones has none."""
    second = None if number % 2 else ORDERS[(number + 1) % len(ORDERS)]
    return [(str((number + twin) % 2), ORDERS[number % len(ORDERS)]), ("1", second)]


class LabelMachine(RuleBasedStateMachine):
    """Streamed records are queued and committed together; the desk and the sweep act at once."""

    url: ClassVar[str]
    template: ClassVar[Path | None]

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=_in_memory())
        url = self.url
        if self.template is not None:
            shutil.copy(self.template, f"{self.directory.name}/store.db")
            url = f"sqlite:///{self.directory.name}/store.db"
        self.store = Store(url, prepare=False)
        self.engine = connect(url)
        if self.template is None:
            with self.store.transaction() as transaction:
                tables = ", ".join(set(schema.metadata.tables) - {schema.audit.name})  # which only grows
                transaction.connection.execute(text(f"TRUNCATE {tables}"))
        self.parts = Parts(self.store, monitors={KEYED.name: KEYED})
        self.desk = LabelDesk(
            self.store, self.parts.statistics, self.parts.monitors, self.parts.clock, self.parts.metrics
        )
        self.model = LabelModel(maximum_waiting=ROOM)
        self.offset = 0
        self.queue: list[tuple[Record, Any]] = []

    def teardown(self) -> None:
        self.store.close()
        self.engine.dispose()
        self.directory.cleanup()

    # --- what comes ---------------------------------------------------------------------------------------------
    @precondition(lambda self: len(self.queue) < 5)
    @rule(number=numbers, twin=st.booleans())
    def predict(self, number: int, twin: bool) -> None:
        rows = prediction_of(number, twin=twin)
        made = event(
            number,
            event_id=f"event-{number}{'-twin' if twin else ''}",
            request_id=f"request-{number}",
            at_s=START_S + 60 * number + 1800 * twin,
            distance=[100.0] * len(rows),
            carrier=["AA"] * len(rows),
            late=[prediction for prediction, _ in rows],
            score=[0.5] * len(rows),
            order=[key for _, key in rows],
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
        # Those that can be joined are; then the others begin to wait, request ids first.
        order = sorted(made, key=lambda label: (self.model.target(label) is None, label.key != ""))
        for label in order:
            self.model.label(label, self.parts.clock())
        assert Counter(receipt.outcomes) == self.model.outcomes - before

    # --- what happens -------------------------------------------------------------------------------------------
    @rule()
    def commit(self) -> None:
        drain(self.parts.collector([record for record, _ in self.queue]))
        last: dict[str, int] = {}
        for order, (_, content) in enumerate(self.queue):
            if isinstance(content, tuple) and (content[0], 0) not in self.model.rows and content[0] not in last:
                keys = [key for _, key in content[3] if key]
                last |= dict.fromkeys([content[0], content[1], *keys], order)
        labels = [(order, found) for order, (_, found) in enumerate(self.queue) if isinstance(found, ModelLabel)]
        early = [found for order, found in labels if order < last.get(found.key or found.request_id, -1)]
        self._take(early)
        for _, content in self.queue:
            if isinstance(content, tuple):
                self.model.store(*content)
        self.model.join_waiting()
        self._take([found for order, found in labels if order >= last.get(found.key or found.request_id, -1)])
        self.queue.clear()

    @rule(hours=st.sampled_from([0.5, 1.5]))
    def pass_time(self, hours: float) -> None:
        self.parts.clock.advance(hours * HOUR_S)

    @rule()
    def sweep(self) -> None:
        self.parts.collector([]).sweep()
        self.model.expire(self.parts.clock() - KEYED.labels.timeout)

    # --- what must hold -----------------------------------------------------------------------------------------
    @invariant()
    def statistics_are_those_of_the_model(self) -> None:
        labelled = [row for row in self.model.rows.values() if row.label is not None]
        expected = Counter(f"judged {row.prediction}/{row.label}" for row in labelled)
        for segment in ("", "carrier=AA"):
            key = WindowKey(STREAM, segment, START_S, START_S + HOUR_S)
            found = merged(self.store.window_states(key))
            assert {name: n for name, n in found.items() if name.startswith("judged")} == expected
            assert found.get("rows", 0) == len(self.model.rows)
        assert sum(summary.labelled_rows for summary in self.store.streams()) == len(labelled)
        counts = Counter({"rows": len(self.model.rows), "labelled": len(labelled)})
        delayed = [row for row in self.model.rows.values() if row.delay_class is not None]
        counts.update(f"delay/{row.delay_class}" for row in delayed)
        counts.update(f"wrong_delay/{row.delay_class}" for row in delayed if row.judged == "incorrect")
        assert self._window_counts() == {"": +counts, **({"carrier=AA": +counts} if counts["rows"] else {})}

    @invariant()
    def counters_are_those_of_the_model(self) -> None:
        outcomes: Counter[str] = Counter()
        judged: Counter[str] = Counter()
        for (metric, labels), value in self.store.totals().items():
            if metric == names.LABELS.name:
                outcomes[labels[2]] += value
            elif metric == names.JUDGED_PREDICTIONS.name:
                judged[labels[4]] += value
        assert outcomes == self.model.outcomes
        assert judged == Counter(row.judged for row in self.model.rows.values() if row.judged is not None)

    @invariant()
    def what_waits_is_what_waits_in_the_model(self) -> None:
        waiting, keyed = schema.labels_pending.c, schema.labels_pending_keys.c
        with self.engine.connect() as connection:
            found = {(r, "", n) for r, n in connection.execute(select(waiting.request_id, waiting.row))}
            found |= {("", k, n) for k, n in connection.execute(select(keyed.key, keyed.row))}
        assert found == set(self.model.waiting)

    # --- helpers ------------------------------------------------------------------------------------------------
    def _stream(self, content: InferenceEvent | Label, modelled: Any) -> None:
        self.queue.append((Record("spool:0", self.offset, self.offset + 1, content), modelled))
        self.offset += 1

    def _take(self, labels: list[ModelLabel]) -> None:
        for label in sorted(labels, key=lambda label: (self.model.target(label) is None, label.key != "")):
            self.model.label(label, self.parts.clock())

    def _window_counts(self) -> dict[str, Counter[str]]:
        """All counts of all windows, by segment."""
        table = schema.window_counts.c
        counts: dict[str, Counter[str]] = {"": Counter()}
        with self.engine.connect() as connection:
            for spelt, value in connection.execute(select(table.kind, table.value)):
                kind, _, segment = spelt.partition("|")
                counts.setdefault(segment, Counter())[kind] += value
        return {segment: +found for segment, found in counts.items()}


def _in_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


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


def _run(url: str, template: Path | None, examples: int, steps: int) -> None:
    machine = type("Machine", (LabelMachine,), {"url": url, "template": template})
    rules = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    run_state_machine_as_test(machine, settings=rules)


def test_labels_in_any_order_leave_what_the_model_says(migrated: Path) -> None:
    _run("", migrated, 10, 15)


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * ORDERS_TRIED)
def test_labels_in_many_orders_leave_what_the_model_says(migrated: Path) -> None:
    _run("", migrated, ORDERS_TRIED, 25)


@pytest.mark.real
def test_labels_in_any_order_leave_what_the_model_says_on_postgresql(postgres_store: str) -> None:
    _run(postgres_store, None, 6, 12)
