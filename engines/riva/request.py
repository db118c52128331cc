"""A Hearing in Riva's words. Pure; every field that is sent is set here."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from riva.client.proto.riva_asr_pb2 import RecognitionConfig, SpeakerDiarizationConfig, SpeechContext
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from config.settings import EngineSettings
from domain.capabilities import Term
from domain.transcript import LeftOutTerm, Notice, TermsUsed
from engines.contract import SAMPLE_RATE_HZ, Hearing

START_BOOST = 20.0
"""For terms without a boost of their own, on the platform's scale: the low end of what NVIDIA recommends for Parakeet
CTC (20 to 100; Speech NIM documentation, customization, 26.05), as more brings words that were not said."""

OPTIONS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "verbatim": {
            "type": "boolean",
            "default": True,
            "description": "Write words as they are spoken, each with its own time; false writes “10 mg” for “ten "
            "milligrams”, where the server can.",
        },
        "profanity_filter": {"type": "boolean", "default": False, "description": "Mask profane words."},
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Boosts:
    """Terms as Riva takes them: one context for each level of boost, as a context has one boost."""

    contexts: tuple[SpeechContext, ...] = ()
    used: TermsUsed | None = None
    notices: tuple[Notice, ...] = ()


def compile_terms(terms: Sequence[Term], settings: EngineSettings) -> Boosts:
    """Sent anew with every call: a server keeps nothing. Words that it does not know are allowed."""
    if not terms:
        return Boosts()
    levels: dict[float, list[str]] = defaultdict(list)
    taken: dict[str, None] = {}
    left_out: list[LeftOutTerm] = []
    limited = 0
    for term in terms:
        asked = (START_BOOST if term.boost is None else term.boost) * settings.riva_boost_scale
        sent = max(-settings.riva_boost_max, min(settings.riva_boost_max, asked))
        if sent == 0:
            left_out.append(LeftOutTerm(text=term.text, reason="a boost of 0 does nothing"))
        elif term.text in taken:
            left_out.append(LeftOutTerm(text=term.text, reason="it is named twice: its first boost was used"))
        else:
            taken[term.text] = None
            levels[sent].append(term.text)
            limited += sent != asked
    contexts = tuple(SpeechContext(phrases=levels[boost], boost=boost) for boost in sorted(levels))
    used = TermsUsed(used=tuple(taken), left_out=tuple(left_out))
    return Boosts(contexts, used, tuple(_notices(terms, limited, settings.riva_boost_max)))


def _notices(terms: Sequence[Term], limited: int, strongest: float) -> list[Notice]:
    notices = []
    if limited:
        said = f"{limited} terms were boosted by {strongest:g}, the most that the server takes (RIVA_BOOST_MAX)"
        notices.append(Notice(code="boost_limited", message=said))
    if any(term.sounds_like for term in terms):
        said = "Riva has no pronunciations in a request: `sounds_like` was not used"
        notices.append(Notice(code="sounds_like_unsupported", message=said))
    return notices


def recognition_config(
    hearing: Hearing, boosts: Boosts, *, language: str, model: str, diarize: bool
) -> RecognitionConfig:
    """Encoding, rate and channels are always said: without them a server refuses the model, of all things."""
    config = RecognitionConfig(
        encoding=AudioEncoding.LINEAR_PCM,
        sample_rate_hertz=SAMPLE_RATE_HZ,
        audio_channel_count=1,
        language_code=language,
        model=model,
        max_alternatives=1,
        enable_automatic_punctuation=True,
        # Word times bring confidences and speaker tags along, too.
        enable_word_time_offsets=True,
        verbatim_transcripts=bool(hearing.options.get("verbatim", True)),
        profanity_filter=bool(hearing.options.get("profanity_filter", False)),
        speech_contexts=boosts.contexts,
    )
    if diarize:
        asked = SpeakerDiarizationConfig(enable_speaker_diarization=True)
        if (most := most_speakers(hearing)) is not None:
            asked.max_speaker_count = most
        config.diarization_config.CopyFrom(asked)
    return config


def most_speakers(hearing: Hearing) -> int | None:
    """All that Riva can be told of the number of speakers."""
    return hearing.num_speakers or hearing.max_speakers
