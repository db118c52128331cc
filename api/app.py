"""The HTTP application of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from api import document, errors
from api.bodies import BodyLimit
from api.dialects import openai, socket, streaming
from api.dialects import subtitles as subtitles_dialect
from api.dialects.openai_errors import OpenAIEdge
from api.dialects.socket_conversation import Connections
from api.engine_board import EngineBoard
from api.guard import HostAndOriginGuard
from api.observing import Observed
from api.routes import (
    accounts,
    batches,
    contexts,
    health,
    media,
    metrics,
    subtitles,
    transcribe_jobs,
    uploads,
    webhooks,
)
from api.schemas import EnginesView
from api.scrape import Scrape
from config.settings import Settings
from db.session import NOBODY
from services.doorkeeper import Doorkeeper
from services.following import Hub
from services.platform import open_platform
from storage.local import MEDIA_PATH

DESCRIPTION = """
Send a recording, follow the job, read the transcript.

    curl -F file=@recording.mp3 http://127.0.0.1:8000/api/transcribe/jobs/transcribe
    curl -N http://127.0.0.1:8000/api/transcribe/jobs/stream/JOB_ID
    curl http://127.0.0.1:8000/api/transcribe/jobs/result/JOB_ID?format=srt

Every error has the shape `{"error": {"code", "message"}}`, below /v1 OpenAI's: match on the code, show the message.
"""


JOBS = transcribe_jobs.router.prefix
UPLOADS = (
    f"{JOBS}/transcribe",
    f"{JOBS}/transcribe/asr",
    f"{JOBS}/transcribe/whisperx",
    "/transcribe",
    "/transcribe-job",
    "/upload",
    f"{openai.router.prefix}/audio/transcriptions",
    f"{openai.router.prefix}/audio/translations",
)
"""Where recordings are sent; `api.uploads` counts their bytes."""

BESIDE_JOBS = (
    uploads,
    subtitles,
    accounts,
    contexts,
    webhooks,
    socket,
    streaming,
    subtitles_dialect,
    openai,
    media,
    health,
    metrics,
)


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_platform(settings, application="api", sees=NOBODY) as platform:
            hub = Hub(platform)
            hub.start()
            app.state.connections = Connections()
            app.state.platform, app.state.hub, app.state.board = platform, hub, EngineBoard(platform)
            app.state.scrape = Scrape(platform)
            doorkeeper = Doorkeeper(platform) if settings.api.auth == "required" else None
            app.state.doorkeeper = doorkeeper
            try:
                yield
            finally:
                await hub.stop()
                if doorkeeper is not None:
                    doorkeeper.close()

    app = FastAPI(title="Escriba", version=version("escriba"), description=DESCRIPTION, lifespan=lifespan)
    errors.install(app)
    app.add_middleware(BodyLimit, but=UPLOADS, below=MEDIA_PATH)
    if settings.api.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api.allowed_origins,
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID"],
        )
    app.add_middleware(HostAndOriginGuard, settings=settings.api)
    app.add_middleware(OpenAIEdge)
    app.add_middleware(Observed)
    app.include_router(batches.router)
    app.include_router(transcribe_jobs.router)
    app.add_api_route(
        "/engines",
        transcribe_jobs.engines,
        tags=["jobs"],
        summary="Alias of /api/transcribe/jobs/engines",
        response_model=EnginesView,
        responses=transcribe_jobs.UNCHANGED,
    )
    for routes in BESIDE_JOBS:
        app.include_router(routes.router)
    document.install(app)
    return app
