"""Traffic for the proofs that everything is counted once: events, labels of every kind, and what is to be erased.

Version 3 is never erased: of it every number must be that of a clean pass. Version 4 holds the requests and the people
that are erased while it arrives, beside people who stay. Its rows look alike within a group, so that what windows must
say follows from how many of them an erasure found (``balance``).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
from confluent_kafka import Producer

from collector.keeping.erasure import Selector
from collector.settings import KafkaSettings
from driftline.events import InferenceEvent, KafkaMessage, Label, encode_inference, encode_label
from driftline.monitors import Monitor
from tests.collector.helpers import HOUR_S, MONITOR, START_S, event
from tests.parts.kafka import make_topics

PARTITIONS = 8
#: Of this model version requests and people are erased.
ERASED_VERSION = "4"
#: All three carriers are watched, so that it does not matter whose rows come first.
WATCHED = Monitor.model_validate(
    {
        **MONITOR.model_dump(mode="json", exclude_defaults=True),
        "columns": [
            *MONITOR.model_dump(mode="json", exclude_defaults=True)["columns"],
            {"name": "order", "type": "categorical", "drift": False},
            {"name": "customer", "type": "categorical", "drift": False},
        ],
        "maximum_segments": 3,
        "labels": {"timeout": "2h", "key": "order"},
        "subject": {"column": "customer"},
    }
)
#: Events of one person who is erased: two alone, two together with somebody who stays.
_EVENTS_OF_A_PERSON = 4


@dataclass(frozen=True)
class Group:
    """What one erasure is to find: ``numbers``, events that look alike, and a label of each row, or none."""

    selector: Selector
    numbers: range
    label: int | None

    @property
    def may_wait(self) -> set[str]:
        """Request ids and keys of what goes, whose labels wait for ever if they come later and do not name it."""
        keys = {f"order-{number}-0" for number in self.numbers}
        if self.selector.kind == "request_id":
            return keys
        return keys | {f"request-{number}" for number in self.numbers}

    @property
    def start_s(self) -> float:
        """The beginning of the window of all its events."""
        return START_S + HOUR_S * (self.numbers.start % 5)


@dataclass(frozen=True)
class Topics:
    """Where one proof's traffic is, how much of it, and what is to be erased."""

    bootstrap: str
    inference: str
    labels: str
    records: int = 0
    labels_sent: int = 0
    groups: tuple[Group, ...] = ()

    def settings(self, group: str) -> KafkaSettings:
        """What a collector of that group reads."""
        return KafkaSettings((self.bootstrap,), group, self.inference, self.labels)


def fill(bootstrap: str, name: str, events: int, seed: int) -> Topics:
    """Topics with events, many of them twice, errors, broken messages, and labels before and after their events."""
    topics = Topics(bootstrap, f"inference-{name}", f"labels-{name}", groups=_groups(events))
    make_topics(bootstrap, {topics.inference: PARTITIONS, topics.labels: 2})
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    sent = {topics.inference: 0, topics.labels: 0}
    for topic, message in _traffic(topics, events, random.Random(seed)):
        producer.produce(topic, value=message.value, key=message.key, headers=message.headers)
        sent[topic] += 1
    assert producer.flush(240) == 0  # messages that nobody took
    return replace(topics, records=sum(sent.values()), labels_sent=sent[topics.labels])


def _groups(events: int) -> tuple[Group, ...]:
    """One event in eight is erased, or stands beside a row that is: by its request, or by its person."""
    found = []
    for number, first in enumerate(range(0, events - 40, 40)):
        label = (None, 1, 0)[number % 3]
        erased = Selector("default", "flights", "request_id", f"request-{first}")
        found.append(Group(erased, range(first, first + 1), label))
        person = Selector("default", "flights", "subject", f"person-{number}")
        found.append(Group(person, range(first + 1, first + 1 + _EVENTS_OF_A_PERSON), label))
    return tuple(found)


def _traffic(topics: Topics, events: int, pick: random.Random) -> Iterator[tuple[str, KafkaMessage]]:
    groups = {number: group for group in topics.groups for number in group.numbers}
    for number in range(events):
        dice = pick.random()
        group = groups.get(number)
        made = _ordinary(number, dice) if group is None else _to_be_erased(number, group)
        message = encode_inference(made)
        labels = [(topics.labels, each) for each in _labels(number, made, group, pick)]
        if dice > 0.6:
            yield from labels
        yield topics.inference, message
        if 0.3 < dice < 0.4:
            yield topics.inference, message  # the shipper was not sure and sent it again
        if dice > 0.98:
            yield topics.inference, KafkaMessage([("ce_type", b"x")], b"k%d" % number, b"broken")
        if dice < 0.2:
            yield from labels


def _ordinary(number: int, dice: float) -> InferenceEvent:
    """One row, or two of one request, each with a key of its own."""
    rows = 2 if number % 7 == 0 else 1
    return event(
        number % 600,
        event_id=f"event-{number}",
        request_id=f"request-{number}",
        status=503 if dice < 0.03 else 200,
        distance=[100.0 * ((number + row) % 20) for row in range(rows)],
        carrier=[["AA", "UA", "DL"][(number + row) % 3] for row in range(rows)],
        late=[str((number + row) % 2) for row in range(rows)],
        score=[0.25 + 0.5 * (number % 2)] * rows,
        order=[f"order-{number}-{row}" for row in range(rows)],
        customer=[f"customer-{number % 97}"] * rows,
    )


def _to_be_erased(number: int, group: Group) -> InferenceEvent:
    """All rows of version 4 are alike, but for their keys and whom they are about."""
    rows = 2 if len(group.numbers) > 1 and number % 2 else 1
    return event(
        number,
        event_id=f"event-{number}",
        request_id=f"request-{number}",
        version=ERASED_VERSION,
        at_s=group.start_s + 60.0 * (number % 50),
        distance=[100.0] * rows,
        carrier=["AA"] * rows,
        late=["1"] * rows,
        score=[0.5] * rows,
        order=[f"order-{number}-{row}" for row in range(rows)],
        customer=[group.selector.value, f"customer-{number % 97}"][:rows],
    )


#: Values of one row's labels with their ages, in the order in which they come: one, a repeated one, an older one that
#: comes later, a withdrawal alone; a correction, one of a correction, a withdrawal, a label after it.
_LABELS: Sequence[Sequence[tuple[int | None, float]]] = (
    ((1, 0.0),),
    ((0, 0.0),),
    ((1, 0.0), (1, 5.0)),
    ((1, 0.0), (0, -5.0)),
    ((None, 0.0),),
    ((1, 0.0), (0, 5.0)),
    ((0, 0.0), (1, 5.0), (0, 9.0)),
    ((1, 0.0), (None, 5.0)),
    ((0, 0.0), (None, 5.0), (1, 9.0)),
)


def _labels(number: int, made: InferenceEvent, group: Group | None, pick: random.Random) -> Iterator[KafkaMessage]:
    """Of each row: by request id, by business key, or by both in turns. What is erased has one label, or it twice."""
    for row in range(len(msgspec.json.decode(made.request.body)["order"])):
        chosen = pick.choice(_LABELS)
        if group is not None:
            chosen = () if group.label is None else [(group.label, 0.0)] * (1 + number % 2)
        by_key = pick.choice((0.0, 1.0, 0.5))
        for place, (value, later_s) in enumerate(chosen):
            found = Label(value=value, observed_at_s=made.time_s + 3600.0 + later_s, model="flights")
            if pick.random() < by_key:
                found = msgspec.structs.replace(found, key=f"order-{number}-{row}")
            else:
                found = msgspec.structs.replace(found, request_id=made.request_id, row=row)
            yield encode_label(found, f"label-{number}-{row}-{place}")
