"""Recordings that are none, through the HTTP API and a real worker: a stable code, nobody else's sound, no hung job."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from socket import create_server

import httpx
import pytest

from tests.support.hostile_media import ffconcat, hls, silent_mp3, wav
from tests.support.waiting import eventually
from tests.support.whole import Whole

JOBS = "/api/transcribe/jobs"

BAD = {
    "empty.wav": "media_empty",
    "header_only.wav": "media_empty",
    "lying_header.wav": "completed",
    "png_named.wav": "media_unsupported",
    "silence_10s.wav": "completed",
    "text_named.mp3": "media_unsupported",
    "truncated.mp3": "completed",
    "video_without_audio.mp4": "media_no_audio",
}


async def outcome(whole: Whole, name: str, content: bytes) -> tuple[str, dict[str, object]]:
    """What became of an upload: its error's code, or the state of its job, with the last answer."""
    async with httpx.AsyncClient(base_url=whole.url, timeout=60) as client:
        answer = await client.post(f"{JOBS}/transcribe", data={"engine": "sphinx"}, files={"file": (name, content)})
        if answer.is_error:
            return answer.json()["error"]["code"], answer.json()
        job_id, status = answer.json()["job_id"], {}

        async def ended() -> bool:
            nonlocal status
            status = (await client.get(f"{JOBS}/status/{job_id}")).json()
            return status["status"] in ("completed", "failed")

        await eventually(ended, within=60)
        if status["status"] == "failed":
            return status["error"]["code"], status
        return "completed", (await client.get(f"{JOBS}/result/{job_id}")).json()


@pytest.mark.parametrize(("name", "expected"), BAD.items())
async def test_a_bad_recording_has_its_own_code(whole: Whole, shared_data: Path, name: str, expected: str) -> None:
    code, answer = await outcome(whole, name, (shared_data / "bad" / name).read_bytes())
    assert code == expected, answer


async def test_silence_is_a_transcript_without_segments(whole: Whole, shared_data: Path) -> None:
    _, result = await outcome(whole, "silence.wav", (shared_data / "bad" / "silence_10s.wav").read_bytes())
    assert result["segments"] == []
    assert result["duration"] == pytest.approx(10.0, abs=0.1)


async def test_what_was_cut_off_is_transcribed_as_far_as_it_goes_and_says_so(whole: Whole, shared_data: Path) -> None:
    _, result = await outcome(whole, "cut.mp3", (shared_data / "bad" / "truncated.mp3").read_bytes())
    assert "audio_truncated" in [warning["code"] for warning in result["warnings"]]  # type: ignore[attr-defined]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A sound that is somebody else's, and a port that nobody may call."""
    sound = tmp_path / "secret.wav"
    sound.write_bytes(wav(bytes(32_000)))
    sound.chmod(0o644)
    listener = create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    yield sound, listener.getsockname()[1]
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()


async def test_a_playlist_brings_nobody_elses_sound(whole: Whole, canary: tuple[Path, int]) -> None:
    sound, port = canary
    hostile = [
        hls(f"file://{sound}"),
        hls(f"http://127.0.0.1:{port}/a.ts"),
        ffconcat(str(sound)),
        ffconcat(sound.name),
    ]
    found = await asyncio.gather(*(outcome(whole, "visit.wav", content) for content in hostile))
    assert [code for code, _ in found] == ["media_unsupported"] * 4


async def test_a_recording_of_one_sample_a_second_is_refused(whole: Whole) -> None:
    code, _ = await outcome(whole, "slow.wav", wav(bytes(20_000), rate_hz=1, bits=8))
    assert code == "media_out_of_limits"


async def test_a_recording_that_is_too_long_is_refused(whole: Whole) -> None:
    code, answer = await outcome(whole, "long.mp3", silent_mp3(700))
    assert code == "media_too_long", answer
