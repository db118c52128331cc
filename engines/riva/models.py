"""What a server says it has, and which of its models is meant. Pure.

Names as seen on real servers: `parakeet-0.6b-en-US-asr-offline`, `…-asr-streaming-throughput`,
`…-asr-offline-silero-vad-sortformer`. RIVA_MODEL is mostly something else, the name of a container
(`parakeet-0-6b-ctc-en-us`) or of the HTTP door (`parakeet-ctc-0.6b-riva:fp8-ofl-rmir-25.08.3`): a hint.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from domain.capabilities import EngineReport

DIARIZER_MARK = "sortformer"
"""Nothing but this part of a model's name says that it tells speakers apart."""

_DECODERS = frozenset({"ctc", "tdt", "rnnt"})
_NO_PART_OF_A_NAME = frozenset({"riva", "nim", "nvidia", "asr"})

Diarization = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class RivaModel:
    name: str
    languages: tuple[str, ...]
    """BCP 47 tags as the server spells them; empty where it does not say."""
    offline: bool
    """Does it say that it serves Recognize?"""
    streaming: bool
    """Does it say that it serves StreamingRecognize?"""

    @classmethod
    def parse(cls, name: str, parameters: Mapping[str, str]) -> "RivaModel":
        kind = parameters.get("type", "").lower()
        offline = kind == "offline" or _true(parameters.get("offline"))
        streaming = kind == "online" or _true(parameters.get("streaming"))
        unsaid = not offline and not streaming
        languages = tuple(tag.strip() for tag in parameters.get("language_code", "").split(",") if tag.strip())
        return cls(name, languages, offline or unsaid, streaming or unsaid)

    @property
    def diarizes(self) -> bool:
        return DIARIZER_MARK in self.name.lower()

    @property
    def note(self) -> str:
        kinds = [kind for kind, has in (("offline", self.offline), ("streaming", self.streaming)) if has]
        return ", ".join([*kinds, *(["tells speakers apart"] if self.diarizes else [])])

    def speaks(self, language: str) -> bool:
        return not self.languages or language in self.languages

    def fits(self, hint: str) -> bool:
        """Could `hint`, however it is spelt, mean this model?

        Every part of the hint has to be in the name, but for languages, which are asked for apart, and for the kind
        of decoder, which names often leave out.
        """
        mine, wanted = _parts(self.name), _parts(hint)
        tags = {part for language in self.languages for part in language.lower().split("-")}
        decoders = wanted & _DECODERS
        contradicts = bool(decoders and mine & _DECODERS and not decoders & mine)
        return bool(wanted) and not contradicts and wanted - tags - _DECODERS <= mine


def languages_of(models: Iterable[RivaModel]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(language for model in models for language in model.languages))


def match_language(models: Sequence[RivaModel], wanted: str, preferred: str) -> str | None:
    """The server's own spelling of `wanted`: "en" becomes "en-US" where it has that. None where it has nothing near.

    `preferred` decides where several fit: "en" may be "en-GB" as well.
    """
    known = languages_of(models)
    ordered = tuple(sorted(known, key=lambda tag: tag.lower() != preferred.lower()))
    return EngineReport(engine="asr", available=True, languages=ordered).match_language(wanted)


def named(models: Iterable[RivaModel], name: str) -> RivaModel | None:
    """The model that a caller named, in any case of letters."""
    return next((model for model in models if model.name.lower() == name.lower()), None)


def choose(
    models: Iterable[RivaModel], *, streaming: bool, language: str, hint: str, diarize: bool
) -> RivaModel | None:
    """The best model for a call: one that the hint fits; then one that does what is asked, and no more."""
    able = [m for m in models if m.speaks(language) and (m.streaming if streaming else m.offline)]
    return min(
        able, key=lambda m: (not m.fits(hint), m.diarizes != diarize, "throughput" not in m.name, m.name), default=None
    )


def diarizes(models: Iterable[RivaModel], setting: Diarization) -> bool:
    """Is a diarizer known to be there?"""
    return setting == "on" or (setting == "auto" and any(model.diarizes for model in models))


def _true(value: str | None) -> bool:
    return value is not None and value.lower() in ("true", "1", "yes")


def _parts(name: str) -> set[str]:
    """ "parakeet-0-6b-ctc" → {"parakeet", "0.6b", "ctc"}; what follows a colon is a build, not a model."""
    sized = re.sub(r"(\d+)[-._](\d+b)\b", r"\1.\2", name.lower().split(":")[0].split("/")[-1])
    return {part for part in re.split(r"[-_\s]+", sized) if part} - _NO_PART_OF_A_NAME
