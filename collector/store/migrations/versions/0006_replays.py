"""Dead letters can be replayed; every attempt is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Mark what was replayed, and keep the attempts."""
    op.add_column("dead_letters", sa.Column("replayed_at_s", sa.Double(), nullable=True))
    op.create_table(
        "replay_attempts",
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "offset", "attempt", name=op.f("pk_replay_attempts")),
    )


def downgrade() -> None:
    """Forget both; what was replayed stays stored."""
    op.drop_table("replay_attempts")
    op.drop_column("dead_letters", "replayed_at_s")
