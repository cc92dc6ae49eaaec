"""Exactly once in effect, against real Kafka and PostgreSQL: whatever happens, the store is that of one clean pass.

Corrections and withdrawals are among the labels; ``proof.image`` says what must be equal all the same.

``DRIFTLINE_PROOF_EVENTS`` and ``DRIFTLINE_PROOF_KILLS`` make the proofs longer (``make proofs``).
"""

import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.store.migrate import migrate
from collector.store.store import Store
from tests.collector import proof
from tests.collector.proof import Topics
from tests.parts.processes import PartProcess, wait_until

EVENTS = int(os.environ.get("DRIFTLINE_PROOF_EVENTS", "1500"))
KILLS = int(os.environ.get("DRIFTLINE_PROOF_KILLS", "4"))
_TIMEOUT_S = 60.0 + EVENTS / 20

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(4 * _TIMEOUT_S)]


@pytest.fixture(scope="module")
def topics(kafka: str) -> Topics:
    """Traffic that all proofs read, each into a store of its own."""
    return proof.fill(kafka, uuid.uuid4().hex[:8], EVENTS, seed=20)


@contextmanager
def collecting(topics: Topics, url: str, group: str) -> Iterator[Callable[[], None]]:
    """A collector in a thread; the given function ends it in order."""
    stop = threading.Event()
    thread = threading.Thread(target=proof.run, args=(topics, group, url, stop))
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(60)

    try:
        yield end
    finally:
        end()
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def clean(topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One collector, one pass, nothing else; on SQLite, which must say the same."""
    url = f"sqlite:///{tmp_path_factory.mktemp('clean') / 'store.db'}"
    migrate(url)
    with collecting(topics, url, f"clean-{uuid.uuid4().hex[:8]}"):
        wait_for_all(url, topics)
    proof.settle(url)
    assert_each_label_counted_once(url)
    found = proof.image(url)
    assert sum(found["positions"].values()) == topics.records
    assert len(found["predictions"]) > EVENTS * 0.9
    return found


@pytest.fixture
def store(postgres_store: str) -> Iterator[Store]:
    """An empty store on PostgreSQL."""
    store = Store(postgres_store, prepare=False)
    yield store
    store.close()


def wait_for_all(url: str, topics: Topics) -> None:
    store = Store(url, prepare=False)
    try:
        wait_until(lambda: proof.committed(store) >= topics.records, _TIMEOUT_S, "every record is committed")
    finally:
        store.close()


def assert_same(url: str, clean: dict[str, Any]) -> None:
    proof.settle(url)
    found = proof.image(url)
    faults = {}
    for name, rows in found.items():
        mine, theirs = (
            set(map(repr, each.items() if isinstance(each, dict) else each)) for each in (rows, clean[name])
        )
        if rows != clean[name]:
            faults[name] = (sorted(mine - theirs)[:3], sorted(theirs - mine)[:3])
    assert faults == {}
    assert_each_label_counted_once(url)


def assert_each_label_counted_once(url: str) -> None:
    counted, told = proof.effects(url)
    assert counted == told
    assert told["joined"] > EVENTS * 0.2


def test_a_collector_that_is_killed_again_and_again_counts_nothing_twice(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str, tmp_path: Path
) -> None:
    pick = random.Random(9)
    for number in range(KILLS + 1):
        # A group of its own each time: a killed member would keep its partitions until its session ends.
        arguments = [
            topics.bootstrap,
            f"killed-{number}-{uuid.uuid4().hex[:8]}",
            topics.inference,
            topics.labels,
            postgres_store,
        ]
        before = proof.committed(store)
        with PartProcess([sys.executable, "-m", "tests.collector.proof", *arguments], tmp_path / "log") as process:
            goal = topics.records if number == KILLS else before + pick.randrange(topics.records // (KILLS + 2))

            def reached(goal: int = goal, process: PartProcess = process) -> bool:
                assert process.running(), process.output()
                return proof.committed(store) >= goal

            wait_until(reached, _TIMEOUT_S, f"{goal} records are committed", pause_s=0.01)
            time.sleep(pick.random() * 0.1)
            process.kill()
    assert_same(postgres_store, clean)


def test_two_collectors_that_read_the_same_partitions_count_nothing_twice(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str
) -> None:
    groups = [f"rival-{number}-{uuid.uuid4().hex[:8]}" for number in range(2)]
    with collecting(topics, postgres_store, groups[0]), collecting(topics, postgres_store, groups[1]):
        wait_for_all(postgres_store, topics)
    assert_same(postgres_store, clean)


def test_members_that_come_and_go_share_the_partitions_and_their_counts_add_up(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str
) -> None:
    group = f"shared-{uuid.uuid4().hex[:8]}"
    steps = 9
    running = []
    for number in range(8):
        context = collecting(topics, postgres_store, group)
        running.append((context, context.__enter__()))
        goal = topics.records * (number + 1) // steps
        wait_until(lambda goal=goal: proof.committed(store) >= goal, _TIMEOUT_S, "the next member is due")  # type: ignore[misc]
        if number in (2, 5):
            running[number - 1][1]()  # one leaves, while the others read
    wait_for_all(postgres_store, topics)
    for context, _ in running:
        context.__exit__(None, None, None)
    assert_same(postgres_store, clean)


def test_reading_everything_again_changes_nothing(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str
) -> None:
    with collecting(topics, postgres_store, f"first-{uuid.uuid4().hex[:8]}"):
        wait_for_all(postgres_store, topics)
    made, source, own = proof.collector(topics, f"again-{uuid.uuid4().hex[:8]}", postgres_store)
    source._consumer.poll(timeout_ms=5000)
    for partition in source._consumer.assignment():
        source._consumer.seek_to_beginning(partition)
    until = time.monotonic() + 20
    while time.monotonic() < until and made.run_once() == 0:
        pass
    handled = sum(made.run_once() for _ in range(20))
    source.close()
    own.close()
    assert handled > 0
    assert_same(postgres_store, clean)
