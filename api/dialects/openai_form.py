"""A request for a transcript as OpenAI's clients word it, read into a job and into how its answer is to look."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from api.forms import AnyEngineForm, FreeText, Name
from api.uploads import Repeating
from domain.capabilities import Term
from domain.errors import Invalid
from domain.lifecycle import JobOptions
from domain.text import IS_PLAIN
from domain.transcript import Notice
from services.submission import Submission

MOST_KEYWORDS = 1_000

Format = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
STREAMED: tuple[Format, ...] = ("json", "text", "diarized_json")

NO_SAMPLES = (
    "voices are not recognised by samples here; leave known_speaker_names and known_speaker_references out, and name "
    "the speakers afterwards: PATCH /api/transcribe/jobs/result/JOB_ID/speakers"
)
REPEATING = Repeating(
    names=frozenset({"keywords[]", "hotwords[]", "languages[]", "timestamp_granularities[]", "include[]"}),
    most=MOST_KEYWORDS + 100,
    refused={"known_speaker_names[]": NO_SAMPLES, "known_speaker_references[]": NO_SAMPLES},
)

Keyword = Annotated[str, Field(max_length=200), IS_PLAIN]


def _without_blanks(said: object) -> object:
    return [value for value in said if value.strip()] if isinstance(said, list) else said


def _parted(said: object) -> object:
    parts = [part.strip() for value in said for part in value.split(",")] if isinstance(said, list) else said
    return _without_blanks(parts)


class OpenAIForm(AnyEngineForm):
    """OpenAI's fields; and for `extra_body` those of the native API, and two that other servers of its kind take."""

    task: ClassVar[Literal["transcribe", "translate"]] = "transcribe"
    hotwords: ClassVar[None] = None  # type: ignore[misc]
    """No engine's own option here, as in the native API, but `hotwords[]`."""

    model: Name = Field(description="One of GET /v1/models.", examples=["whisper-1"])
    response_format: Format = "json"
    prompt: FreeText | None = Field(default=None, description="What was said before, for engines that take it.")
    temperature: float = Field(default=0.0, ge=0, le=1, description="Above 0 it becomes a warning.")
    languages: Annotated[list[str], Field(max_length=20)] = Field(default=[], alias="languages[]")
    keywords: Annotated[list[Keyword], Field(max_length=MOST_KEYWORDS)] = Field(
        default=[], alias="keywords[]", description="Words that the engine listens for."
    )
    hot_words: Annotated[list[Keyword], Field(max_length=MOST_KEYWORDS)] = Field(
        default=[], alias="hotwords[]", description="As keywords[]; commas part them as well."
    )
    diarize: bool | None = Field(default=None, description="As enable_diarization.")
    granularities: list[Literal["word", "segment"]] = Field(
        default=[], alias="timestamp_granularities[]", description="Of verbose_json; `segment` where it is left out."
    )
    include: list[Literal["logprobs"]] = Field(default=[], alias="include[]", description="Of json.")
    stream: bool = Field(default=False, description="Server-sent events, as it is heard.")
    chunking: Literal["auto"] | None = Field(default=None, alias="chunking_strategy")
    vad: Literal["server_vad", "auto"] | None = Field(default=None, alias="chunking_strategy[type]")
    vad_threshold: float | None = Field(default=None, alias="chunking_strategy[threshold]", ge=0, le=1)
    vad_padding: int | None = Field(default=None, alias="chunking_strategy[prefix_padding_ms]", ge=0)
    vad_silence: int | None = Field(default=None, alias="chunking_strategy[silence_duration_ms]", ge=0)
    wait: bool = Field(default=False, description="true: wait for an engine that is not there now.")

    _blanks = field_validator("languages", "keywords", "granularities", "include", mode="before")(_without_blanks)
    _parts = field_validator("hot_words", mode="before")(_parted)

    @property
    def tells_speakers(self) -> bool:
        return self.response_format == "diarized_json"

    @property
    def diarization(self) -> tuple[str, bool | None]:
        """Whether speakers are to be told apart, behind the name by which that was said."""
        said = "enable_diarization" if self.diarize is None else "diarize"
        return said, getattr(self, said)

    @property
    def with_words(self) -> bool:
        return "word" in self.granularities

    @property
    def with_segments(self) -> bool:
        return not self.granularities or "segment" in self.granularities

    def refuse_contradictions(self) -> None:
        """Raises Invalid. Once all fields are there, as one behind the file may put another right."""
        if self.granularities and self.response_format != "verbose_json":
            raise Invalid("timestamps go with response_format=verbose_json", field="timestamp_granularities[]")
        if self.include and self.response_format != "json":
            raise Invalid("logprobs go with response_format=json", field="include[]")
        if self.stream and self.response_format not in STREAMED:
            raise Invalid(f"stream=true goes with response_format {', '.join(STREAMED)}", field="stream")
        name, diarizes = self.diarization
        if self.tells_speakers and diarizes is False:
            raise Invalid(f"diarized_json is made of speakers: leave {name} out", field="response_format")
        if self.enable_diarization not in (None, diarizes):
            raise Invalid("diarize says one thing and enable_diarization another: leave one out", field="diarize")
        if self.language and self.languages not in ([], [self.language]):
            raise Invalid("language says one thing and languages[] another: leave one out", field="language")
        for name, words in (("keywords[]", self.keywords), ("hotwords[]", self.hot_words)):
            if words and self.context_id:
                raise Invalid(f"the words come from {name} or from context_id: leave one out", field=name)
        if len(self.keywords) + len(self.hot_words) > MOST_KEYWORDS:
            raise Invalid(f"keywords[] and hotwords[] together are more than {MOST_KEYWORDS:,}", field="hotwords[]")
        own = super().engine_options().get("initial_prompt")
        if self.prompt and own not in (None, self.prompt):
            raise Invalid("prompt says one thing and initial_prompt another: leave one out", field="prompt")

    def submission(self, default_engine: str) -> Submission:
        """`options.model` is as the client names it. Nobody who waits for text alone is kept waiting for speakers."""
        submission = super().submission(default_engine)
        options = submission.options
        counts = (self.num_speakers, self.min_speakers, self.max_speakers)
        _, diarizes = self.diarization
        if diarizes is None and not any(counts):
            diarizes = self.tells_speakers
        changed: dict[str, Any] = {
            "model": self.model,
            "language": self.language or (self.languages[0] if len(self.languages) == 1 else None),
            "terms": tuple(Term(text=word) for word in (*self.keywords, *self.hot_words)),
            "enable_diarization": True if self.tells_speakers else diarizes,
            "warnings": tuple(notice.model_dump() for notice in self._warnings()),
        }
        return replace(submission, options=JobOptions.model_validate({**dict(options), **changed}))

    def engine_options(self) -> dict[str, Any]:
        options = super().engine_options()
        if self.prompt:
            options["initial_prompt"] = self.prompt
        return options if self.task == "transcribe" else {**options, "task": self.task}

    def _warnings(self) -> list[Notice]:
        said = []
        if self.temperature > 0:
            said.append("temperature: speech is heard as at 0, whatever is asked for")
        if len(self.languages) > 1:
            said.append("languages[]: the engine finds out which language it is among all that it knows")
        if {self.vad_threshold, self.vad_padding, self.vad_silence} != {None}:
            said.append("chunking_strategy: engines find the pauses by settings of their own")
        return [Notice(code="option_not_honoured", message=message) for message in said]

    def as_said(self) -> dict[str, Any]:
        """What a client says again when it sends the same request again."""
        return {"task": self.task, **self.model_dump(mode="json", exclude_unset=True)}


class TranslationForm(OpenAIForm):
    task = "translate"

    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
