"""Pages of counts keep room for the next version of their rows, so that adding to a count enters no index again."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave half of each new page free; what is there moves as it is added to."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("ALTER TABLE window_counts SET (fillfactor = 50)")


def downgrade() -> None:
    """Fill pages whole, as by default."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("ALTER TABLE window_counts RESET (fillfactor)")
