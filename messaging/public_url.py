"""Which URLs the platform calls for its users. One strict reading, so that what was checked is what is called."""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Protocol, Self

from messaging.public_addresses import UrlRefused

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


class UrlRules(Protocol):
    """What the settings say of such URLs."""

    @property
    def ports(self) -> tuple[int, ...]: ...

    @property
    def allow_http(self) -> bool: ...

    @property
    def allow_private(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """The parts of a URL as they go over the wire; `host` without brackets."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)

    @classmethod
    def parse(cls, url: str, rules: UrlRules, *, longest: int) -> Self:
        """`longest` in characters. Raises UrlRefused."""
        if len(url) > longest:
            raise UrlRefused(f"it is over {longest:,} characters long")
        found = _URL.fullmatch(url)
        if found is None:
            raise UrlRefused(_what_is_wrong(url))
        scheme = found["scheme"].lower()
        port = int(found["port"] or DEFAULT_PORTS[scheme])
        _check_way(scheme, port, rules)
        target = found["target"] or "/"
        return cls(scheme, _host(found["host"]), port, target if target.startswith("/") else f"/{target}")

    @property
    def address(self) -> str | None:
        """The host, where it is no name."""
        return self.host if ":" in self.host or _NUMBER.fullmatch(self.host.rpartition(".")[2]) else None


def _what_is_wrong(url: str) -> str:
    authority = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0]
    if not re.match("https?://", url, re.IGNORECASE):
        return "it should start with https://"
    if "@" in authority:
        return "it has a user name, which is not taken; a token can stand in its query"
    if "#" in url:
        return "it has a fragment (#…), which is never sent"
    return "it is malformed; write names in ASCII (punycode) and escape what is unusual"


def _check_way(scheme: str, port: int, rules: UrlRules) -> None:
    if scheme == "http" and not rules.allow_http:
        raise UrlRefused("it should start with https://")
    taken = {*rules.ports, *([DEFAULT_PORTS["http"]] if rules.allow_http else [])}
    if not 0 < port < 65_536 or (port not in taken and not rules.allow_private):
        raise UrlRefused(f"its port should be one of {', '.join(map(str, sorted(taken)))}")


def _host(host: str) -> str:
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return str(IPv4Address(host))
    except AddressValueError as error:
        raise UrlRefused("its host is an address in an unusual spelling") from error
    return host.lower()
