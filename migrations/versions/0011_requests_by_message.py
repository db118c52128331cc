"""Requests by message, and deliveries that go out by message and not to an endpoint."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
SEEN = (
    "owner = (SELECT current_setting('escriba.owner', true)) OR (SELECT current_setting('escriba.owner', true)) = '*'"
)


def upgrade() -> None:
    op.create_table(
        "amqp_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="local", nullable=False),
        sa.Column("first_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("key_sha256", sa.Text(), nullable=True),
        sa.Column("named", sa.Boolean(), nullable=False),
        sa.Column("attachment_id", sa.BigInteger(), nullable=False),
        sa.Column("import_batch_id", sa.BigInteger(), nullable=True),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("file_mark", sa.Text(), nullable=True),
        sa.Column("acked_at", MOMENT, nullable=True),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["transcript_jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id"),
        sa.UniqueConstraint("owner", "key_sha256", name="amqp_requests_once"),
    )
    op.create_index("amqp_requests_of_first", "amqp_requests", ["first_id"])
    op.create_index("amqp_requests_by_age", "amqp_requests", ["answered_at"])
    op.execute("ALTER TABLE amqp_requests ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE amqp_requests FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY owned ON amqp_requests USING ({SEEN})")
    op.add_column("deliveries", sa.Column("route", sa.Text(), nullable=True))
    op.alter_column("deliveries", "endpoint_id", existing_type=sa.Uuid(), nullable=True)
    op.create_check_constraint("deliveries_somewhere", "deliveries", "(endpoint_id IS NULL) <> (route IS NULL)")
    op.drop_index("deliveries_due", table_name="deliveries")
    for name, column in (("deliveries_due", "endpoint_id"), ("deliveries_due_by_message", "route")):
        due = sa.text(f"state = 'pending' AND {column} IS NOT NULL")
        op.create_index(name, "deliveries", ["next_at"], postgresql_where=due)


def downgrade() -> None:
    op.execute("DELETE FROM outbox_events e USING deliveries d WHERE d.event_id = e.id AND d.route IS NOT NULL")
    op.drop_index("deliveries_due_by_message", table_name="deliveries")
    op.drop_index("deliveries_due", table_name="deliveries")
    op.create_index("deliveries_due", "deliveries", ["next_at"], postgresql_where=sa.text("state = 'pending'"))
    op.drop_constraint("deliveries_somewhere", "deliveries")
    op.alter_column("deliveries", "endpoint_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_column("deliveries", "route")
    op.drop_table("amqp_requests")
