"""What counts must be, told from what a store keeps and from what its audit says was erased: each once, none lost.

An erased row stays counted where it came before its erasure, and is counted nowhere where it came later. Which of both
it was, the audit says of each request and each person; all rows of one of them look alike, so that every window of
version 4 can be told from it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from collector.batches.subjects import SubjectHasher
from collector.store import schema
from collector.store.database import connect
from driftline import names
from tests.collector.exactly_once.image import History, counts_of, histories, spans_of, states_of, streams_of
from tests.collector.exactly_once.traffic import ERASED_VERSION, Group, Topics

#: What every row of version 4 adds to its window.
_ROW = {"rows": 1, "sum distance": 100.0, "carrier=AA": 1, "late=1": 1, "sum score": 0.5}


@dataclass(frozen=True)
class Erased:
    """What all erasures of one group found."""

    group: Group
    removed: Mapping[str, int]


def effects(url: str, topics: Topics) -> tuple[dict[str, Any], dict[str, Any]]:
    """What labels were counted as, and what follows from histories and erasures: must be equal in every store.

    Outcomes of labels that waited are in no history: of corrections and withdrawals it tells the fewest.
    """
    engine = connect(url)
    with engine.connect() as connection:
        found = list(histories(connection).values())
        outcomes, judged = _label_totals(connection)
        counts = counts_of(connection, streams_of(connection))
        states, rows = schema.window_states.c, schema.predictions
        change = connection.execute(select(func.sum(states.change)).where(states.segment == "")).scalar_one()
        stored = connection.execute(select(func.count()).select_from(rows)).scalar_one()
        waiting = sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (schema.labels_pending, schema.labels_pending_keys)
        )
        erased = _erased(connection, topics)
    engine.dispose()
    gone: Counter[str] = Counter()
    for each in erased:
        gone.update(each.removed)
    said = Counter({0: 0, 1: 0})
    said.update(wrong for history in found if (wrong := _first_judged(history)) is not None)
    for each in erased:
        said[int(each.group.label == 0)] += each.removed.get("labels", 0)
    changes = Counter(outcome for history in found for outcome in _outcomes(history))
    of_all = {
        kind: sum(count for place, count in counts.items() if (place[1], place[-1]) == ("", kind))
        for kind in ("delays", "labelled")
    }
    counted = {
        "changes": int(change),
        "joined": outcomes["joined"],
        "judged": judged,
        **of_all,
        "fewer than in the histories": [name for name in changes if outcomes[name] < changes[name]],
        "labels": sum(outcomes.values()) - outcomes["pending"] + waiting + gone["pending"],
    }
    told = {
        "changes": stored + gone["predictions"] + sum(map(_changes, found)) + gone["labels"],
        "joined": changes["joined"] + gone["labels"],
        "judged": Counter({"correct": said[0], "incorrect": said[1]}),
        "delays": changes["joined"] + gone["labels"],
        "labelled": sum(history[-1][0] is not None for history in found) + gone["labels"],
        "fewer than in the histories": [],
        "labels": topics.labels_sent,
    }
    return counted, told


def erased_when(url: str, topics: Topics) -> tuple[int, int]:
    """How many requests and people were stored before their erasure, and how many came after it."""
    engine = connect(url)
    with engine.connect() as connection:
        found: Counter[str] = Counter()
        for each in _erased(connection, topics):
            found[each.group.selector.value] += each.removed.get("predictions", 0)
    engine.dispose()
    before = sum(count > 0 for count in found.values())
    return before, len(found) - before


def erased_windows(url: str, topics: Topics) -> tuple[dict[str, Any], dict[str, Any]]:
    """Windows, spans and counters of version 4, and what they must be: must be equal in every store."""
    engine = connect(url)
    with engine.connect() as connection:
        of_version = {
            number: stream for number, stream in streams_of(connection).items() if stream[2] == ERASED_VERSION
        }
        counts, spans = counts_of(connection, of_version), spans_of(connection, of_version)
        found = {
            "states": {place[1:3]: state for place, state in states_of(connection, of_version).items()},
            "rows": {place[1:3]: count for place, count in counts.items() if place[-1] == "rows"},
            "labelled": {place[1:3]: count for place, count in counts.items() if place[-1] == "labelled"},
            "span": [span[:2] for span in spans.values()],
            **_counters(connection),
        }
        erased = _erased(connection, topics)
        kept = _kept(connection, of_version)
    engine.dispose()
    rows: Counter[float] = Counter(start_s for start_s, _ in kept)
    labels: Counter[tuple[float, str]] = Counter((start_s, label) for start_s, label in kept if label is not None)
    removed: Counter[str] = Counter()
    for each in erased:
        removed.update(each.removed)
        rows[each.group.start_s] += each.removed.get("predictions", 0)
        labels[each.group.start_s, str(each.group.label)] += each.removed.get("labels", 0)
    labelled: Counter[float] = Counter()
    for (start_s, _), count in labels.items():
        labelled[start_s] += count
    segments = ("", "carrier=AA")
    told = {
        "states": {(segment, start_s): _state(start_s, rows, labels) for segment in segments for start_s in +rows},
        "rows": {(segment, start_s): count for segment in segments for start_s, count in (+rows).items()},
        "labelled": {(segment, start_s): count for segment in segments for start_s, count in (+labelled).items()},
        "span": [(rows.total(), labelled.total())],
        "rows that passed": rows.total(),
        "removed": dict(+removed),
    }
    return found, told


def _state(start_s: float, rows: Counter[float], labels: Counter[tuple[float, str]]) -> dict[str, float]:
    state = {name: value * rows[start_s] for name, value in _ROW.items()}
    judged = {f"judged 1/{label}": count for (at_s, label), count in labels.items() if at_s == start_s and count}
    return {**state, **judged}


def _counters(connection: Connection) -> dict[str, Any]:
    passed, removed = 0, Counter[str]()
    for row in connection.execute(select(schema.totals)).mappings():
        labels = msgspec.json.decode(row["labels"])
        if row["metric"] == names.COLLECTOR_ROWS.name and labels[2] == ERASED_VERSION:
            passed += row["value"]
        elif row["metric"] == names.COLLECTOR_REMOVED.name and labels[2] != "late_rows":
            removed[labels[2]] += row["value"]
    return {"rows that passed": passed, "removed": dict(+removed)}


def _kept(connection: Connection, streams: Mapping[int, Any]) -> list[tuple[float, str | None]]:
    """The window and the label of each row of these streams."""
    table = schema.predictions.c
    labels = {row: history[-1][0] for row, history in histories(connection).items()}
    statement = select(table.event_key, table.row, table.window_start_s).where(table.stream_id.in_(list(streams)))
    return [(start_s, labels.get((str(key), row))) for key, row, start_s in connection.execute(statement)]


def _erased(connection: Connection, topics: Topics) -> list[Erased]:
    hasher = SubjectHasher()
    groups = {_digest(group, hasher): group for group in topics.groups}
    audit = schema.audit.c
    return [
        Erased(groups[digest], msgspec.json.decode(removed))
        for digest, removed in connection.execute(select(audit.digest, audit.removed))
    ]


def _digest(group: Group, hasher: SubjectHasher) -> str:
    selector = group.selector
    if selector.kind == "subject":
        return hasher.hash(selector.namespace, selector.model, selector.value)
    return hashlib.sha256(selector.value.encode()).hexdigest()


def _label_totals(connection: Connection) -> tuple[Counter[str], Counter[str]]:
    outcomes: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for row in connection.execute(select(schema.totals)).mappings():
        if row["metric"] == names.LABELS.name:
            outcomes[msgspec.json.decode(row["labels"])[2]] += row["value"]
        elif row["metric"] == names.JUDGED_PREDICTIONS.name:
            judged[msgspec.json.decode(row["labels"])[4]] += row["value"]
    return outcomes, judged


def _first_judged(history: History) -> int | None:
    return next((wrong for _, _, wrong in history if wrong is not None), None)


def _outcomes(history: Sequence[tuple[str | None, float, int | None]]) -> Iterator[str]:
    """What the labels of one row that took effect were counted as."""
    before: str | None = None
    for place, (value, _, _) in enumerate(history):
        if value == before:
            yield "withdrawn" if place == 0 else "duplicate"
        elif value is None:
            yield "withdrawn"
        else:
            yield "joined" if place == 0 else "corrected"
        before = value


def _changes(history: Sequence[tuple[str | None, float, int | None]]) -> int:
    """How often statistics changed for one row's labels: once for each that goes, once for each that comes."""
    values = [None, *(value for value, _, _ in history)]
    return sum((old is not None) + (new is not None) for old, new in pairwise(values) if old != new)
