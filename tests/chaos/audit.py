"""What must hold of every job that has ended, whatever was done to the platform meanwhile; read past all its doors."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tests.chaos.campaign import Campaign
from tests.chaos.ground import TERMINAL

ENDS = "('completed', 'failed', 'cancelled')"

COURSE = f"""
SELECT j.id, j.state, j.seq, j.result_key, j.segments_n, t.status, t.segments_count,
    count(e.seq) AS events,
    max(e.seq) AS last,
    count(e.seq) FILTER (WHERE e.event->>'status' IN {ENDS}) AS ends,
    max(e.seq) FILTER (WHERE e.event->>'status' IN {ENDS}) AS end_at,
    (SELECT count(*) FROM transcript_segments s WHERE s.job_id = j.id AND s.fence = j.fence) AS segments
FROM transcript_jobs j JOIN transcripts t ON t.id = j.transcript_id LEFT JOIN job_events e ON e.job_id = j.id
WHERE j.id = ANY($1::uuid[]) GROUP BY j.id, t.id
"""


async def expect_one_end_each(campaign: Campaign[Any], jobs: Sequence[UUID], *, patience: float = 30.0) -> None:
    """Wait for all to end, then look each of them over."""
    ground = campaign.ground
    campaign.expect("not terminal", len(await ground.all_end(jobs, patience=patience)))
    rows = await ground.sql.fetch(COURSE, list(jobs))
    campaign.expect("jobs lost", len(jobs) - len(rows))
    campaign.expect("jobs with other than one end", sum(row["ends"] != 1 for row in rows))
    campaign.expect("jobs with gaps in seq", sum(not row["events"] == row["last"] == row["seq"] for row in rows))
    campaign.expect("jobs with events after the end", sum(row["end_at"] not in (None, row["last"]) for row in rows))
    unlike = sum(row["status"] != row["state"] for row in rows if row["state"] in TERMINAL)
    campaign.expect("transcripts that say something else", unlike)
    completed = [row for row in rows if row["state"] == "completed"]
    campaign.count("completed", len(completed))
    named = sum((row["result_key"] is None) == (row["state"] == "completed") for row in rows)
    campaign.expect("successes without a result, ends with one", named)
    there = ground.all_objects()
    campaign.expect("results that are not there", sum(row["result_key"] not in there for row in completed))
    cut = sum(not row["segments"] == row["segments_n"] == row["segments_count"] for row in completed)
    campaign.expect("streams with other segments than the result", cut)
