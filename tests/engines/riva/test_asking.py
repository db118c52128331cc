"""What the engine asks of a server. The numbers of pitfalls are those of docs/reference/riva.md."""

import hashlib
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from grpc import StatusCode

from domain.capabilities import Term
from domain.errors import EngineFailed, ModelMissing
from domain.transcript import TermsUsed
from engines.contract import Hearing
from engines.riva.models import RivaModel, match_language
from tests.engines.contract_suite import Recording
from tests.engines.harness import hear
from tests.engines.riva.client import engine_for, hear_all, notices_of, numbered, words_of
from tests.support.riva.server import (
    MIXED,
    MIXED_SPEAKERS,
    OFFLINE,
    OFFLINE_SPEAKERS,
    STREAMING,
    STREAMING_SPEAKERS,
    Model,
    RivaServer,
    riva_server,
)

CONTAINER = "parakeet-0-6b-ctc-en-us"
SPANISH = Model("parakeet-1.1b-es-US-asr-offline", offline=True, language="es-US")
LARGE = Model("parakeet-1.1b-en-US-asr-offline", offline=True)


class TestModels:
    async def test_the_name_of_a_container_is_never_sent_as_a_model(self, riva: RivaServer, speech: Recording) -> None:
        """Pitfall 1."""
        await hear_all(riva, speech, environ={"RIVA_MODEL": CONTAINER})
        assert [call.config.model for call in riva.heard("Recognize")] == [OFFLINE.name]

    async def test_the_model_that_the_hint_fits_goes_before_others(self, speech: Recording) -> None:
        """Pitfall 1."""
        async with riva_server((LARGE, OFFLINE)) as server:
            await hear_all(server, speech, environ={"RIVA_MODEL": CONTAINER})
            await hear_all(server, speech, environ={"RIVA_MODEL": "parakeet-1-1b-ctc-en-us"})
            assert [call.config.model for call in server.heard("Recognize")] == [OFFLINE.name, LARGE.name]

    @pytest.mark.parametrize(
        ("hint", "fits"),
        [
            (CONTAINER, True),
            ("parakeet-0.6b-en-US-asr-offline", True),
            ("parakeet-ctc-0.6b-riva:fp8-ofl-rmir-25.08.3", True),
            ("nvidia/parakeet-ctc-0.6b", True),
            ("parakeet-1-1b-ctc-en-us", False),
            ("canary-0-6b", False),
            ("", False),
        ],
    )
    def test_a_hint_fits_however_a_catalogue_spells_it(self, hint: str, fits: bool) -> None:
        """Pitfalls 1 and 24."""
        model = RivaModel(OFFLINE.name, ("en-US",), offline=True, streaming=False)
        assert model.fits(hint) is fits

    def test_a_hint_for_another_decoder_does_not_fit(self) -> None:
        model = RivaModel("parakeet-rnnt-0.6b-en-US", ("en-US",), offline=True, streaming=False)
        assert not model.fits("parakeet-0-6b-ctc-en-us")

    async def test_a_stream_goes_to_the_model_for_throughput_as_nobody_waits_for_its_first_words(
        self, speech: Recording
    ) -> None:
        fast = Model(f"{STREAMING.name}-throughput", offline=False)
        async with riva_server((STREAMING, fast)) as server:
            await hear_all(server, speech)
            assert server.calls[-1].config.model == fast.name

    async def test_a_model_of_the_list_that_is_refused_leaves_the_choice_to_the_server(self, speech: Recording) -> None:
        async with riva_server((OFFLINE,)) as server:
            engine = engine_for(server)
            server.faults.fail.append(("Recognize", StatusCode.INVALID_ARGUMENT, "Unavailable model requested"))
            assert words_of(await hear(engine, speech.path, speech.hearing)) == numbered(25)
            _refused, accepted = server.heard("Recognize")
            assert accepted.config.model == ""

    async def test_a_model_that_the_caller_named_is_the_only_one_asked_for(self, speech: Recording) -> None:
        async with riva_server((OFFLINE, LARGE)) as server:
            await hear_all(server, speech, model=LARGE.name)
            assert {call.config.model for call in server.heard("Recognize")} == {LARGE.name}
            server.faults.fail.append(("Recognize", StatusCode.INVALID_ARGUMENT, ""))
            with pytest.raises(EngineFailed, match="refuses"):
                await hear_all(server, speech, model=LARGE.name)
            assert {call.config.model for call in server.calls if call.config} == {LARGE.name}
            with pytest.raises(ModelMissing, match=r"no model 'whisper'.*parakeet-0\.6b"):
                await hear_all(server, speech, model="whisper")

    @pytest.mark.parametrize(("models", "method"), [((OFFLINE,), "Recognize"), ((STREAMING,), "StreamingRecognize")])
    async def test_a_server_is_asked_in_the_way_that_it_serves(
        self, models: tuple[Model, ...], method: str, speech: Recording
    ) -> None:
        """Pitfall 2."""
        async with riva_server(models) as server:
            assert words_of(await hear_all(server, speech)) == numbered(25)
            assert [call.method for call in server.calls[1:]] == [method]

    @pytest.mark.parametrize("truth", [OFFLINE, STREAMING], ids=["offline", "streaming"])
    async def test_a_list_that_lies_about_the_way_is_found_out(self, truth: Model, speech: Recording) -> None:
        """Pitfall 2."""
        lie = "online" if truth.offline else "offline"
        async with riva_server((Model(truth.name, offline=truth.offline, listed_as=lie),)) as server:
            heard = await hear_all(server, speech)
            assert words_of(heard) == numbered(25)
            assert {call.method for call in server.calls[1:]} == {"Recognize", "StreamingRecognize"}


class TestLanguage:
    @pytest.mark.parametrize("wanted", ["en", "en-US", "EN-us", None])
    async def test_the_tag_is_the_servers_own(self, wanted: str | None, riva: RivaServer, speech: Recording) -> None:
        """Pitfall 3."""
        await hear_all(riva, speech, language=wanted)
        assert riva.heard("Recognize")[0].config.language_code == "en-US"

    @pytest.mark.parametrize("wanted", ["en-GB", "de"])
    async def test_a_language_that_the_server_lacks_is_refused_before_any_audio_is_sent(
        self, wanted: str, riva: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 3."""
        with pytest.raises(ModelMissing, match=f"no model for {wanted}; it knows en-US") as caught:
            await hear_all(riva, speech, language=wanted)
        assert not caught.value.retryable
        assert not riva.heard("Recognize")

    async def test_the_model_is_one_of_the_language(self, speech: Recording) -> None:
        async with riva_server((OFFLINE, SPANISH)) as server:
            await hear_all(server, speech, language="es")
            config = server.heard("Recognize")[0].config
            assert (config.model, config.language_code) == (SPANISH.name, "es-US")

    def test_where_several_regions_fit_the_operators_is_taken(self) -> None:
        models = [RivaModel("one", ("en-GB", "en-US"), offline=True, streaming=True)]
        assert match_language(models, "en", "en-US") == "en-US"
        assert match_language(models, "en", "es-US") == "en-GB"


class TestAudio:
    @pytest.mark.parametrize("model", [OFFLINE, STREAMING], ids=["offline", "streaming"])
    async def test_the_samples_arrive_as_they_are_and_are_described(self, model: Model, speech: Recording) -> None:
        """Pitfalls 4 and 25."""
        async with riva_server((model,)) as server:
            await hear_all(server, speech)
            call = server.calls[-1]
            with wave.open(str(speech.path)) as file:
                assert call.digest.digest() == hashlib.sha256(file.readframes(file.getnframes())).digest()
            config = call.config
            assert (config.encoding, config.sample_rate_hertz, config.audio_channel_count) == (1, 16_000, 1)

    @pytest.mark.parametrize(("channels", "width", "rate"), [(2, 2, 16_000), (1, 3, 16_000), (1, 2, 8_000)])
    async def test_what_is_not_16_khz_mono_16_bit_is_never_sent(
        self, channels: int, width: int, rate: int, riva: RivaServer, tmp_path: Path
    ) -> None:
        """Pitfall 5."""
        path = tmp_path / "other.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(width)
            file.setframerate(rate)
            file.writeframes(bytes(channels * width * rate))
        with pytest.raises(EngineFailed, match="not 16000 Hz, mono, 16-bit") as caught:
            await hear(engine_for(riva), path, Hearing(audio_seconds=1))
        assert not caught.value.retryable
        assert not riva.calls

    async def test_no_message_is_larger_than_the_operators_limit(self, long_speech: Recording) -> None:
        """Pitfall 6: also where this server would take it, as it cannot be asked."""
        async with riva_server(MIXED, max_message_bytes=64 << 20) as server:
            assert words_of(await hear_all(server, long_speech)) == numbered(150)
            assert [call.method for call in server.calls[1:]] == ["StreamingRecognize"]

    async def test_a_long_recording_is_heard_within_the_limit_of_every_server(self, long_speech: Recording) -> None:
        """Pitfall 6."""
        async with riva_server(MIXED) as server:
            assert words_of(await hear_all(server, long_speech)) == numbered(150)

    async def test_a_long_recording_for_a_server_that_does_not_stream_is_cut_where_it_is_quiet(
        self, long_speech: Recording
    ) -> None:
        """Pitfall 6."""
        async with riva_server((OFFLINE,)) as server:
            heard = await hear_all(server, long_speech)
            assert words_of(heard) == numbered(150)
            assert len(server.heard("Recognize")) == 2
            assert max(call.audio_bytes for call in server.calls) < 3_670_016

    async def test_a_limit_that_the_operator_set_too_high_is_found_out(self, long_speech: Recording) -> None:
        """Pitfall 6."""
        async with riva_server((OFFLINE,)) as server:
            heard = await hear_all(server, long_speech, environ={"RIVA_MAX_MESSAGE_BYTES": "64000000"})
            assert words_of(heard) == numbered(150)

    async def test_a_larger_limit_sends_a_longer_recording_at_once(self, long_speech: Recording) -> None:
        async with riva_server((OFFLINE,), max_message_bytes=64 << 20) as server:
            await hear_all(server, long_speech, environ={"RIVA_MAX_MESSAGE_BYTES": "64000000"})
            assert len(server.heard("Recognize")) == 1


class TestWording:
    async def test_words_are_asked_for_as_spoken_with_times_and_marks(
        self, riva: RivaServer, speech: Recording
    ) -> None:
        """Pitfalls 21 and 22."""
        await hear_all(riva, speech)
        config = riva.heard("Recognize")[0].config
        assert config.verbatim_transcripts
        assert config.enable_automatic_punctuation
        assert config.enable_word_time_offsets
        assert not config.profanity_filter

    async def test_a_caller_may_have_numbers_written_as_figures(self, riva: RivaServer, speech: Recording) -> None:
        """Pitfall 21."""
        await hear_all(riva, speech, options={"verbatim": False, "profanity_filter": True})
        config = riva.heard("Recognize")[0].config
        assert not config.verbatim_transcripts
        assert config.profanity_filter

    async def test_everything_is_settled_in_the_first_message_of_a_stream(self, long_speech: Recording) -> None:
        """Pitfall 17: the server refuses a configuration that comes later, or together with audio."""
        async with riva_server(MIXED_SPEAKERS) as server:
            await hear_all(server, long_speech, terms=(Term(text="metformin"),), enable_diarization=True)
            config = server.calls[-1].config
            assert config.speech_contexts
            assert config.diarization_config.enable_speaker_diarization


class TestTerms:
    TERMS = (
        Term(text="metformin", boost=40),
        Term(text="blood pressure", boost=40),
        Term(text="lisinopril"),
        Term(text="Met for men", boost=-60),
    )

    async def test_every_level_of_boost_is_a_context_of_its_own(self, riva: RivaServer, speech: Recording) -> None:
        """Pitfall 20: what is sent are the protocol's own fields."""
        heard = await hear_all(riva, speech, terms=self.TERMS)
        contexts = riva.heard("Recognize")[0].config.speech_contexts
        assert {context.boost: list(context.phrases) for context in contexts} == {
            -60: ["Met for men"],
            20: ["lisinopril"],
            40: ["metformin", "blood pressure"],
        }
        (used,) = [item for item in heard if isinstance(item, TermsUsed)]
        assert set(used.used) == {term.text for term in self.TERMS}
        assert not used.left_out
        assert not notices_of(heard)

    async def test_terms_are_sent_again_with_every_call(self, long_speech: Recording) -> None:
        async with riva_server((OFFLINE,)) as server:
            await hear_all(server, long_speech, terms=self.TERMS)
            assert [len(call.config.speech_contexts) for call in server.heard("Recognize")] == [3, 3]

    async def test_boosts_are_scaled_and_limited_to_what_the_server_takes_and_that_is_said(
        self, riva: RivaServer, speech: Recording
    ) -> None:
        environ = {"RIVA_BOOST_SCALE": "0.5", "RIVA_BOOST_MAX": "10"}
        heard = await hear_all(riva, speech, environ=environ, terms=self.TERMS)
        contexts = riva.heard("Recognize")[0].config.speech_contexts
        assert sorted(context.boost for context in contexts) == [-10, 10]
        assert notices_of(heard) == ["boost_limited"]

    async def test_what_cannot_be_done_with_a_term_is_said(self, riva: RivaServer, speech: Recording) -> None:
        terms = (Term(text="a", boost=0), Term(text="b", sounds_like=("bee",)), Term(text="b", boost=50))
        heard = await hear_all(riva, speech, terms=terms)
        (used,) = [item for item in heard if isinstance(item, TermsUsed)]
        assert used.used == ("b",)
        assert [(term.text, term.reason) for term in used.left_out] == [
            ("a", "a boost of 0 does nothing"),
            ("b", "it is named twice: its first boost was used"),
        ]
        assert notices_of(heard) == ["sounds_like_unsupported"]

    async def test_without_terms_nothing_is_boosted(self, riva: RivaServer, speech: Recording) -> None:
        heard = await hear_all(riva, speech)
        assert not riva.heard("Recognize")[0].config.speech_contexts
        assert not [item for item in heard if isinstance(item, TermsUsed)]


class TestAskingForSpeakers:
    async def test_they_are_told_apart_where_the_server_can(
        self, riva_with_speakers: RivaServer, speech: Recording
    ) -> None:
        await hear_all(riva_with_speakers, speech, max_speakers=3)
        config = riva_with_speakers.heard("Recognize")[0].config
        assert config.diarization_config.enable_speaker_diarization
        assert config.diarization_config.max_speaker_count == 3
        assert config.enable_word_time_offsets

    async def test_they_are_not_where_nobody_wants_it(self, riva_with_speakers: RivaServer, speech: Recording) -> None:
        heard = await hear_all(riva_with_speakers, speech, enable_diarization=False)
        assert not riva_with_speakers.heard("Recognize")[0].config.HasField("diarization_config")
        assert not notices_of(heard)

    async def test_a_model_with_a_diarizer_is_taken_for_it_alone(self, speech: Recording) -> None:
        async with riva_server((OFFLINE_SPEAKERS, OFFLINE, STREAMING_SPEAKERS)) as server:
            await hear_all(server, speech, enable_diarization=True)
            await hear_all(server, speech, enable_diarization=False)
            models = [call.config.model for call in server.heard("Recognize")]
            assert models == [OFFLINE_SPEAKERS.name, OFFLINE.name]

    async def test_a_server_without_a_diarizer_is_asked_once_more_without(
        self, riva: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 13."""
        heard = await hear_all(riva, speech, enable_diarization=True)
        assert words_of(heard) == numbered(25)
        assert notices_of(heard) == ["diarization_unavailable"]

    async def test_a_server_that_ignores_the_wish_in_silence_is_found_out(
        self, riva: RivaServer, speech: Recording
    ) -> None:
        """Pitfall 13."""
        riva.faults.diarizer_refuses = False
        heard = await hear_all(riva, speech, enable_diarization=True)
        assert notices_of(heard) == ["diarization_unavailable"]
        assert len(riva.heard("Recognize")) == 1

    async def test_no_one_is_told_of_what_no_one_wished_for(self, riva: RivaServer, speech: Recording) -> None:
        assert not notices_of(await hear_all(riva, speech))
        assert not riva.heard("Recognize")[0].config.HasField("diarization_config")

    async def test_speakers_of_pieces_are_not_mixed_up(self, long_speech: Recording) -> None:
        async with riva_server((OFFLINE_SPEAKERS,)) as server:
            heard = await hear_all(server, long_speech, enable_diarization=True)
            assert notices_of(heard) == ["diarization_unavailable"]
            assert [call.method for call in server.calls[1:]] == ["Recognize"] * 2
            assert not any(call.config.HasField("diarization_config") for call in server.heard("Recognize"))

    async def test_nor_are_they_where_pieces_are_the_last_resort(self, long_speech: Recording) -> None:
        async with riva_server(MIXED_SPEAKERS) as server:
            server.faults.fail.extend([("StreamingRecognize", StatusCode.INVALID_ARGUMENT, "")] * 10)
            heard = await hear_all(server, long_speech)
            assert words_of(heard) == numbered(150)
            assert notices_of(heard) == ["diarization_unavailable"]
            assert not any(call.config.HasField("diarization_config") for call in server.heard("Recognize"))

    async def test_the_least_number_of_speakers_cannot_be_told(
        self, riva_with_speakers: RivaServer, speech: Recording
    ) -> None:
        heard = await hear_all(riva_with_speakers, speech, num_speakers=2)
        assert "num_speakers_as_most" in notices_of(heard)


def test_the_health_messages_of_the_client_are_not_loaded_as_they_collide_with_those_of_grpc() -> None:
    """Pitfall 19."""
    check = "import engines.riva, sys; sys.exit('riva.client.proto.health_pb2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
