"""Exactly once in effect, against real Kafka and PostgreSQL: whatever happens, the store is that of one clean pass.

Labels come by request id and by business key, early, late, repeated, corrected and withdrawn; requests and people are
erased meanwhile. ``exactly_once.image`` says what must be equal, ``exactly_once.balance`` what follows from the rest.

``DRIFTLINE_PROOF_EVENTS``, ``_KILLS`` and ``_SEED`` make the proofs longer, and other ones (``make proofs``).
"""

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from collector.store.migrate import migrate
from collector.store.store import Store
from tests.collector.exactly_once.balance import effects, erased_when, erased_windows
from tests.collector.exactly_once.collecting import collecting, collector, committed, killed, settle
from tests.collector.exactly_once.erasing import erase_all, erasing
from tests.collector.exactly_once.image import image
from tests.collector.exactly_once.traffic import Topics, fill
from tests.parts.processes import wait_until

EVENTS = int(os.environ.get("DRIFTLINE_PROOF_EVENTS", "1500"))
KILLS = int(os.environ.get("DRIFTLINE_PROOF_KILLS", "4"))
SEED = int(os.environ.get("DRIFTLINE_PROOF_SEED", "20"))
_TIMEOUT_S = 120.0 + EVENTS / 20

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(4 * _TIMEOUT_S)]


@pytest.fixture(scope="module")
def topics(kafka: str) -> Topics:
    """Traffic that all proofs read, each into a store of its own."""
    return fill(kafka, uuid.uuid4().hex[:8], EVENTS, SEED)


@pytest.fixture(scope="module")
def clean(topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One collector, one pass, nothing else; on SQLite, which must say the same."""
    url = f"sqlite:///{tmp_path_factory.mktemp('clean') / 'store.db'}"
    migrate(url)
    with collecting(topics, url, f"clean-{uuid.uuid4().hex[:8]}"):
        wait_for_all(url, topics)
    erase_all(topics, url)
    settle(url)
    assert_each_counted_once(url, topics)
    found = image(url, topics)
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
        wait_until(lambda: committed(store) >= topics.records, _TIMEOUT_S, "every record is committed")
    finally:
        store.close()


def assert_same(url: str, topics: Topics, clean: dict[str, Any]) -> None:
    settle(url)
    found = image(url, topics)
    faults = {}
    for name, rows in found.items():
        mine, theirs = (
            set(map(repr, each.items() if isinstance(each, dict) else each)) for each in (rows, clean[name])
        )
        if rows != clean[name]:
            faults[name] = (sorted(mine - theirs)[:3], sorted(theirs - mine)[:3])
    assert faults == {}
    assert_each_counted_once(url, topics)
    before, after = erased_when(url, topics)
    assert min(before, after) > 0
    print(f"{EVENTS} events in {topics.records} records; erased: {before} after they came, {after} before")


def assert_each_counted_once(url: str, topics: Topics) -> None:
    counted, told = effects(url, topics)
    assert counted == told
    assert told["joined"] > EVENTS * 0.2
    windows, expected = erased_windows(url, topics)
    assert windows == expected


def test_a_collector_that_is_killed_again_and_again_counts_nothing_twice(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str
) -> None:
    pick = random.Random(SEED)
    with erasing(topics, postgres_store):
        for number in range(KILLS + 1):
            # A group of its own each time: a killed member would keep its partitions until its session ends.
            before = committed(store)
            with killed(topics, postgres_store, f"killed-{number}-{uuid.uuid4().hex[:8]}") as process:
                goal = topics.records if number == KILLS else before + pick.randrange(topics.records // (KILLS + 2))

                def reached(goal: int = goal) -> bool:
                    assert process.is_alive()
                    return committed(store) >= goal

                wait_until(reached, _TIMEOUT_S, f"{goal} records are committed")
                time.sleep(pick.random() * 0.1)
    assert_same(postgres_store, topics, clean)


def test_two_collectors_that_read_the_same_partitions_count_nothing_twice(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str
) -> None:
    groups = [f"rival-{number}-{uuid.uuid4().hex[:8]}" for number in range(2)]
    with (
        erasing(topics, postgres_store),
        collecting(topics, postgres_store, groups[0]),
        collecting(topics, postgres_store, groups[1]),
    ):
        wait_for_all(postgres_store, topics)
    assert_same(postgres_store, topics, clean)


def test_members_that_come_and_go_share_the_partitions_and_their_counts_add_up(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str
) -> None:
    group = f"shared-{uuid.uuid4().hex[:8]}"
    steps = 9
    with erasing(topics, postgres_store), ExitStack() as running:
        members = []
        for number in range(8):
            members.append(running.enter_context(collecting(topics, postgres_store, group)))
            goal = topics.records * (number + 1) // steps
            wait_until(lambda goal=goal: committed(store) >= goal, _TIMEOUT_S, "the next member is due")  # type: ignore[misc]
            if number in (2, 5):
                members[number - 1]()  # one leaves, while the others read
        wait_for_all(postgres_store, topics)
    assert_same(postgres_store, topics, clean)


def test_reading_everything_again_changes_nothing(
    topics: Topics, clean: dict[str, Any], store: Store, postgres_store: str
) -> None:
    with erasing(topics, postgres_store), collecting(topics, postgres_store, f"first-{uuid.uuid4().hex[:8]}"):
        wait_for_all(postgres_store, topics)
    made, source, own = collector(topics, f"again-{uuid.uuid4().hex[:8]}", postgres_store)
    joined = lambda: bool(source._consumer.poll(timeout_ms=500) or source._consumer.assignment())  # noqa: E731
    wait_until(joined, _TIMEOUT_S, "partitions to read again")
    for partition in source._consumer.assignment():
        source._consumer.seek_to_beginning(partition)
    wait_until(lambda: made.run_once() > 0, _TIMEOUT_S, "records that are read again", pause_s=0.0)
    for _ in range(20):
        made.run_once()
    source.close()
    own.close()
    assert_same(postgres_store, topics, clean)
