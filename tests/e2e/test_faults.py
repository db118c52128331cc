"""Real processes, killed in the middle of a job: every job completes, and only the guilty are charged."""

import time
from pathlib import Path

import pytest

from tests.e2e.conftest import LEASE_SECONDS
from tests.support.waiting import until
from tests.support.whole import Whole


@pytest.fixture(scope="module")
def recording(shared_data: Path) -> Path:
    return shared_data / "long" / "two_cities_16k.wav"


@pytest.fixture(scope="module")
def undisturbed(whole: Whole, recording: Path) -> object:
    """What the recording says when nothing happens to its job."""
    job_id = whole.submit(recording, engine="sphinx")
    until(lambda: whole.status(job_id)["status"] == "completed", within=120)
    return whole.result(job_id)["text"]


def in_the_middle(whole: Whole, recording: Path) -> str:
    """A job that is being heard."""
    job_id = whole.submit(recording, engine="sphinx")
    until(lambda: 5 < int(str(whole.status(job_id)["progress"])) < 95, within=60)
    return job_id


def finished(whole: Whole, job_id: str) -> object:
    until(lambda: whole.status(job_id)["status"] in ("completed", "failed", "cancelled"), within=120)
    status = whole.status(job_id)
    assert status["status"] == "completed", status
    return whole.result(job_id)["text"]


@pytest.mark.parametrize("victim", ["engine child", "engine server", "redis", "postgres", "api"])
def test_a_killed_part_costs_no_job(whole: Whole, recording: Path, undisturbed: object, victim: str) -> None:
    job_id = in_the_middle(whole, recording)
    whole.kill(victim)
    until(whole.answers, within=60)
    assert finished(whole, job_id) == undisturbed


def test_a_killed_worker_costs_no_job(whole: Whole, recording: Path, undisturbed: object) -> None:
    job_id = in_the_middle(whole, recording)
    pid = int(str(whole.status(job_id)["worker_id"]).split("-")[-2])
    whole.kill("worker", pid=pid)
    assert finished(whole, job_id) == undisturbed


def test_killing_everything_costs_no_job(whole: Whole, recording: Path, undisturbed: object) -> None:
    job_id = in_the_middle(whole, recording)
    waiting = [whole.submit(recording, engine="sphinx") for _ in range(2)]
    whole.kill_everything()
    whole.start()
    assert [finished(whole, each) for each in (job_id, *waiting)] == [undisturbed] * 3


def test_a_database_that_stops_for_a_while_charges_nobody(whole: Whole, recording: Path, undisturbed: object) -> None:
    jobs = [in_the_middle(whole, recording), *(whole.submit(recording, engine="sphinx") for _ in range(2))]
    with whole.stopped("postgres"):
        time.sleep(2 * LEASE_SECONDS)  # the fault itself: the database is away for longer than a lease lasts
    assert [finished(whole, job_id) for job_id in jobs] == [undisturbed] * 3
    assert [crashes(whole, job_id) for job_id in jobs] == [0, 0, 0]


def crashes(whole: Whole, job_id: str) -> int:
    return int(str(whole.status(job_id)["crash_count"]))
