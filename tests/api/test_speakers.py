"""Speakers as people name, merge and cast them: every export follows, and what was heard stays as it is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.transcript import Heard, Segment, Word
from engines.contract import Hearing
from services import transcripts
from services.platform import Platform
from storage import layout
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.jobs import row
from tests.support.scripted import ScriptedEngine

FILE = {"file": ("visit.wav", tone(3.0), "audio/wav")}

Work = Callable[..., Awaitable[None]]


async def three_speakers(_: Path, __: Hearing) -> AsyncIterator[Heard]:
    for tag, text in enumerate(("hello", "good morning", "hello again")):
        words = (Word(start=tag, end=tag + 0.9, text=text, speaker_tag=tag),)
        yield Segment(start=tag, end=tag + 0.9, text=text, speaker_tag=tag, words=words)


@pytest.fixture
async def job_id(client: httpx.AsyncClient, work: Work) -> str:
    job_id = (await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=FILE)).json()["job_id"]
    await work(job_id, ScriptedEngine(three_speakers))
    return str(job_id)


async def edit(client: httpx.AsyncClient, job_id: str, **changes: dict[str, object]) -> dict[str, Any]:
    answer = await client.patch(f"{JOBS}/result/{job_id}/speakers", json=changes)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_every_export_follows_names_and_merges(client: httpx.AsyncClient, job_id: str) -> None:
    await edit(client, job_id, names={"0": "Dr. Lee", "1": "Ms. Costa"}, merge={"2": 0})
    result = (await client.get(f"{JOBS}/result/{job_id}")).json()
    assert [segment["speaker_tag"] for segment in result["segments"]] == [0, 1, 0]
    assert [segment["words"][0]["speaker_tag"] for segment in result["segments"]] == [0, 1, 0]
    assert result["speaker_names"] == {"0": "Dr. Lee", "1": "Ms. Costa"}
    for kind in ("txt", "srt", "vtt"):
        text = (await client.get(f"{JOBS}/result/{job_id}", params={"format": kind})).text
        assert "Dr. Lee" in text
        assert "Ms. Costa" in text
        assert "Speaker 3" not in text


async def test_roles_are_said_and_taken_back(client: httpx.AsyncClient, job_id: str) -> None:
    assert (await edit(client, job_id, roles={"0": "provider", "1": "patient"}))["speaker_roles"] == {
        "0": "provider",
        "1": "patient",
    }
    assert (await edit(client, job_id, roles={"1": ""}))["speaker_roles"] == {"0": "provider"}
    assert "Provider" in (await client.get(f"{JOBS}/result/{job_id}", params={"format": "txt"})).text


async def test_edits_add_up(client: httpx.AsyncClient, job_id: str) -> None:
    await edit(client, job_id, names={"0": "Dr. Lee"})
    result = await edit(client, job_id, names={"1": "Ms. Costa"})
    assert result["speaker_names"] == {"0": "Dr. Lee", "1": "Ms. Costa"}


async def test_a_merge_into_one_that_was_merged_before_follows(client: httpx.AsyncClient, job_id: str) -> None:
    await edit(client, job_id, merge={"2": 1})
    result = await edit(client, job_id, merge={"1": 0})
    assert [segment["speaker_tag"] for segment in result["segments"]] == [0, 0, 0]


async def test_a_merge_into_one_that_is_merged_already_goes_where_that_one_went(
    client: httpx.AsyncClient, job_id: str
) -> None:
    await edit(client, job_id, merge={"1": 0})
    result = await edit(client, job_id, merge={"2": 1})
    assert [segment["speaker_tag"] for segment in result["segments"]] == [0, 0, 0]


async def test_the_transcript_that_was_heard_is_never_changed(
    client: httpx.AsyncClient, platform: Platform, job_id: str
) -> None:
    await edit(client, job_id, names={"0": "Dr. Lee"}, roles={"0": "provider"}, merge={"2": 0})
    key = str((await row(platform, job_id))["result_key"])  # type: ignore[arg-type]
    heard = await transcripts.load(platform.store, key)
    assert [segment.speaker_tag for segment in heard.segments] == [0, 1, 2]
    assert heard.speaker_roles == {}
    assert key.startswith(layout.ROOT)


@pytest.mark.parametrize(
    "changes",
    [
        {"names": {"7": "Nobody"}},
        {"merge": {"2": 9}},
        {"merge": {"1": 2, "2": 1}},
        {"roles": {"0": "Chief Doctor!"}},
        {"colours": {}},
    ],
)
async def test_what_does_not_fit_is_refused(client: httpx.AsyncClient, job_id: str, changes: dict[str, object]) -> None:
    answer = await client.patch(f"{JOBS}/result/{job_id}/speakers", json=changes)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


async def test_a_job_without_a_transcript_has_no_speakers(client: httpx.AsyncClient) -> None:
    job_id = (await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=FILE)).json()["job_id"]
    answer = await client.patch(f"{JOBS}/result/{job_id}/speakers", json={"names": {"0": "A"}})
    assert answer.status_code == 409
