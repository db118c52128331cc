"""What clients of the subtitles dialect do, for the tests of it."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.api.conftest import JOBS
from tests.support.films import film

SECONDS = 2.0

FILM = film(seconds=SECONDS)

Work = Callable[..., Awaitable[None]]

Answer = dict[str, Any]

STATUS = {
    "job_id", "status", "progress", "output_type", "model", "engine", "message", "duration_seconds", "audio_seconds",
    "error", "code", "transcribed_by", "created_at", "started_at", "completed_at",
}  # fmt: skip


async def upload(client: httpx.AsyncClient, content: bytes = FILM, name: str = "input.mp4") -> str:
    response = await client.post("/upload", files={"file": (name, content, "video/mp4")})
    assert response.status_code == 200, response.text
    return str(response.json()["job_id"])


async def run(client: httpx.AsyncClient, job_id: str, output_type: str, **said: str) -> Answer:
    response = await client.post(f"/jobs/{job_id}/run", json={"output_type": output_type, **said})
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


async def status(client: httpx.AsyncClient, job_id: object) -> Answer:
    response = await client.get(f"/jobs/{job_id}/status")
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


async def refused(client: httpx.AsyncClient, job_id: str, **body: object) -> tuple[int, str]:
    response = await client.post(f"/jobs/{job_id}/run", json=body)
    return response.status_code, response.json()["error"]["code"]


async def jobs_there_are(client: httpx.AsyncClient) -> int:
    return len((await client.get(JOBS, params={"limit": 200})).json()["jobs"])
