"""Which URLs may be webhooks. One strict reading, so that what was checked is what is called."""

import asyncio
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Self

from config.webhook_settings import WebhookSettings
from domain.errors import WebhookHostUnknown, WebhookUrlRefused
from messaging.public_addresses import Resolve, addresses_of, system_resolver

LONGEST = 2048
"""Characters; what other senders and most proxies take."""

DEFAULT_PORTS = {"https": 443, "http": 80}

# RFC 3986, without what it allows and nobody needs: user names, fragments, escapes in the host.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][a-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*)?",
    re.IGNORECASE,
)

# "0x7f.1" and "2130706433" are addresses to some and names to others: https://url.spec.whatwg.org/#ends-in-a-number-checker
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """The parts of a URL as they go over the wire; `host` without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str, settings: WebhookSettings) -> Self:
        """Raises WebhookUrlRefused."""
        if len(url) > LONGEST:
            raise WebhookUrlRefused(f"it is over {LONGEST:,} characters long")
        found = _URL.fullmatch(url)
        if found is None:
            raise WebhookUrlRefused(_what_is_wrong(url))
        scheme = found["scheme"].lower()
        port = int(found["port"] or DEFAULT_PORTS[scheme])
        _check_way(scheme, port, settings)
        target = found["target"] or "/"
        return cls(scheme, _host(found["host"]), port, target if target.startswith("/") else f"/{target}")


async def check(url: str, settings: WebhookSettings, *, resolve: Resolve = system_resolver) -> None:
    """Raises WebhookUrlRefused, WebhookHostUnknown: also for a name whose servers do not answer in time."""
    parsed = WebhookUrl.parse(url, settings)
    try:
        async with asyncio.timeout(settings.connect_timeout_seconds):
            await addresses_of(parsed.host, parsed.port, resolve=resolve, allow_private=settings.allow_private)
    except TimeoutError as error:
        raise WebhookHostUnknown from error


def _what_is_wrong(url: str) -> str:
    authority = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0]
    if not re.match("https?://", url, re.IGNORECASE):
        return "it should start with https://"
    if "@" in authority:
        return "it has a user name; put a token into the query, or better, check the signature"
    if "#" in url:
        return "it has a fragment (#…), which is never sent"
    return "it is malformed; write names in ASCII (punycode) and escape what is unusual"


def _check_way(scheme: str, port: int, settings: WebhookSettings) -> None:
    if scheme == "http" and not settings.allow_http:
        raise WebhookUrlRefused("it should start with https://")
    taken = {*settings.ports, *([DEFAULT_PORTS["http"]] if settings.allow_http else [])}
    if not 0 < port < 65_536 or (port not in taken and not settings.allow_private):
        raise WebhookUrlRefused(f"its port should be one of {', '.join(map(str, sorted(taken)))}")


def _host(host: str) -> str:
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return str(IPv4Address(host))
    except AddressValueError as error:
        raise WebhookUrlRefused("its host is an address in an unusual spelling") from error
    return host.lower()
