"""Connections to public addresses only, so that nobody can have the platform call on its own network.

A name is resolved once, when the connection is made, and the connection goes to the addresses that were judged: a
resolver that says something else a moment later is not asked.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import certifi
import httpcore

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A host and a port → addresses, in the order in which to try them; none where the name is unknown."""

MOST_ADDRESSES = 4
"""Of a name, that are tried: enough for both families, few enough to leave each some of the time."""

GLOBAL_UNICAST = ip_network("2000::/3")
"""All that IANA has given out; what lies outside (v4-mapped, v4-compatible, local NAT64) leads into some other net."""

NAT64 = ip_network("64:ff9b::/96")
"""RFC 6052: the last four bytes are the IPv4 address that a gateway will call."""

NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's platform, as each of its machines sees it
            "192.0.0.0/24",  # protocol assignments, RFC 6890
            "192.88.99.0/24",  # 6to4 relays, RFC 7526
            "2001::/23",  # protocol assignments with Teredo: RFC 2928, RFC 4380
            "2002::/16",  # 6to4: RFC 3056
            "3fff::/20",  # documentation: RFC 9637, newer than Python's own list
        ),
    )
)
"""Besides what `ipaddress` knows: special-purpose registries of IANA, read 2026-11-20."""

_LOOK_UPS = ThreadPoolExecutor(32, thread_name_prefix="look-up")
"""A look-up cannot be broken off, and whoever owns a name can have its servers dawdle: on asyncio's own few threads a
handful of such names would hold up all that reads files there."""


class UrlRefused(Exception):
    """Not for us to call. The message is said of the URL and never repeats it; callers have errors of their own."""


class HostUnknown(UrlRefused):
    def __init__(self) -> None:
        super().__init__("its host name does not resolve to an address; check the name, and that it is public")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """May a stranger have us connect to `address`?"""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in GLOBAL_UNICAST:
            return False
    special = address.is_multicast or address.is_reserved or any(address in network for network in NOT_PUBLIC)
    return address.is_global and not special


async def system_resolver(host: str, port: int) -> list[str]:
    """May take as long as the slowest name server; whoever asks has a limit of their own."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
    except (OSError, UnicodeError):  # UnicodeError: a label that IDNA cannot spell
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def addresses_of(host: str, port: int, *, resolve: Resolve, allow_private: bool) -> list[str]:
    """Where to connect for `host`.

    Raises:
        HostUnknown: there is no such name.
        UrlRefused: one of its addresses is not public; a name with both kinds is out to get us.
    """
    found = await resolve(host, port)
    if not found:
        raise HostUnknown
    if not allow_private:
        refuse_private(found)
    return found


def refuse_private(addresses: Iterable[str]) -> None:
    """Raises UrlRefused."""
    if not all(is_public(ip_address(address)) for address in addresses):
        raise UrlRefused("its host is not on the public internet")


def guarded_pool(
    *, resolve: Resolve, allow_private: bool, most_connections: int, tls: ssl.SSLContext | None = None
) -> httpcore.AsyncConnectionPool:
    """Connections of which none is kept: each looks its host up anew, and has it judged."""
    return httpcore.AsyncConnectionPool(
        ssl_context=tls or _trusting(),
        max_connections=most_connections,
        max_keepalive_connections=0,
        network_backend=GuardedBackend(resolve=resolve, allow_private=allow_private),
    )


def _trusting() -> ssl.SSLContext:
    """The system's authorities and those that come with Python's HTTP clients: a small image may lack the former."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network, which here leads to public addresses only.

    TLS is still spoken, and the certificate checked, with the name that the URL has: httpcore does that above us.
    """

    def __init__(self, *, resolve: Resolve, allow_private: bool) -> None:
        self._resolve, self._allow_private = resolve, allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises what `addresses_of` raises, httpcore.ConnectError, httpcore.ConnectTimeout."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await addresses_of(host, port, resolve=self._resolve, allow_private=self._allow_private)
                return await self._first(addresses[:MOST_ADDRESSES], port, timeout, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error

    async def _first(
        self,
        addresses: list[str],
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        share = None if timeout is None else timeout / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, share, local_address, socket_options)
