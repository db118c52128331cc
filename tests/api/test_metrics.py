"""GET /metrics: figures that are true, for whoever may see them, and no more series for whatever a caller sends."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api import scrape
from api.scrape import Scrape
from config.load import load_settings
from domain.capabilities import EngineReport
from domain.errors import NoAudio
from domain.lanes import Lane
from domain.lifecycle import JobState
from services import attempts, engine_reports
from services.platform import Platform
from tests.api.conftest import JOBS, serving
from tests.support.audio import tone
from tests.support.endpoints import endpoint, having, run_sql
from tests.support.jobs import NOBODY_HEARD, claimed, force, in_state, make_job
from tests.support.people import administrator, key_of, person
from tests.support.receiver import Receiver
from tests.support.waiting import eventually

TOKEN = "a token for scrapers, of 32 bytes"

Samples = dict[tuple[str, tuple[str, ...]], float]


def parsed(text: str) -> Samples:
    """Values by name and labels, these in the order of their names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module", autouse=True)
def nothing_is_kept() -> Iterator[None]:
    """What a test did, its next look is to see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrape, "FRESH_SECONDS", 0.0)
        yield


@pytest.fixture
async def look(platform: Platform) -> Callable[[], Awaitable[Samples]]:
    async def look() -> Samples:
        return parsed((await Scrape(platform).answer()).decode())

    return look


Look = Callable[[], Awaitable[Samples]]


async def test_the_line_is_told_by_engine_and_how_long_its_first_has_waited(
    platform: Platform, client: httpx.AsyncClient, look: Look
) -> None:
    before = await look()
    first = await make_job(platform, engine="english")
    await make_job(platform, engine="english")
    later = await make_job(platform, engine="english")
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() - interval '70 s' WHERE id = '{first}'")
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() + interval '1 h' WHERE id = '{later}'")
    now = await look()
    of_english = ("english",)
    assert now["escriba_queue_jobs", of_english] - before["escriba_queue_jobs", of_english] == 3
    assert now["escriba_queue_later_jobs", of_english] - before["escriba_queue_later_jobs", of_english] == 1
    assert 70 <= now["escriba_queue_oldest_seconds", of_english] < 600
    assert now["escriba_queue_oldest_seconds", ("scripted",)] == 0


async def test_each_lane_tells_what_waits_in_it_and_how_long_its_first_has_waited(
    platform: Platform, look: Look
) -> None:
    before = await look()
    first, later = [await make_job(platform, lane=Lane.INTERACTIVE) for _ in range(2)]
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() - interval '50 s' WHERE id = '{first}'")
    await force(platform, f"UPDATE transcript_jobs SET run_at = now() + interval '1 h' WHERE id = '{later}'")
    now = await look()
    grown = {lane: now["escriba_lane_jobs", (lane,)] - before["escriba_lane_jobs", (lane,)] for lane in Lane}
    assert grown == {Lane.INTERACTIVE: 2, Lane.NORMAL: 0, Lane.BULK: 0}
    assert 50 <= now["escriba_lane_oldest_seconds", ("interactive",)] < 600
    assert now["escriba_lane_oldest_seconds", ("bulk",)] == 0


async def test_recordings_that_wait_to_be_run_are_told(platform: Platform, look: Look) -> None:
    job_id = await in_state(platform, JobState.PENDING)
    assert (await look())["escriba_pending_jobs", ()] == 1
    await force(platform, f"DELETE FROM transcript_jobs WHERE id = '{job_id}'")


async def test_workers_that_have_gone_silent_show_in_their_jobs(platform: Platform, look: Look) -> None:
    attempt = await claimed(platform)
    held = await look()
    assert (held["escriba_processing_jobs", ("auto",)], held["escriba_lost_jobs", ("auto",)]) == (1, 0)
    silent = f"SET lease_until = now() - interval '1 s', crash_count = 1 WHERE id = '{attempt.job_id}'"
    await force(platform, f"UPDATE transcript_jobs {silent}")
    lost = await look()
    assert (lost["escriba_lost_jobs", ("auto",)], lost["escriba_crashed_jobs", ("auto",)]) == (1, 1)
    await force(platform, f"DELETE FROM transcript_jobs WHERE id = '{attempt.job_id}'")


async def test_jobs_that_ended_lately_are_told_by_how(platform: Platform, look: Look) -> None:
    before = await look()
    assert await attempts.complete(platform, await claimed(platform), NOBODY_HEARD)
    assert await attempts.fail(platform, await claimed(platform), NoAudio(), retryable=False)
    long_ago = await claimed(platform)
    assert await attempts.complete(platform, long_ago, NOBODY_HEARD)
    ended = f"SET completed_at = now() - interval '1 h' WHERE id = '{long_ago.job_id}'"
    await force(platform, f"UPDATE transcript_jobs {ended}")
    now = await look()
    name = "escriba_jobs_ended_lately"
    grown = {state: now[name, (state,)] - before[name, (state,)] for state in ("completed", "failed", "cancelled")}
    assert grown == {"completed": 1, "failed": 1, "cancelled": 0}


async def test_what_is_owed_and_late_is_told(
    platform: Platform, receiver: Receiver, nothing_owed: None, look: Look
) -> None:
    assert (await look())["escriba_deliveries_pending", ()] == 0
    await endpoint(having(platform, allow_http=True, allow_private=True), receiver.url)
    assert await attempts.complete(platform, await claimed(platform), NOBODY_HEARD)
    late = "SET next_at = now() - interval '90 s', created_at = now() - interval '200 s'"
    await run_sql(platform, f"UPDATE deliveries {late}")
    now = await look()
    assert (now["escriba_deliveries_pending", ()], now["escriba_webhooks", ("active",)]) == (1, 1)
    assert 90 <= now["escriba_deliveries_overdue_seconds", ()] < 150
    assert 200 <= now["escriba_deliveries_oldest_seconds", ()] < 300


async def test_engines_and_workers_are_told(platform: Platform, client: httpx.AsyncClient, look: Look) -> None:
    now = await look()
    assert now["escriba_workers", ()] == 1
    assert (now["escriba_engine_available", ("scripted",)], now["escriba_engine_available", ("asr",)]) == (1, 0)
    await engine_reports.record(
        platform, worker="worker-2", reports=[EngineReport(engine="broken", available=False, reason="it is", load=3)]
    )
    now = await look()
    assert (now["escriba_engine_available", ("broken",)], now["escriba_engine_load", ("broken",)]) == (0, 3)


async def test_an_engine_that_nobody_knows_any_more_has_no_series_of_its_own(platform: Platform, look: Look) -> None:
    job_id = await make_job(platform)
    await force(platform, f"UPDATE transcript_jobs SET engine = 'long gone' WHERE id = '{job_id}'")
    now = await look()
    assert now["escriba_queue_jobs", ("other",)] == 1
    assert not [labels for _, labels in now if "long gone" in labels]


async def test_without_postgresql_the_rest_is_shown(
    platform: Platform, environ: dict[str, str], client: httpx.AsyncClient
) -> None:
    nowhere = load_settings({**environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    async with serving(nowhere) as url, httpx.AsyncClient(base_url=url, timeout=60) as other:
        now = parsed((await other.get("/metrics")).text)
        after = parsed((await other.get("/metrics")).text)
    assert now["escriba_database_up", ()] == 0
    assert ("escriba_workers", ()) not in now
    assert after["escriba_http_requests_total", ("GET", "/metrics", "2xx")] >= 1


async def test_requests_are_counted_by_route_and_not_by_path(client: httpx.AsyncClient) -> None:
    before = parsed((await client.get("/metrics")).text)
    ids = ["4b9d5d0e-6d3a-4a52-8a57-2a4f7f3a9d11", "0a6c2a4e-3f7e-4f0e-9a8b-55aa66bb77cc", "no-id-at-all"]
    for job_id in ids:
        await client.get(f"{JOBS}/status/{job_id}")
    now = parsed((await client.get("/metrics")).text)
    name = ("escriba_http_requests_total", ("GET", f"{JOBS}/status/{{job_id}}", "4xx"))
    assert now[name] - before.get(name, 0) == 3


def hostile(word: str) -> list[dict[str, Any]]:
    """Requests that have a word of the caller's own in every place that there is."""
    return [
        {"method": "PROPFIND", "url": "/engines"},
        {"method": "GET", "url": f"/{word}/of/mine?token={word}"},
        {"method": "GET", "url": f"{JOBS}/status/{word}"},
        {"method": "GET", "url": f"/media/{word}"},
        {"method": "DELETE", "url": f"{JOBS}/{word}"},
        {"method": "GET", "url": "/engines", "headers": {"Host": f"{word}.example", "X-Request-ID": word}},
        {"method": "POST", "url": f"{JOBS}/transcribe", "data": {"engine": word}, "files": {word: (word, b"RIFF")}},
        {"method": "POST", "url": f"{JOBS}/transcribe", "data": {"engine": word}, "files": {"file": (word, b"RIFF")}},
    ]


async def test_whatever_is_sent_makes_no_series_of_its_own(client: httpx.AsyncClient) -> None:
    await client.get("/metrics")
    texts = []
    for n in range(20):
        for request in hostile(f"canary-{n}"):
            await client.request(**request)
        texts.append((await client.get("/metrics")).text)
    assert set(parsed(texts[-1])) == set(parsed(texts[0]))
    assert not [text for text in texts if "canary" in text or "PROPFIND" in text]


async def test_uploads_and_open_streams_are_counted(client: httpx.AsyncClient) -> None:
    recording = tone(1.0)
    before = parsed((await client.get("/metrics")).text)
    sent = await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files={"file": ("a.wav", recording)})
    job_id = sent.json()["job_id"]
    uploaded = ("escriba_uploaded_bytes_total", (f"{JOBS}/transcribe",))

    async def open_streams() -> float:
        return parsed((await client.get("/metrics")).text).get(("escriba_streams_open", ("sse",)), 0)

    async with client.stream("GET", f"{JOBS}/stream/{job_id}") as stream:
        async for _ in stream.aiter_lines():
            assert await open_streams() == 1
            break
    now = parsed((await client.get("/metrics")).text)
    assert now[uploaded] - before.get(uploaded, 0) == len(recording)

    async def none_is_open() -> bool:
        return await open_streams() == 0

    await eventually(none_is_open)


async def test_those_who_ask_at_the_same_time_cost_one_look(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    whole = scrape.vitals.look

    async def counted(platform: Platform) -> Any:
        nonlocal looks
        looks += 1
        return await whole(platform)

    monkeypatch.setattr(scrape, "FRESH_SECONDS", 60.0)
    monkeypatch.setattr(scrape.vitals, "look", counted)
    shared = Scrape(platform)
    await asyncio.gather(*(shared.answer() for _ in range(20)))
    await shared.answer()
    assert looks == 1


# With accounts


@pytest.mark.parametrize("credential", ["", "nonsense", "another token for scrapers, of 40 bytes"])
async def test_whoever_is_neither_scraper_nor_administrator_sees_nothing(
    environ: dict[str, str], platform: Platform, credential: str
) -> None:
    required = {"AUTH": "required", "JWT_SECRET_KEY": "a signing key for tests of 32 bytes", "REGISTRATION": "open"}
    settings = load_settings({**environ, **required, "METRICS_TOKEN": TOKEN})
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.get("/metrics", headers=headers)).status_code == 401
        admin, anybody = await administrator(platform, client), await person(client)
        assert (await client.get("/metrics", headers=admin.headers)).status_code == 200
        assert (await client.get("/metrics", headers=anybody.headers)).status_code == 403
        machine = await key_of(client, admin, "jobs:read")
        assert (await client.get("/metrics", headers=machine)).status_code == 403
        shown = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
        await run_sql(platform, "DELETE FROM users")


async def test_an_open_network_sees_it_by_the_token_alone(environ: dict[str, str]) -> None:
    settings = load_settings({**environ, "INSECURE_NO_AUTH": "1", "METRICS_TOKEN": TOKEN})
    async with serving(settings) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.get("/metrics")).status_code == 403
        assert (await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200
