"""Every route that there is, with every word of a request replaced by one that no honest caller sends: never a 500."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import JOBS
from tests.support.audio import tone

DIGITS = "1" * 5000
WORDS = ["\0", "\ud800", "\u2028", "[", "..", DIGITS, "9" * 16, "100.0.0.0", "9999999999.9999999999.9999999999.0"]


def cursor_at(moment: str) -> str:
    return base64.urlsafe_b64encode(f"{moment} {uuid4()}".encode()).decode()


QUERY = [*WORDS, cursor_at("0001-01-01T00:00:00+14:00"), cursor_at("9999-12-31T23:59:59-14:00")]

HEADERS = [
    ("Origin", "http://["),
    ("Origin", "http://a\u2100b"),
    ("Host", "[::1"),
    ("Host", "localhost:abc"),
    ("Range", f"bytes={DIGITS}-"),
    ("Range", f"bytes=-{DIGITS}"),
    ("Range", "bytes=9-1"),
    ("If-None-Match", "," * 5000),
    ("Idempotency-Key", "é"),
    ("Last-Event-ID", "100.0.0.0"),
    ("Last-Event-ID", "9999999999999999.1.1.1"),
    ("Last-Event-ID", DIGITS),
]

BODIES = [b"", b"\0", b"\xff", b"null", b"1", b"NaN", b"[" * 100_000, b'{"\\ud800": 1}', f'{{"a": {DIGITS}}}'.encode()]

FORM_TYPES = [
    "multipart/form-data; boundary=" + "x" * 5000,
    'multipart/form-data; boundary="\\"; x*0="',
    "multipart/form-data; boundary*=bogus''%ff",
]

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
async def spec(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


@pytest.fixture(scope="module")
def operations(spec: dict[str, Any]) -> list[Operation]:
    """Method, path and what OpenAPI says of it; what deletes comes last."""
    every = [(method, path, said) for path, methods in spec["paths"].items() for method, said in methods.items()]
    return sorted(every, key=lambda operation: operation[0] == "delete")


@pytest.fixture
async def ids(client: httpx.AsyncClient, work: Callable[[str], Awaitable[None]]) -> dict[str, str]:
    """A job that has ended and a vocabulary: what there is to be asked for by the parameters of paths."""
    file = {"file": ("a.wav", tone(1.0), "audio/wav")}
    job_id = (await client.post(f"{JOBS}/transcribe", data={"engine": "scripted"}, files=file)).json()["job_id"]
    await work(job_id)
    context = (await client.post("/api/contexts", json={"name": "drugs", "terms": []})).json()
    return {"job_id": job_id, "context_id": context["context_id"]}


@pytest.fixture
async def faults(client: httpx.AsyncClient) -> AsyncIterator["Faults"]:
    faults = Faults(client)
    yield faults
    assert await faults.found() == []


class Faults:
    """Asks, many at a time, and notes what was answered with a fault of ours."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._at_once = asyncio.Semaphore(32)
        self._asked: list[asyncio.Task[str | None]] = []

    def ask(self, what: str, method: str, path: str, **request: Any) -> None:
        self._asked.append(asyncio.create_task(self._fault(what, method, path, request)))

    async def found(self) -> list[str]:
        assert self._asked
        return [fault for fault in await asyncio.gather(*self._asked) if fault is not None]

    async def _fault(self, what: str, method: str, path: str, request: dict[str, Any]) -> str | None:
        async with self._at_once:
            status = (await self._client.request(method, path, **request)).status_code
        return None if status < 500 else f"{status} for {method} {path[:80]} with {what[:80]!r}"


def named(operation: dict[str, Any], where: str) -> list[str]:
    return [each["name"] for each in operation.get("parameters", ()) if each["in"] == where]


def filled(path: str, operation: dict[str, Any], ids: dict[str, str], **other: str) -> str:
    values = {name: ids.get(name, str(uuid4())) for name in named(operation, "path")} | other
    return path.format(**values)


def sent(word: str) -> str:
    return quote(word, safe="", errors="surrogatepass")


async def test_in_paths_and_queries(faults: Faults, operations: list[Operation], ids: dict[str, str]) -> None:
    for method, path, operation in operations:
        for name in named(operation, "path"):
            for word in WORDS:
                faults.ask(word, method, filled(path, operation, ids, **{name: sent(word)}))
        for name in named(operation, "query"):
            for word in QUERY:
                faults.ask(word, method, f"{filled(path, operation, ids)}?{name}={sent(word)}")


async def test_in_headers(faults: Faults, operations: list[Operation], ids: dict[str, str]) -> None:
    for method, path, operation in operations:
        for name, word in HEADERS:
            headers = {name.encode(): word.encode()}
            faults.ask(f"{name}: {word}", method, filled(path, operation, ids), headers=headers)


async def test_in_bodies_of_json(
    faults: Faults, operations: list[Operation], ids: dict[str, str], spec: dict[str, Any]
) -> None:
    for method, path, operation in operations:
        schema = body_schema(operation, "application/json")
        if schema is None:
            continue
        honest = sample(schema, spec)
        for content in [*BODIES, *(json.dumps(body).encode() for body in spoilt(honest))]:
            where, headers = filled(path, operation, ids), {"Content-Type": "application/json"}
            faults.ask(content.decode("latin-1"), method, where, content=content, headers=headers)


async def test_in_forms(faults: Faults, operations: list[Operation], spec: dict[str, Any]) -> None:
    file = ("file", ("a.wav", tone(0.1), "audio/wav"))
    for method, path, operation in operations:
        schema = body_schema(operation, "multipart/form-data")
        if schema is None:
            continue
        for kind in FORM_TYPES:
            faults.ask(kind, method, path, content=b"--x\r\n", headers={"Content-Type": kind})
        for name in [*schema["properties"].keys() - {"file"}, "\u2028"]:
            for word in [*WORDS, json.dumps({"\ud800": "\ud800"}), "1e400", "٣"]:
                value = word.encode(errors="surrogatepass")
                faults.ask(f"{name}={word}", method, path, files=[(name, (None, value)), file])


def body_schema(operation: dict[str, Any], kind: str) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] | None = content.get(kind, {}).get("schema")
    return schema


def sample(schema: dict[str, Any], spec: dict[str, Any]) -> Any:
    """What OpenAPI gives as an example, or one that is put together from those of the properties."""
    if "$ref" in schema:
        return sample(spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]], spec)
    if "examples" in schema:
        return schema["examples"][0]
    return {name: sample(value, spec) for name, value in schema.get("properties", {}).items()} or None


def spoilt(honest: Any) -> Iterator[Any]:
    """The same value, with one word of it after another replaced by each of WORDS."""
    match honest:
        case dict():
            for name, value in honest.items():
                rest = {other: honest[other] for other in honest if other != name}
                yield from ({**rest, word: value} for word in WORDS)
                yield from ({**rest, name: worse} for worse in spoilt(value))
        case list():
            for i, value in enumerate(honest):
                yield from ([*honest[:i], worse, *honest[i + 1 :]] for worse in spoilt(value))
        case str():
            yield from WORDS
        case _:
            yield from (DIGITS, 10**400, -1)
