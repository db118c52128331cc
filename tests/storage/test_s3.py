"""A bucket as a store, on a server that checks every signature; and servers that fail in every way."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import urllib3
from minio import Minio
from pydantic import SecretStr

from config.settings import StorageSettings
from domain.errors import BadSettings, StorageUnavailable
from storage import s3, threads
from storage.contract import Store
from storage.s3 import MAX_LINK_SECONDS, PART_BYTES, S3Store
from tests.storage.bodies import BrokenOff, breaking_off, in_chunks, keys, noise, read
from tests.storage.contract_suite import SOURCE, StoreContract
from tests.storage.failing_server import BROKEN_XML, EMPTY, FAILING, NOT_HTTP, NOT_XML, SLOW_DOWN, FailingServer, xml
from tests.support.swift import Swift

BEGINNING = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nonly the beginning"


def settings_of(server: Swift, **changes: object) -> StorageSettings:
    named = {
        "endpoint": server.endpoint,
        "public_endpoint": server.public_endpoint,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "region": server.region,
        "bucket": f"tests-{uuid4()}",
    }
    return StorageSettings.model_validate(named | changes)


@asynccontextmanager
async def connected(settings: StorageSettings) -> AsyncIterator[S3Store]:
    store = await S3Store.connect(settings)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def bucket(swift: Swift) -> AsyncIterator[S3Store]:
    async with connected(settings_of(swift)) as store:
        yield store


class TestS3Store(StoreContract):
    memory_bytes = 4 * PART_BYTES
    status_of_another_size = 403
    refuses_late_parts = False
    """Swift takes them in the place of those that the object is made of, and then finds their hashes wrong."""

    @pytest.fixture
    async def store(self, bucket: S3Store) -> Store:
        return bucket

    @pytest.fixture
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "LISTING_PAGE", 3)
        monkeypatch.setattr(s3, "UPLOADS_PAGE", 3)

    async def leave_unfinished(self, store: Store, key: str) -> None:
        assert isinstance(store, S3Store)
        upload = s3._Upload(store._client, store._bucket, key)
        await asyncio.to_thread(upload.write, noise(PART_BYTES))

    async def put(self, store: Store, link: str, part: bytes) -> int:
        return (await asyncio.to_thread(urllib3.request, "PUT", link, body=part)).status


async def open_and_read(store: S3Store) -> None:
    await read(store, SOURCE)


async def put_something(store: S3Store) -> None:
    await store.put(SOURCE, in_chunks(b"x"))


CALLS: dict[str, Callable[[S3Store], Awaitable[object]]] = {
    "put": put_something,
    "size": lambda store: store.size(SOURCE),
    "open": open_and_read,
    "delete": lambda store: store.delete(SOURCE),
    "list": keys,
    "delete_unfinished": lambda store: store.delete_unfinished(0),
    "begin_parts": lambda store: store.begin_parts(SOURCE),
    "parts": lambda store: store.parts(SOURCE, "7"),
    "join_parts": lambda store: store.join_parts(SOURCE, "7", [1]),
    "drop_parts": lambda store: store.drop_parts(SOURCE, "7"),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that tries again at once."""
    monkeypatch.setattr(s3, "BACKOFF_SECONDS", 0.0)


@asynccontextmanager
async def store_on(server: FailingServer) -> AsyncIterator[tuple[S3Store, FailingServer]]:
    """A store of a server that works at the start and then does what its `answers` say."""
    async with server:
        settings = StorageSettings(endpoint=server.endpoint, access_key=SecretStr("a"), secret_key=SecretStr("b"))
        async with connected(settings) as store:
            server.methods.clear()
            yield store, server


async def get(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return await asyncio.to_thread(urllib3.request, "GET", url, headers=headers)


async def link_to(store: S3Store, *, seconds: int = 60) -> str:
    return await store.link(SOURCE, seconds=seconds, content_type="audio/ogg", filename="Visita nº 3.ogg")


async def test_a_link_serves_the_object_and_its_ranges_as_a_download_of_the_type_said(bucket: S3Store) -> None:
    data = noise(100_000)
    await bucket.put(SOURCE, in_chunks(data))
    answer = await get(await link_to(bucket))
    assert (answer.status, answer.data) == (200, data)
    assert answer.headers["Content-Type"] == "audio/ogg"
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"Visita no 3.ogg\"; filename*=UTF-8''Visita%20n%C2%BA%203.ogg"
    )
    part = await get(await link_to(bucket), Range="bytes=500-999")
    assert (part.status, part.data) == (206, data[500:1000])


async def test_a_link_is_good_for_the_public_host_alone(bucket: S3Store, swift: Swift) -> None:
    await bucket.put(SOURCE, in_chunks(b"x"))
    link = await link_to(bucket)
    assert link.startswith(f"http://{swift.public_endpoint}/")
    inside = await get(link.replace(swift.public_endpoint, swift.endpoint))
    assert inside.status == 403
    assert b"SignatureDoesNotMatch" in inside.data


@pytest.mark.parametrize(
    ("said", "instead"), [("source", "result/1.json.zst"), ("audio%2Fogg", "text%2Fhtml"), ("Expires=60", "Expires=61")]
)
async def test_a_link_that_was_changed_is_refused(bucket: S3Store, said: str, instead: str) -> None:
    await bucket.put(SOURCE, in_chunks(b"x"))
    link = await link_to(bucket)
    assert said in link
    assert (await get(link.replace(said, instead))).status == 403


async def test_a_link_with_a_changed_signature_is_refused(bucket: S3Store) -> None:
    await bucket.put(SOURCE, in_chunks(b"x"))
    link = await link_to(bucket)
    assert (await get(link)).status == 200
    assert (await get(link[:-1] + ("0" if link[-1] != "0" else "1"))).status == 403
    assert (await get(link.split("?")[0])).status in (400, 403)


async def test_a_link_that_has_expired_is_refused(bucket: S3Store, swift: Swift) -> None:
    await bucket.put(SOURCE, in_chunks(b"x"))
    client = Minio(swift.endpoint, swift.access_key, swift.secret_key, secure=False, region=swift.region)

    def signed(seconds_ago: int) -> str:
        then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        return client.get_presigned_url("GET", bucket._bucket, SOURCE, timedelta(seconds=60), request_date=then)

    assert (await get(signed(seconds_ago=50))).status == 200
    assert (await get(signed(seconds_ago=61))).status == 403


async def test_a_link_is_made_without_asking_any_server(bucket: S3Store, swift: Swift) -> None:
    with socket.create_server(("127.0.0.1", 0)) as public:
        public.setblocking(False)
        settings = settings_of(swift, public_endpoint=f"127.0.0.1:{public.getsockname()[1]}")
        async with connected(settings) as store:
            assert await link_to(store)
        with pytest.raises(BlockingIOError):
            public.accept()


async def test_a_part_goes_to_the_public_host_by_any_client_of_s3(bucket: S3Store, swift: Swift) -> None:
    """The `minio` client's own HTTP sends it, which knows nothing of the upload but the URL."""
    sending = await bucket.begin_parts(SOURCE)
    link = await bucket.part_link(SOURCE, sending, 1, size_bytes=9, seconds=900)
    assert link.startswith(f"http://{swift.public_endpoint}/")
    client = Minio(swift.public_endpoint, "nobody", "knows", secure=False, region=swift.region)
    answer = await asyncio.to_thread(client._http.urlopen, "PUT", link, body=b"RIFF-part")
    assert answer.status == 200
    assert await bucket.parts(SOURCE, sending) == {1: 9}
    inside = await asyncio.to_thread(
        client._http.urlopen, "PUT", link.replace(swift.public_endpoint, swift.endpoint), body=b"RIFF-part"
    )
    assert inside.status == 403


async def test_a_part_that_does_not_say_how_long_it_is_is_refused(bucket: S3Store) -> None:
    sending = await bucket.begin_parts(SOURCE)
    link = await bucket.part_link(SOURCE, sending, 1, size_bytes=9, seconds=900)
    answer = await asyncio.to_thread(urllib3.request, "PUT", link, body=iter([b"RIFF-part"]))
    assert answer.status == 403
    assert await bucket.parts(SOURCE, sending) == {}


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("partNumber=1", "partNumber=2"),
        ("Expires=900", "Expires=9000"),
        ("content-length%3Bhost", "host"),
    ],
)
async def test_a_part_s_link_that_was_changed_is_refused(bucket: S3Store, said: str, instead: str) -> None:
    sending = await bucket.begin_parts(SOURCE)
    link = await bucket.part_link(SOURCE, sending, 1, size_bytes=4, seconds=900)
    assert said in link
    answer = await asyncio.to_thread(urllib3.request, "PUT", link.replace(said, instead), body=b"evil")
    assert answer.status == 403
    assert await bucket.parts(SOURCE, sending) == {}


async def test_the_bucket_is_made_once_however_many_processes_start(swift: Swift) -> None:
    settings = settings_of(swift)
    stores = await asyncio.gather(*(S3Store.connect(settings) for _ in range(6)))
    await stores[0].put(SOURCE, in_chunks(b"x"))
    assert await read(stores[5], SOURCE) == b"x"
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"secret_key": "not the secret"}, "MINIO_SECRET_KEY"),
        ({"access_key": "nobody:knows"}, "MINIO_ACCESS_KEY"),
        ({"region": "mars-1"}, "S3_REGION"),
        ({"bucket": "No Bucket!"}, "MINIO_BUCKET_NAME"),
        ({"bucket": "CAPITALS"}, "MINIO_BUCKET_NAME"),
        ({"endpoint": "http://host/path"}, "MINIO_ENDPOINT"),
        ({"public_endpoint": "host:port"}, "MINIO_PUBLIC_ENDPOINT"),
        ({"link_ttl_seconds": MAX_LINK_SECONDS + 1}, "LINK_TTL_SEC"),
    ],
)
async def test_settings_that_cannot_work_stop_the_start_and_are_named(
    swift: Swift, change: dict[str, object], named: str
) -> None:
    with pytest.raises(BadSettings, match=named):
        await S3Store.connect(settings_of(swift, **change))


async def test_an_endpoint_may_be_a_url(swift: Swift) -> None:
    async with connected(settings_of(swift, endpoint=f"http://{swift.endpoint}/", use_ssl=True)) as store:
        assert await keys(store) == set()


async def test_a_sweep_leaves_unfinished_uploads_of_others_in_the_same_bucket(bucket: S3Store) -> None:
    stranger = s3._Upload(bucket._client, bucket._bucket, "backups/monday")
    await asyncio.to_thread(stranger.write, noise(PART_BYTES))
    assert await bucket.delete_unfinished(0) == 0
    await asyncio.to_thread(stranger.finish)
    assert await bucket.size("backups/monday") == PART_BYTES


async def test_a_put_that_a_sweep_took_for_dead_fails(bucket: S3Store) -> None:
    async def body() -> AsyncIterator[bytes]:
        for number in range(3):
            yield noise(PART_BYTES)
            while number == 1 and await bucket.delete_unfinished(0) == 0:
                pass

    with pytest.raises(StorageUnavailable):
        await bucket.put(SOURCE, body())
    assert await keys(bucket) == set()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", [FAILING, SLOW_DOWN, BROKEN_XML, NOT_XML, NOT_HTTP], ids=str)
async def test_a_server_that_fails_is_a_store_that_is_unavailable(impatient: None, call: str, answer: bytes) -> None:
    async with store_on(FailingServer()) as (store, server):
        server.answers = dict.fromkeys(("GET", "PUT", "HEAD", "DELETE"), answer)
        with pytest.raises(StorageUnavailable):
            await CALLS[call](store)


@pytest.mark.parametrize("call", ["put", "open", "list"])
async def test_a_server_that_is_silent_is_a_store_that_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(s3, "SILENCE_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(s3, "RETRIES", 0)
    async with store_on(FailingServer()) as (store, server):
        server.answers = {"GET": None, "PUT": None}
        with pytest.raises(StorageUnavailable):
            await CALLS[call](store)


@pytest.mark.parametrize("call", CALLS)
async def test_a_server_that_is_gone_is_a_store_that_is_unavailable(impatient: None, call: str) -> None:
    async with store_on(FailingServer()) as (store, server):
        await server.stop()
        with pytest.raises(StorageUnavailable):
            await CALLS[call](store)


async def test_a_server_that_is_not_there_at_the_start_is_unavailable_and_no_fault_of_the_settings(
    impatient: None, swift: Swift
) -> None:
    with pytest.raises(StorageUnavailable):
        await S3Store.connect(settings_of(swift, endpoint="127.0.0.1:1"))


async def test_a_server_that_fails_at_the_start_is_no_fault_of_the_settings(impatient: None) -> None:
    server = FailingServer()
    server.answers = {"HEAD": FAILING}
    with pytest.raises(StorageUnavailable):
        async with store_on(server):
            pass


async def test_a_download_that_breaks_off_is_no_short_object(impatient: None) -> None:
    async with store_on(FailingServer()) as (store, server):
        server.answers = {"GET": BEGINNING}
        server.hang_up_after = "GET"
        with pytest.raises(StorageUnavailable):
            await read(store, SOURCE)


async def test_a_short_failure_is_not_noticed(impatient: None) -> None:
    async with store_on(FailingServer()) as (store, server):
        server.answers = {"HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"}
        server.failures_first = s3.RETRIES
        assert await store.size(SOURCE) == 17


async def test_an_upload_that_the_server_cannot_complete_after_a_200_fails_and_is_given_up(impatient: None) -> None:
    async with store_on(FailingServer()) as (store, server):
        server.answers = {
            "POST uploads": xml(
                "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
            ),
            "PUT": b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n',
            "POST": xml("<Error><Code>InternalError</Code></Error>"),
            "DELETE": EMPTY,
        }
        with pytest.raises(StorageUnavailable):
            await store.put(SOURCE, in_chunks(noise(PART_BYTES)))
        assert server.methods == ["POST", "PUT", "POST", "DELETE"]


async def test_the_error_of_a_body_passes_also_when_the_upload_cannot_be_given_up(
    impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_on(FailingServer()) as (store, server):
        server.answers = {
            "POST uploads": xml(
                "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
            ),
            "PUT": b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n',
            "DELETE": FAILING,
        }
        with pytest.raises(BrokenOff):
            await store.put(SOURCE, breaking_off(noise(PART_BYTES)))
    assert "delete_unfinished will try again" in caplog.text
    assert SOURCE not in caplog.text


async def test_a_reader_that_leaves_a_silent_server_does_not_wait_for_it() -> None:
    async with asyncio.timeout(s3.SILENCE_TIMEOUT_SECONDS / 2), store_on(FailingServer()) as (store, server):
        server.answers = {"GET": BEGINNING}
        async with store.open(SOURCE) as chunks:
            chunk = asyncio.ensure_future(anext(chunks))
            # No event tells that a thread waits at its socket.
            while not any(frame.f_code.co_name == "readinto" for frame in sys._current_frames().values()):  # noqa: ASYNC110
                await asyncio.sleep(0)
            chunk.cancel()
            await asyncio.gather(chunk, return_exceptions=True)
        assert chunk.cancelled()


async def test_a_reader_that_leaves_early_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    responses: list[urllib3.BaseHTTPResponse] = []

    class Remembered(s3._Answer):
        def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
            super().__init__(response)
            responses.append(response)

    monkeypatch.setattr(s3, "_Answer", Remembered)
    async with store_on(FailingServer()) as (store, server):
        server.answers = {"GET": BEGINNING}
        async with store.open(SOURCE):
            assert not responses[0].closed
        assert responses[0].closed
