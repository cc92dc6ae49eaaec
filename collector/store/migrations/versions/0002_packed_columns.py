"""Input columns of predictions are packed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was JSON stays JSON, as bytes, and is read as such."""
    op.create_table(
        "row_layouts",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_row_layouts")),
    )
    with op.batch_alter_table("predictions") as batch:
        batch.alter_column(
            "columns",
            existing_type=sa.Text(),
            type_=sa.LargeBinary(),
            existing_nullable=True,
            postgresql_using="convert_to(columns, 'UTF8')",
        )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("UPDATE predictions SET columns = CAST(columns AS BLOB) WHERE columns IS NOT NULL")


def downgrade() -> None:
    """The samples' columns are given up: no statement of SQL reads what is packed."""
    op.execute("UPDATE predictions SET columns = NULL")
    with op.batch_alter_table("predictions") as batch:
        batch.alter_column(
            "columns",
            existing_type=sa.LargeBinary(),
            type_=sa.Text(),
            existing_nullable=True,
            postgresql_using="NULL::text",
        )
    op.drop_table("row_layouts")
