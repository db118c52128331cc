"""Lanes: which jobs go before which, and whose turn it is within one."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

JOBS = "transcript_jobs"


def upgrade() -> None:
    op.add_column(JOBS, sa.Column("lane", sa.Text(), server_default="normal", nullable=False))
    op.create_check_constraint("transcript_jobs_lane", JOBS, "lane IN ('interactive', 'normal', 'bulk')")
    op.create_index(
        "transcript_jobs_in_line",
        JOBS,
        ["lane", "owner", "engine", sa.text("(source_key IS NULL)"), "run_at", "id"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "transcript_jobs_turns",
        JOBS,
        ["lane", "owner", "started_at"],
        postgresql_where=sa.text("started_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("transcript_jobs_turns", JOBS)
    op.drop_index("transcript_jobs_in_line", JOBS)
    op.drop_constraint("transcript_jobs_lane", JOBS)
    op.drop_column(JOBS, "lane")
