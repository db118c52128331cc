"""Every request gets an id, a measure of how long it took, and a line in the log where it changed something or failed.

Reads are many and cheap, and a poll a second would fill a disk: they are counted, and logged at LOG_LEVEL=debug only.
Nowhere is there a path, which carries ids and signed links: the route's template stands for it.
"""

import logging
import re
from time import perf_counter
from uuid import UUID, uuid4

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from config import metrics, telemetry, traces

log = logging.getLogger(__name__)

HEADER = "x-request-id"
WELL_FORMED = re.compile(r"[0-9A-Za-z._-]{8,64}", re.ASCII)
"""Of an id that a caller brings along. It is logged, so it is no place for a name."""

READS = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = READS | {"POST", "PUT", "PATCH", "DELETE"}

NO_ROUTE = "none"
"""In place of a template: what was asked for is no route, or was refused before anybody looked for one."""


def template_of(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", NO_ROUTE))


class Observed:
    """Around everything else, so that what others refuse is seen as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        request_id = given if WELL_FORMED.fullmatch(given) else uuid4().hex
        with (
            telemetry.bind(request_id=request_id),
            traces.span(scope["type"], parent=headers.get("traceparent")) as span,
        ):
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
                return
            exchange = _Exchange(scope, send, request_id)
            try:
                await exchange.run(self._app, receive)
            finally:
                exchange.tell(span)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope, self._send, self._id = scope, send, request_id
        self._method = scope["method"] if scope["method"] in METHODS else "other"
        self._began = perf_counter()
        self._status: int | None = None
        self._first_byte: float | None = None

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Answer, by a 500 where there is a bug; where the answer has begun already, the client sees it break off."""
        try:
            await app(self._scope, receive, self._pass_on)
        except Exception as error:
            log.error("a bug in %s %s", self._method, template_of(self._scope), exc_info=error)
            if self._status is not None:
                raise
            await errors.unforeseen()(self._scope, receive, self._pass_on)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._first_byte = message["status"], perf_counter() - self._began
            message["headers"] = [*message.get("headers", ()), (HEADER.encode(), self._id.encode())]
        await self._send(message)

    def tell(self, span: traces.Span) -> None:
        route, status = template_of(self._scope), self._status
        metrics.HTTP_REQUESTS.labels(self._method, route, f"{status // 100}xx" if status else "aborted").inc()
        if self._first_byte is not None:
            metrics.HTTP_SECONDS.labels(self._method, route).observe(self._first_byte)
        span.rename(f"{self._method} {route}")
        span.note(status=status or 0)
        level = logging.DEBUG if self._method in READS and (status or 0) < 500 else logging.INFO
        if log.isEnabledFor(level):
            taken = round(1000 * (perf_counter() - self._began), 1)
            about = {"method": self._method, "route": route, "status": status, "ms": taken, **self._job()}
            with telemetry.bind(**about):
                log.log(level, "answered")

    def _job(self) -> dict[str, str]:
        """The id of the job that the path names, where it is one."""
        try:
            return {"job_id": str(UUID(self._scope.get("path_params", {})["job_id"]))}
        except (KeyError, ValueError):
            return {}
