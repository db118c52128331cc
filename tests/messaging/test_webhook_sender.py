"""Webhooks on the wire: signed as the specification has it, and never sent into a private network."""

import asyncio
import base64
import shutil
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from config.webhook_settings import WebhookSettings
from domain.webhook_errors import WebhookHostUnknown, WebhookUrlRefused
from messaging import webhook_url
from messaging.public_addresses import Resolve, is_public
from messaging.transport import Envelope, Outcome
from messaging.webhook_sender import WebhookAddress, WebhookSender, new_secret, sign
from tests.support.receiver import Received, Receiver, always, receiving, response

STRICT = WebhookSettings()
OPEN = WebhookSettings(allow_http=True, allow_private=True, timeout_seconds=5)
SECRET = new_secret()
LETTER = Envelope("msg-1", b'{"type":"ping"}')

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.8.8.8 168.63.129.16 169.254.0.1
169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
64:ff9b:1::808:808 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254
fe80::1 fec0::1 ff02::1
""".split()  # noqa: SIM905  # one on each line would be fifty

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "64:ff9b::808:808"]

MALFORMED = [
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "//example.com/",
    "https:///hook",
    "https://",
    "",
    "https://user@example.com/",
    "https://user:pass@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com#@127.0.0.1/",
    "https://example.com/hook#part",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\.evil.com/",
    "https://example.com:22/",
    "https://example.com:6379/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:443:80/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1./x",
    "https://[::1%25lo]/",
    "https://[::ffff:127.0.0.1/",
    "https://[fe80::1%eth0]/",
    "https://①②⑦.⓪.⓪.①/",
    "https://ｌocalhost/",
    "https://%6c%6f%63alhost/",
    "https://exa mple.com/",
    "https://example.com/a b",
    "https://example.com/\r\nHost: evil",
    "https://example.com/\x00",
    "https://exam\tple.com/",
    "https://example..com/",
    "https://.example.com/",
    f"https://{'a' * 64}.com/",
    f"https://example.com/{'a' * 2048}",
]

Listener = Callable[..., Awaitable[Outcome]]


def resolving(*answers: list[str]) -> Resolve:
    """A resolver that says something else each time, and the last for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@asynccontextmanager
async def sender(
    settings: WebhookSettings = OPEN, *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    made = WebhookSender(settings, tls=tls, **({"resolve": resolve} if resolve else {}))

    async def send(url: str, *secrets: str) -> Outcome:
        return await made.send(LETTER, WebhookAddress(url, secrets or (SECRET,)))

    try:
        yield send
    finally:
        await made.close()


# What is sent


async def test_the_published_library_finds_the_signature_good(receiver: Receiver) -> None:
    async with sender() as send:
        outcome = await send(receiver.url)
    (received,) = receiver.received
    assert (outcome.error, outcome.status_code) == (None, 204)
    assert received.verified(SECRET) == {"type": "ping"}
    assert received.body == LETTER.body
    assert received.id == LETTER.id
    assert received.target == "/hook?token=shh"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_while_a_secret_is_changed_either_verifies_and_no_other(receiver: Receiver) -> None:
    old = new_secret()
    async with sender() as send:
        await send(receiver.url, SECRET, old)
    (received,) = receiver.received
    assert received.verified(SECRET) == received.verified(old)
    with pytest.raises(WebhookVerificationError):
        received.verified(new_secret())


def test_a_signature_is_the_specifications_own_example() -> None:
    envelope = Envelope("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    headers = sign(envelope, ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",), at=1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_have_the_length_that_is_asked_for_and_differ() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in made} == {32}


# What is answered


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (299, None), (301, "redirect"), (304, "redirect"), (400, "status"), (410, "gone"), (503, "status")],
)
async def test_only_2xx_is_a_success(receiver: Receiver, status: int, error: str | None) -> None:
    receiver.answer = always(status)
    async with sender() as send:
        outcome = await send(receiver.url)
    assert (outcome.error, outcome.status_code) == (error, status)


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = always(307, f"Location: {receiver.url}")
    async with sender() as send:
        await send(receiver.url)
    assert receiver.connections == 1


async def test_a_receiver_may_say_how_long_to_wait(receiver: Receiver) -> None:
    async with sender() as send:
        receiver.answer = always(429, "Retry-After: 120")
        assert (await send(receiver.url)).retry_after == 120
        receiver.answer = always(
            503, f"Retry-After: {format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)}"
        )
        later = (await send(receiver.url)).retry_after
        assert later is not None
        assert 3500 < later <= 3600
        for nonsense in ("soon", "-5", "1e9", "9" * 30, "Mon, 99 Foo 2026 99:99:99 GMT"):
            receiver.answer = always(503, f"Retry-After: {nonsense}")
            assert (await send(receiver.url)).retry_after is None


async def test_a_receiver_that_does_not_answer_is_left_in_time(receiver: Receiver) -> None:
    never = asyncio.Event()

    async def hang(_: Received) -> bytes:
        await never.wait()
        return b""

    receiver.answer = hang
    async with sender(OPEN.model_copy(update={"timeout_seconds": 0.2})) as send:
        assert (await send(receiver.url)).error == "timeout"
    never.set()


async def test_a_huge_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.answer = lambda _: asyncio.sleep(0, response(200, body=b"x" * 50_000_000))
    async with sender() as send:
        assert (await send(receiver.url)).error is None
    await receiver.was_hung_up_on.wait()


async def test_an_answer_that_breaks_off_behind_its_status_is_an_answer(receiver: Receiver) -> None:
    receiver.answer = lambda _: asyncio.sleep(0, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")
    async with sender() as send:
        assert (await send(receiver.url)).error is None


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
async def test_what_is_not_http_is_a_failure(receiver: Receiver, garbage: bytes) -> None:
    receiver.answer = lambda _: asyncio.sleep(0, garbage)
    async with sender() as send:
        assert (await send(receiver.url)).error in ("protocol", "connection")


async def test_a_port_where_nobody_listens_is_a_failure(receiver: Receiver) -> None:
    async with receiving() as gone:
        url = gone.url
    async with sender() as send:
        assert (await send(url)).error == "connection"


# Where it is sent


def test_addresses_that_are_not_public_are_known() -> None:
    assert [address for address in PRIVATE if is_public(ip_address(address))] == []
    assert [address for address in PUBLIC if not is_public(ip_address(address))] == []


@pytest.mark.parametrize("url", MALFORMED)
async def test_an_odd_url_is_refused_before_anything_is_resolved(url: str) -> None:
    with pytest.raises(WebhookUrlRefused):
        webhook_url.parse(url, STRICT)


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://EXAMPLE.com:443/a/b?c=d&e=%20", "https://[2606:4700::1]/"]
)
def test_an_ordinary_url_is_taken(url: str) -> None:
    assert webhook_url.parse(url, STRICT).port == 443


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    with pytest.raises(WebhookUrlRefused):
        await webhook_url.check("https://hooks.example/", STRICT, resolve=resolving([address]))
    with pytest.raises(WebhookUrlRefused):
        await webhook_url.check("https://hooks.example/", STRICT, resolve=resolving(["8.8.8.8", address]))


async def test_a_name_that_is_unknown_is_refused_as_such() -> None:
    with pytest.raises(WebhookHostUnknown):
        await webhook_url.check("https://hooks.example/", STRICT, resolve=resolving([]))


async def test_name_servers_that_dawdle_hold_up_neither_the_caller_nor_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def dawdle(*_args: Any, **_kwargs: Any) -> list[Any]:
        answered.wait()
        return []

    monkeypatch.setattr("socket.getaddrinfo", dawdle)
    hasty = WebhookSettings(connect_timeout_seconds=0.05)
    try:
        async with asyncio.timeout(30):
            checks = [webhook_url.check("https://hooks.example/", hasty) for _ in range(100)]
            outcomes = await asyncio.gather(*checks, return_exceptions=True)
            await asyncio.to_thread(lambda: "asyncio's own threads are free")
    finally:
        answered.set()
    assert {type(outcome) for outcome in outcomes} == {WebhookHostUnknown}


@pytest.mark.parametrize(
    "url", ["https://localhost/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/"]
)
async def test_the_systems_own_resolver_is_judged_too(url: str) -> None:
    with pytest.raises(WebhookUrlRefused):
        await webhook_url.check(url, STRICT)


async def test_a_resolver_that_changes_its_mind_never_has_us_connect_to_loopback(receiver: Receiver) -> None:
    """The name is public when the webhook is made, and loopback when it is called: once, or by turns."""
    strict = WebhookSettings(allow_http=True, ports=(receiver.port,))
    url = f"http://rebind.example:{receiver.port}/"
    await webhook_url.check(url, strict, resolve=resolving(["8.8.8.8"]))
    for answer in PRIVATE:
        async with sender(strict, resolve=resolving([answer])) as send:
            assert (await send(url)).error == "webhook_url_refused"
    assert receiver.connections == 0


async def test_a_name_is_resolved_once_for_a_connection(receiver: Receiver) -> None:
    """The connection goes to the address that was judged, whatever the resolver would say next."""
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    async with sender(resolve=resolve) as send:
        outcome = await send(f"http://once.example:{receiver.port}/")
    assert (outcome.error, asked) == (None, ["once.example"])
    assert receiver.received[0].headers["host"] == f"once.example:{receiver.port}"


async def test_the_second_address_is_tried_where_the_first_is_dead(receiver: Receiver) -> None:
    async with sender(resolve=resolving(["127.0.0.2", "127.0.0.1"])) as send:
        outcome = await send(f"http://two.example:{receiver.port}/")
    assert outcome.error is None


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with sender() as send:
            assert (await send(receiver.url)).error is None
        assert proxy.connections == 0


async def test_a_url_that_settings_no_longer_allow_is_not_called(receiver: Receiver) -> None:
    async with sender(STRICT) as send:
        assert (await send(receiver.url)).error == "webhook_url_refused"
    assert receiver.connections == 0


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key for hooks.example, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=hooks.example"
    )
    extra = ["-addext", "subjectAltName=DNS:hooks.example", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*command.split(), *extra], check=True, capture_output=True)
    return paths


@pytest.fixture
async def secured(certificate: tuple[Path, Path]) -> AsyncIterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with receiving(context) as receiver:
        yield receiver


async def test_tls_is_spoken_with_the_name_while_the_address_is_the_judged_one(
    secured: Receiver, certificate: tuple[Path, Path]
) -> None:
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with sender(resolve=resolving(["127.0.0.1"]), tls=trusting) as send:
        assert (await send(f"https://hooks.example:{secured.port}/")).error is None
        assert (await send(f"https://others.example:{secured.port}/")).error == "tls"
    assert [received.headers["host"] for received in secured.received] == [f"hooks.example:{secured.port}"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(secured: Receiver) -> None:
    async with sender(resolve=resolving(["127.0.0.1"])) as send:
        assert (await send(f"https://hooks.example:{secured.port}/")).error == "tls"
    assert secured.received == []
