"""Row-level security: a connection sees the rows of the owner that it names in `escriba.owner`, `*` for all of them.

The WHERE of every query says the same; this holds where one is forgotten. FORCE, as many will have one role for tables
and platform. A superuser sees everything, as always; `pg_dump` as another role takes
`PGOPTIONS="-c escriba.owner=*"` and `--enable-row-security`.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OWNED = (
    "contexts",
    "deliveries",
    "delivery_attempts",
    "idempotency_keys",
    "job_events",
    "outbox_events",
    "speaker_edits",
    "stream_tickets",
    "transcript_jobs",
    "transcript_segments",
    "transcripts",
    "usage",
    "webhook_endpoints",
)
# In a SELECT of its own it is asked once for a statement, and not for every row.
SEEN = (
    "owner = (SELECT current_setting('escriba.owner', true)) OR (SELECT current_setting('escriba.owner', true)) = '*'"
)


def upgrade() -> None:
    for table in OWNED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY owned ON {table} USING ({SEEN})")


def downgrade() -> None:
    for table in OWNED:
        op.execute(f"DROP POLICY owned ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
