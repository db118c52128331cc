"""What an engine can do and whether it can do it now. Workers report it; doors believe it."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from domain.text import IS_PLAIN, Plain, Told, ToldObject
from domain.transcript import Value

AUTO = "auto"
"""The engine name that lets the platform choose."""

TRANSCRIBE_STAGE = "transcribe"
"""The stage that turns sound into words; its Progress counts seconds of audio heard."""

DIARIZE_STAGE = "diarize"
"""The stage that tells speakers apart."""

ModelState = Literal["absent", "downloading", "ready"]


class ModelReport(Value):
    name: Told
    state: ModelState
    note: Told | None = None


class LoadedModel(Value):
    """A model in memory, busy or waiting for its next job.

    `model` is None for an engine that has but one. `resident_bytes` is main memory, of its process and all that this
    started; None where it cannot be told. `unloads_at` is when it goes unless a job comes first; None while it is busy.
    """

    model: Told | None = None
    busy: bool = False
    resident_bytes: int | None = None
    unloads_at: datetime | None = None
    pid: int | None = None


class Term(Value):
    """A word or phrase that an engine should listen for.

    `boost` is the platform's own scale: 0 does nothing, 20 is a good start, 100 is the most, below 0 discourages; None
    leaves it to the engine. `sounds_like` are spellings of how it is said, for engines that can use them.
    """

    text: Annotated[str, Field(min_length=1, max_length=200), IS_PLAIN]
    boost: float | None = Field(default=None, ge=-100, le=100)
    sounds_like: tuple[Plain, ...] = ()
    category: Plain | None = None


class EngineReport(Value):
    """One engine as a worker sees it now.

    `quality` orders engines for `auto`: higher is better; the numbers mean nothing else. Without `auto` it hears only
    jobs that ask for it by name, as one that hears something else than speech. `languages` lists BCP 47
    tags, empty for "any, or the engine decides". `speaker_hints` are what it can be told of the number of speakers;
    with `speakers_unasked` its jobs want them told apart unless they say otherwise.
    `options` is a JSON Schema of the engine's own options. `stages` are what it does, in this order; one that is given
    the text as it stood after a stage begins behind that stage.
    `load` counts the jobs that the engine has in hand or in line now, those of `load_of`: all that it has, or only this
    worker's, which are then added up over the workers. `memory` lists what is loaded, None where that is not ours to
    know. `detail` carries an engine's own public fields (uri, url, model, health).
    """

    engine: Told
    available: bool
    reason: Told | None = None
    description: Told = ""
    quality: int = 0
    auto: bool = True
    models: tuple[ModelReport, ...] = ()
    default_model: Told | None = None
    languages: tuple[Told, ...] = ()
    default_language: Told | None = None
    detects_language: bool = False
    diarizes: bool = False
    speakers_unasked: bool = False
    speaker_hints: tuple[Told, ...] = ("num_speakers", "min_speakers", "max_speakers")
    boosts_words: bool = False
    stages: tuple[Told, ...] = (TRANSCRIBE_STAGE,)
    options: ToldObject = Field(default_factory=dict)
    load: int = 0
    load_of: Literal["engine", "worker"] = "engine"
    memory: tuple[LoadedModel, ...] | None = None
    detail: ToldObject = Field(default_factory=dict)

    def away(self, reason: str) -> Self:
        """The same engine when nobody can see it: what it is stays known, what it was doing does not."""
        models = tuple(
            model.model_copy(update={"state": "absent", "note": None}) if model.state == "downloading" else model
            for model in self.models
        )
        return self.model_copy(
            update={"available": False, "reason": reason, "models": models, "load": 0, "memory": None}
        )

    @property
    def transcribes(self) -> bool:
        """An engine that does not is a stage of other engines' jobs, and cannot be asked for by name."""
        return TRANSCRIBE_STAGE in self.stages

    @property
    def is_diarizer(self) -> bool:
        """Is it the platform's own, which does nothing but tell speakers apart in what others have heard?"""
        return self.stages == (DIARIZE_STAGE,)

    @property
    def ready(self) -> bool:
        """Could a job start now without a download? `auto` only takes engines that are ready."""
        if not self.available:
            return False
        chosen = [model for model in self.models if model.name == self.default_model]
        return all(model.state == "ready" for model in chosen)

    def knows_language(self, language: str) -> bool:
        """Is `language` among the engine's, where "en" and "en-US" meet each other?"""
        return self.match_language(language) is not None

    def match_language(self, language: str) -> str | None:
        """The engine's own spelling for `language`, or None where it does not know it."""
        if not self.languages:
            return language
        wanted = language.lower()
        exact = [known for known in self.languages if known.lower() == wanted]
        same_base = [known for known in self.languages if base_language(known) == base_language(language)]
        # A region that the engine lacks ("en-GB" for "en-US") is met by a bare tag on either side only.
        loose = [known for known in same_base if "-" not in known or "-" not in language]
        return next(iter(exact + loose), None)


def base_language(tag: str) -> str:
    """ "en-US" → "en"."""
    return tag.split("-")[0].lower()
