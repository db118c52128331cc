"""Every engine that an engine server announces, as a thin HTTP client of it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from config.settings import EngineSettings, Settings
from domain.capabilities import EngineReport
from domain.errors import EngineFailed, EngineSilent
from domain.transcript import Heard
from engines.contract import Hearing
from engines.wire import LONGEST_LINE, PULSE_SECONDS, Done, Event, Failure, Queued, Said, Working, encode, parse_event

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 1.5
"""What the server gets for its list of models: less than the two seconds that a report may take."""

FRESH_SECONDS = 0.5
"""How long an answer serves everybody who asks: a report on all engines asks once for each of them, and so does every
job that begins. A change is seen that much later, so it is a small part of the five seconds that it may take."""

READ_BYTES = 1 << 20

_STRANGE = "the engine server says what this version does not understand: run the same version on both sides"

_REPORTS = TypeAdapter(list[EngineReport])


class HostedEngines:
    """The entry point `hosted`: all that the engine server at ENGINE_SERVER_URL has, and nothing where none is set.

    An engine that has a server of its own is left to that.
    """

    url_setting = "ENGINE_SERVER_URL"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.engines
        self._url = self._url_of(settings.engines)
        self._known: dict[str, EngineReport] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        token = self._settings.server_token
        self._client = httpx.AsyncClient(
            base_url=self._url or "",
            headers={"Authorization": f"Bearer {token.get_secret_value()}"} if token else {},
            # The server speaks every PULSE_SECONDS while a job lives; a few of them missing is a dead connection.
            timeout=httpx.Timeout(10.0, read=6 * PULSE_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,  # a proxy for the internet is none for a server of our own
        )

    async def engines(self) -> list["HostedEngine"]:
        return [HostedEngine(self, name) for name in await self.reports()]

    async def reports(self) -> dict[str, EngineReport]:
        """By name. When the server is away, the engines it last had, each unavailable and with the reason."""
        if self._url is None:
            return {}
        async with self._asking:
            now = asyncio.get_running_loop().time
            if now() - self._asked_at > FRESH_SECONDS:
                self._known = await self._ask()
                self._asked_at = now()
        return self._known

    async def close(self) -> None:
        await self._client.aclose()

    async def transcribe(self, engine: str, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        """As `engines.contract.Engine.transcribe`, on the server."""
        request = self._client.stream("POST", f"/transcribe/{quote(engine)}", content=_body(hearing, audio))
        try:
            async with request as response:
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response.status_code, await response.aread())
                async with aclosing(self._events(response)) as events:
                    async for event in events:
                        if isinstance(event, Said):
                            yield event.value
        except httpx.ReadTimeout as error:
            raise EngineSilent("the engine server has gone silent; is its machine still up?", retryable=True) from error
        except httpx.HTTPError as error:
            lost = f"the connection to the engine server failed ({type(error).__name__}); it may be starting again"
            raise EngineFailed(lost, retryable=True) from error

    async def _ask(self) -> dict[str, EngineReport]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._client.get("/models")
            if response.status_code == httpx.codes.OK:
                reports = _REPORTS.validate_json(response.content)
                return {report.engine: report for report in reports if self._offers(report.engine)}
            reason = str(self._refusal(response.status_code, response.content))
        except (httpx.HTTPError, TimeoutError, ValidationError) as error:
            reason = f"the engine server does not answer ({type(error).__name__})"
        logger.warning("no list of engines: %s", reason)
        return {name: report.away(reason) for name, report in self._known.items()}

    def _refusal(self, status: int, body: bytes) -> EngineFailed:
        """The error that a status other than 200 stands for; the server's own words where it has some."""
        try:
            event = parse_event(body)
        except ValidationError:
            event = None
        if isinstance(event, Failure):
            return event.to_error()
        return EngineFailed(f"what answers at {self.url_setting} is no engine server (status {status})", retryable=True)

    def _url_of(self, settings: EngineSettings) -> str | None:
        return settings.server_url

    def _offers(self, engine: str) -> bool:
        return engine != "whisperx" or self._settings.whisperx_url is None

    async def _events(self, response: httpx.Response) -> AsyncGenerator[Event]:
        """What the server says, up to Done. Raises EngineFailed, also for what it reports and for an early end."""
        loop = asyncio.get_running_loop()
        patience = self._settings.silence_timeout_seconds
        deadline = loop.time() + patience
        async with aclosing(_lines(response)) as lines:
            while (event := await _next_event(lines, deadline, patience)) is not None:
                if isinstance(event, Failure):
                    raise event.to_error()
                if isinstance(event, Done):
                    return
                if isinstance(event, Queued):
                    deadline = float("inf")  # waiting for others is no silence of the engine
                elif not isinstance(event, Working) or deadline == float("inf"):
                    deadline = loop.time() + patience
                yield event
        raise EngineFailed("the engine server ended in the middle of a job; it may be starting again", retryable=True)


class HostedEngine:
    """One engine of the server."""

    def __init__(self, server: HostedEngines, name: str) -> None:
        self.name = name
        self._server = server

    async def report(self) -> EngineReport:
        gone = EngineReport(engine=self.name, available=False, reason="the engine server no longer has it")
        return (await self._server.reports()).get(self.name, gone)

    def transcribe(self, audio: Path, hearing: Hearing) -> AsyncGenerator[Heard]:
        return self._server.transcribe(self.name, audio, hearing)


async def _body(hearing: Hearing, audio: Path) -> AsyncIterator[bytes]:
    yield encode(hearing)
    with await asyncio.to_thread(audio.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, READ_BYTES):
            yield chunk


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Split at newlines alone: httpx's own lines also end at U+2028 and the like, which JSON has as they are.

    Raises EngineFailed for a line over LONGEST_LINE.
    """
    begun = bytearray()
    async for chunk in response.aiter_bytes():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield bytes(begun + end)
            begun.clear()
        begun += rest
        if len(begun) > LONGEST_LINE:
            raise EngineFailed(_STRANGE, retryable=True)


async def _next_event(lines: AsyncIterator[bytes], deadline: float, patience: float) -> Event | None:
    """None at the end of the stream."""
    try:
        async with asyncio.timeout_at(deadline):
            line = await anext(lines, None)
    except TimeoutError as error:
        silent = f"the engine has said nothing for {patience:g} seconds and was given up (WHISPERX_TIMEOUT)"
        raise EngineSilent(silent, retryable=True) from error
    try:
        return None if line is None else parse_event(line)
    except ValidationError as error:
        raise EngineFailed(_STRANGE, retryable=True) from error
