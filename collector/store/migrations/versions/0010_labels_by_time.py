"""Labels are keyed by their time first, so that the key does for stretches of time too, and no other index is left."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.UUID(as_uuid=False), "postgresql")
_COLUMNS = "event_key, row, revision, time_s, stream_id, label, observed_at_s, received_at_s, wrong, judged"
#: What most labels have, so that nobody has to say it.
_DEFAULTS = {"row": "0", "revision": "1", "judged": "1"}


def upgrade() -> None:
    """Key the table anew; its rows stay as they are."""
    op.drop_index("ix_labels_wrong", "labels")
    _remake(("time_s", "event_key", "row", "revision"), _DEFAULTS)


def downgrade() -> None:
    """Back to the event first, and an index of wrong labels by time."""
    _remake(("event_key", "row", "revision", "time_s"), dict.fromkeys(_DEFAULTS))
    wrong = sa.text("wrong = 1")
    op.create_index("ix_labels_wrong", "labels", ["stream_id", "time_s"], postgresql_where=wrong, sqlite_where=wrong)


def _remake(key: Sequence[str], defaults: Mapping[str, str | None]) -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("pk_labels", "labels")
        op.create_primary_key("pk_labels", "labels", list(key))
        for name, default in defaults.items():
            op.alter_column("labels", name, server_default=default)
        return
    op.rename_table("labels", "labels_old")
    op.create_table(
        "labels",
        sa.Column("event_key", _KEY, nullable=False),
        sa.Column("row", sa.Integer(), nullable=False, server_default=defaults["row"]),
        sa.Column("revision", sa.Integer(), nullable=False, server_default=defaults["revision"]),
        sa.Column("time_s", sa.Double(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("observed_at_s", sa.Double(), nullable=False),
        sa.Column("received_at_s", sa.Double()),
        sa.Column("wrong", sa.SmallInteger()),
        sa.Column("judged", sa.SmallInteger(), nullable=False, server_default=defaults["judged"]),
        sa.PrimaryKeyConstraint(*key, name="pk_labels"),
    )
    op.execute(f"INSERT INTO labels ({_COLUMNS}) SELECT {_COLUMNS} FROM labels_old ORDER BY rowid")
    op.drop_table("labels_old")
