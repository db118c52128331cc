"""Host and Origin are checked on every request: a web page must not reach a laptop's platform.

A page that a stranger serves can make a browser call 127.0.0.1, and by DNS rebinding can even read the answer: then the
Host is the stranger's name. Plain IP addresses cannot be rebound, so they are served; names must be ours.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import answer
from config.settings import ApiSettings
from domain.errors import EscribaError, HostNotAllowed, OriginNotAllowed

LOCAL_NAMES = frozenset({"localhost"})


class HostAndOriginGuard:
    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._hosts = LOCAL_NAMES | {name.lower() for name in settings.allowed_hosts}
        self._origins = {origin.rstrip("/").lower() for origin in settings.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            refusal = self._refuse(Headers(scope=scope))
            if refusal is not None:
                await answer(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refuse(self, headers: Headers) -> EscribaError | None:
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            return HostNotAllowed()
        origin = headers.get("origin")
        if origin is None or origin.lower() in self._origins or _address_of(origin) == host:
            return None
        return OriginNotAllowed()

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _address_of(origin: str) -> str | None:
    """Host and port, or None where it is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
