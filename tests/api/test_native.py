"""The native API, field by field as it was first published."""

import re
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import httpx
import pytest

from api import schemas
from tests.api.conftest import JOBS
from tests.support.audio import tone

SECOND = tone(1.0)
FILE = {"file": ("visit.wav", SECOND, "audio/wav")}

Work = Callable[..., Awaitable[None]]


async def submit(client: httpx.AsyncClient, **fields: str) -> dict[str, str]:
    response = await client.post(f"{JOBS}/transcribe", data=fields, files=FILE)
    assert response.status_code == 202, response.text
    answer: dict[str, str] = response.json()
    return answer


async def test_a_submitted_job_is_answered_with_its_ids(client: httpx.AsyncClient) -> None:
    answer = await submit(client, engine="scripted", language="en-US", session_id=str(uuid4()))
    assert set(answer) == {"job_id", "transcript_id", "engine", "status", "message"}
    assert UUID(answer["job_id"]) != UUID(answer["transcript_id"])
    assert (answer["engine"], answer["status"]) == ("scripted", "queued")
    assert answer["message"] == "SCRIPTED transcription job enqueued successfully"


@pytest.mark.parametrize("engine", ["asr", "whisperx"])
async def test_the_engines_routes_queue_for_an_engine_that_is_not_there_and_say_why(
    client: httpx.AsyncClient, engine: str
) -> None:
    response = await client.post(f"{JOBS}/transcribe/{engine}", files=FILE)
    assert response.status_code == 202
    answer = response.json()
    assert (answer["engine"], answer["status"]) == (engine, "queued")
    status = (await client.get(f"{JOBS}/status/{answer['job_id']}")).json()
    assert "is not set" in status["message"] == answer["message"]


@pytest.mark.parametrize("engine", ["asr", "whisperx"])
async def test_a_caller_who_will_not_wait_gets_503(client: httpx.AsyncClient, engine: str) -> None:
    response = await client.post(f"{JOBS}/transcribe/{engine}", data={"wait": "false"}, files=FILE)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "engine_unavailable"
    assert response.headers["retry-after"]


async def test_the_status_of_a_job_from_queued_to_completed(client: httpx.AsyncClient, work: Work) -> None:
    answer = await submit(client, engine="scripted")
    job_id = answer["job_id"]
    before = (await client.get(f"{JOBS}/status/{job_id}")).json()
    assert (before["status"], before["progress"], before["transcript_id"]) == ("queued", 0, answer["transcript_id"])
    await work(job_id)
    after = (await client.get(f"{JOBS}/status/{job_id}")).json()
    assert (after["status"], after["progress"], after["worker_id"]) == ("completed", 100, "worker-1")
    assert after["result"] == {"segments_count": 3, "duration": pytest.approx(1.0)}
    assert after["transcript_id"] == answer["transcript_id"]


async def test_the_result_of_a_job(client: httpx.AsyncClient, work: Work, url: str) -> None:
    answer = await submit(client, engine="scripted", language="en-US")
    await work(answer["job_id"])
    result = (await client.get(f"{JOBS}/result/{answer['job_id']}")).json()
    assert {"job_id", "transcript_id", "status", "filename", "audio_url", "language"} <= set(result)
    assert {"duration", "segments", "speaker_roles"} <= set(result)
    assert (result["job_id"], result["transcript_id"]) == (answer["job_id"], answer["transcript_id"])
    assert (result["status"], result["filename"], result["language"]) == ("completed", "visit.wav", "en-US")
    assert result["duration"] == pytest.approx(1.0)
    assert {"start", "end", "text", "speaker_tag", "confidence"} <= set(result["segments"][0])
    assert (result["engine"], result["engine_reason"]) == ("scripted", "the engine that was asked for")
    assert result["text"] == "one two three"
    audio = await client.get(result["audio_url"])
    assert result["audio_url"].startswith(url)
    assert audio.content == SECOND
    assert audio.headers["content-type"] == "audio/wav"


async def test_the_result_as_text_and_subtitles(client: httpx.AsyncClient, work: Work) -> None:
    job_id = (await submit(client, engine="scripted"))["job_id"]
    await work(job_id)
    found = {
        kind: await client.get(f"{JOBS}/result/{job_id}", params={"format": kind}) for kind in ("txt", "srt", "vtt")
    }
    assert "one" in found["txt"].text
    assert re.match(r"1\n00:00:00,000 --> ", found["srt"].text)
    assert found["vtt"].text.startswith("WEBVTT\n")
    assert found["vtt"].headers["content-type"].startswith("text/vtt")


async def test_a_result_is_not_to_be_had_before_the_end(client: httpx.AsyncClient) -> None:
    job_id = (await submit(client, engine="scripted"))["job_id"]
    response = await client.get(f"{JOBS}/result/{job_id}")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "result_not_ready")


async def test_jobs_are_listed_newest_first_in_pages(client: httpx.AsyncClient) -> None:
    session_id = str(uuid4())
    made = [(await submit(client, engine="scripted", session_id=session_id))["job_id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = (await client.get(JOBS, params={"session_id": session_id, "limit": 2, **more})).json()
        seen += [job["job_id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_jobs_are_filtered_by_state_and_engine(client: httpx.AsyncClient, work: Work) -> None:
    session_id = str(uuid4())
    done = (await submit(client, engine="scripted", session_id=session_id))["job_id"]
    waiting = (await submit(client, engine="english", session_id=session_id))["job_id"]
    await work(done)

    async def listed(**filters: str) -> list[str]:
        page = (await client.get(JOBS, params={"session_id": session_id, **filters})).json()
        return [job["job_id"] for job in page["jobs"]]

    assert await listed(state="completed") == [done]
    assert await listed(state="queued") == [waiting]
    assert await listed(engine="english") == [waiting]
    assert await listed(engine="scripted") == [done]


async def test_cancelling_twice_changes_nothing(client: httpx.AsyncClient) -> None:
    job_id = (await submit(client, engine="scripted"))["job_id"]
    answers = [await client.post(f"{JOBS}/{job_id}/cancel") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.json()["status"] for answer in answers} == {"cancelled"}


async def test_a_completed_job_is_not_cancelled(client: httpx.AsyncClient, work: Work) -> None:
    job_id = (await submit(client, engine="scripted"))["job_id"]
    await work(job_id)
    response = await client.post(f"{JOBS}/{job_id}/cancel")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "already_completed")


async def test_deleting_erases_everything(client: httpx.AsyncClient, work: Work) -> None:
    job_id = (await submit(client, engine="scripted"))["job_id"]
    await work(job_id)
    audio_url = (await client.get(f"{JOBS}/result/{job_id}")).json()["audio_url"]
    receipt = (await client.delete(f"{JOBS}/{job_id}")).json()
    assert (receipt["status"], receipt["objects_deleted"]) == ("erased", 2)
    for path in (f"{JOBS}/status/{job_id}", f"{JOBS}/result/{job_id}", f"{JOBS}/{job_id}/audio", audio_url):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(f"{JOBS}/{job_id}")).json() == receipt
    assert (await client.get(f"{JOBS}/{job_id}/receipt")).json() == receipt


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "part"),
    [
        (None, 200, None, SECOND),
        ("bytes=0-99", 206, f"bytes 0-99/{len(SECOND)}", SECOND[:100]),
        ("bytes=100-", 206, f"bytes 100-{len(SECOND) - 1}/{len(SECOND)}", SECOND[100:]),
        ("bytes=-50", 206, f"bytes {len(SECOND) - 50}-{len(SECOND) - 1}/{len(SECOND)}", SECOND[-50:]),
        ("bytes=0-99999999", 206, f"bytes 0-{len(SECOND) - 1}/{len(SECOND)}", SECOND),
        ("bytes=99999999-", 416, f"bytes */{len(SECOND)}", None),
        ("bytes=0-1,5-6", 200, None, SECOND),
        ("lines=1-2", 200, None, SECOND),
    ],
)
async def test_a_player_can_seek_in_the_recording(
    client: httpx.AsyncClient, wanted: str | None, status: int, content_range: str | None, part: bytes | None
) -> None:
    job_id = (await submit(client, engine="scripted"))["job_id"]
    response = await client.get(f"{JOBS}/{job_id}/audio", headers={"Range": wanted} if wanted else {})
    assert response.status_code == status
    assert response.headers.get("content-range") == content_range
    if part is not None:
        assert response.content == part
        assert response.headers["accept-ranges"] == "bytes"
        assert response.headers["content-security-policy"] == "sandbox"


async def test_a_forged_link_is_refused(client: httpx.AsyncClient, work: Work) -> None:
    job_id = (await submit(client, engine="scripted"))["job_id"]
    await work(job_id)
    audio_url = (await client.get(f"{JOBS}/result/{job_id}")).json()["audio_url"]
    response = await client.get(audio_url[:-4] + "AAAA")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "bad_link")


async def test_health(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": True, "workers": True}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_a_strangers_page_does_not_reach_the_platform(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await client.get("/engines", headers=headers)).status_code == status


async def test_our_own_pages_reach_it(client: httpx.AsyncClient, url: str) -> None:
    assert (await client.get("/engines", headers={"Origin": url})).status_code == 200


async def test_the_openapi_document_names_every_route(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert f"{JOBS}/transcribe/whisperx" in document["paths"]
    form = document["paths"][f"{JOBS}/transcribe"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "session_id", "engine", "context_id", "language"} <= set(form["properties"])


@pytest.mark.parametrize(
    "view", [schemas.JobAccepted, schemas.JobStatus, schemas.JobResult], ids=lambda view: view.__name__
)
def test_the_examples_in_the_document_are_such_answers(view: type[schemas.View]) -> None:
    extra = view.model_config["json_schema_extra"]
    assert isinstance(extra, dict)
    for shown in extra["examples"]:  # type: ignore[union-attr]
        assert view.model_validate(shown).model_dump(mode="json", exclude_unset=True) == shown
