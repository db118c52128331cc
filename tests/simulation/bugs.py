"""Bugs planted in the platform, or in what is simulated of its SQL, to show that the simulation would find them."""

from tests.simulation.patches import Patch

BUGS: tuple[Patch, ...] = (
    Patch(
        "no-fence",
        "tests.simulation.decide:complete",
        "row.fence != fence or ",
        "",
        "a zombie completes a job that another worker has",
    ),
    Patch(
        "retry-ignores-cancel",
        "tests.simulation.decide:_returned",
        "unwanted = is_unwanted(row)",
        "unwanted = False",
        "a job goes back to the queue although it is to be cancelled, where nobody may claim it",
    ),
    Patch(
        "no-new-number",
        "services.upkeep:redispatch",
        "numbered = await sweeps.renumber(session, lost)",
        "numbered = [pair for pair in stale if pair[0] in lost]",
        "a ring that a worker took to its grave is rung again under the number that is marked as taken",
    ),
    Patch(
        "sweeper-off",
        "workers.schedule:Sweeper.sweep",
        "if await upkeep.take_duty(self._platform, self._pulse, holder=self._worker):",
        "if False:",
        "nobody looks for lost workers and lost rings",
    ),
    Patch(
        "publish-before-commit",
        "services.attempts:fail",
        "    return await _announce(platform, job)",
        "        return await _announce(platform, job)",
        "an end is announced that may not come to be",
    ),
    Patch(
        "deaf-heartbeat",
        "workers.pipeline:_beat",
        "if standing != Standing.OURS:",
        "if standing == Standing.OVERDUE:",
        "a worker that has lost its job works on",
    ),
    Patch(
        "timid-heartbeat",
        "workers.pipeline:_beat",
        """log.warning("no heartbeat: the database is away")
            continue""",
        "return Standing.LOST",
        "a database that does not answer is taken for a lost job",
    ),
    Patch(
        "snapshot-first",
        "services.following:_follow",
        """        yield standing(job, transcript), None
""",
        """        yield standing(job, transcript), None
        job = (await _look(platform, caller, job_id, follower.position)).job
""",
        "what happens between the snapshot and the second look is taken for told",
    ),
    Patch(
        "hints-are-believed",
        "services.following:Position.after",
        "event.seq <= self.seq + 1",
        "event.seq > 0",
        "an announcement behind one that was lost is told in its place",
    ),
    Patch(
        "no-repair",
        "services.following:Hub._repair",
        "if follower.position is not None and positions.get(job_id) != follower.position:",
        "if False:",
        "a follower whose last hint was lost waits for ever",
    ),
    Patch(
        "charged-drain",
        "tests.simulation.decide:release",
        "run_at=now + delay, dispatch_no",
        "attempts=row.attempts + 1, run_at=now + delay, dispatch_no",
        "a worker that shuts down costs its jobs a try",
    ),
    Patch(
        "late-key",
        "services.submission:submit",
        """            if key is not None:
                await once.remember(session, caller, key, request, receipt.to_json())
""",
        """        if key is not None:
            async with platform.sessions.begin() as session:
                await once.remember(session, caller, key, request, receipt.to_json())
""",
        "a submission is remembered after the commit that makes its job",
    ),
    Patch(
        "no-extension",
        "services.upkeep:rescue",
        "if pulse.paused():",
        "if False:",
        "after a night every worker is taken for dead",
    ),
    Patch(
        "no-quarantine",
        "workers.pipeline:attempt_at",
        "if waiting.suspect and elsewhere is not None:",
        "if False:",
        "a job that kills its workers takes the same jobs along three times",
    ),
    Patch(
        "one-result-for-all",
        "storage.layout:result",
        "result/{fence}.json.zst",
        "result/0.json.zst",
        "a zombie overwrites the result of the attempt that won, or deletes it",
    ),
)
