"""Videos with subtitles, and what was last asked of a recording through the subtitles dialect."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables import NOW, Base
from domain.access import LOCAL_OWNER
from domain.videos import VideoState


class Video(Base):
    """A video that is made of a job's recording and its cues; it goes with the recording."""

    __tablename__ = "videos"
    __table_args__ = (
        Index("videos_of_job", "job_id"),
        Index("videos_waiting", "run_at", postgresql_where=text("state = 'queued'")),
        Index("videos_working", "lease_until", postgresql_where=text("state = 'processing'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    profile: Mapped[str]
    mode: Mapped[str]

    state: Mapped[VideoState] = mapped_column(Text(), server_default=VideoState.QUEUED)
    fence: Mapped[int] = mapped_column(server_default="0")
    """Grows whenever a worker takes it up: one that lost its lease writes nothing, and its object is nobody's."""
    attempts: Mapped[int] = mapped_column(server_default="0")
    crash_count: Mapped[int] = mapped_column(server_default="0")
    worker_id: Mapped[str | None]
    run_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_until: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(server_default="0")
    """Share of the video that is made, 0 to 1."""

    object_key: Mapped[str | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger())
    seconds: Mapped[float | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    notices: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'::jsonb"))
    error_details: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Run(Base):
    """What was last asked of a recording: what is to come out, and of which job."""

    __tablename__ = "runs"
    __table_args__ = (Index("runs_heard_by", "heard_by"),)

    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(server_default=LOCAL_OWNER)
    heard_by: Mapped[UUID] = mapped_column(ForeignKey("transcript_jobs.id", ondelete="CASCADE"))
    """The job whose transcript it is: the recording's own, or one on a copy, with another model."""
    output_type: Mapped[str]
    format: Mapped[str]
    profile: Mapped[str]
    video_id: Mapped[UUID | None] = mapped_column(ForeignKey("videos.id", ondelete="SET NULL"))
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
