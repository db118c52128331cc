"""Recordings that are fetched: from public addresses alone, whole, within limits, and with a word for every failure."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from config.audio_url_settings import AudioUrlSettings
from domain.errors import EscribaError
from domain.intake_errors import (
    AudioUrlNotServed,
    AudioUrlRedirects,
    AudioUrlRefused,
    AudioUrlTooLarge,
    AudioUrlTooSlow,
    AudioUrlUnreachable,
)
from messaging import audio_url, public_addresses
from messaging.public_addresses import Resolve, is_public
from tests.support.hostile_urls import HOSTILE, NAMES
from tests.support.receiver import Received, Receiver, always, receiving, response

OPEN = AudioUrlSettings(allow_http=True, allow_private=True)
MOST = 1_000_000

_heard: list[list[Any]] = []


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for calls in _heard:
            calls.append(args[1])


sys.addaudithook(_listen)


@contextmanager
def connections() -> Iterator[list[Any]]:
    """Every address that this process connects to meanwhile, as Python's own audit has it."""
    calls: list[Any] = []
    _heard.append(calls)
    try:
        yield calls
    finally:
        _heard.remove(calls)


async def known(host: str, port: int) -> list[str]:
    return NAMES.get(host) or await public_addresses.system_resolver(host, port)


async def fetch(
    url: str, settings: AudioUrlSettings = OPEN, *, largest: int = MOST, resolve: Resolve | None = None
) -> bytes:
    how = {} if resolve is None else {"resolve": resolve}
    async with audio_url.opened(url, settings, largest_bytes=largest, **how) as chunks:
        return b"".join([chunk async for chunk in chunks])


def serving(answer: bytes) -> Callable[[Received], Awaitable[bytes]]:
    async def serve(_: Received) -> bytes:
        return answer

    return serve


@pytest.fixture
def recording(receiver: Receiver) -> bytes:
    body = bytes(range(256)) * 1500
    receiver.answer = serving(response(200, body=body))
    return body


# Where it may come from


@pytest.mark.parametrize("url", HOSTILE)
async def test_no_url_has_us_connect_to_what_is_not_public(receiver: Receiver, url: str) -> None:
    strict = AudioUrlSettings(allow_http=True, ports=(receiver.port,))
    with connections() as made, pytest.raises(EscribaError) as refusal:
        await fetch(url.format(port=receiver.port), strict, resolve=known)
    assert refusal.type in (AudioUrlRefused, AudioUrlUnreachable)
    assert [address for address in made if not is_public(ip_address(address[0]))] == []
    assert (made, receiver.connections) == ([], 0)


async def test_the_audit_hears_of_a_connection(receiver: Receiver, recording: bytes) -> None:
    with connections() as made:
        await fetch(receiver.url)
    assert made == [("127.0.0.1", receiver.port)]


async def test_a_resolver_that_changes_its_mind_is_asked_once(
    receiver: Receiver, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was judged, there we connect: nobody listens at the address that counts as public here."""
    monkeypatch.setattr(public_addresses, "is_public", lambda address: str(address) == "127.0.0.2")
    answers = [["127.0.0.2"], ["127.0.0.1"]]
    with connections() as made, pytest.raises(AudioUrlUnreachable):
        await fetch(
            f"http://rebind.example:{receiver.port}/",
            AudioUrlSettings(allow_http=True, ports=(receiver.port,)),
            resolve=lambda host, port: asyncio.sleep(0, answers.pop(0)),
        )
    assert made == [("127.0.0.2", receiver.port)]
    assert (len(answers), receiver.connections) == (1, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    async with receiving() as inside:
        receiver.answer = always(status, f"Location: {inside.url}")
        with pytest.raises(AudioUrlRedirects) as refusal:
            await fetch(receiver.url)
        assert inside.connections == 0
    assert inside.url not in str(refusal.value)


async def test_http_and_other_ports_take_a_setting(receiver: Receiver) -> None:
    for url in ("http://8.8.8.8/a.mp3", "https://8.8.8.8:8443/a.mp3"):
        with pytest.raises(AudioUrlRefused):
            audio_url.parse(url, AudioUrlSettings())
    assert audio_url.parse("http://8.8.8.8/a.mp3", AudioUrlSettings(allow_http=True)).port == 80
    assert audio_url.parse("https://8.8.8.8:8443/a.mp3", AudioUrlSettings(ports=(443, 8443))).port == 8443


async def test_no_credentials_and_no_name_of_ours_but_the_program_s_are_sent(
    receiver: Receiver, recording: bytes
) -> None:
    await fetch(receiver.url)
    (received,) = receiver.received
    assert received.target == "/hook?token=shh"
    assert set(received.headers) == {"host", "user-agent", "accept", "accept-encoding"}


# What comes


async def test_the_bytes_come_as_they_are(receiver: Receiver, recording: bytes) -> None:
    assert await fetch(receiver.url) == recording


async def test_a_recording_of_unknown_length_comes_too(receiver: Receiver) -> None:
    receiver.answer = serving(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nRIFF1\r\n3\r\n234\r\n0\r\n\r\n"
    )
    assert await fetch(receiver.url) == b"RIFF1234"


async def test_what_says_that_it_is_too_large_is_not_read(receiver: Receiver) -> None:
    receiver.answer = serving(response(200, body=bytes(2000)))
    with pytest.raises(AudioUrlTooLarge, match="1,000 bytes"):
        await fetch(receiver.url, largest=1000)


async def test_what_turns_out_to_be_too_large_is_read_no_further(receiver: Receiver) -> None:
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(20_000_000)
    receiver.answer = serving(endless)
    with pytest.raises(AudioUrlTooLarge):
        await fetch(receiver.url, largest=1000)
    await receiver.was_hung_up_on.wait()


async def test_as_large_as_it_may_be_is_taken(receiver: Receiver) -> None:
    receiver.answer = serving(response(200, body=bytes(1000)))
    assert len(await fetch(receiver.url, largest=1000)) == 1000


@pytest.mark.parametrize("answer", [b"Content-Length: 99\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"])
async def test_a_recording_that_breaks_off_is_none(receiver: Receiver, answer: bytes) -> None:
    receiver.answer = serving(b"HTTP/1.1 200 OK\r\n" + answer)
    with pytest.raises(AudioUrlUnreachable):
        await fetch(receiver.url)


@pytest.mark.parametrize("status", [204, 206, 400, 401, 403, 404, 410, 451])
async def test_an_answer_that_is_no_recording_is_named(receiver: Receiver, status: int) -> None:
    receiver.answer = always(status)
    with pytest.raises(AudioUrlNotServed, match=str(status)):
        await fetch(receiver.url)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_an_answer_that_may_be_another_one_later_is_for_later(receiver: Receiver, status: int) -> None:
    receiver.answer = always(status)
    with pytest.raises(AudioUrlUnreachable, match=str(status)):
        await fetch(receiver.url)


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
async def test_what_is_not_http_is_unreachable(receiver: Receiver, garbage: bytes) -> None:
    receiver.answer = serving(garbage)
    with pytest.raises(AudioUrlUnreachable):
        await fetch(receiver.url)


async def test_nobody_there_is_unreachable(receiver: Receiver) -> None:
    async with receiving() as gone:
        url = gone.url
    with pytest.raises(AudioUrlUnreachable, match="cannot be reached"):
        await fetch(url)
    with pytest.raises(AudioUrlUnreachable, match="does not resolve"):
        await fetch("http://nobody.example/", resolve=lambda host, port: asyncio.sleep(0, []))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_server_that_falls_silent_is_left(receiver: Receiver, head: bytes) -> None:
    """Before its answer, or in the middle of it."""
    never = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await never.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    hasty = OPEN.model_copy(update={"idle_timeout_seconds": 0.1})
    try:
        with pytest.raises(AudioUrlUnreachable, match="in time"):
            await fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", hasty)
    finally:
        never.set()
        server.close()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"])
async def test_a_server_that_dawdles_for_ever_is_left_once_all_has_taken_too_long(head: bytes) -> None:
    """It says something again and again, in its headers or in the recording, so that it never falls silent."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            gone.set()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    hasty = OPEN.model_copy(update={"timeout_seconds": 0.3})
    with pytest.raises(AudioUrlTooSlow):
        await fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", hasty)
    await gone.wait()
    server.close()


@pytest.mark.parametrize("leaving", ["error", "cancelled"])
async def test_whoever_leaves_early_hangs_up(receiver: Receiver, leaving: str) -> None:
    receiver.answer = serving(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(20_000_000))

    async def read_one() -> None:
        async with audio_url.opened(receiver.url, OPEN, largest_bytes=MOST * 100) as chunks:
            await anext(aiter(chunks))
            raise ZeroDivisionError if leaving == "error" else asyncio.CancelledError

    with pytest.raises(ZeroDivisionError if leaving == "error" else asyncio.CancelledError):
        await read_one()
    await receiver.was_hung_up_on.wait()


async def test_an_error_of_whoever_reads_is_their_own(receiver: Receiver, recording: bytes) -> None:
    with pytest.raises(TimeoutError):
        async with audio_url.opened(receiver.url, OPEN, largest_bytes=MOST):
            raise TimeoutError


async def test_no_error_says_the_url(receiver: Receiver) -> None:
    receiver.answer = always(404)
    for url in (receiver.url, "https://user:shh@example.com/shh", "ftp://shh/", f"https://{'shh' * 2000}/"):
        with pytest.raises(EscribaError) as refusal:
            await fetch(url)
        assert "shh" not in str(refusal.value)
