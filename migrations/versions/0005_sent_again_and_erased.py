"""Submissions sent again have a table of their own; erasures are followed to their end, and can be set in advance."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.Text(), nullable=False),
        sa.Column("receipt", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key_sha256"),
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at"])
    op.drop_index("transcript_jobs_once", table_name="transcript_jobs")
    op.drop_column("transcript_jobs", "idempotency_key")
    op.add_column("transcript_jobs", sa.Column("erased_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("transcript_jobs", sa.Column("objects_deleted", sa.Integer(), nullable=True))
    op.add_column("transcript_jobs", sa.Column("delete_after_seconds", sa.Integer(), nullable=True))
    op.execute("UPDATE transcript_jobs SET erased_at = updated_at WHERE state = 'purged'")
    op.drop_index("transcript_jobs_to_erase", table_name="transcript_jobs")
    op.create_index(
        "transcript_jobs_to_erase",
        "transcript_jobs",
        ["id"],
        postgresql_where=sa.text("erase_requested_at IS NOT NULL AND erased_at IS NULL"),
    )
    op.create_index(
        "transcript_jobs_ended",
        "transcript_jobs",
        ["completed_at"],
        postgresql_where=sa.text("completed_at IS NOT NULL AND erase_requested_at IS NULL"),
    )
    op.create_index(
        "transcript_jobs_to_delete",
        "transcript_jobs",
        ["completed_at"],
        postgresql_where=sa.text(
            "delete_after_seconds IS NOT NULL AND completed_at IS NOT NULL AND erase_requested_at IS NULL"
        ),
    )
    op.create_index(
        "transcript_jobs_tombs", "transcript_jobs", ["erased_at"], postgresql_where=sa.text("erased_at IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("transcript_jobs_tombs", table_name="transcript_jobs")
    op.drop_index("transcript_jobs_to_delete", table_name="transcript_jobs")
    op.drop_index("transcript_jobs_ended", table_name="transcript_jobs")
    op.drop_index("transcript_jobs_to_erase", table_name="transcript_jobs")
    op.create_index(
        "transcript_jobs_to_erase",
        "transcript_jobs",
        ["id"],
        postgresql_where=sa.text("erase_requested_at IS NOT NULL AND state <> 'purged'"),
    )
    op.drop_column("transcript_jobs", "delete_after_seconds")
    op.drop_column("transcript_jobs", "objects_deleted")
    op.drop_column("transcript_jobs", "erased_at")
    op.add_column("transcript_jobs", sa.Column("idempotency_key", sa.Text(), nullable=True))
    op.create_index("transcript_jobs_once", "transcript_jobs", ["owner", "idempotency_key"], unique=True)
    op.drop_index("idempotency_keys_by_age", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
