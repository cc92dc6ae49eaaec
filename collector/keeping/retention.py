"""Letting go of what was kept long enough, per model, in steps so small that no commit waits for long.

On PostgreSQL a day is dropped as a whole once no row in it is to be kept any more; the lock that this needs is given up
rather than waited for. What remains, and everything on SQLite, is deleted in batches, a transaction each.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, TextClause, bindparam, select, text

from collector.batches.payloads import PayloadFiles
from collector.store import schema
from collector.store.database import reading, writing
from collector.store.partitions import DAY_S, FIRST_DAY, existing_days, partition_name
from collector.store.store import Store
from collector.store.transaction import TotalKey, Transaction, total
from driftline import names
from driftline.errors import UnavailableError
from driftline.monitors import Monitor, RetentionSpec

#: The partition that removals are counted under.
KEEPER = "keeper"
#: Stands for every model of a day.
ALL = "all"
_LOCK_TIMEOUT_MS = 500


@dataclass(frozen=True, slots=True)
class _Model:
    """A model as the store knows it, with what its monitor says about keeping."""

    namespace: str
    model: str
    streams: tuple[int, ...]
    keep: RetentionSpec

    @property
    def payloads(self) -> float:
        """Columns go with their rows at the latest."""
        return min(self.keep.payloads, self.keep.predictions)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one table to be deleted; ``{place}`` names the table or one of its partitions."""

    kind: str
    table: str
    condition: str
    before_s: float


class Retention:
    """Looks for what is past its time. Models without a monitor are kept as the defaults of a monitor say."""

    def __init__(
        self,
        store: Store,
        monitors: Mapping[str, Monitor],
        payloads: PayloadFiles | None = None,
        *,
        batch_rows: int = 2000,
        pause: Callable[[], bool] = lambda: True,
    ) -> None:
        """``pause`` is called between batches; it may wait, and says whether to go on."""
        self._store = store
        self._monitors = monitors
        self._payloads = payloads
        self._batch_rows = batch_rows
        self._pause = pause

    def run(self, now_s: float) -> Counter[tuple[str, str, str]]:
        """Remove all that is past its time; how much, by namespace, model and kind. Raises TransientError."""
        removed: Counter[tuple[str, str, str]] = Counter()
        models = self._models()
        for day, gone in self._droppable(models, now_s):
            if self._drop(day, gone):
                removed[ALL, ALL, "days"] += 1
        for model in models:
            for rows in _past(model, now_s):
                for count in self._delete(model, rows):
                    removed[model.namespace, model.model, rows.kind] += count
            removed[model.namespace, model.model, "files"] += self._remove_files(model, now_s - model.payloads)
        return +removed

    # --- days ---------------------------------------------------------------------------------------------------
    def _droppable(self, models: Sequence[_Model], now_s: float) -> Iterator[tuple[int, list[int]]]:
        """Days of which nothing seems to be kept, the oldest first, with the streams whose rows in it may go."""
        with reading(self._store.engine) as connection:
            days = sorted({day for table in schema.DAILY for day in existing_days(connection, table)})
        for day in days:
            age_s = now_s - (day + 1) * DAY_S
            gone = [stream for model in models if model.keep.predictions <= age_s for stream in model.streams]
            if age_s > 0:
                with reading(self._store.engine) as connection:
                    empty = not _any_rows(connection, day, gone)
                if empty:
                    yield day, gone

    def _drop(self, day: int, gone: Sequence[int]) -> bool:
        """Drop a day's partitions; False when somebody was busy there or came first: it is left for the next time.

        The lock keeps writers out, so that what is seen under it stays true. It is given up rather than waited for, and
        well before the database would look for somebody who waits for us in turn.
        """
        tables = [partition_name(table, day) for table in schema.DAILY]
        try:
            with writing(self._store.engine) as connection:
                connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
                connection.execute(text(f"LOCK TABLE ONLY {', ONLY '.join(schema.DAILY)} IN ACCESS EXCLUSIVE MODE"))
                if _any_rows(connection, day, gone):
                    return False
                connection.execute(text(f"DROP TABLE IF EXISTS {', '.join(tables)}"))
                Transaction(connection).add_totals(KEEPER, {_removed(ALL, ALL, "days"): 1})
        except UnavailableError:
            return False
        return True

    # --- rows ---------------------------------------------------------------------------------------------------
    def _delete(self, model: _Model, rows: _Rows) -> Iterator[int]:
        """Delete in batches; the size of each."""
        for place in self._places(rows):
            while True:
                with writing(self._store.engine) as connection:
                    count = connection.execute(
                        _delete_statement(connection, place, rows.condition),
                        {
                            "streams": model.streams,
                            "namespace": model.namespace,
                            "model": model.model,
                            "before": rows.before_s,
                            "limit": self._batch_rows,
                        },
                    ).rowcount
                    if count:
                        Transaction(connection).add_totals(
                            KEEPER, {_removed(model.namespace, model.model, rows.kind): count}
                        )
                if count:
                    yield count
                if count < self._batch_rows or not self._pause():
                    break

    def _places(self, rows: _Rows) -> list[str]:
        """The table, or those of its partitions that have rows so old."""
        if rows.table not in schema.DAILY:
            return [rows.table]
        with reading(self._store.engine) as connection:
            if connection.dialect.name == "sqlite":
                return [rows.table]
            days = existing_days(connection, rows.table)
        return [partition_name(rows.table, day) for day in days if day < FIRST_DAY or day * DAY_S < rows.before_s]

    def _remove_files(self, model: _Model, before_s: float) -> int:
        if self._payloads is None:
            return 0
        files = [
            file for file in self._store.payload_files(model.namespace, model.model) if file.last_event_s < before_s
        ]
        if files:
            with self._store.transaction() as transaction:
                transaction.drop_payload_files(files)
                transaction.add_totals(KEEPER, {_removed(model.namespace, model.model, "files"): len(files)})
            self._payloads.remove(file.path for file in files)
        return len(files)

    def _models(self) -> list[_Model]:
        streams: dict[tuple[str, str], list[int]] = {}
        table = schema.streams.c
        with reading(self._store.engine) as connection:
            for number, namespace, model in connection.execute(select(table.id, table.namespace, table.model)):
                streams.setdefault((namespace, model), []).append(number)
            for table in (schema.dead_letters.c, schema.erased.c):
                for namespace, model in connection.execute(select(table.namespace, table.model).distinct()):
                    streams.setdefault((namespace, model), [])
        return [
            _Model(namespace, model, tuple(numbers) or (-1,), self._keep(namespace, model))
            for (namespace, model), numbers in sorted(streams.items())
        ]

    def _keep(self, namespace: str, model: str) -> RetentionSpec:
        monitor = self._monitors.get(f"{namespace}/{model}")
        return RetentionSpec() if monitor is None else monitor.retention


def _past(model: _Model, now_s: float) -> list[_Rows]:
    """What may be past its time of one model; dependants before what they depend on."""
    keep = model.keep
    of_stream = "stream_id IN :streams"
    old = f"{of_stream} AND time_s < :before"
    of_model = "namespace = :namespace AND model = :model"
    ended = f"{of_stream} AND end_s < :before"
    evaluations = f"evaluation_id IN (SELECT id FROM window_evaluations WHERE {ended})"  # noqa: S608 - words of ours
    same = " AND ".join(f"p.{name} = prediction_columns.{name}" for name in ("event_key", "row", "time_s"))
    owner = f"EXISTS (SELECT 1 FROM predictions p WHERE {same} AND p.stream_id IN :streams)"  # noqa: S608 - ours
    rows_s, results_s = now_s - keep.predictions, now_s - keep.results
    return [
        _Rows("columns", "prediction_columns", f"time_s < :before AND {owner}", now_s - model.payloads),
        _Rows("labels", "labels", old, rows_s),
        _Rows("predictions", "predictions", old, rows_s),
        _Rows("keys", "prediction_keys", f"{of_model} AND time_s < :before", rows_s),
        _Rows("rowless", "rowless_events", old, rows_s),
        _Rows("results", "results", evaluations, results_s),
        _Rows("shapes", "shapes", evaluations, results_s),
        _Rows("windows", "window_evaluations", ended, results_s),
        _Rows("states", "window_states", ended, results_s),
        _Rows("counts", "window_counts", ended, results_s),
        _Rows("erasures", "erased", f"{of_model} AND at_s < :before", now_s - max(keep.predictions, keep.dead_letters)),
        _Rows("dead_letters", "dead_letters", f"{of_model} AND time_s < :before", now_s - keep.dead_letters),
    ]


def _delete_statement(connection: Connection, place: str, condition: str) -> TextClause:
    """Delete at most ``:limit`` rows, by their physical place: every table has one, not every table has a key."""
    condition = condition.replace("prediction_columns.", f"{place}.")
    if connection.dialect.name == "sqlite":
        statement = f"DELETE FROM {place} WHERE rowid IN (SELECT rowid FROM {place} WHERE {condition} LIMIT :limit)"  # noqa: S608
    else:
        found = f"SELECT ctid FROM {place} WHERE {condition} LIMIT :limit"  # noqa: S608
        statement = f"DELETE FROM {place} WHERE ctid = ANY (ARRAY ({found}))"  # noqa: S608
    made = text(statement)
    return made.bindparams(bindparam("streams", expanding=True)) if ":streams" in condition else made


def _any_rows(connection: Connection, day: int, gone: Sequence[int]) -> bool:
    """Whether a day has predictions of other streams than these, and so of any that was made meanwhile."""
    if day not in existing_days(connection):
        return False
    rows = f"SELECT 1 FROM {partition_name('predictions', day)} WHERE stream_id NOT IN :gone"  # noqa: S608
    statement = text(f"SELECT EXISTS ({rows})").bindparams(bindparam("gone", expanding=True))
    return bool(connection.execute(statement, {"gone": list(gone)}).scalar_one())


def _removed(namespace: str, model: str, kind: str) -> TotalKey:
    return total(names.COLLECTOR_REMOVED, namespace, model, kind)
