"""Whatever a caller sends: a stable code, a message that says what to do, one shape, never a 500."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from services.platform import Platform
from storage import layout
from tests.api.conftest import JOBS
from tests.support.audio import tone
from tests.support.waiting import eventually

SECOND = tone(1.0)
FILE = {"file": ("a.wav", SECOND, "audio/wav")}
SUBMIT = f"{JOBS}/transcribe"


async def objects(platform: Platform) -> set[str]:
    return {found.key async for found in platform.store.list(layout.ROOT)}


BEHIND = {"engine": "english", "min_speakers": "5", "max_speakers": "2"}


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"engine": "sirius"}, "unknown_engine", "engine"),
        ({"engine": "english", "language": "fr"}, "unsupported_language", "language"),
        ({"engine": "english", "model": "huge"}, "unknown_model", "model"),
        ({"engine": "english", "model": "../../etc/passwd"}, "unknown_model", "model"),
        ({"engine": "english", "enable_diarization": "true"}, "unsupported_option", "enable_diarization"),
        ({"language": "not a language!"}, "invalid_request", "language"),
        ({"session_id": "12"}, "invalid_request", "session_id"),
        ({"context_id": "12"}, "invalid_request", "context_id"),
        ({"wait": "perhaps"}, "invalid_request", "wait"),
        ({"min_speakers": "0"}, "invalid_request", "min_speakers"),
        ({"min_speakers": "5", "max_speakers": "2"}, "invalid_request", "min_speakers"),
        ({"colour": "blue"}, "invalid_request", "colour"),
        ({"engine": "\x00"}, "unknown_engine", "engine"),
    ],
)
@pytest.mark.parametrize("file_first", [False, True], ids=["fields first", "file first"])
async def test_a_wrong_field_is_named_and_leaves_nothing(
    client: httpx.AsyncClient, platform: Platform, fields: dict[str, str], code: str, field: str, file_first: bool
) -> None:
    before = await objects(platform)
    parts = [(name, (None, value)) for name, value in fields.items()]
    file = ("file", FILE["file"])
    response = await client.post(SUBMIT, files=[file, *parts] if file_first else [*parts, file])
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (422, code, field)
    assert error["message"]
    assert await objects(platform) == before


async def test_what_a_field_behind_the_file_puts_right_is_not_refused(client: httpx.AsyncClient) -> None:
    before = [(name, (None, value)) for name, value in {"engine": "english", "language": "fr"}.items()]
    behind = ("on_unsupported", (None, "warn"))
    answer = await client.post(SUBMIT, files=[*before, ("file", FILE["file"]), behind])
    assert answer.status_code == 202, answer.text


async def test_fields_behind_a_small_file_are_looked_at_together(client: httpx.AsyncClient) -> None:
    """They may come in one piece with the file's first bytes, cut anywhere between two of them."""
    request = client.build_request(
        "POST", SUBMIT, files=[("file", FILE["file"]), *((name, (None, value)) for name, value in BEHIND.items())]
    )
    body = request.read()
    cut = body.index(b"max_speakers") - 60

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:cut]
        yield body[cut:]

    answer = await client.post(SUBMIT, content=pieces(), headers={"Content-Type": request.headers["Content-Type"]})
    assert answer.json()["error"]["code"] == "invalid_request"


async def test_an_option_that_cannot_be_honoured_is_waived_where_the_caller_says_so(client: httpx.AsyncClient) -> None:
    fields = {"engine": "english", "enable_diarization": "true", "on_unsupported": "warn"}
    assert (await client.post(SUBMIT, data=fields, files=FILE)).status_code == 202


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"Content-Type": "application/json"}, b"{}", 422, "missing_file"),
        ({}, b"", 400, "malformed_upload"),
        ({"Content-Type": "multipart/form-data"}, b"", 400, "malformed_upload"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"rubbish", 400, "malformed_upload"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 422, "missing_file"),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="engine"\r\n\r\nauto\r\n--x--\r\n',
            422,
            "missing_file",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nwords\r\n--x--\r\n',
            422,
            "invalid_request",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF',
            400,
            "malformed_upload",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n',
            422,
            "media_empty",
        ),
    ],
)
async def test_a_form_that_is_none_is_refused(
    client: httpx.AsyncClient, platform: Platform, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    before = await objects(platform)
    response = await client.post(SUBMIT, headers=headers, content=content)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert await objects(platform) == before


async def test_two_files_are_one_too_many(client: httpx.AsyncClient) -> None:
    response = await client.post(SUBMIT, files=[("file", FILE["file"]), ("file", FILE["file"])])
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_request")


async def test_an_empty_file_is_refused(client: httpx.AsyncClient, platform: Platform) -> None:
    before = await objects(platform)
    response = await client.post(SUBMIT, files={"file": ("a.wav", b"")})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "media_empty")
    assert await objects(platform) == before


@pytest.mark.parametrize("path", ["status/12", "stream/12", "result/12", "12/audio"])
async def test_a_malformed_id_is_named(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(f"{JOBS}/{path}")
    assert (response.status_code, response.json()["error"]["field"]) == (422, "job_id")


@pytest.mark.parametrize("path", ["status/{}", "stream/{}", "result/{}", "{}/audio"])
async def test_a_job_that_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(f"{JOBS}/{path.format(uuid4())}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "job_not_found")


@pytest.mark.parametrize(
    ("params", "field"), [({"limit": "0"}, "limit"), ({"state": "lost"}, "state.0"), ({"cursor": "AAAA"}, "cursor")]
)
async def test_a_wrong_filter_is_named(client: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    response = await client.get(JOBS, params=params)
    assert (response.status_code, response.json()["error"]["field"]) == (422, field)


async def test_what_is_nowhere_has_the_same_shape(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nowhere")).json()["error"]["code"] == "not_found"
    assert (await client.put("/engines")).json()["error"]["code"] == "method_not_allowed"


async def raw(url: str, *pieces: bytes) -> bytes:
    """Send bytes as they are; what comes back before the other side closes or 30 seconds have passed."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    writer.close()
    return answer


async def test_what_declares_itself_too_large_is_refused_before_it_is_read(url: str) -> None:
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 200000000\r\n\r\n"
    )
    assert (await raw(url, head.encode())).startswith(b"HTTP/1.1 413 ")


@pytest.fixture(scope="module")
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "MAX_FILE_SIZE": "1000000"}


async def test_one_byte_too_many_is_refused_and_leaves_nothing(client: httpx.AsyncClient, platform: Platform) -> None:
    before = await objects(platform)
    allowed = await client.post(SUBMIT, files={"file": ("a.wav", bytes(1_000_000))})
    assert allowed.status_code == 202
    response = await client.post(SUBMIT, files={"file": ("a.wav", bytes(1_000_001))})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "file_too_large")
    assert len(await objects(platform)) == len(before) + 1


async def test_an_upload_that_breaks_off_leaves_nothing(
    url: str, client: httpx.AsyncClient, platform: Platform
) -> None:
    async def count() -> int:
        return len((await client.get(JOBS, params={"limit": 200})).json()["jobs"])

    before, jobs_before = files_of(platform), await count()
    where = urlsplit(url)
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    head = (
        f"POST {SUBMIT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 900000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    )
    writer.write(head.encode() + bytes(500_000))
    await writer.drain()
    await eventually(lambda: files_of(platform) != before)
    writer.close()
    await eventually(lambda: files_of(platform) == before)
    assert await count() == jobs_before


def files_of(platform: Platform) -> set[str]:
    """Every file in the store's folder, those still being written included."""
    root = platform.settings.storage.root
    assert root is not None
    return {str(path) for path in root.rglob("*") if path.is_file()}
