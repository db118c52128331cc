"""Who of the speakers is the provider and who the patient, from what is said.

A provider welcomes, asks about the body, examines, explains and plans; a patient tells what it feels like and since
when, answers, and is afraid. Every such cue counts for the voice it is heard from by the logarithm of one more than
its hits, so that the difference of two voices is a sum of weighed log ratios: a log-odds for the one being the
provider and the other the patient, much the same for three minutes as for an hour. A second sum says whether the talk
is a consultation at all. To call a patient the provider is far worse than to say nothing, so whatever is weak in
either sum is left out.

The cues are the same in every language; their words are in `role_cues/`, one file a language. A cue is one regular
expression a line over a turn in lower case, without punctuation (but "?" is a word) and without regard to accents. It
matches whole words; `^` and `$` are the ends of the turn; `{body}`, `{symptom}`, `{treatment}` stand for the cues of
that name, `{medical}` for the Greek and Latin of `medical.toml`, which the four languages share. `weights.toml` is
written by `python -m bench.roles --fit`.
"""

import math
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Final

from domain.capabilities import base_language
from domain.transcript import Segment, join_text

PROVIDER: Final = "provider"
PATIENT: Final = "patient"

LANGUAGES: Final = frozenset({"en", "es", "fr", "pt"})

PROVIDER_CUES: Final = ("welcomes", "asks", "examines", "plans", "advises", "finds", "doses", "yours", "steers")
PATIENT_CUES: Final = ("suffers", "mine", "lives", "since", "answers", "seeks", "accepts", "to_doctor", "third_person")
CLINICAL: Final = ("symptom", "treatment")
VOCABULARY: Final = ("body", *CLINICAL)

ACTS: Final = ("examines", "doses", "finds", "welcomes", "plans", "advises", "yours")
"""Of the first voice, what tells a consultation from other talk."""
ELSEWHERE: Final = ("elsewhere", "friends")
"""Words of other settings; what friends say who talk about their health."""

# Both in log-odds. By weights of the other three languages, all 267 pairs in five-turn excerpts that lay 1.0 or more
# apart lay the right way round; of the 30 nearer ones, 21 did.
CLEAR_GAP: Final = 1.5
CLEARLY_CLINICAL: Final = 0.2
"""By weights of the other three languages, 13 % of 148 consultations were left out, and of 52 other talks 4 were taken
for one: two at the vet's, one with a trainer, one at the hairdresser's."""

CLINICAL_AT_LEAST: Final = 2
"""Different words of body, symptom or treatment, without which everybody who gives advice would be a doctor."""
CARE: Final = ("examines", "doses", "finds", "plans", "advises", "yours", "to_doctor")
CARE_AT_LEAST: Final = 2
"""Of these kinds; a journalist who welcomes a patient and asks about the illness does none but ask."""
USUAL_WORDS: Final = 150
"""Hits in a longer talk count for the share that falls on so many words: an hour about houses has its aches too."""

COLLEAGUE_AT_LEAST: Final = 2.5
"""Score of a third voice that is a second provider rather than a companion."""
AUTHORITY: Final = ("welcomes", "examines", "doses")
"""What a companion leaves to the provider; questions and advice come from both."""
CONFIDENCE_AT_MOST: Final = 0.99
"""A hundred and sixty dialogues cannot show more."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Roles by speaker tag, "provider" or "patient"; whoever is neither, or in doubt, is not in it."""

    roles: dict[int, str]
    confidence: float
    """0 to 1, the logistic of the smallest gap that a role was given for: about the share of right answers among
    calls as clear as this one. 0 where no role is given."""
    why: str
    """For the reader of the transcript; quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Weights:
    """By cue, in log-odds."""

    role: Mapping[str, float]
    """Above 0 for the provider."""
    consultation: Mapping[str, float]
    """With "bias", the log-odds of a talk without any evidence."""


@dataclass(slots=True)
class Voice:
    """What one speaker said, as counts."""

    tag: int
    words: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    vocabulary: set[str] = field(default_factory=set)

    def hear(self, turn: str, cues: Mapping[str, re.Pattern[str]]) -> None:
        self.words += len(re.findall(r"[\w']+", turn))
        for cue, pattern in cues.items():
            found = [match.group() for match in pattern.finditer(turn)]
            self.hits[cue] += len(found)
            if cue in VOCABULARY:
                self.vocabulary.update(found)

    def marks(self, cues: Iterable[str]) -> dict[str, float]:
        return {cue: math.log1p(self.hits[cue]) for cue in cues}

    @property
    def has_authority(self) -> bool:
        return any(self.hits[cue] > 0 for cue in AUTHORITY)

    @property
    def speaks_for_another(self) -> bool:
        return self.hits["third_person"] > 0


class Talk:
    """The voices, from the most to the least provider-like."""

    def __init__(self, voices: Iterable[Voice], weights: Weights) -> None:
        scores = {voice.tag: _weigh(voice.marks(weights.role), weights.role) for voice in voices}
        self.voices = sorted(voices, key=lambda voice: scores[voice.tag], reverse=True)
        self.vocabulary = set().union(*(voice.vocabulary for voice in self.voices))
        self._scores = scores
        self._weights = weights

    def gap(self, one: Voice, other: Voice) -> float:
        """The log-odds for `one` being the provider and `other` the patient, rather than the other way round."""
        return self._scores[one.tag] - self._scores[other.tag]

    @property
    def providers(self) -> list[Voice]:
        """Never empty: the first voice, and whoever else plainly acts like one; never the last."""
        first, *rest = self.voices
        return [first, *(voice for voice in rest[:-1] if self._is_colleague(voice))]

    def _is_colleague(self, voice: Voice) -> bool:
        return voice.has_authority and self._scores[voice.tag] >= COLLEAGUE_AT_LEAST

    @property
    def evidence(self) -> dict[str, float]:
        """What speaks for a consultation, and against it."""
        first, *rest = self.voices
        words = sum(voice.words for voice in self.voices)
        share = USUAL_WORDS / max(words, USUAL_WORDS)
        counts = {
            "clinical": _count(self.voices, CLINICAL) * share,
            "body": _count(self.voices, ("body",)) * share,
            "to_doctor": _count(rest, ("to_doctor",)) * share,
            **{cue: first.hits[cue] * share for cue in ACTS},
            **{cue: _count(self.voices, (cue,)) * share for cue in ELSEWHERE},
            "gap": self.gap(first, rest[-1]),
        }
        return {"bias": 1.0, **{cue: math.log1p(count) for cue, count in counts.items()}}

    @property
    def is_consultation(self) -> bool:
        evidence = self.evidence
        return (
            len(self.vocabulary) >= CLINICAL_AT_LEAST
            and sum(evidence[cue] > 0 for cue in CARE) >= CARE_AT_LEAST
            and _weigh(evidence, self._weights.consultation) >= CLEARLY_CLINICAL
        )


def assign(segments: Sequence[Segment], language: str | None, weights: Weights | None = None) -> Roles:
    """Tell provider and patient apart.

    Args:
        segments: in time order, with speaker tags; those without one are not considered.
        language: BCP 47, of which the base counts. English, Spanish, Portuguese and French are known.
        weights: other than the shipped ones, to measure them.

    Returns:
        For two speakers both roles or none. Among more, several providers and one patient at most; companions, and
        whoever might be one, are left out.
    """
    base = base_language(language) if language else None
    if base not in LANGUAGES:
        return _none("roles are told apart in English, Spanish, Portuguese and French only")
    voices = listen(segments, base)
    if len(voices) < 2:
        return _none("there are no two speakers to tell apart")
    talk = Talk(voices, weights or shipped_weights())
    if not talk.is_consultation:
        return _none("what is said does not show that this is a consultation")
    return _decide(talk)


def _decide(talk: Talk) -> Roles:
    providers = talk.providers
    others = [voice for voice in talk.voices if voice not in providers]
    nearest, last = others[0], others[-1]
    above = others[-2] if len(others) > 1 else providers[-1]
    alone = len(talk.voices) == 2
    roles: dict[int, str] = {}
    gaps: list[float] = []
    if (gap := talk.gap(providers[-1], nearest)) >= CLEAR_GAP:
        roles |= {voice.tag: PROVIDER for voice in providers}
        gaps.append(gap)
    if (gap := talk.gap(above, last)) >= CLEAR_GAP and (alone or not last.speaks_for_another):
        roles[last.tag] = PATIENT
        gaps.append(gap)
    if not roles:
        return _none("the speakers do not differ enough in what they say")
    confidence = min(1 / (1 + math.exp(-min(gaps))), CONFIDENCE_AT_MOST)
    return Roles(roles, confidence, why="from what the speakers say")


def _none(why: str) -> Roles:
    return Roles({}, confidence=0.0, why=why)


def _count(voices: Iterable[Voice], cues: Sequence[str]) -> int:
    return sum(voice.hits[cue] for voice in voices for cue in cues)


def _weigh(marks: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return sum(weight * marks[cue] for cue, weight in weights.items())


def listen(segments: Sequence[Segment], language: str) -> list[Voice]:
    """The voices of those who say a word, in the order in which they first speak; `language` is one of LANGUAGES."""
    cues = _cues(language)
    voices: dict[int, Voice] = {}
    for tag, turn in groupby(segments, key=lambda segment: segment.speaker_tag):
        if tag is not None:
            voices.setdefault(tag, Voice(tag)).hear(_plain(join_text(segment.text for segment in turn)), cues)
    return [voice for voice in voices.values() if voice.words > 0]


def _plain(text: str) -> str:
    """Lower case without accents; of the punctuation, apostrophes within words and "?" as a word of its own."""
    return " ".join(re.sub(r"[^\w'?]+", " ", _fold(text)).replace("?", " ? ").split())


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("’", "'").casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _read(name: str) -> str:
    return resources.files("workers.stages").joinpath("role_cues", f"{name}.toml").read_text("utf-8")


@cache
def shipped_weights() -> Weights:
    return Weights(**tomllib.loads(_read("weights")))


@cache
def _cues(language: str) -> dict[str, re.Pattern[str]]:
    listed = tomllib.loads(_read("medical")) | tomllib.loads(_read(language))
    words = {cue: "|".join(text.split("\n")[:-1]) for cue, text in listed.items()}
    for name in ("medical", *VOCABULARY):
        words = {cue: expression.replace(f"{{{name}}}", f"(?:{words[name]})") for cue, expression in words.items()}
    del words["medical"]
    return {cue: re.compile(rf"(?<![\w'])(?:{_fold(expression)})(?!\w)") for cue, expression in words.items()}
