"""Requests and answers that came as events of their own wait for each other."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "waiting_halves",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("pair", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("received_at_s", sa.Double(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("half", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_waiting_halves")),
    )
    op.create_index("ix_waiting_halves_pair", "waiting_halves", ["pair", "kind"])
    op.create_index("ix_waiting_halves_due", "waiting_halves", ["namespace", "model", "received_at_s"])
    op.create_index("ix_waiting_halves_oldest", "waiting_halves", ["received_at_s", "size_bytes"])
    op.create_table(
        "settled_halves",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("settled_at_s", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_settled_halves")),
    )
    op.create_index("ix_settled_halves_time", "settled_halves", ["settled_at_s"])


def downgrade() -> None:
    """Drop both; what waits in them is lost."""
    op.drop_table("settled_halves")
    op.drop_table("waiting_halves")
