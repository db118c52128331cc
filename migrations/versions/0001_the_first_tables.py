"""The first tables, and the trigger that refuses any move of a job that is not in `domain.lifecycle`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

GUARD = """
CREATE FUNCTION guard_transcript_jobs() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    IF OLD.state <> NEW.state AND (OLD.state || '>' || NEW.state) NOT IN ('cancelled>purged',
        'completed>purged',
        'expired>purged',
        'failed>purged',
        'pending>cancelled',
        'pending>expired',
        'pending>queued',
        'processing>cancelled',
        'processing>completed',
        'processing>failed',
        'processing>queued',
        'processing>queued',
        'processing>queued',
        'queued>cancelled',
        'queued>failed',
        'queued>processing') THEN
        RAISE EXCEPTION 'a % job cannot become %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'a fence never falls' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state IN ('cancelled', 'completed', 'failed') AND NEW.state = OLD.state
       AND (OLD.fence, OLD.seq, OLD.result_key) IS DISTINCT FROM (NEW.fence, NEW.seq, NEW.result_key) THEN
        RAISE EXCEPTION 'a % job does not change', OLD.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$guard$
"""
TRIGGER = """
CREATE TRIGGER guard BEFORE UPDATE ON transcript_jobs FOR EACH ROW EXECUTE FUNCTION guard_transcript_jobs()
"""


def upgrade() -> None:
    op.create_table(
        "duties",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "engine_reports",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reported_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "engine"),
    )
    op.create_table(
        "transcripts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="processing", nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("duration", sa.Double(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("engine_reason", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("segments_count", sa.Integer(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "transcripts_by_session",
        "transcripts",
        ["owner", "session_id"],
        unique=False,
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_table(
        "transcript_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Text(), sa.Computed("id::text", persisted=True), nullable=False),
        sa.Column("transcript_id", sa.Uuid(), nullable=False),
        sa.Column("parent_job_id", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("seq", sa.Integer(), server_default="1", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("result_key", sa.Text(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column(
            "engine_params",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_retries", sa.Integer(), server_default="3", nullable=False),
        sa.Column("crash_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("run_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deadline_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("erase_requested_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("dispatch_no", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "dispatched_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("audio_seconds", sa.Double(), nullable=True),
        sa.Column("audio_done", sa.Double(), nullable=True),
        sa.Column("segments_n", sa.Integer(), server_default="0", nullable=False),
        sa.Column("source_key", sa.Text(), nullable=True),
        sa.Column("source_bytes", sa.BigInteger(), nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("audio_deleted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("error_details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("completed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'queued', 'processing', 'completed', 'failed', 'cancelled', 'expired', 'purged')",
            name="transcript_jobs_state",
        ),
        sa.ForeignKeyConstraint(
            ["transcript_id"],
            ["transcripts.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("transcript_id"),
    )
    op.create_index(
        "transcript_jobs_listed",
        "transcript_jobs",
        ["owner", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("transcript_jobs_once", "transcript_jobs", ["owner", "idempotency_key"], unique=True)
    op.create_index(
        "transcript_jobs_to_erase",
        "transcript_jobs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("erase_requested_at IS NOT NULL AND state <> 'purged'"),
    )
    op.create_index(
        "transcript_jobs_waiting",
        "transcript_jobs",
        ["run_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "transcript_jobs_with_audio",
        "transcript_jobs",
        ["completed_at"],
        unique=False,
        postgresql_where=sa.text("audio_deleted_at IS NULL AND completed_at IS NOT NULL"),
    )
    op.create_index(
        "transcript_jobs_working",
        "transcript_jobs",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'processing'"),
    )
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["transcript_jobs.id"],
        ),
        sa.PrimaryKeyConstraint("job_id", "seq"),
    )
    op.create_table(
        "transcript_segments",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("segment", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["transcript_jobs.id"],
        ),
        sa.PrimaryKeyConstraint("job_id", "fence", "n"),
    )
    op.execute(GUARD)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.drop_table("transcript_segments")
    op.drop_table("job_events")
    op.drop_index(
        "transcript_jobs_working", table_name="transcript_jobs", postgresql_where=sa.text("state = 'processing'")
    )
    op.drop_index(
        "transcript_jobs_with_audio",
        table_name="transcript_jobs",
        postgresql_where=sa.text("audio_deleted_at IS NULL AND completed_at IS NOT NULL"),
    )
    op.drop_index("transcript_jobs_waiting", table_name="transcript_jobs", postgresql_where=sa.text("state = 'queued'"))
    op.drop_index(
        "transcript_jobs_to_erase",
        table_name="transcript_jobs",
        postgresql_where=sa.text("erase_requested_at IS NOT NULL AND state <> 'purged'"),
    )
    op.drop_index("transcript_jobs_once", table_name="transcript_jobs")
    op.drop_index("transcript_jobs_listed", table_name="transcript_jobs")
    op.drop_table("transcript_jobs")
    op.execute("DROP FUNCTION guard_transcript_jobs")
    op.drop_index(
        "transcripts_by_session", table_name="transcripts", postgresql_where=sa.text("session_id IS NOT NULL")
    )
    op.drop_table("transcripts")
    op.drop_table("engine_reports")
    op.drop_table("duties")
