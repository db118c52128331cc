"""The OpenAI dialect's errors: one shape for all that goes wrong below /v1, and no upload again that cannot help."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from api.dialects import openai
from config.load import load_settings
from domain.errors import DatabaseUnavailable, EngineCrashed, EngineFailed, EngineOutOfMemory, ModelMissing
from services import ending, reading
from services.platform import Platform
from tests.api.conftest import serving
from tests.api.test_hostile_words import DIGITS, FORM_TYPES, WORDS
from tests.support.endpoints import run_sql
from tests.support.jobs import ME
from tests.support.openai_desk import RECORDING, TRANSCRIPTIONS, TRANSLATIONS, Desk
from tests.support.people import key_of, person


def check(answer: httpx.Response, status: int, code: str, *, passes: bool = False) -> dict[str, Any]:
    """The error, which has OpenAI's shape and headers."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert isinstance(error["message"], str) and error["message"]
    assert answer.headers["x-should-retry"] == ("true" if passes else "false")
    assert ("retry-after" in answer.headers) >= passes
    assert answer.headers["x-request-id"]
    return error


# What does not fit


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", TRANSCRIPTIONS, 405, "method_not_allowed"),
        ("DELETE", "/v1/models/whisper-1", 405, "method_not_allowed"),
        ("GET", "/v1/models/gigantic", 404, "model_not_found"),
        ("POST", TRANSCRIPTIONS, 400, "malformed_upload"),
        ("POST", TRANSLATIONS, 400, "malformed_upload"),
    ],
)
async def test_whatever_is_asked_for_in_vain_is_told_in_openai_s_shape(
    desk: Desk, method: str, path: str, status: int, code: str
) -> None:
    error = check(await desk.client.request(method, path), status, code)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/nothing", "/v10", "/v1x/models", "/transcribe/x"])
async def test_elsewhere_errors_keep_our_shape(desk: Desk, path: str) -> None:
    answer = await desk.client.get(path)
    assert "type" not in answer.json()["error"]
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("tries", [None, 0])
async def test_a_model_that_nobody_has_is_told_with_those_that_there_are(desk: Desk, tries: int | None) -> None:
    error = check(await desk.ask(("model", "gigantic"), tries=tries), 404, "model_not_found")
    assert error["param"] == "model"
    for name in ("'gigantic'", "whisper-1", "able", "able-base", "plain"):
        assert name in error["message"]


@pytest.mark.parametrize(
    ("fields", "param", "able"),
    [
        ([("model", "plain"), ("prompt", "Minutes:")], "prompt", "able"),
        ([("model", "plain"), ("keywords[]", "metoprolol")], "keywords[]", "able"),
        ([("model", "plain"), ("language", "es")], "language", "able"),
        ([("model", "plain"), ("response_format", "diarized_json")], "enable_diarization", "able"),
    ],
)
@pytest.mark.parametrize("tries", [None, 0])
async def test_what_a_model_cannot_do_is_refused_by_the_client_s_own_name_with_those_that_can(
    desk: Desk, fields: list[tuple[str, str]], param: str, able: str, tries: int | None
) -> None:
    status, error = await desk.error(*fields, tries=tries)
    assert (status, error["param"]) == (400, param)
    assert f"cannot honour {param!r}" in error["message"]
    assert f"engines that can: {able}" in error["message"]


@pytest.mark.parametrize("declared", [True, False], ids=["it says so", "it turns out"])
async def test_a_recording_over_the_limit_is_413(environ: dict[str, str], platform: Platform, declared: bool) -> None:
    large = bytes(20_000_000 if declared else 300_000)
    async with (
        serving(load_settings(environ | {"MAX_FILE_SIZE": "200000"})) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        parts = [("model", (None, "whisper-1")), ("file", ("a.wav", large))]
        error = check(await client.post(TRANSCRIPTIONS, files=parts), 413, "file_too_large")
    assert "200,000 bytes" in error["message"]


# Who asks


@pytest.fixture(scope="module")
async def guarded(environ: dict[str, str], platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    accounts = {"AUTH": "required", "JWT_SECRET_KEY": "a signing key for tests of 32 bytes", "REGISTRATION": "open"}
    async with (
        serving(load_settings(environ | accounts)) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        yield client


async def test_who_does_not_say_who_they_are_is_401(guarded: httpx.AsyncClient) -> None:
    error = check(await guarded.get("/v1/models"), 401, "unauthenticated")
    assert error["type"] == "authentication_error"
    headers = {"Authorization": "Bearer sk-nobody"}
    parts = [("model", (None, "whisper-1")), ("file", ("a.wav", RECORDING))]
    check(await guarded.post(TRANSCRIPTIONS, files=parts, headers=headers), 401, "bad_token")


async def test_a_key_is_good_for_what_its_scopes_say(guarded: httpx.AsyncClient, desk: Desk) -> None:
    owner = await person(guarded)
    reads = await key_of(guarded, owner, "jobs:read")
    writes = await key_of(guarded, owner, "jobs:read", "jobs:write")
    parts = [("model", (None, "whisper-1")), ("file", ("a.wav", RECORDING))]
    error = check(await guarded.post(TRANSCRIPTIONS, files=parts, headers=reads), 403, "missing_scope")
    assert error["type"] == "permission_error"
    assert (await guarded.get("/v1/models", headers=reads)).status_code == 200
    assert (await guarded.post(TRANSCRIPTIONS, files=parts, headers=writes)).status_code == 200


async def test_who_waits_goes_first_where_their_key_may(guarded: httpx.AsyncClient, desk: Desk) -> None:
    owner = await person(guarded)
    lanes = []
    for scopes in (("jobs:interactive",), ()):
        key = await key_of(guarded, owner, "jobs:read", "jobs:write", *scopes)
        for said in ({}, {"lane": "bulk"}):
            parts = [("model", (None, "whisper-1")), ("file", ("a.wav", RECORDING))]
            answer = await guarded.post(TRANSCRIPTIONS, data=said, files=parts, headers=key)
            assert answer.status_code == 200, answer.text
            status = await guarded.get(f"/api/transcribe/jobs/status/{answer.json()['job_id']}", headers=key)
            lanes.append(status.json()["lane"])
    assert lanes == ["interactive", "bulk", "normal", "bulk"]


async def test_a_used_up_quota_is_429_and_not_worth_another_upload(
    guarded: httpx.AsyncClient, platform: Platform, desk: Desk
) -> None:
    owner = await person(guarded)
    await run_sql(platform, f"UPDATE users SET monthly_jobs = 1 WHERE id = '{owner.user_id}'")
    parts = [("model", (None, "whisper-1")), ("file", ("a.wav", RECORDING))]
    counted = {**owner.headers, "x-stainless-lang": "python"}
    first = await guarded.post(TRANSCRIPTIONS, files=parts, headers={**counted, "x-stainless-retry-count": "0"})
    assert first.status_code == 200
    again = await guarded.post(TRANSCRIPTIONS, files=parts, headers={**counted, "x-stainless-retry-count": "0"})
    assert check(again, 429, "quota_exceeded")["type"] == "rate_limit_error"
    # The answer to the first may have been lost: who sends it again has it coming, quota or not.
    met = await guarded.post(TRANSCRIPTIONS, files=parts, headers={**counted, "x-stainless-retry-count": "1"})
    assert met.json()["job_id"] == first.json()["job_id"]


async def test_a_page_of_a_stranger_s_is_told_in_the_same_shape(desk: Desk) -> None:
    headers = {"Origin": "https://stranger.example"}
    check(await desk.client.get("/v1/models", headers=headers), 403, "origin_not_allowed")


async def test_without_accounts_any_key_will_do(desk: Desk) -> None:
    for key in ("Bearer anything", "Bearer", "Basic x", "sk-1"):
        assert (await desk.client.get("/v1/models", headers={"Authorization": key})).status_code == 200


# What passes, and what does not


async def test_what_is_away_is_worth_another_try(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    check(await desk.ask(("model", "away")), 503, "engine_unavailable", passes=True)

    async def away(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(reading, "result", away)
    error = check(await desk.ask(), 503, "database_unavailable", passes=True)
    assert error["type"] == "server_error"


async def test_a_bug_of_ours_is_500_in_the_same_shape(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(openai.openai_views, "rendered", fails)
    answer = await desk.client.post(
        TRANSCRIPTIONS,
        files=[("model", (None, "whisper-1")), ("file", ("a.wav", RECORDING))],
        headers={"X-Request-ID": "mine-0001"},
    )
    assert check(answer, 500, "internal")["type"] == "server_error"
    assert answer.headers["x-request-id"] == "mine-0001"


@pytest.mark.parametrize("failure", [EngineCrashed, EngineOutOfMemory, ModelMissing])
async def test_what_the_platform_has_tried_in_vain_is_not_worth_another_upload(
    desk: Desk, failure: type[EngineFailed]
) -> None:
    desk.able.fails_with = failure("the engine has a reason", retryable=False)
    error = check(await desk.ask(), 500, failure.code)
    assert (error["type"], error["message"]) == ("server_error", "the engine has a reason")


async def answered_after(desk: Desk, platform: Platform, end: Callable[..., Awaitable[Any]]) -> httpx.Response:
    """The answer to whoever waits for a job that its owner ends."""
    desk.able.goes_on.clear()
    asking = asyncio.create_task(desk.ask())
    await desk.able.began.wait()
    rows = await run_sql(platform, "SELECT id FROM transcript_jobs WHERE state = 'processing'")
    await end(platform, ME, rows[0][0])
    return await asking


async def test_a_job_that_is_cancelled_says_so(desk: Desk, platform: Platform) -> None:
    answer = await answered_after(desk, platform, ending.cancel)
    check(answer, 400, "cancelled")


async def test_a_job_that_is_erased_meanwhile_is_told_as_gone(desk: Desk, platform: Platform) -> None:
    answer = await answered_after(desk, platform, ending.erase)
    assert answer.json()["error"]["code"] in ("job_not_found", "cancelled")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("body", [b"no sound in here" * 50, b"RIFF\x00\x00\x00\x00WAVE", b"ID3" + bytes(64)])
async def test_a_recording_that_nobody_can_hear_is_the_caller_s_to_mend(desk: Desk, body: bytes) -> None:
    answer = await desk.ask(recording=body)
    assert answer.json()["error"]["code"].startswith("media_")
    assert check(answer, 400, answer.json()["error"]["code"])["type"] == "invalid_request_error"
    assert answer.headers["x-escriba-job-id"]


async def test_an_empty_recording_is_refused(desk: Desk) -> None:
    check(await desk.ask(recording=b""), 400, "media_empty")


# Every answer


@pytest.mark.parametrize("said", ["req_1234", "a" * 64, "0f.A-9_xyz"])
async def test_a_request_id_is_the_caller_s_where_it_is_one(desk: Desk, said: str) -> None:
    for path in ("/v1/models", "/v1/nothing"):
        answer = await desk.client.get(path, headers={"X-Request-ID": said})
        assert answer.headers.get_list("x-request-id") == [said]


@pytest.mark.parametrize("said", ["", "short", "a" * 65, "a request", "a\trequest", "é" * 9, "<script>"])
async def test_what_is_no_request_id_is_replaced_by_one(desk: Desk, said: str) -> None:
    answer = await desk.client.get("/v1/models", headers={b"x-request-id": said.encode()})  # type: ignore[dict-item]
    assert answer.headers["x-request-id"] not in (said, "")


async def test_every_answer_has_a_request_id(desk: Desk) -> None:
    answers = [await desk.ask(), await desk.ask(("stream", "true")), await desk.client.get("/v1/models")]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)


# Words that no honest caller sends


FIELDS = (
    "model", "response_format", "prompt", "temperature", "language", "languages[]", "keywords[]", "stream",
    "timestamp_granularities[]", "include[]", "chunking_strategy", "chunking_strategy[type]",
    "chunking_strategy[threshold]", "chunking_strategy[prefix_padding_ms]", "options", "engine", "context_id",
    "session_id", "channel_roles", "num_speakers", "hotwords", "diarize", "wait", "\u2028", "keywords[][]", "[]",
)  # fmt: skip


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS])
async def test_no_word_of_a_form_makes_a_500(desk: Desk, path: str) -> None:
    words = [*WORDS, json.dumps({"\ud800": "\ud800"}), "1e400", "٣", "-1", "NaN", '{"task": 1}', "[]", "null"]

    async def fault(name: str, word: str) -> str | None:
        parts: list[tuple[str, Any]] = [("model", (None, "plain")), ("response_format", (None, "text"))]
        parts = [part for part in parts if part[0] != name]
        parts += [(name, (None, word.encode(errors="surrogatepass"))), ("file", ("a.wav", b"no recording"))]
        answer = await desk.client.post(path, files=parts)
        fits = answer.status_code in (200, 400, 404) and set(answer.json()) == {"error"}
        return None if fits else f"{answer.status_code} for {name} = {word[:40]!r}"

    for name in FIELDS:
        found = await asyncio.gather(*(fault(name, word) for word in words))
        assert [each for each in found if each] == []


@pytest.mark.parametrize(
    "kind", [*FORM_TYPES, "multipart/form-data", "text/plain", "application/x-www-form-urlencoded"]
)
async def test_no_form_makes_a_500(desk: Desk, kind: str) -> None:
    for content in (b"", b"--x\r\n", b"\0" * 1000):
        answer = await desk.client.post(TRANSCRIPTIONS, content=content, headers={"Content-Type": kind})
        check(answer, 400, "malformed_upload")


async def test_a_form_of_too_many_parts_or_too_much_text_is_refused(desk: Desk) -> None:
    assert (await desk.error(*[("keywords[]", "x")] * 1_001))[0] == 400
    assert (await desk.error(*[("keywords[]", "x")] * 3_000))[0] == 400
    assert (await desk.error(("prompt", "x" * 70_000)))[0] == 400
    assert (await desk.error(*[("keywords[]", "x" * 200)] * 400))[0] == 400


@pytest.mark.parametrize("model", ["..", "%2e%2e", "a/b", "%00", "%ff", "x" * 5000, DIGITS, "%F0%9F%92%A5", "' OR 1=1"])
async def test_no_name_of_a_model_makes_a_500(desk: Desk, model: str) -> None:
    answer = await desk.client.get(f"/v1/models/{model}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
