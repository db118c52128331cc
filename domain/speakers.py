"""What a person says of a transcript's speakers: names, roles, and which two are one. An overlay, never a change."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from domain.errors import Invalid
from domain.text import IS_PLAIN
from domain.transcript import Segment, SpeakerTag, Transcript, Value

Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), IS_PLAIN]
Role = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_-]{0,31})?$")]


class SpeakerChanges(Value):
    """What a caller wishes changed; an empty name or role takes back what was said before."""

    names: dict[SpeakerTag, Name] = Field(default_factory=dict, examples=[{"0": "Dr. Lee"}])
    roles: dict[SpeakerTag, Role] = Field(default_factory=dict, examples=[{"0": "provider", "1": "patient"}])
    merge: dict[SpeakerTag, SpeakerTag] = Field(
        default_factory=dict, description="Speaker 2 is really speaker 0.", examples=[{"2": 0}]
    )

    @model_validator(mode="after")
    def _merges_end(self) -> Self:
        if set(self.merge) & set(self.merge.values()):
            raise ValueError("merge each speaker into one that is not merged itself")
        return self


class SpeakerEdits(Value):
    """All that has been said of the speakers so far."""

    names: dict[int, str] = Field(default_factory=dict)
    roles: dict[int, str] = Field(default_factory=dict)
    merged: dict[int, int] = Field(default_factory=dict)

    def with_changes(self, changes: SpeakerChanges, transcript: Transcript) -> "SpeakerEdits":
        """Raises Invalid where a speaker is named who does not speak in `transcript`."""
        known = {segment.speaker_tag for segment in transcript.segments} - {None}
        named = {*changes.names, *changes.roles, *changes.merge, *changes.merge.values()}
        if strangers := sorted(named - known):
            raise Invalid(f"there is no speaker {strangers[0]} in this transcript", field="speakers")
        anew = {tag: self.merged.get(target, target) for tag, target in changes.merge.items()}
        into = {tag: anew.get(target, target) for tag, target in self.merged.items()} | anew
        return SpeakerEdits(
            names={tag: name for tag, name in (self.names | changes.names).items() if name},
            roles={tag: role for tag, role in (self.roles | changes.roles).items() if role},
            merged={tag: target for tag, target in into.items() if tag != target},
        )

    def apply(self, transcript: Transcript) -> Transcript:
        """The transcript as its owner sees it."""
        if self == SpeakerEdits():
            return transcript
        heard = {int(tag): role for tag, role in transcript.speaker_roles.items()}
        roles = {tag: role for tag, role in (heard | self.roles).items() if tag not in self.merged}
        return transcript.model_copy(
            update={
                "segments": tuple(self._relabelled(segment) for segment in transcript.segments),
                "speaker_roles": {str(tag): role for tag, role in sorted(roles.items())},
            }
        )

    def _relabelled(self, segment: Segment) -> Segment:
        if segment.speaker_tag not in self.merged:
            return segment
        tag = self.merged[segment.speaker_tag]
        words = tuple(word.model_copy(update={"speaker_tag": tag}) for word in segment.words)
        return segment.model_copy(update={"speaker_tag": tag, "words": words})
