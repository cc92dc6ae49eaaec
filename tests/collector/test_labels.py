"""Labels: joined whenever they come, each in exactly one outcome."""

import itertools
import random

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import event as sqlalchemy_event

from collector.labels.desk import LabelDesk
from collector.store.store import Store
from collector.store.waiting import LabelKey, PendingLabel, let_wait
from driftline import names
from driftline.events import new_event_id
from driftline.records import Record
from driftline.results import StreamKey, WindowKey
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, label, merged, records, tables

STREAM = StreamKey("default", "flights", "3", "stable")
WINDOW = WindowKey(STREAM, "", START_S, START_S + HOUR_S)


@pytest.fixture
def desk(parts: Parts) -> LabelDesk:
    return parts.desk()


def confusion(parts: Parts, window: WindowKey = WINDOW) -> dict[str, float]:
    counts = merged(parts.store.window_states(window))
    return {name.removeprefix("judged "): count for name, count in counts.items() if name.startswith("judged")}


def stored(parts: Parts, *numbers: int) -> None:
    drain(parts.collector(records([event(number) for number in numbers])))


@pytest.mark.parametrize("spelling", [1, 1.0, "1", "1.0", True])
def test_labels_are_compared_as_class_names_however_they_are_spelt(
    parts: Parts, desk: LabelDesk, spelling: str | float | bool
) -> None:
    stored(parts, 1)  # predicts "1"
    assert desk.submit([label(1, spelling)]).outcomes == {"joined": 1}
    assert parts.judged() == {"correct": 1}
    assert confusion(parts) == {"1/1": 1}


def test_a_label_reaches_every_segment_of_its_row(parts: Parts, desk: LabelDesk) -> None:
    stored(parts, 0, 1, 3)  # carriers AA, UA, AA
    desk.submit([label(0, 1), label(3, 1)])
    assert confusion(parts, WindowKey(STREAM, "carrier=AA", *WINDOW_ENDS)) == {"0/1": 1, "1/1": 1}
    assert confusion(parts, WindowKey(STREAM, "carrier=UA", *WINDOW_ENDS)) == {}


WINDOW_ENDS = (START_S, START_S + HOUR_S)


def test_an_early_label_waits_for_its_prediction(parts: Parts, desk: LabelDesk) -> None:
    assert desk.submit([label(1, 0)]).outcomes == {"pending": 1}
    stored(parts, 1)
    assert parts.judged() == {"incorrect": 1}
    assert confusion(parts) == {"1/0": 1}
    assert desk.submit([label(1, 0)]).outcomes == {"duplicate": 1}


def test_a_correction_and_a_withdrawal_take_back_what_was_counted(parts: Parts, desk: LabelDesk) -> None:
    stored(parts, 1)
    desk.submit([label(1, 0, after_s=10)])
    assert desk.submit([label(1, 1, after_s=20)]).outcomes == {"corrected": 1}
    assert confusion(parts) == {"1/1": 1}
    assert desk.submit([label(1, None, after_s=30)]).outcomes == {"withdrawn": 1}
    assert confusion(parts) == {}
    assert parts.judged() == {"incorrect": 1}  # by the first label, never revised
    assert parts.store.streams()[0].labelled_rows == 0


def test_an_older_observation_does_not_replace_a_newer_one(parts: Parts, desk: LabelDesk) -> None:
    stored(parts, 1)
    desk.submit([label(1, 1, after_s=20)])
    assert desk.submit([label(1, 0, after_s=10)]).outcomes == {"duplicate": 1}
    assert confusion(parts) == {"1/1": 1}


def test_the_order_of_arrival_does_not_change_what_is_counted(parts: Parts, desk: LabelDesk) -> None:
    orders = list(itertools.permutations([(0, 10), (1, 20), (None, 30), (0, 40)]))
    numbers = range(1, 2 * len(orders), 2)  # every odd one is predicted "1"
    stored(parts, *numbers)
    for turn in range(4):
        desk.submit(
            [
                label(number, order[turn][0], after_s=order[turn][1])
                for number, order in zip(numbers, orders, strict=True)
            ]
        )
    assert confusion(parts) == {"1/0": 24}


def test_a_label_changes_its_window_so_that_it_is_due_again(parts: Parts, desk: LabelDesk) -> None:
    stored(parts, 1)
    now_s = START_S + 100 * HOUR_S
    for due in parts.store.due_windows(MONITOR, now_s):
        parts.store.save_results(due, [], [], now_s)
    desk.submit([label(1, 1)])
    assert {due.key.segment for due in parts.store.due_windows(MONITOR, now_s)} == {"", "carrier=UA"}


def test_refused_labels_say_field_and_value_and_stop_no_other(parts: Parts, desk: LabelDesk) -> None:
    stored(parts, 1)
    receipt = desk.submit(
        [
            label(1, 1),
            label(2, float("inf")),
            label(3, 1, model="nobody"),
            label(4, 1, row=2**40),
            label(5, "x", model="delay"),
            label(6, 2**63),
        ]
    )
    assert receipt.outcomes == {"joined": 1, "invalid": 4, "unknown_model": 1}
    faults = {fault.index: fault.faults[0] for fault in receipt.faults}
    assert "value inf" in faults[1]
    assert "default/nobody" in faults[2]
    assert f"row {2**40}" in faults[3]
    assert "value 'x' is not a number" in faults[4]
    assert f"value {2**63} does not fit" in faults[5]


@pytest.mark.parametrize("many", [1, 50])
def test_a_label_of_a_time_to_come_is_refused_and_takes_nothing_from_a_later_one(
    parts: Parts, desk: LabelDesk, many: int
) -> None:
    drain(parts.collector(records([event(number) for number in range(many)])))
    today_s = parts.clock()
    ahead = [label(number, 0, observed_at_s=today_s + 30 * 24 * HOUR_S) for number in range(many)]
    receipt = desk.submit(ahead)
    assert receipt.outcomes == {"invalid": many}
    assert "more than a day ahead of the collector's clock" in receipt.faults[0].faults[0]
    tomorrow = [label(number, 1, observed_at_s=today_s + 14 * HOUR_S) for number in range(many)]
    assert desk.submit(tomorrow).outcomes == {"joined": many}  # its day began in another zone


def test_regression_is_right_within_its_tolerance(parts: Parts, desk: LabelDesk) -> None:
    events = [event(number, model="delay", distance=[1.0], minutes=[30.0]) for number in range(3)]
    drain(parts.collector(records(events)))
    desk.submit([label(0, 40, model="delay"), label(1, 41, model="delay"), label(2, "20.5", model="delay")])
    assert parts.judged() == {"correct": 2, "incorrect": 1}


def test_of_two_events_with_one_request_id_the_newest_gets_the_label(parts: Parts, desk: LabelDesk) -> None:
    twins = [event(1, event_id="b", request_id="twin"), event(2, event_id="a", request_id="twin")]
    drain(parts.collector(records(twins)))
    desk.submit([label(0, 1, request_id="twin")])
    found = {sample.time_s: sample.label for sample in parts.store.samples(STREAM, 0, 1e12, 10)}
    assert found == {START_S + 60: None, START_S + 120: "1"}


@pytest.mark.parametrize(("told", "labelled"), [(0, 0), (1, 1), (2, 1), (None, 1)], ids=str)
def test_of_events_of_several_days_that_of_the_day_which_the_id_tells_gets_the_label(
    parts: Parts, desk: LabelDesk, told: int | None, labelled: int
) -> None:
    """``told``: the day in an id of version 7, None for any other id. The same on every database."""
    days_s = [START_S + 24 * HOUR_S * day for day in range(3)]
    request_id = "twin" if told is None else new_event_id(round(days_s[told] * 1e9))
    twins = [event(1, event_id=f"e{day}", request_id=request_id, at_s=days_s[day]) for day in range(2)]
    other = event(1, event_id="another", request_id=request_id, at_s=days_s[2], model="delay", minutes=[1.0])
    drain(parts.collector(records([*twins, other])))
    for value in (0, 1):
        desk.submit([label(0, value, request_id=request_id, after_s=7200.0 + value)])
        found = {sample.time_s: sample.label for sample in parts.store.samples(STREAM, 0, 1e12, 10)}
        assert found == {days_s[labelled]: str(value), days_s[1 - labelled]: None}


def test_labels_that_wait_too_long_expire_and_are_counted(parts: Parts, desk: LabelDesk) -> None:
    desk.submit([label(1, 1)])
    parts.clock.advance(2 * HOUR_S + 1)
    parts.collector([]).sweep()
    stored(parts, 1)
    outcomes = {key.labels[2]: value for key, value in parts.store.totals().items() if key.metric == names.LABELS.name}
    assert outcomes == {"pending": 1, "expired": 1}
    assert parts.judged() == {}


def test_a_label_and_its_prediction_that_passed_each_other_are_joined_by_the_sweep(
    parts: Parts, desk: LabelDesk
) -> None:

    stored(parts, 1)
    with parts.store.transaction() as transaction:  # as a rival would have left it
        key = LabelKey("default", "flights", "request-1", 0)
        let_wait(transaction, [PendingLabel(key, "1", START_S + 100, START_S + 100)])
    parts.collector([]).sweep()
    assert parts.judged() == {"correct": 1}


@pytest.mark.slow
def test_ten_thousand_labels_take_a_handful_of_statements(parts: Parts, desk: LabelDesk) -> None:
    rows = 100
    batch = [
        event(n, at_s=START_S + n, distance=[1.0] * rows, carrier=["AA"] * rows, late=["1"] * rows, score=[0.5] * rows)
        for n in range(100)
    ]
    drain(parts.collector(records(batch)))
    statements: list[str] = []
    sqlalchemy_event.listen(
        parts.store._engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    labels = [label(n, n % 2, row=row) for n in range(100) for row in range(rows)]
    assert desk.submit(labels).outcomes == {"joined": 10_000}
    assert len(statements) < 20


def test_the_confusion_of_a_random_story_is_what_pandas_makes_of_it(parts: Parts, desk: LabelDesk) -> None:
    pick = random.Random(4)
    items: list[Record] = records([event(number, at_s=START_S + number) for number in range(200)])
    submissions = [label(pick.randrange(220), pick.choice([0, 1, None]), after_s=pick.random()) for _ in range(600)]
    collector = parts.collector(items)
    for start in range(0, 600, 60):
        collector.run_once()
        desk.submit(submissions[start : start + 60])
    drain(collector)
    frame = pd.DataFrame(
        [(one.request_id, one.observed_at_s, one.value) for one in submissions], columns=["id", "at", "value"]
    )
    newest = frame.sort_values("at").groupby("id").tail(1).dropna(subset="value").set_index("id")["value"]
    predicted = pd.Series({f"request-{number}": str(number % 2) for number in range(200)})
    known = newest[newest.index.isin(predicted.index)]
    expected = pd.crosstab(predicted[known.index].to_numpy(), known.astype(int).astype(str).to_numpy())
    counts = confusion(parts)
    assert counts == {
        f"{p}/{t}": int(expected.loc[p, t]) for p in expected.index for t in expected.columns if expected.loc[p, t]
    }
    assert parts.store.streams()[0].labelled_rows == int(np.sum(list(counts.values())))
    waiting = tables(parts.store._engine.url.render_as_string(hide_password=False))["labels_pending"]
    assert len(waiting) == frame["id"].nunique() - frame["id"].isin(predicted.index).groupby(frame["id"]).any().sum()


def test_the_desk_stores_nothing_when_it_fails(store: Store, parts: Parts, desk: LabelDesk) -> None:
    stored(parts, 1)

    class Broken(type(parts.statistics)):  # type: ignore[misc]
        def judge(self, *_: object) -> bytes:
            raise ZeroDivisionError

    broken = LabelDesk(store, Broken(), parts.monitors, parts.clock, parts.metrics)
    with pytest.raises(ZeroDivisionError):
        broken.submit([label(1, 1), label(9, 1)])
    assert parts.judged() == {}
    assert desk.submit([label(1, 1), label(9, 1)]).outcomes == {"joined": 1, "pending": 1}
