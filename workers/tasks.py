"""What arq calls: decode the argument, hand over."""

from typing import TypedDict
from uuid import UUID

from workers.attendance import Attendance


class WorkerContext(TypedDict):
    attendance: Attendance


async def transcribe(ctx: WorkerContext, job_id: str) -> None:
    await ctx["attendance"].attend(UUID(job_id))
