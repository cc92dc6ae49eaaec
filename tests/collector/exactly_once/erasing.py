"""Erasures while collectors write: some before anything came, most in between, some after all of it."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.store.store import Store
from driftline.errors import TransientError
from tests.collector.exactly_once.collecting import NOW_S, committed
from tests.collector.exactly_once.traffic import Topics


@contextmanager
def erasing(topics: Topics, url: str) -> Iterator[None]:
    """Erase everything that is to be erased while the block runs, and what is left at its end."""
    plan = _plan(topics)
    store = Store(url, prepare=False)
    over = threading.Event()
    try:
        first = [selector for at, selector in plan if at == 0]
        _erase(store, first)
        with ThreadPoolExecutor(1) as threads:
            rest = threads.submit(_erase_meanwhile, store, plan[len(first) :], over)
            try:
                yield
            finally:
                over.set()
            rest.result()
    finally:
        store.close()


def erase_all(topics: Topics, url: str) -> None:
    """The same erasures, at once."""
    store = Store(url, prepare=False)
    try:
        _erase(store, [selector for _, selector in _plan(topics)])
    finally:
        store.close()


def _plan(topics: Topics) -> list[tuple[int, Selector]]:
    """How many records are committed before each erasure, in this order; one in five is asked for twice."""
    pick = random.Random(topics.records)
    found = []
    for number, group in enumerate(topics.groups):
        at = pick.choice([0, topics.records, *(pick.randrange(topics.records) for _ in range(6))])
        found.append((at, group.selector))
        if number % 5 == 0:
            found.append((pick.randrange(at, topics.records + 1), group.selector))
    return sorted(found, key=lambda planned: planned[0])


def _erase_meanwhile(store: Store, plan: list[tuple[int, Selector]], over: threading.Event) -> None:
    for at, selector in plan:
        while not over.is_set() and committed(store) < at:
            over.wait(0.1)
        _erase(store, [selector])


def _erase(store: Store, selectors: list[Selector]) -> None:
    eraser = Eraser(store, SubjectHasher(), lambda: NOW_S, None)
    for selector in selectors:
        while True:
            try:
                eraser.erase(selector, "the proof")
                break
            except TransientError:  # a collector was first; nothing was erased
                continue
