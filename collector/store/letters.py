"""Dead letters in the store: finding them, and keeping what became of each replay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from collector.store import schema
from collector.store.transaction import DeadLetter, Transaction
from driftline.errors import TransientError

State = Literal["open", "replayed", "all"]

_LETTERS = schema.dead_letters.c
_LETTER_COLUMNS = tuple(DeadLetter.__slots__)


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters: all that fit every field given.

    ``model``: NAMESPACE/MODEL, or the model's name alone. ``partition``: a partition, or what it begins with; with an
    ``offset`` that partition alone.
    ``since_s``, ``until_s``: when they became dead letters. ``models``: none of any other model (NAMESPACE/MODEL).
    """

    model: str | None = None
    reason: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    partition: str | None = None
    offset: int | None = None
    state: State = "open"


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter, and when its event was stored after all (None: it was not)."""

    letter: DeadLetter
    replayed_at_s: float | None

    @property
    def place(self) -> tuple[str, int]:
        """Where it stood in its stream."""
        return self.letter.partition, self.letter.offset


@dataclass(frozen=True, slots=True)
class Attempt:
    """One replay; ``outcome``: stored, duplicate or failed, with the reason of that time."""

    attempt: int
    at_s: float
    outcome: str
    reason: str
    detail: str


def find_letters(
    connection: Connection, wanted: LetterFilter, limit: int, after: StoredLetter | None = None
) -> list[StoredLetter]:
    """The newest first; ``after``: only those that follow this one in the same order."""
    statement = select(*(_LETTERS[name] for name in _LETTER_COLUMNS), _LETTERS.replayed_at_s)
    statement = statement.where(*_conditions(wanted))
    if after is not None:
        time_s, (partition, offset) = after.letter.time_s, after.place
        same_time = and_(_LETTERS.time_s == time_s, _follows(partition, offset))
        statement = statement.where(or_(_LETTERS.time_s < time_s, same_time))
    statement = statement.order_by(_LETTERS.time_s.desc(), _LETTERS.partition, _LETTERS.offset.desc()).limit(limit)
    return [_stored(row) for row in connection.execute(statement)]


def visible_letters(
    connection: Connection, wanted: LetterFilter, limit: int, may: Callable[[str], bool], after: StoredLetter | None
) -> list[StoredLetter]:
    """As :func:`find_letters`, of those models (NAMESPACE/MODEL) that one ``may`` see; others may lie between."""
    found: list[StoredLetter] = []
    while len(found) < limit:
        page = find_letters(connection, wanted, limit, after)
        found += [each for each in page if may(f"{each.letter.namespace}/{each.letter.model}")]
        if len(page) < limit:
            break
        after = page[-1]
    return found[:limit]


def letter_at(connection: Connection, partition: str, offset: int) -> StoredLetter | None:
    """The letter of one place, whatever its state; None where there is none."""
    return next(iter(find_letters(connection, LetterFilter(partition=partition, offset=offset, state="all"), 1)), None)


def attempts(connection: Connection, partition: str, offset: int) -> list[Attempt]:
    """What was tried with one letter, oldest first; attempt 0 is what made it a dead letter."""
    table = schema.replay_attempts.c
    statement = select(table.attempt, table.at_s, table.outcome, table.reason, table.detail)
    statement = statement.where(table.partition == partition, table.offset == offset).order_by(table.attempt)
    return [Attempt(*row) for row in connection.execute(statement)]


def still_open(connection: Connection, letters: Sequence[StoredLetter]) -> set[tuple[str, int]]:
    """The places of those that were not replayed since they were read."""
    partitions = sorted({stored.place[0] for stored in letters})
    offsets = sorted({stored.place[1] for stored in letters})
    statement = select(_LETTERS.partition, _LETTERS.offset).where(
        _LETTERS.partition.in_(partitions), _LETTERS.offset.in_(offsets), _LETTERS.replayed_at_s.is_(None)
    )
    return {(partition, offset) for partition, offset in connection.execute(statement)}


def keep_attempts(
    transaction: Transaction, outcomes: Mapping[tuple[str, int], Attempt], letters: Sequence[StoredLetter]
) -> None:
    """Write what became of each letter; raises TransientError when another replay was first."""
    connection, table = transaction.connection, schema.replay_attempts
    for stored in letters:
        attempt = outcomes[stored.place]
        partition, offset = stored.place
        before = attempts(connection, partition, offset)
        if not before:
            letter = stored.letter
            before = [Attempt(0, letter.time_s, "failed", letter.reason, letter.detail)]
            connection.execute(table.insert().values(**_row(stored, before[0])))
        numbered = Attempt(len(before), attempt.at_s, attempt.outcome, attempt.reason, attempt.detail)
        connection.execute(table.insert().values(**_row(stored, numbered)))
        done = attempt.outcome != "failed"
        changes = {"replayed_at_s": attempt.at_s} if done else {"reason": attempt.reason, "detail": attempt.detail}
        here = and_(_LETTERS.partition == partition, _LETTERS.offset == offset, _LETTERS.replayed_at_s.is_(None))
        if connection.execute(update(schema.dead_letters).where(here).values(**changes)).rowcount != 1:
            raise TransientError(f"the dead letter at {offset} of '{partition}' was replayed by somebody else")


def empty_letters(transaction: Transaction, letters: Sequence[StoredLetter]) -> None:
    """Keep nothing of what the letters hold."""
    for stored in letters:
        partition, offset = stored.place
        here = and_(_LETTERS.partition == partition, _LETTERS.offset == offset)
        transaction.connection.execute(update(schema.dead_letters).where(here).values(raw=b""))


def _row(stored: StoredLetter, attempt: Attempt) -> dict[str, str | int | float]:
    partition, offset = stored.place
    return {
        "partition": partition,
        "offset": offset,
        "attempt": attempt.attempt,
        "at_s": attempt.at_s,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "detail": attempt.detail,
    }


def _conditions(wanted: LetterFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.model is not None:
        namespace, separator, model = wanted.model.rpartition("/")
        found.append(_LETTERS.model == model)
        if separator:
            found.append(_LETTERS.namespace == namespace)
    if wanted.reason is not None:
        found.append(_LETTERS.reason == wanted.reason)
    if wanted.since_s is not None:
        found.append(_LETTERS.time_s >= wanted.since_s)
    if wanted.until_s is not None:
        found.append(_LETTERS.time_s < wanted.until_s)
    if wanted.offset is not None:
        found.append(_LETTERS.offset == wanted.offset)
    if wanted.partition is not None and wanted.offset is not None:
        found.append(_LETTERS.partition == wanted.partition)
    elif wanted.partition is not None:
        found.append(_LETTERS.partition.startswith(wanted.partition, autoescape=True))
    if wanted.state != "all":
        open_ = _LETTERS.replayed_at_s.is_(None)
        found.append(open_ if wanted.state == "open" else ~open_)
    return found


def _follows(partition: str, offset: int) -> ColumnElement[bool]:
    return or_(_LETTERS.partition > partition, and_(_LETTERS.partition == partition, _LETTERS.offset < offset))


def _stored(row: Sequence[object]) -> StoredLetter:
    values = dict(zip(_LETTER_COLUMNS, row, strict=False))
    values["raw"] = bytes(values["raw"])  # type: ignore[call-overload]
    replayed = row[len(_LETTER_COLUMNS)]
    return StoredLetter(DeadLetter(**values), replayed if isinstance(replayed, float) else None)  # type: ignore[arg-type]
