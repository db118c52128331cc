"""The words of a job as they are heard, each once and in order, over reconnects and attempts: what dialects stream.

The texts of all words, one behind the other, are the text of the transcript.
"""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from typing import Self

from api.schemas import View
from domain.events import Cursor, Event
from domain.transcript import Segment
from services.following import Told


class Delta(View):
    """A word as the engine heard it."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Place:
    """How far a client has come, as the `id` of an event: a cursor of the native stream, and the word behind it.

    `words` of segment `n` of attempt `fence` have been told, the last of which ends at `end_ms`.
    """

    cursor: Cursor | None = None
    fence: int = 0
    n: int = 0
    words: int = 0
    end_ms: int = 0

    def __str__(self) -> str:
        return f"{self.cursor or Cursor()}-{self.fence}.{self.n}.{self.words}.{self.end_ms}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None where it is no id of ours."""
        native, _, rest = text.partition("-")
        cursor, parts = Cursor.parse(native), rest.split(".")
        if cursor is None or len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        return cls(cursor, *(int(part[:15]) for part in parts))

    def has_told(self, event: Event, number: int, delta: Delta) -> bool:
        """Of a word, the `number`-th of its segment: was it told, now or by an attempt that broke off?"""
        if event.fence == self.fence:
            return event.n == self.n and number <= self.words
        return self.fence != 0 and (delta.start + delta.end) / 2 * 1000 <= self.end_ms


async def as_heard(events: AsyncGenerator[Told], place: Place) -> AsyncGenerator[tuple[Delta | Event, Place]]:
    """Every word behind `place`, then the end; each with the place that it leaves the client at."""
    first = place.end_ms == 0 and place.words == 0
    async for event, cursor in events:
        if event.segment is not None:
            broken_off = place  # what an attempt before this one had told, for all words of the segment
            for number, delta in enumerate(deltas(event.segment), start=1):
                if broken_off.has_told(event, number, delta):
                    continue
                place = Place(place.cursor, event.fence or 0, event.n or 0, number, round(delta.end * 1000))
                text = delta.text if first or number > 1 else f" {delta.text}"
                first = False
                yield delta.model_copy(update={"text": text}), place
        if cursor is not None:
            place = replace(place, cursor=cursor)
        if event.terminal:
            yield event, place


def deltas(segment: Segment) -> Iterator[Delta]:
    """A segment's text, cut behind each of its words; whole where there are none, or where they are not the text's."""
    text, at = segment.text.strip(), 0
    ends: list[int] = []
    for word in segment.words:
        found = text.find(word.text.strip(), at)
        if found < 0:
            ends = []
            break
        at = found + len(word.text.strip())
        ends.append(at)
    if not ends:
        if text:
            yield Delta(text=text, start=segment.start, end=segment.end)
        return
    ends[-1] = len(text)
    for word, begin, end in zip(segment.words, [0, *ends], ends, strict=False):
        yield Delta(text=text[begin:end], start=word.start, end=word.end)


def why_ended(event: Event) -> tuple[str, str]:
    """Of a job that ended without a transcript: a public code, and what to do."""
    said = event.error or {"code": str(event.status), "message": event.message or f"the job was {event.status}"}
    return said["code"], said["message"]
