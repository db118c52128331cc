"""What arq calls: decode the argument, hand over."""

from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

if TYPE_CHECKING:
    from workers.main import Attendance


class WorkerContext(TypedDict):
    attendance: "Attendance"


async def transcribe(ctx: WorkerContext, job_id: str) -> None:
    await ctx["attendance"].attend(UUID(job_id))
