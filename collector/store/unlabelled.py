"""Stored predictions that have no label yet, found for thousands of labels at once and kept as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import IntegrityError

from collector.store import schema
from collector.store.arrays import IntegerArray, KeyArray, read_texts
from collector.store.bulk import Column, driver_cursor, insert_columns, savepoint
from collector.store.database import is_any_of
from collector.store.ids import KEY_KIND, KeyColumn
from collector.store.partitions import DAY_S, day_numbers, partition_name
from collector.store.transaction import Transaction
from driftline.columns import CodedTexts
from driftline.errors import TransientError
from driftline.results import StreamKey

_NUMBERS = ("stream_id", "time_s", "window_start_s", "window_end_s", "score")
_OTHERS = ("segments", "prediction")
_FOUND_NUMBERS = (*_NUMBERS, "revision")
#: What rows of one window have in common, and in which order PostgreSQL sends it and the other numbers.
_OF_WINDOW = ("window_start_s", "window_end_s")
_SENT_NUMBERS = (*_OF_WINDOW, "time_s", "score", "revision")
#: What is read of a prediction.
_READ = ("event_key", "request_key", "row", *_NUMBERS, *_OTHERS)
#: What these columns of labels have unless it is said.
_MOSTLY = {"row": 0, "judged": 1}
_STREAMS = select(schema.streams).where(
    schema.streams.c.namespace == bindparam("of_namespace"), schema.streams.c.model == bindparam("of_model")
)
#: So many rows that follow each other in the index are read in the time that one key takes to be looked up.
_ROWS_FOR_A_LOOK_UP = 4


class LabelledError(TransientError):
    """A row that was taken for one without a label has one, or got one meanwhile."""


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Predictions, column by column.

    ``places``: which of the asked rows each one is. ``event_keys`` as the database has them. ``numbers``: stream_id,
    time_s, window_start_s, window_end_s and score (NaN: none), as float64. ``others_labelled``: whether rows were left
    out because they have a label.
    """

    places: NDArray[np.intp]
    event_keys: NDArray[Any]
    numbers: dict[str, NDArray[np.float64]]
    segments: CodedTexts
    predictions: CodedTexts
    others_labelled: bool = False

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "Unlabelled":
        """Some of them, by position or mask."""
        numbers = {name: values[chosen] for name, values in self.numbers.items()}
        return Unlabelled(
            self.places[chosen],
            self.event_keys[chosen],
            numbers,
            self.segments.take(chosen),
            self.predictions.take(chosen),
            self.others_labelled,
        )


def streams_by_number(transaction: Transaction, namespace: str, model: str) -> dict[int, StreamKey]:
    """A model's streams by the numbers that their rows carry."""
    found = transaction.connection.execute(_STREAMS, {"of_namespace": namespace, "of_model": model})
    return {number: StreamKey(*key) for number, *key in found}


def unlabelled_rows(
    transaction: Transaction,
    keys: KeyColumn,
    rows: NDArray[np.int64],
    stream_ids: Sequence[int],
    now_s: float,
    *,
    look: bool = True,
    few: bool = False,
) -> Unlabelled:
    """The stored prediction of each request key and row, where there is no doubt which, and no label was there before.

    Only of ``stream_ids``. Left out is what several events of one day have, what has, or had, a label, and what is not
    stored on the day that its id tells; ``collector.store.labels.rows_to_label`` finds all these. Nothing is locked.
    Unless ``look`` is true, PostgreSQL is not asked for labels, a third of the work: :func:`save_first_labels` meets
    them. ``few``: predictions are of few kinds, so that each need not be sent.
    """
    if not stream_ids:
        return _listed([])
    wanted = np.array(stream_ids, dtype=np.int64)
    if transaction.connection.dialect.name == "sqlite":
        return _certain(_ask_sqlite(transaction.connection, keys, rows), len(keys), wanted)[0]
    days = transaction.held_days()
    asked, numbers = _Asked(keys, rows, stream_ids, look, few), np.unique(rows) if rows.any() else rows[:1]
    told = [(day, np.flatnonzero(keys.days == day)) for day in sorted(_different(keys.days).intersection(days))]
    questions = [
        _Question(day, places, numbers, _lie_close(keys, places, transaction.rows_about(day), now_s - day * DAY_S))
        for day, places in told
        if len(places)
    ]
    found = []
    if questions:
        answer = _ask_days(transaction.connection, questions, asked)
        found.append(_certain(answer, len(keys), wanted)[0])
    untold = np.flatnonzero(keys.days < 0)
    for day in reversed(days):
        if not len(untold):
            break
        answer = _ask_days(transaction.connection, [_Question(day, untold, numbers)], asked)
        here, met = _certain(answer, len(keys), wanted)
        found.append(here)
        untold = untold[~met[untold]]
    return _stacked(found)


def save_first_labels(
    transaction: Transaction,
    found: Unlabelled,
    rows: NDArray[np.int64],
    labels: CodedTexts,
    values: Mapping[str, NDArray[Any]],
) -> None:
    """Keep each row's first label, ``labels``; ``values``: the table's other columns, objects where some are None.

    Raises LabelledError, and keeps none, when a row has, or had, a label.
    """
    times_s = found.numbers["time_s"]
    days = _times_by_day(times_s)
    transaction.prepare_days(list(days.values()))
    part = partition_name("labels", next(iter(days))) if len(days) == 1 else None
    order = _order(found.event_keys, rows)
    columns: dict[str, Column] = {
        "event_key": found.event_keys[order],
        "time_s": times_s[order],
        "stream_id": found.numbers["stream_id"][order].astype(np.int64),
        "label": labels.take(order),
    }
    for name, value in {"row": rows, **values}.items():
        if name in _MOSTLY and (value == _MOSTLY[name]).all():
            continue  # the table's default, which costs nothing to send and to read
        columns[name] = value[order].tolist() if value.dtype == np.object_ else value[order]
    try:
        with savepoint(transaction.connection):
            insert_columns(transaction.connection, schema.labels, columns, part)
    except IntegrityError as error:
        raise LabelledError("a row has a label already") from error


def _times_by_day(times_s: NDArray[np.float64]) -> dict[int, float]:
    """The days that there are times of, each with one of them."""
    ends = np.array([times_s.min(), times_s.max()])
    first, last = day_numbers(ends).tolist()
    if first == last:  # of labels as they arrive
        return {first: float(ends[0])}
    days, places = np.unique(day_numbers(times_s), return_index=True)
    return dict(zip(days.tolist(), times_s[places].tolist(), strict=True))


def _different(days: NDArray[np.int64]) -> set[int]:
    """Each of them once; mostly there is one."""
    if len(days) and (days == days[0]).all():
        return {int(days[0])}
    return set(days.tolist())


def _order(keys: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.intp]:
    """By key and row, as any writer stores them, so that two writers cannot wait for each other."""
    if keys.dtype == np.object_:
        return np.lexsort((rows, keys))
    high, low = keys.view(">u8").reshape(-1, 2).astype(np.uint64).T
    order = np.argsort(high)
    if (high[order[1:]] == high[order[:-1]]).any():
        order = np.lexsort((rows, low, high))
    return order


def _certain(found: Unlabelled, asked: int, stream_ids: NDArray[np.int64]) -> tuple[Unlabelled, NDArray[np.bool_]]:
    """Those that are the only one of their place, of ``asked``, and have no label; and which places are stored."""
    here = np.isin(found.numbers["stream_id"], stream_ids)
    counts = np.bincount(found.places[here], minlength=asked)
    labelled = ~np.isnan(found.numbers["revision"])
    certain = here & (counts[found.places] == 1) & ~labelled
    if not certain.all():
        found = replace(found.take(certain), others_labelled=bool(labelled.any()))
    return found, counts > 0


def _stacked(parts: Sequence[Unlabelled]) -> Unlabelled:
    others_labelled = any(part.others_labelled for part in parts)
    parts = [part for part in parts if len(part)]
    if len(parts) < 2:
        return replace(parts[0] if parts else _listed([]), others_labelled=others_labelled)
    return Unlabelled(
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.event_keys for part in parts]),
        {name: np.concatenate([part.numbers[name] for part in parts]) for name in _FOUND_NUMBERS},
        CodedTexts.joined([part.segments for part in parts]),
        CodedTexts.joined([part.predictions for part in parts]),
        others_labelled,
    )


def _listed(rows: Sequence[Sequence[Any]]) -> Unlabelled:
    """Out of rows in the order: place, key, numbers, others, revision."""
    places, keys, *rest = zip(*rows, strict=True) if rows else [()] * (4 + len(_FOUND_NUMBERS))
    numbers = zip(_FOUND_NUMBERS, (*rest[: len(_NUMBERS)], rest[-1]), strict=True)
    segments, predictions = rest[len(_NUMBERS) : -1]
    return Unlabelled(
        np.array(places, dtype=np.intp),
        objects(keys),
        {name: np.array(column, dtype=np.float64) for name, column in numbers},
        CodedTexts.of(segments),
        CodedTexts.of(predictions),
    )


def objects(values: Sequence[object]) -> NDArray[np.object_]:
    """The values as they are, in an array; NumPy would look into them."""
    found = np.empty(len(values), dtype=np.object_)
    found[:] = values
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """The rows that are looked for, of which streams, whether their labels are as well, and predictions are few."""

    keys: KeyColumn
    rows: NDArray[np.int64]
    stream_ids: Sequence[int]
    look: bool
    few: bool

    def alike(self) -> list[str]:
        """What rows of a stretch of time are grouped by: each group has it once."""
        of_stream = ["stream_id"] if len(self.stream_ids) > 1 else []
        return [*_OF_WINDOW, "segments", *of_stream, *(["prediction"] if self.few else [])]


@dataclass(frozen=True, slots=True)
class _Question:
    """Which of them are looked for in a day.

    ``close``: so many of a stretch of time that all of it is read. ``numbers``: of the rows, each once.
    """

    day: int
    places: NDArray[np.intp]
    numbers: NDArray[np.int64]
    close: bool = False

    @property
    def in_pairs(self) -> bool:
        """Whether each key goes with a row of its own, and neither all keys with one nor a stretch is read."""
        return not self.close and len(self.numbers) > 1

    def in_order(self, keys: KeyColumn) -> "_Question":
        """As the index has them, so that one key's pages are at hand for the next."""
        return replace(self, places=self.places[np.argsort(keys.first_halves[self.places])])


def _lie_close(keys: KeyColumn, places: NDArray[np.intp], day_rows: float, day_age_s: float) -> bool:
    """Whether reading all rows between the first and the last key costs less than looking each key up.

    ``day_rows``: about how many the day has, below 0 where that is not known; taken as evenly spread over the part of
    it that is past. Only the cost depends on it.
    """
    times_s = keys.times_s[places]
    between = day_rows * float(times_s.max() - times_s.min()) / min(max(day_age_s, 1.0), DAY_S)
    return day_rows >= 0 and between <= _ROWS_FOR_A_LOOK_UP * len(places)


def _ask_days(connection: Connection, questions: Sequence[_Question], asked: _Asked) -> Unlabelled:
    """One statement for all days, each of which answers with rows of arrays: one, or where it is close one a window."""
    questions = [question.in_order(asked.keys) for question in questions]
    statement = " UNION ALL ".join(
        [_day_statement(number, question, asked) for number, question in enumerate(questions)]
    )
    values = list(chain.from_iterable(_parameters(question, asked) for question in questions))
    answers: dict[int, list[Sequence[bytes]]] = {}
    with driver_cursor(connection, statement, binary=True) as cursor:
        # Planned for these values each time: only then is a list of keys hashed to compare rows with.
        for number, *columns in cursor.execute(statement, values, prepare=False):
            if columns[1]:
                answers.setdefault(number, []).append(columns)
    return _stacked([_answer(questions[number], asked, parts) for number, parts in answers.items()])


def _parameters(question: _Question, asked: _Asked) -> list[Any]:
    keys = KeyArray.of(asked.keys, question.places)
    if question.in_pairs:
        return [keys, IntegerArray.of(asked.rows[question.places])]
    if not question.close:
        return [keys]
    return [*KeyColumn.texts_of(asked.keys.raw[question.places[[0, -1]]]), keys]


def _answer(question: _Question, asked: _Asked, parts: Sequence[Sequence[bytes]]) -> Unlabelled:
    """What a day's rows of arrays say, in the order of :func:`_day_statement`."""
    places, keys, request_keys, rows, segments, predictions, stream_ids, *numbers = zip(*parts, strict=True)
    values = {name: _numbers(raws) for name, raws in zip(_SENT_NUMBERS, numbers, strict=False)}
    counts = [len(raw) // 16 for raw in keys]
    count = sum(counts)
    if question.close:  # what is the same in a window is there once for each
        values.update({name: np.repeat(values[name], counts) for name in _OF_WINDOW})
        spread = _repeated(segments, counts)
    else:
        spread = read_texts(segments[0])
    if stream_ids[0] is None:
        values["stream_id"] = np.full(count, float(asked.stream_ids[0]))
    else:
        ids = _whole_numbers(stream_ids)
        values["stream_id"] = np.repeat(ids, counts) if question.close else ids
    values.setdefault("revision", np.full(count, np.nan))  # not asked for
    if places[0] is not None:
        found = question.places[np.frombuffer(places[0], ">i8") - 1]
    else:
        found = _places_of(question, asked, b"".join(request_keys), None if rows[0] is None else b"".join(rows))
    event_keys = np.frombuffer(b"".join(keys), KEY_KIND)
    said = _repeated(predictions, counts if question.close and asked.few else None)
    answer = Unlabelled(found, event_keys, values, spread, said)
    return answer if (found >= 0).all() else answer.take(found >= 0)


def _repeated(raws: Sequence[bytes], counts: Sequence[int] | None) -> CodedTexts:
    """Texts of several groups: each as often as ``counts`` says, where there is one a group."""
    read = CodedTexts.joined([read_texts(raw) for raw in raws])
    return read if counts is None else CodedTexts(read.texts, np.repeat(read.codes, counts))


def _numbers(raws: Sequence[bytes]) -> NDArray[np.float64]:
    return np.frombuffer(b"".join(raws), ">f8").astype(np.float64)


def _whole_numbers(raws: Sequence[bytes]) -> NDArray[np.float64]:
    return np.frombuffer(b"".join(raws), ">i8").astype(np.float64)


def _places_of(question: _Question, asked: _Asked, request_keys: bytes, rows: bytes | None) -> NDArray[np.intp]:
    """Which of the asked rows each of these is; -1: none. ``rows`` None: all are of the question's only number."""
    halves, seconds = asked.keys.first_halves[question.places], asked.keys.second_halves[question.places]
    found = np.frombuffer(request_keys, ">u8").reshape(-1, 2).astype(np.uint64)
    wanted = asked.rows[question.places]
    if (halves[1:] != halves[:-1]).all():  # nearly always
        at = np.searchsorted(halves, found[:, 0])
        at[at == len(halves)] = 0
        same = (halves[at] == found[:, 0]) & (seconds[at] == found[:, 1])
        if rows is not None:
            same &= wanted[at] == np.frombuffer(rows, ">i4")
        return np.where(same, question.places[at], -1)
    known = dict(
        zip(zip(halves.tolist(), seconds.tolist(), wanted.tolist(), strict=True), question.places.tolist(), strict=True)
    )
    numbers = np.full(len(found), question.numbers[0]) if rows is None else np.frombuffer(rows, ">i4")
    each = zip(*found.T.tolist(), numbers.tolist(), strict=True)
    return np.array([known.get(one, -1) for one in each], dtype=np.intp)


def _day_statement(number: int, question: _Question, asked: _Asked) -> str:
    # Subqueries that stay some (OFFSET 0, LIMIT): whatever statistics say, each row is looked up by its index.
    predictions, labels = (partition_name(table, question.day) for table in ("predictions", "labels"))
    several = len(asked.stream_ids) > 1
    of_window = [*(f"float8send(p.{name})" for name in _OF_WINDOW)]
    stream = "int8send(p.stream_id)" if several else None
    segments = "array_send(ARRAY[p.segments])"
    predictions_sent = "array_send(array_agg(p.prediction))"
    if question.close and asked.few:
        predictions_sent = "array_send(ARRAY[p.prediction])"
    if not question.close:
        of_window, stream = [_joined(each) for each in of_window], stream and _joined(stream)
        segments = "array_send(array_agg(p.segments))"
    numbers = [*of_window, *map(_joined, ("float8send(p.time_s)", "float8send(coalesce(p.score, 'NaN'))"))]
    labelled = ""
    if asked.look:
        numbers.append(_joined("float8send(coalesce(l.revision::float8, 'NaN'))"))
        labelled = (
            f"LEFT JOIN LATERAL (SELECT m.revision FROM {labels} m "  # noqa: S608 - our own tables
            "WHERE m.event_key = p.event_key AND m.row = p.row AND m.time_s = p.time_s LIMIT 1) l ON true"
        )
    place = f"NULL::bytea, {_joined('uuid_send(p.event_key)')}, "
    if question.in_pairs:
        place = f"{_joined('int8send(k.place)')}, {_joined('uuid_send(p.event_key)')}, NULL::bytea, NULL::bytea"
    else:
        row = _joined("int4send(p.row)") if len(question.numbers) > 1 else "NULL::bytea"
        place += f"{_joined('uuid_send(p.request_key)')}, {row}"
    columns = [place, segments, predictions_sent, stream or "NULL::bytea", *numbers]
    source = _source(question, predictions, labelled, asked)
    return f"SELECT {number}::int4, {', '.join(columns)} FROM {source}"  # noqa: S608


def _source(question: _Question, predictions: str, labelled: str, asked: _Asked) -> str:
    """SQL: the question's rows as ``p``, of their streams, beside their labels."""
    row = f"row = ANY ('{{{','.join(map(str, question.numbers.tolist()))}}}')"
    if len(question.numbers) == 1:
        row = f"row = {question.numbers[0]}"
    stream = f"p.stream_id = ANY ('{{{','.join(map(str, asked.stream_ids))}}}')"
    if question.close:
        # Inside of CASE the list is compared by a hash, like any list of constants, and PostgreSQL does not guess for
        # each of its keys how many rows have it, which costs more than to compare.
        if len(asked.stream_ids) == 1:
            stream = f"p.stream_id = {asked.stream_ids[0]}"
        return (
            f"{predictions} p {labelled} WHERE p.request_key BETWEEN %s::uuid AND %s::uuid AND p.{row} "
            f"AND CASE WHEN p.request_key = ANY (%b) THEN {stream} END "
            f"GROUP BY {', '.join(f'p.{name}' for name in asked.alike())}"
        )
    if question.in_pairs:
        return (
            "unnest(%b, %b) WITH ORDINALITY AS k (request_key, row, place) CROSS JOIN LATERAL "  # noqa: S608
            f"(SELECT {', '.join(_READ)} FROM {predictions} q "
            f"WHERE q.request_key = k.request_key AND q.row = k.row OFFSET 0) p {labelled} WHERE {stream}"
        )
    # Asked for by a subquery the list is none that PostgreSQL looks at while it plans.
    return f"{predictions} p {labelled} WHERE p.request_key = ANY ((SELECT %b)::uuid[]) AND p.{row} AND {stream}"


def _joined(value: str) -> str:
    """SQL: its bytes of all rows, one after the other, which costs less than an array; with nothing to put between."""
    return f"string_agg({value}, NULL::bytea)"


def _ask_sqlite(connection: Connection, keys: KeyColumn, rows: NDArray[np.int64]) -> Unlabelled:
    stored, label = schema.predictions.c, schema.labels.c
    revision = (
        select(label.revision)
        .where(label.event_key == stored.event_key, label.row == stored.row, label.time_s == stored.time_s)
        .limit(1)
        .scalar_subquery()
    )
    columns = (stored.event_key, *(stored[name] for name in (*_NUMBERS, *_OTHERS)), revision)
    statement = select(stored.request_key, stored.row, *columns).where(
        is_any_of(connection, stored.request_key, sorted(set(keys.texts)))
    )
    places = {pair: place for place, pair in enumerate(zip(keys.texts, rows.tolist(), strict=True))}
    found = []
    for key, row, *values in connection.execute(statement):
        place = places.get((key, row))
        if place is not None:
            found.append((place, *values))
    return _listed(found)
