"""Who of the speakers is the provider and who the patient, from what is said.

A provider welcomes, asks about the body, examines, explains and plans; a patient tells what it feels like and since
when, and answers. Every such cue is counted for every voice and weighed; voices whose scores lie far enough apart get
a role, and talk that is not clearly a consultation gets none. To call a patient the provider is far worse than to say
nothing, so whatever is weak is left out.

The cues are the same in every language; their words are in `role_cues/`, one file a language. A cue is one regular
expression a line over a turn in lower case, without punctuation (but "?" is a word) and without regard to accents. It
matches whole words; `^` and `$` are the ends of the turn; `{body}`, `{symptom}` and `{treatment}` stand for the cues
of that name.
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
from typing import Final, Self

from domain.capabilities import base_language
from domain.transcript import Segment, join_text

PROVIDER: Final = "provider"
PATIENT: Final = "patient"

LANGUAGES: Final = frozenset({"en", "es", "fr", "pt"})

AUTHORITY: Final[Mapping[str, float]] = {"opens": 3.0, "examines": 2.5, "doses": 1.5}
"""What friends who talk about their health do not do; `opens` is to welcome, to ask for the reason, to call results."""

PROVIDER_CUES: Final[Mapping[str, float]] = {**AUTHORITY, "asks": 2.0, "plans": 2.0, "finds": 2.0}

PATIENT_CUES: Final[Mapping[str, float]] = {
    "suffers": -2.0,
    "mine": -2.0,
    "third_person": -1.0,  # whoever speaks for a child: on the patient's side of two voices, a companion among three
    "since": -1.0,
    "answers": -1.5,
    "seeks": -2.5,
    "to_doctor": -3.0,
}

WEIGHTS: Final[Mapping[str, float]] = {**PROVIDER_CUES, **PATIENT_CUES, "you": 0.5, "question_mark": 0.7, "me": -0.5}
"""How far one hit moves its voice towards the provider (above 0) or the patient. Set by hand in half steps: what a cue
means is plain, and eighty dialogues are too few to fit sixteen weights."""

CLINICAL: Final = ("symptom", "treatment")

PRIOR_WORDS: Final = 25
"""Added to the words of a voice, so that one lucky hit in a short answer does not look like a habit."""

# All three in points a word, as scores are. In excerpts of three to eight turns of the dialogues in tests/data (first
# halves), 73 % of the orders were right below a gap of 0.05, 96 % from there to 0.10, and all of 1197 above that.
CLEAR_GAP: Final = 0.12
PROVIDER_AT_LEAST: Final = 0.04
PATIENT_AT_MOST: Final = 0.02

STEEPNESS: Final = 20.0
"""Of the logistic curve from gap to confidence. The same excerpts ask for 40; half of it, because the word lists were
completed with those dialogues in sight."""

CONFIDENCE_AT_MOST: Final = 0.99
"""Eighty dialogues cannot show more."""

CLINICAL_AT_LEAST: Final = 3
"""Different clinical words, or acts of examining: what no talk about other things comes to by chance."""
WORDS_PER_MENTION: Final = 80
"""In a consultation something clinical is said at least this often; an hour about other things has its mentions too."""
ELSEWHERE_COUNTS: Final = 3
"""Clinical words that one word of another setting outweighs."""

KINDS_AT_LEAST: Final = 3
WORDS_PER_AUTHORITY: Final = 150
MANY_ACTS: Final = 6


@dataclass(frozen=True, slots=True)
class Roles:
    """Roles by speaker tag, "provider" or "patient"; whoever is neither, or in doubt, is not in it."""

    roles: dict[int, str]
    confidence: float
    """0 to 1, rising with the gap between the voices: about the share of right answers among calls as clear as this
    one. 0 where no role is given."""
    why: str
    """For the reader of the transcript; quotes nothing of it."""


@dataclass(slots=True)
class Voice:
    """What one speaker said, as counts."""

    tag: int
    words: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    clinical: set[str] = field(default_factory=set)

    def hear(self, turn: str, cues: Mapping[str, re.Pattern[str]]) -> None:
        self.words += len(re.findall(r"[\w']+", turn))
        for cue, pattern in cues.items():
            found = [match.group() for match in pattern.finditer(turn)]
            self.hits[cue] += len(found)
            if cue in CLINICAL:
                self.clinical.update(found)

    def count(self, cues: Iterable[str]) -> int:
        return sum(self.hits[cue] for cue in cues)

    def kinds(self, cues: Iterable[str]) -> int:
        return sum(self.hits[cue] > 0 for cue in cues)

    @property
    def score(self) -> float:
        return sum(weight * self.hits[cue] for cue, weight in WEIGHTS.items()) / (self.words + PRIOR_WORDS)

    @property
    def acts_like_a_provider(self) -> bool:
        return (
            self.score >= PROVIDER_AT_LEAST
            and self.count(AUTHORITY) > 0
            and self.kinds(PROVIDER_CUES) >= KINDS_AT_LEAST
        )

    @property
    def speaks_for_another(self) -> bool:
        return self.hits["third_person"] > 0


@dataclass(frozen=True, slots=True)
class Ranking:
    """The voices from the most to the least provider-like."""

    providers: list[Voice]
    """Never empty: the first, and whoever else plainly acts like one."""
    others: list[Voice]

    @classmethod
    def of(cls, voices: Iterable[Voice]) -> Self:
        first, *rest = sorted(voices, key=lambda voice: voice.score, reverse=True)
        colleagues = [voice for voice in rest[:-1] if voice.acts_like_a_provider]
        return cls([first, *colleagues], [voice for voice in rest if voice not in colleagues])

    @property
    def provider_gap(self) -> float:
        return min(voice.score for voice in self.providers) - self.others[0].score

    @property
    def patient_gap(self) -> float:
        above = self.others[-2] if len(self.others) > 1 else min(self.providers, key=lambda voice: voice.score)
        return above.score - self.others[-1].score

    @property
    def is_consultation(self) -> bool:
        return self._is_clinical and self._has_authority

    @property
    def _is_clinical(self) -> bool:
        voices = [*self.providers, *self.others]
        examined = self.providers[0].hits["examines"]
        different = len(set().union(*(voice.clinical for voice in voices))) + examined
        mentions = sum(voice.count(CLINICAL) for voice in voices) + examined
        elsewhere = sum(voice.hits["elsewhere"] for voice in voices)
        return (
            different >= CLINICAL_AT_LEAST
            and different > ELSEWHERE_COUNTS * elsewhere
            and mentions * WORDS_PER_MENTION >= sum(voice.words for voice in voices)
        )

    @property
    def _has_authority(self) -> bool:
        """Whether the first voice does what a provider does and a friend does not; once will do beside many acts."""
        first, last = self.providers[0], self.others[-1]
        authority = first.count(AUTHORITY) + last.hits["to_doctor"]
        needed = 1 if first.count(PROVIDER_CUES) >= MANY_ACTS else 2
        return (
            authority >= needed
            and authority * WORDS_PER_AUTHORITY >= first.words
            and first.kinds(PROVIDER_CUES) >= KINDS_AT_LEAST
        )


def assign(segments: Sequence[Segment], language: str | None) -> Roles:
    """Tell provider and patient apart.

    Args:
        segments: in time order, with speaker tags; those without one are not considered.
        language: BCP 47, of which the base counts. English, Spanish, Portuguese and French are known.

    Returns:
        For two speakers both roles or none. Among more, several providers and one patient at most; companions, and
        whoever might be one, are left out.
    """
    base = base_language(language) if language else None
    if base not in LANGUAGES:
        return _none("roles are told apart in English, Spanish, Portuguese and French only")
    voices = _listen(segments, _cues(base))
    if len(voices) < 2:
        return _none("there are no two speakers to tell apart")
    ranking = Ranking.of(voices)
    if not ranking.is_consultation:
        return _none("what is said does not show that this is a consultation")
    return _decide(ranking)


def _decide(ranking: Ranking) -> Roles:
    roles: dict[int, str] = {}
    gaps: list[float] = []
    last = ranking.others[-1]
    if ranking.provider_gap >= CLEAR_GAP:
        roles |= {voice.tag: PROVIDER for voice in ranking.providers}
        gaps.append(ranking.provider_gap)
    alone = len(ranking.providers) + len(ranking.others) == 2
    if ranking.patient_gap >= CLEAR_GAP and last.score <= PATIENT_AT_MOST and (alone or not last.speaks_for_another):
        roles[last.tag] = PATIENT
        gaps.append(ranking.patient_gap)
    if not roles or (alone and len(roles) < 2):
        return _none("the speakers do not differ enough in what they say")
    confidence = min(1 / (1 + math.exp(-STEEPNESS * min(gaps))), CONFIDENCE_AT_MOST)
    return Roles(roles, confidence, why="from what the speakers say")


def _none(why: str) -> Roles:
    return Roles({}, confidence=0.0, why=why)


def _listen(segments: Sequence[Segment], cues: Mapping[str, re.Pattern[str]]) -> list[Voice]:
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


@cache
def _cues(language: str) -> dict[str, re.Pattern[str]]:
    file = resources.files("workers.stages").joinpath("role_cues", f"{language}.toml")
    lines = {cue: "|".join(text.split("\n")[:-1]) for cue, text in tomllib.loads(file.read_text("utf-8")).items()}
    words = {f"{{{cue}}}": f"(?:{lines[cue]})" for cue in ("body", *CLINICAL)}
    return {cue: _pattern(expression, words) for cue, expression in lines.items()}


def _pattern(expression: str, words: Mapping[str, str]) -> re.Pattern[str]:
    for name, alternatives in words.items():
        expression = expression.replace(name, alternatives)
    return re.compile(rf"(?<![\w'])(?:{_fold(expression)})(?!\w)")
