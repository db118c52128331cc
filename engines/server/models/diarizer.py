"""`diarizer`: tells speakers apart in mono recordings, for engines that cannot: a stage of their jobs.

Windows of speech become vectors (`diarizer_voices`), the vectors of one voice lie close together and are gathered
(`diarizer_clusters`), and each word goes to the speaker whose voice is heard around it. One speaks at a time: where
two speak at once, their words are no better than guessed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from config.settings import EngineSettings
from domain.capabilities import DIARIZE_STAGE, EngineReport
from domain.errors import EngineFailed, ModelMissing
from domain.transcript import Heard, Notice, Progress, Segment
from engines.contract import SAMPLE_RATE_HZ, Hearing
from engines.server.contract import OnDownload
from engines.server.models.diarizer_clusters import Speakers
from engines.server.models.diarizer_voices import VoiceEncoder, Voices, find_weights
from engines.server.models.samples import iter_samples
from engines.server.models.speakers import tell_apart

BLOCK_SECONDS = 30
"""How much is listened to between two signs of progress: a third of a second of work on two cores."""

_NOT_INSTALLED = "the voice encoder of Resemblyzer is not installed here: install requirements/core.txt"


class Diarizer:
    def __init__(self, encoder: VoiceEncoder) -> None:
        self.encoder = encoder

    @classmethod
    def report(cls, settings: EngineSettings, /) -> EngineReport:
        reason = None
        if settings.diarizer == "off":
            reason = "it is turned off: set DIARIZER=on"
        elif find_weights() is None:
            reason = _NOT_INSTALLED
        return EngineReport(
            engine="diarizer",
            available=reason is None,
            reason=reason,
            description="Tells speakers apart in what another engine has heard, from one channel, in any language. "
            "Made for people who take turns; where they talk across one another, as in lively meetings, it is poor.",
            diarizes=True,
            stages=(DIARIZE_STAGE,),
            options={"type": "object", "properties": {}, "additionalProperties": False},
        )

    @classmethod
    def load(cls, _settings: EngineSettings, _model: str | None, _on_download: OnDownload, /) -> Self:
        from threadpoolctl import threadpool_limits  # only needed in a child

        # The network's steps are small: two threads that wait for each other took twice as long as one, and six times
        # as long beside other work.
        threadpool_limits(1, user_api="blas")
        weights = find_weights()
        if weights is None:
            raise ModelMissing(_NOT_INSTALLED, retryable=False)
        return cls(VoiceEncoder.open(weights))

    def transcribe(self, audio: Path, hearing: Hearing) -> Iterator[Heard]:
        """The segments of `hearing.given` with their speakers."""
        if hearing.given is None:
            raise EngineFailed("the diarizer hears no words: give it a transcript", retryable=False)
        segments = hearing.given.segments
        yield _progress(0, hearing)
        heard: list[Voices] = []
        done = 0
        for block in iter_samples(audio, seconds=BLOCK_SECONDS) if segments else ():
            heard.append(self.encoder.hear(block, since=done / SAMPLE_RATE_HZ))
            done += block.size
            yield _progress(done / SAMPLE_RATE_HZ, hearing)
        yield _progress(hearing.audio_seconds, hearing)
        yield from _attribute(segments, Voices.joined(heard), hearing)


def _attribute(segments: Sequence[Segment], voices: Voices, hearing: Hearing) -> Iterator[Heard]:
    if segments and not len(voices.vectors):
        yield Notice(code="diarization_failed", message="speakers are not told apart: no voice stands out of the noise")
        yield from segments
    elif segments:
        speakers = Speakers.among(
            voices, exactly=hearing.num_speakers, least=hearing.min_speakers, most=hearing.max_speakers
        )
        if not speakers.are_clear:
            unsure = "voices are hard to tell apart here, as where people talk across one another: check who says what"
            yield Notice(code="speakers_uncertain", message=unsure)
        yield from tell_apart(segments, map(speakers.label, segments))


def _progress(done: float, hearing: Hearing) -> Progress:
    total = hearing.audio_seconds
    return Progress(stage=DIARIZE_STAGE, done=min(done, total), total=total)
