"""A speech service as a stranger runs one: OpenAI's transcription call over HTTP, with PocketSphinx behind it."""

import asyncio
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.load import load_section
from config.settings import EngineSettings
from domain.errors import EngineFailed
from domain.transcript import Segment
from engines.contract import Hearing
from engines.server.models.sphinx import Sphinx

KEY = "a-key-for-tests"


@dataclass
class SpeechService:
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The form of every transcription, without the recording."""

    def __post_init__(self) -> None:
        self._sphinx = Sphinx.load(load_section(EngineSettings, {}), None, lambda *_: None)
        self._turn = threading.Lock()

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "sphinx"}]}, 200 if _knows_key(request) else 401)

    async def transcribe(self, request: Request) -> Response:
        if not _knows_key(request):
            return JSONResponse({"error": {"code": "invalid_api_key"}}, 401)
        async with request.form() as form:
            upload = form["file"]
            assert isinstance(upload, UploadFile)
            self.asked.append({name: said for name, said in form.items() if isinstance(said, str)})
            wav = await upload.read()
        try:
            said = await asyncio.to_thread(self._hear, wav)
        except EngineFailed:
            return JSONResponse({"error": {"code": "invalid_file"}}, 400)
        parts = [
            {"id": number, "start": part.start, "end": part.end, "text": f" {part.text}"}
            for number, part in enumerate(said)
        ]
        return JSONResponse({"task": "transcribe", "language": "english", "segments": parts})

    def _hear(self, wav: bytes) -> list[Segment]:
        with self._turn, tempfile.NamedTemporaryFile(suffix=".wav") as file:
            file.write(wav)
            file.flush()
            heard = self._sphinx.transcribe(Path(file.name), Hearing(audio_seconds=0))
            return [item for item in heard if isinstance(item, Segment)]


def _knows_key(request: Request) -> bool:
    return request.headers.get("Authorization") == f"Bearer {KEY}"


@contextmanager
def speech_service() -> Iterator[SpeechService]:
    """On a free port of loopback, until the end of the block."""
    service = SpeechService()
    routes = [
        Route("/v1/models", service.models),
        Route("/v1/audio/transcriptions", service.transcribe, methods=["POST"]),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        service.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield service
        finally:
            server.should_exit = True
            thread.join()
