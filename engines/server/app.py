"""The engine server's HTTP: what models there are, and recordings in, events out.

    GET  /health                 200 while the server is up
    GET  /models                 a list of EngineReport
    POST /transcribe/{engine}    a Hearing as one line of JSON, then the WAV; answer: events, one JSON object a line

A request that cannot be taken is answered with the same `error` event that ends a stream, and a status that fits.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from config.settings import EngineSettings
from domain.capabilities import EngineReport
from domain.errors import EngineFailed, ModelMissing
from engines.contract import Hearing
from engines.server.catalogue import Catalogue
from engines.server.pool import ModelKey, Pool
from engines.server.spool import Spool
from engines.wire import LONGEST_LINE, Event, Failure, encode

_REPORTS = TypeAdapter(list[EngineReport])

_JSON = "application/json"
_LINES = "application/x-ndjson"
_STREAM_HEADERS = [(b"content-type", _LINES.encode()), (b"cache-control", b"no-store")]


class Refused(Exception):
    """A request that cannot be taken, with the status that says so."""

    def __init__(self, status: HTTPStatus, error: EngineFailed) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


class Door:
    """The routes, and what they need."""

    def __init__(self, settings: EngineSettings, catalogue: Catalogue, pool: Pool, spool: Spool) -> None:
        self._token = settings.server_token.get_secret_value().encode() if settings.server_token else None
        self._catalogue = catalogue
        self._pool = pool
        self._spool = spool

    async def health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def models(self, request: Request) -> Response:
        self._check_token(request)
        reports = await asyncio.to_thread(self._catalogue.reports)
        return Response(_REPORTS.dump_json([self._with_memory(report) for report in reports]), media_type=_JSON)

    async def transcribe(self, request: Request) -> Response:
        self._check_token(request)
        report = self._announced(request.path_params["engine"])
        body = aiter(request.stream())
        try:
            hearing, begun = await _read_hearing(body)
        except ClientDisconnect:
            return Response()  # to nobody
        key = ModelKey(report.engine, _model_of(report, hearing))
        return _Transcription(_joined(begun, body), self._pool, self._spool, key, hearing)

    def _check_token(self, request: Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        if self._token is not None and not hmac.compare_digest(given, self._token):
            wrong = "the engine server asks for its token: set ENGINE_SERVER_TOKEN to the same value on both sides"
            raise Refused(HTTPStatus.UNAUTHORIZED, EngineFailed(wrong, retryable=True))

    def _announced(self, engine: str) -> EngineReport:
        report = self._catalogue.report(engine)
        if report is None:
            raise Refused(HTTPStatus.NOT_FOUND, ModelMissing("there is no such engine on this server", retryable=False))
        if not report.available:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, EngineFailed(report.reason or engine, retryable=True))
        return report

    def _with_memory(self, report: EngineReport) -> EngineReport:
        """Add what only the pool knows: which models are in memory, and which are just being fetched."""
        models = []
        for model in report.models:
            download = self._pool.downloading(ModelKey(report.engine, model.name))
            if download is not None:
                note = f"{download.done / 1e6:.0f} of {download.total / 1e6:.0f} MB"
                model = model.model_copy(update={"state": "downloading", "note": note})
            models.append(model)
        now = {
            "models": tuple(models),
            "load": self._pool.load(report.engine),
            "memory": tuple(self._pool.loaded(report.engine)),
            "detail": {**report.detail, "loads": self._pool.loads(report.engine)},
        }
        return report.model_copy(update=now)


class _Transcription(Response):
    """Takes the recording in, then tells what is heard; ends the job when the client goes away."""

    def __init__(
        self, recording: AsyncIterator[bytes], pool: Pool, spool: Spool, key: ModelKey, hearing: Hearing
    ) -> None:
        self._recording = recording
        self._pool = pool
        self._spool = spool
        self._key = key
        self._hearing = hearing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            try:
                audio = await stack.enter_async_context(self._spool.keep(self._recording))
            except ClientDisconnect:
                return
            except OSError as error:
                full = EngineFailed(f"the engine server cannot keep the recording: {error.strerror}", retryable=True)
                await _refuse(Refused(HTTPStatus.INSUFFICIENT_STORAGE, full))(scope, receive, send)
                return
            await self._hear_while_wanted(str(audio), receive, send)

    async def _hear_while_wanted(self, audio: str, receive: Receive, send: Send) -> None:
        job = asyncio.create_task(self._hear(audio, send))
        leaving = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({job, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            job.cancel()
            leaving.cancel()
            await asyncio.wait({job, leaving})
        if not job.cancelled():
            job.result()

    async def _hear(self, audio: str, send: Send) -> None:
        async def tell(event: Event) -> None:
            await send({"type": "http.response.body", "body": encode(event), "more_body": True})

        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": _STREAM_HEADERS})
        try:
            await self._pool.hear(self._key, audio, self._hearing, tell)
        except EngineFailed as error:
            await tell(Failure.of(error))
        await send({"type": "http.response.body", "body": b""})


async def _read_hearing(body: AsyncIterator[bytes]) -> tuple[Hearing, bytes]:
    """The first line of `body`, and what came of the recording along with it."""
    begun = bytearray()
    async for chunk in body:
        end = chunk.find(b"\n")
        if end >= 0:
            return _parse_hearing(bytes(begun + chunk[:end])), chunk[end + 1 :]
        begun += chunk
        if len(begun) > LONGEST_LINE:
            break
    raise _unfit("the body should begin with a Hearing as one line of JSON")


def _parse_hearing(line: bytes) -> Hearing:
    try:
        return Hearing.model_validate_json(line)
    except ValidationError as error:
        raise _unfit(
            f"{error.error_count()} fields of the Hearing do not fit; run the same version on both sides"
        ) from error


def _unfit(message: str) -> Refused:
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, EngineFailed(message, retryable=False))


def _model_of(report: EngineReport, hearing: Hearing) -> str | None:
    """The model to use: one that is announced, as a request must not reach for anything else."""
    model = hearing.model or report.default_model
    offered = [offer.name for offer in report.models]
    if model is None or model in offered:
        return model
    choice = ", ".join(offered) or "no choice of models"
    missing = ModelMissing(f"engine {report.engine!r} has no such model; it offers {choice}", retryable=False)
    raise Refused(HTTPStatus.NOT_FOUND, missing)


async def _joined(begun: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begun
    async for chunk in body:
        yield chunk


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refuse(refused: Refused) -> Response:
    return Response(encode(Failure.of(refused.error)), refused.status, media_type=_LINES)


async def _on_refused(_request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused), "registered for nothing else"
    return _refuse(refused)


def build(settings: EngineSettings, catalogue: Catalogue, pool: Pool, spool: Spool) -> Starlette:
    """The application. It ends the pool's children and removes the spool when it shuts down."""
    door = Door(settings, catalogue, pool, spool)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await pool.close()
            spool.close()

    # Without a token, a web page that points a name of its own at 127.0.0.1 must not get in.
    guards = [] if settings.server_token else [Middleware(TrustedHostMiddleware, ["localhost", "127.0.0.1"])]
    return Starlette(
        routes=[
            Route("/health", door.health),
            Route("/models", door.models),
            Route("/transcribe/{engine}", door.transcribe, methods=["POST"]),
        ],
        middleware=guards,
        exception_handlers={Refused: _on_refused},
        lifespan=lifespan,
    )
