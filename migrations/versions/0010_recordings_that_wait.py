"""Recordings that wait to be run, or are still to come: their size and hash are pinned later. Videos, and runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
NOW = sa.text("now()")
SEEN = (
    "owner = (SELECT current_setting('escriba.owner', true)) OR (SELECT current_setting('escriba.owner', true)) = '*'"
)


def upgrade() -> None:
    op.alter_column("transcript_jobs", "source_bytes", existing_type=sa.BigInteger(), nullable=True)
    op.alter_column("transcript_jobs", "source_sha256", existing_type=sa.Text(), nullable=True)
    op.create_index(
        "transcript_jobs_pending", "transcript_jobs", ["created_at"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "transcript_jobs_children",
        "transcript_jobs",
        ["parent_job_id"],
        postgresql_where=sa.text("parent_job_id IS NOT NULL"),
    )
    _create_videos()
    op.create_table(
        "runs",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("heard_by", sa.Uuid(), nullable=False),
        sa.Column("output_type", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("video_id", sa.Uuid(), nullable=True),
        sa.Column("updated_at", MOMENT, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["transcript_jobs.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["heard_by"], ["transcript_jobs.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("runs_heard_by", "runs", ["heard_by"])
    for table in ("videos", "runs"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY owned ON {table} USING ({SEEN})")


def _create_videos() -> None:
    op.create_table(
        "videos",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crash_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("run_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("notices", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("error_details", postgresql.JSONB(), nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("completed_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("updated_at", MOMENT, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["transcript_jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("videos_of_job", "videos", ["job_id"])
    op.create_index("videos_waiting", "videos", ["run_at"], postgresql_where=sa.text("state = 'queued'"))
    op.create_index("videos_working", "videos", ["lease_until"], postgresql_where=sa.text("state = 'processing'"))


def downgrade() -> None:
    op.drop_table("runs")
    op.drop_table("videos")
    op.drop_index("transcript_jobs_children", table_name="transcript_jobs")
    op.drop_index("transcript_jobs_pending", table_name="transcript_jobs")
    op.execute("UPDATE transcript_jobs SET source_bytes = 0, source_sha256 = '' WHERE source_sha256 IS NULL")
    op.alter_column("transcript_jobs", "source_sha256", existing_type=sa.Text(), nullable=False)
    op.alter_column("transcript_jobs", "source_bytes", existing_type=sa.BigInteger(), nullable=False)
