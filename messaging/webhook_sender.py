"""Webhooks on the wire, as https://www.standardwebhooks.com has them: signed, once, and never after a redirect."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from config.webhook_settings import WebhookSettings
from domain.webhook_errors import WebhookUrlRefused
from messaging import webhook_url
from messaging.public_addresses import Resolve, guarded_pool, system_resolver
from messaging.transport import Envelope, Outcome

SECRET_PREFIX = "whsec_"  # noqa: S105  # what a secret begins with
SECRET_BYTES = 32
"""The specification asks for 24 to 64."""

MOST_READ = 1024
"""Bytes of an answer's body; what it says is thrown away."""

HEARD_OUT_SECONDS = 1.0
"""How long an answer's body is waited for."""

MOST_CONNECTIONS = 100

USER_AGENT = "Escriba-Webhooks"


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(envelope: Envelope, keys: tuple[str, ...], *, at: int) -> dict[str, str]:
    """The headers that prove an envelope, with a signature for each of the secrets; `at` in Unix seconds."""
    signed = b"%s.%d.%s" % (envelope.id.encode(), at, envelope.body)
    signatures = [
        hmac.digest(base64.b64decode(key.removeprefix(SECRET_PREFIX)), signed, hashlib.sha256) for key in keys
    ]
    return {
        "webhook-id": envelope.id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in signatures),
    }


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class WebhookSender:
    """A Transport to webhook endpoints. No connection is kept: each delivery looks its receiver up anew."""

    def __init__(
        self, settings: WebhookSettings, *, resolve: Resolve = system_resolver, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._pool = guarded_pool(
            resolve=resolve, allow_private=settings.allow_private, most_connections=MOST_CONNECTIONS, tls=tls
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def send(self, envelope: Envelope, to: WebhookAddress) -> Outcome:
        """POST once."""
        began = time.monotonic()
        status, retry_after = None, None
        try:
            with webhook_url.judged():
                async with asyncio.timeout(self._settings.timeout_seconds):
                    status, retry_after = await self._post(envelope, to)
            error = _judged(status)
        except (TimeoutError, httpcore.TimeoutException):
            error = "timeout"
        except WebhookUrlRefused as refused:
            error = refused.code
        except httpcore.NetworkError as failed:
            error = "tls" if isinstance(failed.__cause__ or failed.__context__, ssl.SSLError) else "connection"
        except httpcore.ProtocolError:
            error = "protocol"
        return Outcome(error, status, round(1000 * (time.monotonic() - began)), retry_after)

    async def _post(self, envelope: Envelope, to: WebhookAddress) -> tuple[int, float | None]:
        """The status, and the seconds of a Retry-After."""
        url = webhook_url.parse(to.url, self._settings)
        about = {"user-agent": USER_AGENT, "content-type": "application/json"}
        headers = {**about, **sign(envelope, to.secrets, at=int(time.time()))}
        wait = self._settings.connect_timeout_seconds
        async with self._pool.stream(
            "POST",
            httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
            headers=list(headers.items()),
            content=envelope.body,
            extensions={"timeout": {"connect": wait}},
        ) as response:
            await _hear_out(response)
            return response.status, _retry_after(response.headers)


async def _hear_out(response: httpcore.Response) -> None:
    """Let a receiver end its answer, if that is short; the status has said what we want to know."""
    read = 0
    with contextlib.suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(HEARD_OUT_SECONDS):
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read >= MOST_READ:
                    break


def _judged(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if status == 410:
        return "gone"
    return "redirect" if 300 <= status < 400 else "status"


def _retry_after(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds, from either of the spellings of RFC 9110, 10.2.3."""
    said = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if said.isascii() and said.isdecimal() and len(said) < 10:
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
