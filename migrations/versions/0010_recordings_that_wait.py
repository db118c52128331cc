"""Recordings that wait to be run, or are still to come: their size and hash are pinned later."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("transcript_jobs", "source_bytes", existing_type=sa.BigInteger(), nullable=True)
    op.alter_column("transcript_jobs", "source_sha256", existing_type=sa.Text(), nullable=True)
    op.create_index(
        "transcript_jobs_pending", "transcript_jobs", ["created_at"], postgresql_where=sa.text("state = 'pending'")
    )


def downgrade() -> None:
    op.drop_index("transcript_jobs_pending", table_name="transcript_jobs")
    op.execute("UPDATE transcript_jobs SET source_bytes = 0, source_sha256 = '' WHERE source_sha256 IS NULL")
    op.alter_column("transcript_jobs", "source_sha256", existing_type=sa.Text(), nullable=False)
    op.alter_column("transcript_jobs", "source_bytes", existing_type=sa.BigInteger(), nullable=False)
