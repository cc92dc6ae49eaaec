"""Labels joined at once and label by label leave the same store."""

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from collector.labels.book import LabelBook
from collector.labels.effects import LabelEffects, save_effects
from collector.labels.first import delay_classes
from collector.store import schema
from collector.store.database import connect
from collector.store.ids import day_of, key_of, keys_of
from collector.store.migrate import migrate
from collector.store.states import StateBook, StateCache
from collector.store.store import Store
from collector.store.unlabelled import streams_by_number, unlabelled_rows
from driftline.events import InferenceEvent, Label, new_event_id
from driftline.maturity import class_of
from tests.collector.helpers import HOUR_S, REGRESSION, START_S, Parts, drain, event, records, tables
from tests.collector.test_label_machine import KEYED

DAY_S = 86_400.0
MONITORS = {monitor.name: monitor for monitor in (KEYED, REGRESSION)}
NOW_S = START_S + 200 * HOUR_S


def _own_id(number: int) -> str:
    """A request id that tells its day, which is not always the day of its event."""
    time_s = START_S + 60 * number + (DAY_S if number % 5 == 0 else 0)
    return new_event_id(round(time_s * 1e9), lambda bits: number % (1 << bits))


REQUESTS = [_own_id(number) if number % 2 else f"request-{number}" for number in range(12)]


def _predictions() -> list[InferenceEvent]:
    """Two models, two versions, several rows, windows, days and segments; some request ids are used twice."""
    made = []
    for number, request_id in enumerate(REQUESTS):
        for twin in range(1 + (number % 4 == 3)):
            at_s = START_S + 1500 * number + twin * (DAY_S if number % 3 else 60)
            common: dict[str, Any] = {
                "event_id": f"event-{number}-{twin}",
                "request_id": request_id,
                "at_s": at_s,
                "version": str(number % 2),
                "distance": [100.0, 200.0],
            }
            flights = {
                "late": ["0", None if number == 5 else "1"],
                "score": [0.25, None],
                "order": [f"o{number}", None],
            }
            made.append(event(number, carrier=["AA", ["UA", "DL"][number % 2]], **flights, **common))
            common["event_id"] += "-delay"
            made.append(event(number, model="delay", minutes=[5.0 * number, math.nan], **common))
    return made


PREDICTIONS = _predictions()

subjects = st.one_of(
    st.tuples(st.sampled_from([*REQUESTS, "request-99", _own_id(77)]), st.just("")),
    st.tuples(st.just(""), st.sampled_from(["o1", "o2", "o3", "o99"])),
)
values = st.sampled_from(["0", "1", "1.0", 1, 0, True, 1.0, None, "x" * 40, 2**63, math.inf, "nul\x00"])


@st.composite
def labels(draw: st.DrawFn) -> Label:
    request_id, key = draw(subjects)
    value = draw(values)
    model = "flights" if key else draw(st.sampled_from(["flights", "flights", "delay", "nobody"]))
    return Label(
        request_id=request_id,
        key=key,
        row=draw(st.integers(-1, 2)) if draw(st.booleans()) else 0,
        value=value,
        reward=draw(st.integers(0, 5)) == 0,
        observed_at_s=draw(st.one_of(st.none(), st.integers(0, 3).map(lambda hours: START_S + HOUR_S * hours))),
        model=model,
    )


@contextmanager
def _filled(url: str) -> Iterator[Parts]:
    store = Store(url, prepare=False)
    parts = Parts(store, monitors=MONITORS)
    drain(parts.collector(records(PREDICTIONS)))
    yield parts
    store.close()


def _take(parts: Parts, batches: Sequence[Sequence[Label]], *, at_once: bool) -> list[Any]:
    """What the batches are answered with."""
    book = LabelBook(parts.statistics, MONITORS, at_once=at_once)
    answers: list[Any] = []
    for number, batch in enumerate(batches):
        effects = LabelEffects()
        usable, faults = book.refuse(batch, NOW_S + number, effects)
        states = StateBook(StateCache(1))
        with parts.store.transaction() as transaction:
            refused = book.apply(transaction, states, "labels:test", usable, effects)
            save_effects(transaction, "labels:test", effects, states.changed())
        delays = sorted((*model, delay) for *model, delays in effects.delays_s for delay in delays)
        answers.append((faults, refused, +effects.outcomes, delays))
    return answers


def _left_by(url: str, batches: Sequence[Sequence[Label]], *, at_once: bool) -> tuple[list[Any], dict[str, Any]]:
    """Answers and tables, of a store that is empty before."""
    with _filled(url) as parts:
        answers = _take(parts, batches, at_once=at_once)
        return answers, tables(url)


def _require_same(quick: tuple[list[Any], dict[str, Any]], slow: tuple[list[Any], dict[str, Any]]) -> None:
    assert quick[0] == slow[0]
    for table in quick[1]:
        assert quick[1][table] == slow[1][table], table


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(labels(), max_size=25), min_size=1, max_size=3))
def test_mixed_batches_leave_the_same_store_both_ways(migrated: Path, batches: list[list[Label]]) -> None:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        urls = [f"sqlite:///{directory}/{name}.db" for name in ("quick", "slow")]
        for name in ("quick", "slow"):
            shutil.copy(migrated, f"{directory}/{name}.db")
        _require_same(_left_by(urls[0], batches, at_once=True), _left_by(urls[1], batches, at_once=False))


@pytest.mark.real
def test_mixed_batches_leave_the_same_store_both_ways_on_postgresql(postgres: str) -> None:
    migrate(postgres)

    # Not shrunk: every example takes seconds.
    @settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
    @given(batches=st.lists(st.lists(labels(), min_size=10, max_size=60), min_size=2, max_size=3))
    def check(batches: list[list[Label]]) -> None:
        found = []
        for at_once in (True, False):
            _empty(postgres)
            found.append(_left_by(postgres, batches, at_once=at_once))
        _require_same(*found)

    check()


def _empty(url: str) -> None:
    engine = connect(url)
    names = ", ".join(set(schema.metadata.tables) - {schema.audit.name})  # which only grows
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names}"))
    engine.dispose()


@pytest.mark.real
def test_rows_are_the_same_looked_up_one_by_one_and_read_as_a_stretch(postgres: str) -> None:
    migrate(postgres)
    ids = [*REQUESTS, "request-99", _own_id(77)]
    asked = [(request_id, row) for request_id in ids for row in range(3)]
    with _filled(postgres) as parts:
        _take(parts, [[Label(request_id=REQUESTS[1], value=1, observed_at_s=START_S, model="flights")]], at_once=True)
        one_by_one, unknown = _unlabelled(parts, asked)
        with parts.store.engine.begin() as connection:
            connection.execute(text("ANALYZE predictions"))
        stretches, known = _unlabelled(parts, asked)
        first_rows, _ = _unlabelled(parts, asked[::3])
        stream_id = one_by_one[0].stream_id
        one_stream, _ = _unlabelled(parts, asked, [int(stream_id)])
    assert max(unknown) < 0 < min(known)  # only days that were counted are read as stretches
    assert stretches == one_by_one
    assert len(one_by_one) > len(REQUESTS)
    assert first_rows == [found._replace(place=found.place // 3) for found in one_by_one if found.place % 3 == 0]
    assert one_stream == [found for found in one_by_one if found.stream_id == stream_id] != one_by_one


class _Found(NamedTuple):
    """A row that was found; ``place`` among those asked for."""

    look: bool
    few: bool
    place: int
    key: bytes
    stream_id: float
    time_s: float
    window_start_s: float
    window_end_s: float
    score: str
    segments: str
    prediction: str | None


def _unlabelled(
    parts: Parts, asked: Sequence[tuple[str, int]], stream_ids: Sequence[int] = ()
) -> tuple[list[_Found], list[float]]:
    """What is found, with a look for labels and without, with each prediction sent or each kind of them; and how many
    rows the days are thought to have.
    """
    keys, rows = keys_of([request_id for request_id, _ in asked]), np.array([row for _, row in asked])
    values = []
    with parts.store.transaction() as transaction:
        streams = list(stream_ids or streams_by_number(transaction, "default", "flights"))
        for look, few in ((True, False), (False, False), (True, True), (False, True)):
            found = unlabelled_rows(transaction, keys, rows, streams, NOW_S, look=look, few=few)
            names = ("stream_id", "time_s", "window_start_s", "window_end_s")
            numbers = [*(found.numbers[name].tolist() for name in names), map(repr, found.numbers["score"].tolist())]
            texts = (found.segments, found.predictions)
            each = zip(found.places.tolist(), map(bytes, found.event_keys), *numbers, *texts, strict=True)
            values += [_Found(look, few, *columns) for columns in each]
        days = [transaction.rows_about(day) for day in transaction.held_days()]
    return sorted(values, key=lambda value: value[:4]), days


@given(st.lists(st.floats(-10.0, 1e10), min_size=1))
def test_classes_of_many_delays_are_those_of_each(delays: list[float]) -> None:
    assert delay_classes(np.array(delays)).tolist() == [class_of(delay_s) for delay_s in delays]


_UUIDS = "01890a5d-ac96-774b-bcce-b302099a8057" + "01890a5d-ac96-774b-bcce-b302099a8058"


@given(st.lists(st.one_of(st.uuids().map(str), st.text(max_size=40), st.sampled_from(REQUESTS))))
@example([_UUIDS[:35], _UUIDS[35:]])  # which are UUIDs only one after the other
@example([_UUIDS[:36].upper(), _UUIDS[36:]])
@example([_UUIDS[:34] + "  ", _UUIDS[36:]])
def test_keys_of_many_ids_are_those_of_each(ids: list[str]) -> None:
    keys = keys_of(ids)
    assert list(keys.texts) == [key_of(each) for each in ids]
    assert [bytes(raw).hex() for raw in keys.raw] == [key_of(each).replace("-", "") for each in ids]
    assert keys.own.tolist() == [key_of(each) == each for each in ids]
    assert [None if day < 0 else day for day in keys.days.tolist()] == [day_of(key_of(each)) for each in ids]
