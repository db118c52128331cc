"""How fast engines are."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("transcripts", sa.Column("engine_seconds", sa.Double(), nullable=True))
    op.create_index(
        "transcripts_by_speed",
        "transcripts",
        ["engine", sa.literal_column("created_at DESC")],
        unique=False,
        postgresql_where=sa.text("engine_seconds IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("transcripts_by_speed", table_name="transcripts")
    op.drop_column("transcripts", "engine_seconds")
