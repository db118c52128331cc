"""A transcript as text or subtitles, in every format that there is."""

import asyncio
from collections.abc import Mapping
from typing import Literal

from fastapi.responses import PlainTextResponse

from domain import subtitles
from domain.errors import Invalid
from domain.profiles import DEFAULT_PROFILE, profile_named
from services.reading import Result

NO_STORE = {"Cache-Control": "no-store"}

TextFormat = Literal["txt", "srt", "vtt", "ass"]
MEDIA_TYPES: Mapping[TextFormat, str] = {
    "txt": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
}


async def exported(
    found: Result, kind: TextFormat, *, profile: str | None = None, headers: Mapping[str, str] = NO_STORE
) -> PlainTextResponse:
    """Written in a thread: the cues of ten hours take a second and a half.

    Raises Invalid where the profile is unknown, or there is nothing that it could be for.
    """
    written = await asyncio.to_thread(_written, found, kind, profile)
    return PlainTextResponse(written, media_type=MEDIA_TYPES[kind], headers=dict(headers))


def _written(found: Result, kind: TextFormat, profile: str | None) -> str:
    segments, names = found.heard.segments, found.labels
    if kind == "txt":
        refuse_profile(profile)
        return subtitles.to_text(segments, names=names)
    rules = DEFAULT_PROFILE if profile is None else profile_named(profile)
    write = {"srt": subtitles.to_srt, "vtt": subtitles.to_vtt, "ass": subtitles.to_ass}[kind]
    return write(segments, rules, names)


def refuse_profile(profile: str | None) -> None:
    """Raises Invalid."""
    if profile is not None:
        raise Invalid("a profile is for subtitles: choose the format srt, vtt or ass, or leave it out", field="profile")
