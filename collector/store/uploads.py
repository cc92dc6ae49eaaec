"""The store's part in uploads: what was sent, and how far it is joined."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from collector.store import schema
from collector.store.transaction import Transaction
from driftline.access import ALL_MODELS
from driftline.errors import TransientError

WAITING = "waiting"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
#: Faults kept of one upload; all are counted.
FAULTS_KEPT = 100


class ColumnNames(msgspec.Struct, frozen=True, kw_only=True):
    """Which column holds what, and what holds for every row where no column says it."""

    request_id: str = "request_id"
    key: str = "key"
    label: str = "value"
    row: str = "row"
    time: str = "observed_at_s"
    model: str = "model"
    namespace: str = "namespace"
    of_model: str = ""
    of_namespace: str = "default"
    #: The models, as NAMESPACE/MODEL with ``*``, that whoever sent the file may label.
    allowed: tuple[str, ...] = (ALL_MODELS,)

    def column_of(self, field: str) -> str:
        """The column in which a field of a label was looked for."""
        return str(getattr(self, {"value": "label", "observed_at_s": "time"}.get(field, field), field))

    @property
    def used(self) -> frozenset[str]:
        """Every column that is looked for."""
        return frozenset((self.request_id, self.key, self.label, self.row, self.time, self.model, self.namespace))

    def missing(self, columns: Sequence[str]) -> list[str]:
        """What a label cannot be made without, of a file that has these columns."""
        missing = [] if self.label in columns else [self.label]
        if self.request_id not in columns and self.key not in columns:
            missing.append(f"{self.request_id} (or {self.key})")
        if self.model not in columns and not self.of_model:
            missing.append(f"{self.model} (or name the model of all rows)")
        return missing


class FileFault(msgspec.Struct, frozen=True):
    """Why a line was refused."""

    line: int
    column: str
    value: str
    fault: str


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file of labels; ``outcomes`` counts every row that was read, ``faults`` are the first of the refused."""

    id: str
    state: str
    name: str
    size_bytes: int
    columns: ColumnNames
    received_at_s: float
    finished_at_s: float | None = None
    rows_total: int | None = None
    rows_read: int = 0
    bytes_read: int = 0
    outcomes: dict[str, int] = {}
    faults: tuple[FileFault, ...] = ()
    error: str | None = None


def add_upload(transaction: Transaction, upload: Upload) -> None:
    """A file is there to be joined."""
    transaction.connection.execute(insert(schema.label_uploads).values(**_values(upload)))


def find_upload(connection: Connection, upload_id: str) -> Upload | None:
    """One upload."""
    table = schema.label_uploads
    found = connection.execute(select(table).where(table.c.id == upload_id)).one_or_none()
    return None if found is None else _upload(found)


def newest_uploads(connection: Connection, limit: int) -> list[Upload]:
    """The newest uploads first."""
    table = schema.label_uploads
    statement = select(table).order_by(table.c.received_at_s.desc(), table.c.id.desc()).limit(limit)
    return [_upload(row) for row in connection.execute(statement)]


def waiting_uploads(connection: Connection) -> list[Upload]:
    """Uploads that are not joined to their end, in the order in which they came."""
    table = schema.label_uploads
    statement = select(table).where(table.c.state == WAITING).order_by(table.c.received_at_s, table.c.id)
    return [_upload(row) for row in connection.execute(statement)]


def waiting_upload_count(connection: Connection) -> int:
    """How many of them there are."""
    table = schema.label_uploads
    return connection.execute(select(func.count()).select_from(table).where(table.c.state == WAITING)).scalar_one()


def move_upload(transaction: Transaction, before: Upload, after: Upload) -> None:
    """From what this writer last saw to what it is now; raises TransientError when another was faster."""
    table = schema.label_uploads
    moved = transaction.connection.execute(
        update(table)
        .where(table.c.id == before.id, table.c.state == WAITING, table.c.rows_read == before.rows_read)
        .values(**_values(after))
    )
    if moved.rowcount != 1:
        raise TransientError(f"upload '{before.id}' was moved on by another collector, or cancelled")


def merged_outcomes(upload: Upload, outcomes: Mapping[str, int]) -> dict[str, int]:
    """The upload's outcomes and those of one more batch."""
    names = sorted({*upload.outcomes, *outcomes})
    return {name: upload.outcomes.get(name, 0) + outcomes.get(name, 0) for name in names}


def first_faults(upload: Upload, faults: Sequence[FileFault]) -> tuple[FileFault, ...]:
    """The first faults of the upload and of one more batch."""
    return (*upload.faults, *faults)[:FAULTS_KEPT]


def _values(upload: Upload) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(upload, name) for name in Upload.__struct_fields__}
    encode = msgspec.json.encode
    for name, column in (("columns", "options"), ("outcomes", "outcomes"), ("faults", "faults")):
        values[column] = encode(values.pop(name)).decode()
    return values


def _upload(row: Row[tuple[object, ...]]) -> Upload:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a row by name
    decode = msgspec.json.decode
    return Upload(
        columns=decode(values.pop("options"), type=ColumnNames),
        outcomes=decode(values.pop("outcomes"), type=dict[str, int]),
        faults=decode(values.pop("faults"), type=tuple[FileFault, ...]),
        **values,
    )
