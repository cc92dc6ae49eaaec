"""Results say in a field whether heavy tails decide them; of older ones their sentence said so."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the field, and read it off the sentences that there are."""
    op.add_column("results", sa.Column("heavy_tails", sa.SmallInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE results SET heavy_tails = 1 WHERE kind = 'performance' AND detector IN ('rmse', 'r2') "
        "AND reason LIKE '%; errors have heavy tails:%'"
    )


def downgrade() -> None:
    """Drop it: the sentences stay."""
    op.drop_column("results", "heavy_tails")
