"""Erasures are remembered, and halves that wait are found by their request id."""

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_AT_ONCE = 500


def upgrade() -> None:
    """Make the table; give halves that wait the request id that is in them."""
    op.create_table(
        "erased",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_erased")),
        sa.UniqueConstraint("namespace", "model", "kind", "digest", name=op.f("uq_erased")),
        sqlite_autoincrement=True,
    )
    op.add_column("waiting_halves", sa.Column("request_id", sa.Text(), nullable=False, server_default=""))
    _fill()
    op.create_index("ix_waiting_halves_request", "waiting_halves", ["namespace", "request_id"])


def _fill() -> None:
    connection = op.get_bind()
    after = ""
    update = sa.text("UPDATE waiting_halves SET request_id = :request_id WHERE identity = :identity")
    page = sa.text("SELECT identity, half FROM waiting_halves WHERE identity > :after ORDER BY identity LIMIT :limit")
    while found := connection.execute(page, {"after": after, "limit": _AT_ONCE}).all():
        after = found[-1][0]
        values = [(identity, _request_id(bytes(half))) for identity, half in found]
        connection.execute(update, [{"identity": identity, "request_id": text} for identity, text in values])


def _request_id(half: bytes) -> str:
    try:
        content = msgspec.msgpack.decode(half)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    found = str(content.get("request_id", "")) if isinstance(content, dict) else ""
    return found.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def downgrade() -> None:
    """Drop both; what was erased is not known any more when it arrives later."""
    op.drop_index("ix_waiting_halves_request", "waiting_halves")
    op.drop_column("waiting_halves", "request_id")
    op.drop_table("erased")
