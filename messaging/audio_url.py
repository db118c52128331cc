"""Which URLs may be recordings', and how one is fetched: from public addresses only, and never after a redirect."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import httpcore

from config.audio_url_settings import AudioUrlSettings
from domain.intake_errors import (
    AudioUrlNotServed,
    AudioUrlRedirects,
    AudioUrlRefused,
    AudioUrlTooLarge,
    AudioUrlTooSlow,
    AudioUrlUnreachable,
)
from messaging.public_addresses import HostUnknown, Resolve, UrlRefused, guarded_pool, refuse_private, system_resolver
from messaging.public_url import PublicUrl

LONGEST = 4096
"""Characters: signed URLs of object stores carry a session's token of some 1,500."""

USER_AGENT = "Escriba"

NOT_NOW = frozenset({408, 425, 429})
"""Besides 5xx: what a server says that may answer otherwise later (RFC 9110, RFC 8470, RFC 6585)."""


def parse(url: str, settings: AudioUrlSettings) -> PublicUrl:
    """Refuse what can be told from the URL alone. Raises AudioUrlRefused."""
    try:
        parsed = PublicUrl.parse(url, settings, longest=LONGEST)
        if not settings.allow_private and parsed.address is not None:
            refuse_private([parsed.address])
    except UrlRefused as error:
        raise AudioUrlRefused(str(error)) from error
    return parsed


@asynccontextmanager
async def opened(
    url: str,
    settings: AudioUrlSettings,
    *,
    largest_bytes: int,
    resolve: Resolve = system_resolver,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """`async with opened(url, …) as chunks`: the bytes of the recording, as they come.

    Entering it, and every chunk, raises AudioUrlRefused, AudioUrlUnreachable, AudioUrlTooSlow, AudioUrlTooLarge;
    entering raises AudioUrlNotServed and AudioUrlRedirects as well. Bytes that a server announces and does not send
    are AudioUrlUnreachable.
    """
    where = parse(url, settings)
    idle, clock = settings.idle_timeout_seconds, _Clock(settings.timeout_seconds)
    pool = guarded_pool(resolve=resolve, allow_private=settings.allow_private, most_connections=1, tls=tls)
    get = pool.stream(
        "GET",
        httpcore.URL(scheme=where.scheme, host=where.host, port=where.port, target=where.target),
        headers=[("user-agent", USER_AGENT), ("accept", "*/*"), ("accept-encoding", "identity")],
        extensions={"timeout": {"connect": settings.connect_timeout_seconds, "read": idle, "write": idle}},
    )
    async with pool, AsyncExitStack() as stack:
        async with clock.within():
            response = await stack.enter_async_context(get)
        _judge(response, largest_bytes)
        yield _chunks(response, clock, largest_bytes)


class _Clock:
    """The time that is left for all of it, whoever else waits in between."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = asyncio.get_running_loop().time() + seconds

    @asynccontextmanager
    async def within(self) -> AsyncGenerator[None]:
        """What fails within, fails in our words."""
        try:
            with _in_our_words():
                async with asyncio.timeout_at(self._end):
                    yield
        except TimeoutError as error:
            raise AudioUrlTooSlow(self._seconds) from error


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except HostUnknown as error:
        raise AudioUrlUnreachable(str(error)) from error
    except UrlRefused as error:
        raise AudioUrlRefused(str(error)) from error
    except httpcore.TimeoutException as error:
        raise AudioUrlUnreachable("its server does not answer in time") from error
    except httpcore.NetworkError as error:
        tls = isinstance(error.__cause__ or error.__context__, ssl.SSLError)
        why = "its certificate does not fit, or is out of date" if tls else "its server cannot be reached, or hangs up"
        raise AudioUrlUnreachable(why) from error
    except httpcore.ProtocolError as error:
        raise AudioUrlUnreachable("its server breaks off, or does not speak HTTP") from error


def _judge(response: httpcore.Response, largest_bytes: int) -> None:
    status = response.status
    if status >= 500 or status in NOT_NOW:
        raise AudioUrlUnreachable(f"its server answered {status}")
    if 300 <= status < 400:
        raise AudioUrlRedirects(status)
    if status != 200:
        raise AudioUrlNotServed(status)
    declared = next((value for name, value in response.headers if name.lower() == b"content-length"), b"")
    if declared.isdigit() and int(declared[:18]) > largest_bytes:
        raise AudioUrlTooLarge(largest_bytes)


async def _chunks(response: httpcore.Response, clock: _Clock, largest_bytes: int) -> AsyncIterator[bytes]:
    stream, read = response.aiter_stream(), 0
    while True:
        async with clock.within():
            chunk = await anext(stream, None)
        if chunk is None:
            return
        read += len(chunk)
        if read > largest_bytes:
            raise AudioUrlTooLarge(largest_bytes)
        yield chunk
