"""How processes call one another. Everything here may be lost at any time: PostgreSQL has the truth."""

from collections.abc import AsyncIterator, Iterable
from typing import Protocol
from uuid import UUID

from domain.events import Event


class Queue(Protocol):
    """A doorbell for workers: it may ring twice or not at all, and a ring for a job that is gone does no harm."""

    async def ring(self, job_id: UUID, dispatch_no: int) -> bool:
        """Tell a worker of a job, best effort; False where nobody could be told. An absent queue raises nothing.

        A ring takes the place of the one numbered before it.
        """
        ...

    async def waiting(self, jobs: Iterable[tuple[UUID, int]]) -> set[UUID] | None:
        """Which of these (job, dispatch number) pairs nobody has picked up yet; None where the queue is away."""
        ...

    async def close(self) -> None: ...


class Events(Protocol):
    """Announcements to whoever listens now."""

    async def publish(self, event: Event) -> None:
        """Tell listeners and keep the job's status key up to date, best effort. An absent broker raises nothing."""
        ...

    async def latest(self, job_id: UUID) -> Event | None:
        """The last announcement about a job, or None where there is none or the broker is away."""
        ...

    def listen(self) -> AsyncIterator[Event | None]:
        """Every announcement about every job, for ever; reconnects by itself.

        None is yielded whenever announcements may have been missed (each time a connection has been made).
        """
        ...

    async def forget(self, job_id: UUID) -> None:
        """Remove what is kept about a job, best effort."""
        ...

    async def close(self) -> None: ...
