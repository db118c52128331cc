"""What the engine says of itself while the server is there, is not, or is not what was expected."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from config.load import load_settings
from domain.errors import BadSettings, EngineFailed
from engines.registry import Registry
from tests.engines.contract_suite import Recording
from tests.engines.harness import INFRASTRUCTURE, hear
from tests.engines.riva.client import engine_for, engine_without_server, numbered, words_of
from tests.support.riva.server import MIXED, MIXED_SPEAKERS, OFFLINE, Model, RivaServer, riva_server

SPANISH = Model("parakeet-1.1b-es-US-asr-offline", offline=True, language="es-US")


async def test_a_server_that_is_there_is_described(riva_with_speakers: RivaServer) -> None:
    report = await engine_for(riva_with_speakers).report()
    assert report.available
    assert report.reason is None
    assert report.ready
    assert report.languages == ("en-US",)
    assert report.default_language == "en-US"
    assert report.default_model == MIXED_SPEAKERS[0].name
    assert {model.name: model.note for model in report.models} == {
        MIXED_SPEAKERS[0].name: "offline, tells speakers apart",
        MIXED_SPEAKERS[1].name: "streaming, tells speakers apart",
    }
    assert report.diarizes
    assert report.boosts_words
    assert report.detail["uri"] == riva_with_speakers.uri
    assert (report.detail["model"], report.detail["language"]) == ("parakeet-0-6b-ctc-en-us", "en-US")
    assert report.detail["model_fits"] is True


async def test_the_calls_in_hand_are_counted_as_this_workers(riva: RivaServer, speech: Recording) -> None:
    engine = engine_for(riva, RIVA_MAX_MESSAGE_BYTES="262144")
    assert (await engine.report()).load == 0
    async with aclosing(engine.transcribe(speech.path, speech.hearing)) as heard:
        await anext(heard)
        report = await engine.report()
        assert (report.load, report.load_of) == (1, "worker")
    assert (await engine.report()).load == 0
    with pytest.raises(EngineFailed):
        await hear(engine, speech.path, speech.hearing.model_copy(update={"language": "tlh"}))
    assert (await engine.report()).load == 0, "one that failed is not in hand"


@pytest.mark.parametrize(("setting", "diarizes"), [("auto", False), ("on", True), ("off", False)])
async def test_whether_speakers_are_told_apart_may_be_said_by_the_operator(
    setting: str, diarizes: bool, riva: RivaServer
) -> None:
    assert (await engine_for(riva, RIVA_DIARIZATION=setting).report()).diarizes is diarizes


async def test_without_an_address_the_engine_is_listed_and_says_why_it_cannot() -> None:
    engine = engine_without_server()
    report = await engine.report()
    assert not report.available
    assert report.reason == "RIVA_URI is not set"
    assert list(await engine.engines()) == [engine]


async def test_without_an_address_a_recording_is_refused(speech: Recording) -> None:
    with pytest.raises(EngineFailed, match="RIVA_URI is not set") as caught:
        await hear(engine_without_server(), speech.path, speech.hearing)
    assert not caught.value.retryable


async def test_a_server_that_went_away_is_said_to_be_away_and_seen_as_soon_as_it_is_back() -> None:
    """§6: a channel that was kept would be blind for seconds after an outage, as gRPC backs off."""
    async with riva_server(MIXED) as server:
        engine = engine_for(server)
        assert (await engine.report()).available
        address = server.uri
    for _ in range(8):  # enough for gRPC to back off by more than a second, if it were the same channel
        report = await engine.report()
        assert not report.available
        assert (report.reason or "").startswith("unreachable")
    assert [model.name for model in report.models] == [model.name for model in MIXED], "what is known of it stays"
    async with riva_server(MIXED, address=address):
        assert (await engine.report()).available


async def test_a_server_that_does_not_answer_is_unreachable_within_two_seconds(riva: RivaServer) -> None:
    riva.faults.hangs = "GetRivaSpeechRecognitionConfig"
    async with asyncio.timeout(2):
        report = await engine_for(riva).report()
    assert (report.available, report.reason) == (False, "unreachable: nothing answers at RIVA_URI")


async def test_a_server_that_is_still_loading_has_no_fitting_model() -> None:
    async with riva_server(()) as server:
        report = await engine_for(server).report()
    assert not report.available
    assert (report.reason or "").startswith("no fitting model")


async def test_a_server_of_another_language_has_no_fitting_model_and_the_way_out_is_told() -> None:
    async with riva_server((SPANISH,)) as server:
        report = await engine_for(server).report()
        assert report.reason == "no fitting model: the server knows es-US; set RIVA_LANGUAGE to one of them"
        assert (await engine_for(server, RIVA_LANGUAGE="es").report()).default_language == "es-US"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (StatusCode.UNAUTHENTICATED, "RIVA_API_KEY"),
        (StatusCode.NOT_FOUND, "RIVA_FUNCTION_ID"),
        (StatusCode.UNIMPLEMENTED, "recognises no speech"),
        (StatusCode.INTERNAL, "its log"),
    ],
)
async def test_what_is_wrong_is_told_by_the_code_alone(code: StatusCode, says: str, riva: RivaServer) -> None:
    riva.faults.fail.append(("GetRivaSpeechRecognitionConfig", code, "a token"))
    report = await engine_for(riva).report()
    assert not report.available
    assert says in (report.reason or "")
    assert "a token" not in (report.reason or "")


async def test_the_registry_finds_the_engine_by_its_entry_point(riva: RivaServer) -> None:
    registry = Registry.load(load_settings({**INFRASTRUCTURE, "RIVA_URI": riva.uri}))
    reports = {report.engine: report for report in await registry.reports()}
    assert reports["asr"].available
    await registry.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server called localhost, signed by itself; its key is beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("certificate")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "certificate.pem"


class TestCredentials:
    @pytest.fixture
    async def secure(self, certificate: Path) -> AsyncIterator[RivaServer]:
        pair = (certificate.with_name("key.pem").read_bytes(), certificate.read_bytes())
        async with riva_server((OFFLINE,), credentials=grpc.ssl_server_credentials([pair])) as server:
            server.key = "a-key-for-tests"
            yield server

    async def test_every_call_carries_the_key_and_the_function_over_tls(
        self, secure: RivaServer, certificate: Path, speech: Recording
    ) -> None:
        environ = {"RIVA_SSL_CERT": str(certificate), "RIVA_API_KEY": "a-key-for-tests", "RIVA_FUNCTION_ID": "f-1"}
        engine = engine_for(secure, **environ)
        assert (await engine.report()).available
        assert words_of(await hear(engine, speech.path, speech.hearing)) == numbered(25)
        assert {call.metadata["function-id"] for call in secure.calls} == {"f-1"}

    async def test_a_wrong_key_is_told(self, secure: RivaServer, certificate: Path) -> None:
        report = await engine_for(secure, RIVA_SSL_CERT=str(certificate), RIVA_API_KEY="wrong").report()
        assert "RIVA_API_KEY" in (report.reason or "")
        assert "wrong" not in (report.reason or "")

    async def test_a_server_that_nobody_vouches_for_is_not_trusted(self, secure: RivaServer) -> None:
        report = await engine_for(secure, RIVA_USE_SSL="1").report()
        assert (report.reason or "").startswith("unreachable")

    async def test_a_certificate_that_cannot_be_read_is_told(self, secure: RivaServer, tmp_path: Path) -> None:
        report = await engine_for(secure, RIVA_SSL_CERT=str(tmp_path / "none.pem")).report()
        assert "RIVA_SSL_CERT cannot be read" in (report.reason or "")

    def test_a_key_is_never_sent_in_the_clear(self) -> None:
        with pytest.raises(BadSettings, match=r"RIVA_API_KEY.*RIVA_USE_SSL=1"):
            engine_without_server(RIVA_API_KEY="a-key")
