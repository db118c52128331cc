"""Objects in a bucket of any S3 server: AWS, SeaweedFS, Garage, Swift, a MinIO that someone still runs."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from typing import Self
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

from minio import Minio
from minio.credentials.credentials import Credentials
from minio.datatypes import ListMultipartUploadsResult, Part, Upload
from minio.error import MinioException, S3Error
from minio.helpers import DictType
from minio.signer import sign_v4_s3
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from config.settings import StorageSettings
from domain.errors import BadSettings, ObjectNotFound, RangeNotSatisfiable, StorageUnavailable
from storage import layout, links
from storage.contract import MOST_PARTS, ListedObject, StoredObject, refuse_missing
from storage.threads import CHUNK_BYTES, Source, Threads

logger = logging.getLogger(__name__)

PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes as a part; two are in memory for each put. 10,000 parts make 50 GB."""

MAX_LINK_SECONDS = 604_800
"""S3's own limit for a presigned URL: seven days."""

UPLOADS_PAGE = 1000
NO_KEY, NO_UPLOAD = "NoSuchKey", "NoSuchUpload"
THREADS = 16
CONNECT_TIMEOUT_SECONDS = 3.0
SILENCE_TIMEOUT_SECONDS = 30.0
RETRIES = 2
BACKOFF_SECONDS = 0.2


class S3Store:
    def __init__(self, client: Minio, signer: Minio, bucket: str) -> None:
        """Use `connect`. `signer` makes links for the host that browsers reach, and never speaks to a server."""
        self._client = client
        self._signer = signer
        self._bucket = bucket
        self._threads = Threads("s3-store", THREADS)

    @classmethod
    async def connect(cls, settings: StorageSettings) -> Self:
        """The store of these settings, its bucket made where it is missing. Raises BadSettings, StorageUnavailable."""
        assert settings.endpoint is not None  # or the objects would go to a folder
        if settings.link_ttl_seconds > MAX_LINK_SECONDS:
            raise BadSettings(f"LINK_TTL_SEC is more than S3 allows: set it to {MAX_LINK_SECONDS} at most")
        client = _client(settings, settings.endpoint, "MINIO_ENDPOINT")
        signer = _client(settings, settings.public_endpoint or settings.endpoint, "MINIO_PUBLIC_ENDPOINT")
        store = cls(client, signer, settings.bucket)
        try:
            await store._threads.call(_make_bucket, client, settings.bucket)
        except BaseException:
            await store.close()
            raise
        return store

    async def put(self, key: str, body: AsyncIterator[bytes]) -> StoredObject:
        upload = _Upload(self._client, self._bucket, key)
        size, digest = await self._threads.take_in(body, upload, batch_bytes=PART_BYTES)
        return StoredObject(key, size, digest)

    async def size(self, key: str) -> int:
        return await self._threads.call(_size, self._client, self._bucket, key)

    def open(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._threads.give_out(partial(_get, self._client, self._bucket, key, start, length))

    async def link(self, key: str, *, seconds: int, content_type: str, filename: str) -> str:
        return self._signer.get_presigned_url(
            "GET",
            self._bucket,
            key,
            expires=timedelta(seconds=seconds),
            response_headers={
                "response-content-type": content_type,
                "response-content-disposition": links.attachment(filename),
            },
        )

    async def begin_parts(self, key: str) -> str:
        return await self._threads.call(_begin, self._client, self._bucket, key)

    async def part_link(self, key: str, sending: str, number: int, *, size_bytes: int, seconds: int) -> str:
        then = datetime.now(UTC)
        url = self._signer.get_presigned_url(
            "PUT",
            self._bucket,
            key,
            expires=timedelta(seconds=seconds),
            extra_query_params={"uploadId": sending, "partNumber": str(number)},
            request_date=then,
        )
        provider = self._signer._provider
        assert provider is not None  # `_client` gives it keys
        region = self._signer._get_region(self._bucket)
        return _for_size(url, size_bytes, credentials=provider.retrieve(), region=region, then=then)

    async def parts(self, key: str, sending: str) -> dict[int, int]:
        found = await self._threads.call(_parts, self._client, self._bucket, key, sending)
        return {part.part_number: part.size or 0 for part in found}

    async def join_parts(self, key: str, sending: str, sizes: Sequence[int]) -> None:
        await self._threads.call(_join, self._client, self._bucket, key, sending, sizes)

    async def drop_parts(self, key: str, sending: str) -> None:
        await self._threads.call(_drop, self._client, self._bucket, key, sending)

    async def delete(self, key: str) -> None:
        await self._threads.call(_delete, self._client, self._bucket, key)

    def list(self, prefix: str) -> AsyncIterator[ListedObject]:
        return self._threads.each(self._listed(prefix))

    async def delete_unfinished(self, older_than_seconds: float, *, prefix: str = layout.ROOT) -> int:
        """The age is that of the put's beginning: a sweep ends puts that take longer than that.

        Of a bucket that others use too, only what lies below `layout.ROOT` is touched. A MinIO server lists no
        unfinished uploads by prefix, and removes them itself after a day.
        """
        # S3 keeps whole seconds, and Swift rounds up: without the second, an upload of just now lies in the future.
        begun_before = datetime.now(UTC) - timedelta(seconds=older_than_seconds - 1)
        return await self._threads.call(self._delete_unfinished, begun_before, prefix)

    async def close(self) -> None:
        await self._threads.close()

    def _listed(self, prefix: str) -> Iterator[ListedObject]:
        with _server_errors():
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                assert found.object_name is not None and found.size is not None and found.last_modified is not None
                yield ListedObject(found.object_name, found.size, found.last_modified)

    def _delete_unfinished(self, begun_before: datetime, prefix: str) -> int:
        deleted = 0
        with _server_errors():
            for upload in _unfinished(self._client, self._bucket, prefix):
                assert upload.upload_id is not None
                if upload.initiated_time is not None and upload.initiated_time <= begun_before:
                    self._client._abort_multipart_upload(self._bucket, upload.object_name, upload.upload_id)
                    deleted += 1
        return deleted


class _Upload:
    """A put: one request for what fits into one part, else a multipart upload, part by part as the bytes come.

    minio's own `put_object` wants a file to read from. The requests that it is made of are private there, and pinned
    by our lock and by the contract tests.
    """

    def __init__(self, client: Minio, bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._small = b""
        self._upload_id: str | None = None
        self._parts: list[Part] = []

    def begin(self) -> None:
        """Nothing: what to ask of the server depends on the first batch."""

    def write(self, batch: bytes) -> None:
        if self._upload_id is None and len(batch) < PART_BYTES:
            self._small = batch
            return
        with _server_errors():
            if self._upload_id is None:
                self._upload_id = self._client._create_multipart_upload(self._bucket, self._key, {})
            number = len(self._parts) + 1
            etag = self._client._upload_part(self._bucket, self._key, batch, None, self._upload_id, number)
            self._parts.append(Part(number, etag))

    def finish(self) -> None:
        with _server_errors():
            if self._upload_id is None:
                self._client.put_object(self._bucket, self._key, BytesIO(self._small), len(self._small))
                return
            _complete(self._client, self._bucket, self._key, self._upload_id, self._parts)

    def discard(self) -> None:
        if self._upload_id is None:
            return
        try:
            with _server_errors():
                self._client._abort_multipart_upload(self._bucket, self._key, self._upload_id)
        except (StorageUnavailable, ObjectNotFound):
            logger.warning("an unfinished upload could not be removed now; delete_unfinished will try again")


class _Answer:
    """The body of a GET."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response

    def read(self) -> bytes:
        with _server_errors():
            return self._response.read(CHUNK_BYTES, decode_content=False)

    def close(self) -> None:
        # A read that still waits in another thread would make close wait too; this wakes it. Refused by urllib3 where
        # all was read and the connection is back in its pool.
        with suppress(OSError, RuntimeError, ValueError):
            self._response.shutdown()
        self._response.close()
        self._response.release_conn()


@contextmanager
def _server_errors(*gone: str) -> Iterator[None]:
    """`gone` is what the server calls what is not there: where nothing is said, NO_KEY."""
    try:
        yield
    except S3Error as error:
        if error.code in (gone or (NO_KEY,)):
            raise ObjectNotFound from error
        logger.warning("the S3 server refused: %s", error.code)
        raise StorageUnavailable from error
    except (MinioException, HTTPError, OSError, ParseError) as error:
        logger.warning("the S3 server failed: %s", type(error).__name__)
        raise StorageUnavailable from error


def _client(settings: StorageSettings, endpoint: str, variable: str) -> Minio:
    assert settings.access_key is not None and settings.secret_key is not None  # settings with an endpoint have both
    scheme, _, host = endpoint.rpartition("://")
    try:
        return Minio(
            host.rstrip("/"),
            settings.access_key.get_secret_value(),
            settings.secret_key.get_secret_value(),
            secure=scheme == "https" if scheme else settings.use_ssl,
            region=settings.region,  # without it, minio would ask the server before it signs a link
            http_client=PoolManager(
                maxsize=THREADS,
                timeout=Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=SILENCE_TIMEOUT_SECONDS),
                retries=Retry(
                    total=RETRIES,
                    backoff_factor=BACKOFF_SECONDS,
                    status_forcelist=(500, 502, 503, 504),
                    respect_retry_after_header=False,  # a server may name an hour; our callers wait
                ),
            ),
        )
    except ValueError as error:
        raise BadSettings(f"{variable} or S3_REGION is not one ({error}): write host:port or a URL") from error


def _for_size(url: str, size_bytes: int, *, credentials: Credentials, region: str, then: datetime) -> str:
    """A presigned URL of a PUT, good for a body of exactly so many bytes: its signature names Content-Length as well.

    minio presigns no header but the host. What its signer makes of a request with this query and no hash of its body
    is what S3 makes of the URL.
    """
    parts = urlsplit(url)
    said = [
        pair for pair in parts.query.split("&") if not pair.startswith(("X-Amz-SignedHeaders=", "X-Amz-Signature="))
    ]
    asked = parts._replace(query="&".join([*said, "X-Amz-SignedHeaders=content-length%3Bhost"]))
    signed = sign_v4_s3(
        method="PUT",
        url=asked,
        region=region,
        headers={"content-length": str(size_bytes), "host": parts.netloc},
        credentials=credentials,
        content_sha256="UNSIGNED-PAYLOAD",
        date=then,
    )
    signature = str(signed["Authorization"]).rpartition("Signature=")[2]
    return asked._replace(query=f"{asked.query}&X-Amz-Signature={signature}").geturl()


def _make_bucket(client: Minio, bucket: str) -> None:
    try:
        with _server_errors():
            if client.bucket_exists(bucket):
                return
            try:
                client.make_bucket(bucket)
            except S3Error:  # another process of ours may have been faster
                if not client.bucket_exists(bucket):
                    raise
    except ValueError as error:
        raise BadSettings("MINIO_BUCKET_NAME names no bucket: write 3 to 63 of a-z, 0-9, dot and hyphen") from error
    except StorageUnavailable as error:
        refusal = error.__cause__
        if isinstance(refusal, S3Error):  # not an error of the server's own: urllib3 gives up on those, as HTTPError
            names = "MINIO_ACCESS_KEY, MINIO_SECRET_KEY, MINIO_BUCKET_NAME and S3_REGION"
            raise BadSettings(f"the S3 server refuses us ({refusal.code}): check {names}") from error
        raise


def _size(client: Minio, bucket: str, key: str) -> int:
    with _server_errors():
        size = client.stat_object(bucket, key).size
    assert size is not None
    return size


def _get(client: Minio, bucket: str, key: str, start: int, length: int | None) -> Source:
    if length != 0:  # no Range header can ask for nothing, and minio takes 0 for "all"
        with _server_errors():
            try:
                return _Answer(client.get_object(bucket, key, start, length or 0))
            except S3Error as error:
                if error.code != "InvalidRange":
                    raise
    size = _size(client, bucket, key)
    if start and start >= size:
        raise RangeNotSatisfiable(size)
    return BytesIO()


def _delete(client: Minio, bucket: str, key: str) -> None:
    with _server_errors():
        client.remove_object(bucket, key)


def _begin(client: Minio, bucket: str, key: str) -> str:
    with _server_errors():
        return client._create_multipart_upload(bucket, key, {})


def _parts(client: Minio, bucket: str, key: str, upload_id: str) -> list[Part]:
    with _server_errors(NO_UPLOAD):
        return client._list_parts(bucket, key, upload_id, max_parts=MOST_PARTS).parts


def _join(client: Minio, bucket: str, key: str, upload_id: str, sizes: Sequence[int]) -> None:
    with suppress(ObjectNotFound):
        there = {part.part_number: part for part in _parts(client, bucket, key, upload_id)}
        refuse_missing({number: part.size or 0 for number, part in there.items()}, sizes)
        with _server_errors(NO_UPLOAD):
            _complete(client, bucket, key, upload_id, [there[number] for number in range(1, len(sizes) + 1)])
        return
    _size(client, bucket, key)  # where the upload is gone, it may have been completed before


def _complete(client: Minio, bucket: str, key: str, upload_id: str, parts: list[Part]) -> None:
    if client._complete_multipart_upload(bucket, key, upload_id, parts).etag is None:
        # S3 may answer 200 first and say in the body that it failed.
        logger.warning("the S3 server could not complete a multipart upload")
        raise StorageUnavailable


def _drop(client: Minio, bucket: str, key: str, upload_id: str) -> None:
    with suppress(ObjectNotFound), _server_errors(NO_UPLOAD, NO_KEY):  # the latter is Swift's word where all is joined
        client._abort_multipart_upload(bucket, key, upload_id)


def _unfinished(client: Minio, bucket: str, prefix: str) -> Iterator[Upload]:
    """Unfinished uploads, minio's own listing of which always sends an empty delimiter: Swift then groups them all."""
    query: DictType = {"uploads": "", "prefix": prefix, "max-uploads": str(UPLOADS_PAGE), "encoding-type": "url"}
    while True:
        page = ListMultipartUploadsResult(client._execute("GET", bucket, query_params=query))
        yield from page.uploads
        if not page.is_truncated or not page.next_key_marker:
            return
        query = query | {"key-marker": page.next_key_marker}
