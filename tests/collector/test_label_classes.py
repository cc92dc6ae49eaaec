"""Labels of a class that there is not: refused where the classes are known, however they come."""

from typing import Any

import pytest

from collector.labels.book import LabelBook
from collector.labels.desk import LabelReceipt
from collector.labels.effects import LabelEffects, save_effects
from collector.labels.from_seldon import read_feedback
from collector.store.states import StateBook, StateCache
from driftline import names
from driftline.events import Label
from driftline.monitors import Monitor
from tests.collector.helpers import MONITOR, START_S, CountingStatistics, Parts, drain, event, label, records, tables

CLASSES = ("no", "yes")


class Seen(CountingStatistics):
    """Statistics whose reference knows these answers."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self._answers = answers

    def answers(self, monitor: Monitor) -> tuple[str, ...]:
        return self._answers


def of_task(task: str, classes: tuple[str, ...] = (), positive: str = "yes") -> Monitor:
    said = MONITOR.model_dump(by_alias=True, exclude_unset=True)
    prediction = {"column": "late", "positive": positive}
    return Monitor.model_validate({**said, "task": task, "prediction": prediction, "labels": {"classes": classes}})


def with_answers(parts: Parts, monitor: Monitor, *answers: str, seen: tuple[str, ...] = ()) -> Parts:
    """Predictions 0, 1, ... with these answers, stored."""
    found = Parts(parts.store, statistics=Seen(*seen), monitors={monitor.name: monitor}, directory=parts.directory)
    events = [event(n, distance=[1.0], carrier=["AA"], late=[answer]) for n, answer in enumerate(answers)]
    drain(found.collector(records(events)))
    return found


def submit(parts: Parts, *labels: Label) -> LabelReceipt:
    desk = parts.desk()
    return desk.submit(labels)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_label_of_no_named_class_is_refused_with_field_value_and_what_was_meant(parts: Parts, task: str) -> None:
    parts = with_answers(parts, of_task(task, CLASSES), "yes", "no", "yes")
    receipt = submit(parts, label(0, "yes"), label(1, "yess"), label(2, "YES"))
    assert receipt.outcomes == {"joined": 1, "invalid": 2}
    (told,), (other,) = (fault.faults for fault in receipt.faults)
    assert told == ("value 'yess' is none of labels.classes of 'default/flights' ('no', 'yes'); did you mean 'yes'?")
    assert "value 'YES'" in other
    assert parts.judged() == {"correct": 1}


def test_classes_of_numbers_are_compared_however_they_are_spelt(parts: Parts) -> None:
    parts = with_answers(parts, of_task("multiclass", ("0", "1.0", "2")), "0", "1", "2", "2")
    receipt = submit(parts, label(0, 0.0), label(1, True), label(2, "2.0"), label(3, 3))
    assert receipt.outcomes == {"joined": 3, "invalid": 1}


def test_classes_that_are_whole_numbers_keep_the_digits_that_a_float_has_not(parts: Parts) -> None:
    parts = with_answers(parts, of_task("multiclass"), str(2**53 + 1), str(2**53 + 2), "1e+16")
    submit(parts, label(0, 2**53 + 1), label(1, 2**53 + 1), label(2, 1e16))
    assert parts.judged() == {"correct": 2, "incorrect": 1}


def test_a_correction_to_no_class_changes_nothing_and_a_withdrawal_needs_none(parts: Parts, url: str) -> None:
    parts = with_answers(parts, of_task("binary", CLASSES), "yes", "no")
    submit(parts, label(0, "yes", after_s=10), label(1, "no", after_s=10))
    before = tables(url, "labels")
    assert submit(parts, label(0, "yess", after_s=20)).outcomes == {"invalid": 1}
    assert tables(url, "labels") == before
    assert submit(parts, label(1, None, after_s=30)).outcomes == {"withdrawn": 1}


def test_what_the_stream_brings_is_refused_alike(parts: Parts) -> None:
    parts = with_answers(parts, of_task("binary", CLASSES), "yes", "no")
    drain(parts.collector(records([label(0, "yess"), label(1, "no")], "kafka:driftline.labels:0")))
    totals = {key.labels[-1]: n for key, n in parts.store.totals().items() if key.metric == names.LABELS.name}
    assert totals == {"joined": 1, "invalid": 1}


def test_a_feedback_s_truth_is_held_to_the_classes_and_a_judgement_is_none(parts: Parts) -> None:
    parts = with_answers(parts, of_task("binary", CLASSES), "yes", "no")
    truth = b'{"truth": {"data": {"ndarray": ["yess"]}}, "reward": 1}'
    (refused,) = read_feedback(truth, "default", "flights", "request-0", START_S)
    (reward,) = read_feedback(b'{"reward": 0}', "default", "flights", "request-1", START_S)
    assert submit(parts, refused, reward).outcomes == {"invalid": 1, "joined": 1}
    assert parts.judged() == {"incorrect": 1}


def test_a_reward_that_is_a_label_is_held_to_them(parts: Parts) -> None:
    monitor = of_task("multiclass", ("0", "1"))
    monitor = monitor.model_copy(update={"labels": monitor.labels.model_copy(update={"reward": "label"})})
    parts = with_answers(parts, monitor, "0", "1")
    assert submit(parts, label(0, 0, reward=True), label(1, 7, reward=True)).outcomes == {"joined": 1, "invalid": 1}


def test_a_key_s_label_is_held_to_them(parts: Parts) -> None:
    monitor = of_task("binary", CLASSES)
    said = monitor.model_dump(by_alias=True, exclude_unset=True)
    said["labels"] = {**said["labels"], "key": {"header": "x-order"}}
    parts = with_answers(parts, Monitor.model_validate(said), "yes")
    keyed = [label(0, value, request_id="", key="o1") for value in ("yess", "yes")]
    assert submit(parts, *keyed).outcomes == {"invalid": 1, "pending": 1}


def test_of_a_binary_model_the_two_classes_of_its_reference_are_known(parts: Parts) -> None:
    parts = with_answers(parts, of_task("binary"), "yes", "no", "no", seen=CLASSES)
    receipt = submit(parts, label(0, "yess"), label(1, "no"), label(2, "yes"))
    assert receipt.outcomes == {"joined": 2, "invalid": 1}
    assert "none of the classes of the reference of" in receipt.faults[0].faults[0]


@pytest.mark.parametrize("seen", [(), ("yes",), ("maybe", "no", "yes"), ("a", "b")])
def test_of_a_reference_that_does_not_show_both_nothing_follows(parts: Parts, seen: tuple[str, ...]) -> None:
    parts = with_answers(parts, of_task("binary"), "yes", "no", seen=seen)
    assert submit(parts, label(0, "other"), label(1, "no")).outcomes == {"joined": 2}


def test_of_many_classes_one_that_the_reference_lacks_is_a_class_that_came_later(parts: Parts) -> None:
    parts = with_answers(parts, of_task("multiclass"), "yes", "no", seen=CLASSES)
    assert submit(parts, label(0, "later"), label(1, "no")).outcomes == {"joined": 2}
    assert parts.judged() == {"correct": 1, "incorrect": 1}


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_not_the_positive_class_is_the_negative_one_for_counters_as_for_statistics(
    parts: Parts, at_once: bool
) -> None:
    parts = with_answers(parts, of_task("binary"), "no", "yes", "no")
    labels = [label(0, "none"), label(1, "none"), label(2, "yes")]
    book, effects = LabelBook(parts.statistics, parts.monitors, at_once=at_once), LabelEffects()
    usable, faults = book.refuse(labels, parts.clock(), effects)
    states: Any = StateBook(StateCache(1))
    with parts.store.transaction() as transaction:
        book.apply(transaction, states, "labels:desk", usable, effects)
        save_effects(transaction, "labels:desk", effects, states.changed())
    assert not faults
    assert parts.judged() == {"correct": 1, "incorrect": 2}
