"""What must hold in every world: looked at with every commit, every second, and when all is said."""

import asyncio
from collections import Counter

from domain.lifecycle import ENDED, MAX_CRASHES, TERMINAL, JobState, allowed
from services import attempts
from storage import layout
from tests.simulation.clients import Client
from tests.simulation.climate import Kind, Recording
from tests.simulation.database import Transaction
from tests.simulation.loop import Process
from tests.simulation.rows import JobRow
from tests.simulation.world import World
from workers.pipeline import BEATS_PER_LEASE

CANCEL_SECONDS = 6.0
"""P7: how long a wish to cancel may take while nothing is broken."""

MENDING_SECONDS = 40.0
"""Lease, duty, sweep and a pause of the sweeper: how long after a fault the platform may take to be as before."""

LAST_SECONDS = 240.0
"""After the storm: three lost leases one after another, retries with their delays, a deadline."""


class Watch:
    def __init__(self, world: World, clients: list[Client]) -> None:
        self._world, self._clients = world, clients
        self._crashes: dict[object, list[str]] = {}
        self._results: dict[str, bytes] = {}
        self._unheld: dict[tuple[Process, Recording], float] = {}
        world.database.observers.append(self.committed)

    # With every commit

    def committed(self, transaction: Transaction, moves: list[str], before: JobRow | None, after: JobRow) -> None:
        was = before.state if before else "nothing"
        self._world.tell("%s: %s, %s > %s, fence %d", after.id.hex[:6], "+".join(moves), was, after.state, after.fence)
        if before is None:
            return
        self._judge_move(moves, before, after)
        self._judge_charge(moves, before, after)
        self._judge_events(after)
        if after.state == JobState.COMPLETED and before.state != JobState.COMPLETED:
            self._judge_result(after)

    def _judge_move(self, moves: list[str], before: JobRow, after: JobRow) -> None:
        violate = self._world.violate
        if before.state != after.state and not allowed(before.state, after.state):
            violate(f"a {before.state} job became {after.state}")
        if after.fence - before.fence not in (0, 1) or (after.fence > before.fence and "claim" not in moves):
            violate(f"the fence went from {before.fence} to {after.fence}")
        told = (before.seq, before.fence, before.result_key), (after.seq, after.fence, after.result_key)
        if before.state in TERMINAL and after.state == before.state and told[0] != told[1]:
            violate(f"a {before.state} job changed")
        if after.state == JobState.PROCESSING and before.state == JobState.QUEUED and is_wished_away(before):
            violate("a job was begun that is to be cancelled")

    def _judge_charge(self, moves: list[str], before: JobRow, after: JobRow) -> None:
        if after.attempts > after.max_retries or after.crash_count > MAX_CRASHES:
            self._world.violate("a job was tried more often than its budgets allow")
        if after.attempts != before.attempts and "retry" not in moves:
            self._world.violate(f"{moves[-1]} was charged to the retries")
        if after.crash_count == before.crash_count:
            return
        if "end_lost" not in moves:
            self._world.violate(f"{moves[-1]} was charged to the crashes")
        self._judge_crash(before, after)

    def _judge_crash(self, before: JobRow, after: JobRow) -> None:
        """A crash is charged where the worker died of a fault or stood still; nothing else costs a job anything."""
        holder = self._world.processes[before.worker_id or ""]
        cause = self._world.deaths.get(holder.name, "stopped" if holder.ever_frozen else "nothing")
        if cause in ("nothing", "drained"):
            self._world.violate(f"a crash was charged though {holder.name} is well ({cause})")
        causes = self._crashes.setdefault(before.id, [])
        causes.append(cause)
        by_others = cause.startswith("poison") and cause != f"poison {self._recording(before).number}"
        if after.state == JobState.FAILED and by_others:
            self._world.violate(f"a job was failed for what another did: {causes}")

    def _judge_events(self, after: JobRow) -> None:
        if after.state == JobState.PURGED:
            return
        events = self._world.database.events(after.id)
        if [event.seq for event in events] != list(range(1, after.seq + 1)):
            self._world.violate(f"the events of a job at {after.seq} are {[event.seq for event in events]}")
        ends = [event for event in events if event.terminal]
        if len(ends) > 1 or (ends and events[-1] is not ends[0]):
            self._world.violate("a job has an event behind its end")

    def _judge_result(self, after: JobRow) -> None:
        if after.result_key != layout.result(after.owner, after.id, after.fence):
            self._world.violate("the result is not that of the attempt that completed the job")
        elif after.result_key not in self._world.objects.kept:
            self._world.violate("a job is completed and its result is not there")
        else:
            self._results[after.result_key] = self._world.objects.kept[after.result_key]
        if is_wished_away(after):
            self._world.violate("a job was completed that is to be cancelled")

    def _recording(self, row: JobRow) -> Recording:
        return self._world.by_sha[row.source_sha256]

    # Every second

    async def look(self) -> None:
        while True:
            await asyncio.sleep(1)
            for client in self._clients:
                self._judge_wish(client)
            self._judge_engines()

    def _judge_wish(self, client: Client) -> None:
        wished = client.cancelled_at if client.erased_at is None else client.erased_at
        row = None if client.job_id is None else self._world.database.job(client.job_id)
        if wished is None or row is None or row.state in ENDED:
            return
        now, calm = self._world.loop.now, self._world.calm_since
        was_calm = calm < wished - MENDING_SECONDS or calm == 0
        if now - max(wished, calm) > (CANCEL_SECONDS if was_calm else MENDING_SECONDS):
            self._world.violate(f"a job is {row.state} {now - wished:.0f} s after it was to be cancelled")

    def _judge_engines(self) -> None:
        """An engine that works for a worker whose job is gone must be stopped at its next heartbeat."""
        held = {row.source_sha256: row.worker_id for row in self._world.database.jobs() if row.lease_until is not None}
        holders = {self._world.by_sha[sha].number: worker for sha, worker in held.items()}
        now = self._world.loop.now
        self._unheld = {
            run: self._unheld.get(run, now)
            for run in self._world.hearing
            if holders.get(run[1].number) != run[0].name and not run[0].frozen
        }
        patience = attempts.lease(self._world.platform).total_seconds() / BEATS_PER_LEASE + 2
        for (process, _), since in self._unheld.items():
            if not self._world.stormy and now - max(since, self._world.calm_since) > patience:
                self._world.violate(f"an engine of {process.name} works on for a job that is not its own")

    # When all is said

    def is_settled(self) -> bool:
        rows = self._world.database.jobs()
        if self._world.stormy or any(process.frozen for process in self._world.processes.values() if process.alive):
            return False
        if not all(client.done for client in self._clients) or self._world.hearing:
            return False
        return all(row.state in ENDED for row in rows) and not any(
            row.erase_requested_at and row.erased_at is None for row in rows
        )

    def judge_unsettled(self) -> None:
        states = Counter(str(row.state) for row in self._world.database.jobs())
        undone = sum(not client.done for client in self._clients)
        self._world.violate(f"long after the last fault: jobs {dict(states)}, {undone} clients that wait")

    def judge_end(self) -> None:
        for client in self._clients:
            row = self._world.database.job(client.receipts[0].job_id)
            assert row is not None
            self._judge_outcome(client, row)
            self._judge_listeners(client, row)
        made = Counter(row.source_sha256 for row in self._world.database.jobs())
        if len(made) != len(self._clients) or max(made.values()) > 1:
            self._world.violate(f"{len(self._clients)} keys have {made.total()} jobs")

    def _judge_outcome(self, client: Client, row: JobRow) -> None:
        code = (row.error_details or {}).get("code")
        if row.state == JobState.FAILED and code == "internal":
            self._world.violate("a job failed of an error that nobody foresaw")
        if row.state == JobState.CANCELLED and client.cancelled_at is None:
            self._world.violate("a job was cancelled without a wish")
        if row.state == JobState.PURGED and client.erased_at is None:
            self._world.violate("a job was erased without a wish")
        if row.result_key is not None and self._world.objects.kept.get(row.result_key) != self._results[row.result_key]:
            self._world.violate("a result is gone or was overwritten")
        is_counted = ("usage", row.id) in self._world.database.rows
        if is_counted and row.state == JobState.CANCELLED and not row.audio_done:
            self._world.violate("a cancelled job of which nothing was heard is counted")
        if row.state in TERMINAL - {JobState.CANCELLED} and is_counted != (row.state == JobState.COMPLETED):
            self._world.violate(f"a job that was {row.state} is counted wrongly")
        if row.state == JobState.COMPLETED and client.recording.kind in (Kind.BAD, Kind.POISON, Kind.STUCK):
            self._world.violate(f"a {client.recording.kind} job was completed")
        transcript = self._world.database.rows["transcript", row.transcript_id]
        if row.state in TERMINAL and transcript.status != row.state:
            self._world.violate(f"the transcript of a {row.state} job is {transcript.status}")

    def _judge_listeners(self, client: Client, row: JobRow) -> None:
        for listener in client.listeners:
            if listener.end is None and row.state != JobState.PURGED:
                self._world.violate("a client was never told the end")
            if listener.end is not None and listener.end.status != row.state and row.state != JobState.PURGED:
                self._world.violate(f"a client was told {listener.end.status} of a job that is {row.state}")


def is_wished_away(row: JobRow) -> bool:
    return row.cancel_requested_at is not None
