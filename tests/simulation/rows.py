"""Rows as the simulated database keeps them: never changed, only replaced, so that a transaction's view costs nothing.

The columns are those of `db.tables`; services read them by the same names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from domain.access import LOCAL_OWNER
from domain.lanes import Lane
from domain.lifecycle import MAX_RETRIES, JobState

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class JobRow:
    id: UUID
    transcript_id: UUID
    engine: str
    run_at: datetime
    dispatched_at: datetime
    created_at: datetime
    updated_at: datetime
    parent_job_id: UUID | None = None
    owner: str = LOCAL_OWNER
    profile_id: UUID | None = None
    lane: Lane = Lane.NORMAL
    state: JobState = JobState.QUEUED
    seq: int = 1
    fence: int = 0
    result_key: str | None = None
    engine_params: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    max_retries: int = MAX_RETRIES
    crash_count: int = 0
    worker_id: str | None = None
    lease_until: datetime | None = None
    deadline_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    erase_requested_at: datetime | None = None
    erased_at: datetime | None = None
    objects_deleted: int | None = None
    delete_after_seconds: int | None = None
    dispatch_no: int = 1
    stage: str | None = None
    message: str | None = None
    audio_seconds: float | None = None
    audio_done: float | None = None
    segments_n: int = 0
    source_key: str | None = None
    source_bytes: int | None = None
    source_sha256: str | None = None
    content_type: str | None = None
    audio_deleted_at: datetime | None = None
    error_details: Mapping[str, Any] | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TranscriptRow:
    id: UUID
    created_at: datetime
    updated_at: datetime
    owner: str = LOCAL_OWNER
    session_id: UUID | None = None
    filename: str | None = None
    status: str = JobState.PROCESSING
    language: str | None = None
    duration: float | None = None
    engine: str | None = None
    engine_reason: str | None = None
    engine_seconds: float | None = None
    model: str | None = None
    segments_count: int | None = None


@dataclass(frozen=True, slots=True)
class DutyRow:
    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class KeyRow:
    owner: str
    key_sha256: str
    request_sha256: str
    receipt: Mapping[str, Any]
    created_at: datetime
