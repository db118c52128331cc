"""What the simulation has found in the platform and is not mended yet, each with the change that would mend it.

They are mended while other seeds are looked for; `--as-it-is` leaves them. One that is mended for good goes from here.
"""

from tests.simulation.patches import Patch

FINDINGS: tuple[Patch, ...] = (
    Patch(
        "a wish to cancel that comes with the end waits for the lease",
        "workers.pipeline:_stop",
        "if standing == Standing.CANCEL:",
        "if standing in (Standing.CANCEL, Standing.LOST):",
        "`complete` is refused for the wish, which is taken for a lost job: nobody cancels it before the lease ends",
    ),
    Patch(
        "an end that comes between two looks is told without its segments",
        "services.following:_missed",
        """        found = await jobs.get(session, job_id, owner=None)
        if found is None or found[0].state == JobState.PURGED:
            raise JobNotFound
        job, transcript = found
        states = await history.events_after(session, job_id, cursor.seq)
""",
        """        states = await history.events_after(session, job_id, cursor.seq)
        found = await jobs.get(session, job_id, owner=None)
        if found is None or found[0].state == JobState.PURGED:
            raise JobNotFound
        job, transcript = found
""",
        "the row is read before the events: a claim and an end between the two leave the end without text and result",
    ),
    Patch(
        "a process that stands still in a transaction holds up whoever needs its rows",
        "tests.simulation.database:idle_seconds",
        "return None",
        "return 3.0",
        "a door stopped in a cancel keeps the row's lock, so heartbeats wait until the lease is gone; one that is cut "
        "off keeps it until TCP gives up; `db.session` is to set idle_in_transaction_session_timeout",
    ),
    Patch(
        "a sweeper that has just begun knows of no pause",
        "services.upkeep:Pulse.paused",
        "self._last is not None and",
        "self._last is None or",
        "after a night, or an outage of PostgreSQL, a worker that starts charges those who are well at once; the "
        "change here costs a lease of recovery, so the duty's row had better say since when nobody swept",
    ),
)
