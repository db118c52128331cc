"""The tables, and the trigger that holds the life of a job a second time."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from domain.access import LOCAL_OWNER
from domain.lanes import Lane
from domain.lifecycle import MOVES, TERMINAL, JobState

NOW = text("now()")


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads a plain dict
        str: Text(),
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB(),
        list[dict[str, Any]]: JSONB(),
        list[str]: ARRAY(Text()),
    }


class Transcript(Base):
    """What a recording said: the job's public half, which outlives the job's audio."""

    __tablename__ = "transcripts"
    __table_args__ = (
        Index("transcripts_by_session", "owner", "session_id", postgresql_where=text("session_id IS NOT NULL")),
        Index(
            "transcripts_by_speed",
            "engine",
            text("created_at DESC"),
            postgresql_where=text("engine_seconds IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    session_id: Mapped[UUID | None]
    filename: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default=JobState.PROCESSING)
    language: Mapped[str | None]
    duration: Mapped[float | None]
    engine: Mapped[str | None]
    engine_reason: Mapped[str | None]
    engine_seconds: Mapped[float | None]
    """How long the engine was at it, waiting for its turn and loading left out; None where it did not do all of it."""
    model: Mapped[str | None]
    segments_count: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Job(Base):
    """One job. Its state, fence and result pointer are moved by `db.jobs` alone, each by one guarded UPDATE."""

    __tablename__ = "transcript_jobs"
    __table_args__ = (
        CheckConstraint(
            f"state IN ({', '.join(repr(str(state)) for state in JobState)})", name="transcript_jobs_state"
        ),
        CheckConstraint(f"lane IN ({', '.join(repr(str(lane)) for lane in Lane)})", name="transcript_jobs_lane"),
        Index("transcript_jobs_waiting", "run_at", "id", postgresql_where=text("state = 'queued'")),
        Index(
            "transcript_jobs_in_line",
            *("lane", "owner", "engine", text("(source_key IS NULL)"), "run_at", "id"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index("transcript_jobs_turns", "lane", "owner", "started_at", postgresql_where=text("started_at IS NOT NULL")),
        Index("transcript_jobs_working", "lease_until", postgresql_where=text("state = 'processing'")),
        Index("transcript_jobs_pending", "created_at", postgresql_where=text("state = 'pending'")),
        Index("transcript_jobs_children", "parent_job_id", postgresql_where=text("parent_job_id IS NOT NULL")),
        Index("transcript_jobs_listed", "owner", text("created_at DESC"), text("id DESC")),
        Index(
            "transcript_jobs_with_audio",
            "completed_at",
            postgresql_where=text("audio_deleted_at IS NULL AND completed_at IS NOT NULL"),
        ),
        Index(
            "transcript_jobs_to_erase",
            "id",
            postgresql_where=text("erase_requested_at IS NOT NULL AND erased_at IS NULL"),
        ),
        Index(
            "transcript_jobs_ended",
            "completed_at",
            postgresql_where=text("completed_at IS NOT NULL AND erase_requested_at IS NULL"),
        ),
        Index(
            "transcript_jobs_to_delete",
            "completed_at",
            postgresql_where=text(
                "delete_after_seconds IS NOT NULL AND completed_at IS NOT NULL AND erase_requested_at IS NULL"
            ),
        ),
        Index("transcript_jobs_tombs", "erased_at", postgresql_where=text("erased_at IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(Computed("id::text", persisted=True))
    """The id as text, for those who read the table with SQL as it was first published."""
    transcript_id: Mapped[UUID] = mapped_column(ForeignKey("transcripts.id"), unique=True)
    parent_job_id: Mapped[UUID | None]
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    profile_id: Mapped[UUID | None]
    """The owner's profile that it is counted under."""

    lane: Mapped[Lane] = mapped_column(Text(), server_default=Lane.NORMAL)
    state: Mapped[JobState] = mapped_column(Text(), server_default=JobState.QUEUED)
    seq: Mapped[int] = mapped_column(server_default="1")
    """Number of the last durable event: one for every change of state."""
    fence: Mapped[int] = mapped_column(server_default="0")
    """Grows with every claim and is never reused: a worker whose fence is old writes nothing."""
    result_key: Mapped[str | None]
    """The object that holds the transcript; set once, by the completion that won."""

    engine: Mapped[str]
    """What was asked for; `auto` stays here, and what ran is `transcripts.engine`."""
    engine_params: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    attempts: Mapped[int] = mapped_column(server_default="0")
    """Tries that an engine's transient failure has cost."""
    max_retries: Mapped[int] = mapped_column(server_default="3")
    crash_count: Mapped[int] = mapped_column(server_default="0")
    """Leases that ran out: a budget of its own."""
    worker_id: Mapped[str | None]
    run_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_until: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    erase_requested_at: Mapped[datetime | None]
    """From here on the job is gone to its owner; what is left of it goes as soon as no worker holds it."""
    erased_at: Mapped[datetime | None]
    """When the last object was gone, and how many there were."""
    objects_deleted: Mapped[int | None]
    delete_after_seconds: Mapped[int | None]
    """Its owner's wish: erase it so long after its end."""
    dispatch_no: Mapped[int] = mapped_column(server_default="1")
    dispatched_at: Mapped[datetime] = mapped_column(server_default=NOW)

    stage: Mapped[str | None]
    message: Mapped[str | None]
    audio_seconds: Mapped[float | None]
    audio_done: Mapped[float | None]
    segments_n: Mapped[int] = mapped_column(server_default="0")
    """Segments kept of the present fence."""

    source_key: Mapped[str | None]
    """The object that holds the recording, or will: None before it is known which, and once it is deleted."""
    source_bytes: Mapped[int | None] = mapped_column(BigInteger())
    """None, as the hash, while the recording is still to come."""
    source_sha256: Mapped[str | None]
    content_type: Mapped[str | None]
    """Of the recording, as the decoder found it."""
    audio_deleted_at: Mapped[datetime | None]

    error_details: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class RecordingUrl(Base):
    """Where the recording of a job is to be fetched from. A table of its own, so that no other query reads a secret."""

    __tablename__ = "recording_urls"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    url: Mapped[str]


class Sending(Base):
    """How the recording of a job is sent to the store, past the API: in parts of `part_bytes`, the last one shorter."""

    __tablename__ = "sendings"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    name: Mapped[str]
    """What the store calls it."""
    size_bytes: Mapped[int] = mapped_column(BigInteger())
    part_bytes: Mapped[int] = mapped_column(BigInteger())
    sha256: Mapped[str | None]
    """As the sender said; a worker looks whether it is so."""


class JobEvent(Base):
    """The durable events of a job, numbered without gaps, written in the transaction that they tell of."""

    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    event: Mapped[dict[str, Any]]


class Segment(Base):
    """Segments as they were recognised, kept while the job runs so that a stream can be replayed."""

    __tablename__ = "transcript_segments"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    segment: Mapped[dict[str, Any]]


class SpeakerEdits(Base):
    """What a person said of a transcript's speakers: an overlay, as the transcript itself is never changed."""

    __tablename__ = "speaker_edits"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id"), primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    edits: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Context(Base):
    """A vocabulary of an owner's. A job keeps the terms it was submitted with, so a replaced one changes no job."""

    __tablename__ = "contexts"
    __table_args__ = (Index("contexts_listed", "owner", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    name: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    terms: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'::jsonb"))
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class IdempotencyKey(Base):
    """What was answered to a submission that may be sent again; hashed, as a caller may put a name into a key."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idempotency_keys_by_age", "created_at"),)

    owner: Mapped[str] = mapped_column(primary_key=True, server_default=LOCAL_OWNER)
    key_sha256: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    receipt: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class AmqpRequest(Base):
    """One try at a request by message. What is owed to whoever sent it, its answer or the next try, has its id."""

    __tablename__ = "amqp_requests"
    __table_args__ = (
        UniqueConstraint("owner", "key_sha256", name="amqp_requests_once"),
        Index("amqp_requests_of_first", "first_id"),
        Index("amqp_requests_by_age", "answered_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    first_id: Mapped[UUID]
    """The first try; its own id, where it is that."""
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="CASCADE"), unique=True)
    """None where it was refused."""
    key_sha256: Mapped[str | None]
    """Keeps a message that comes again from being another request; None once it may be."""
    named: Mapped[bool]
    """Whether its sender gave it a name of its own, under which no second request can come."""
    attachment_id: Mapped[int] = mapped_column(BigInteger())
    import_batch_id: Mapped[int | None] = mapped_column(BigInteger())
    retry_count: Mapped[int]
    model: Mapped[str]
    """What its answer calls the model where none has heard it."""
    body: Mapped[bytes | None]
    """As it came; None once its job has been erased, or where it was refused."""
    file_mark: Mapped[str | None]
    """Tells the file that was read from another of its name."""
    acked_at: Mapped[datetime | None]
    """When the broker was told that it need not be sent again."""
    answered_at: Mapped[datetime | None]
    """When the answer to the last try had been delivered."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class StreamTicket(Base):
    """Lets whoever holds it open one stream, once, within seconds: for browsers, whose EventSource sends no header."""

    __tablename__ = "stream_tickets"

    ticket_sha256: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    proof: Mapped[str | None]
    """What whoever got it had shown: the stream ends when that is good no more."""
    expires_at: Mapped[datetime]


class EngineReport(Base):
    """What workers last said of each engine; kept when no worker lives."""

    __tablename__ = "engine_reports"

    worker_id: Mapped[str] = mapped_column(primary_key=True)
    engine: Mapped[str] = mapped_column(primary_key=True)
    report: Mapped[dict[str, Any]]
    reported_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Duty(Base):
    """Who does a platform-wide duty now: a lease, so that many workers have one sweeper."""

    __tablename__ = "duties"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]


def guard_function() -> str:
    """The body of the trigger on `transcript_jobs`, generated from the same table of moves as the guards."""
    moves = ",\n        ".join(sorted(f"'{move.source}>{move.target}'" for move in MOVES if move.source != move.target))
    ended = ", ".join(sorted(f"'{state}'" for state in TERMINAL))
    return f"""
BEGIN
    IF OLD.state <> NEW.state AND (OLD.state || '>' || NEW.state) NOT IN ({moves}) THEN
        RAISE EXCEPTION 'a % job cannot become %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'a fence never falls' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state IN ({ended}) AND NEW.state = OLD.state
       AND (OLD.fence, OLD.seq, OLD.result_key) IS DISTINCT FROM (NEW.fence, NEW.seq, NEW.result_key) THEN
        RAISE EXCEPTION 'a % job does not change', OLD.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
"""
