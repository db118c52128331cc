"""Who says which words → segments of one speaker each, whoever told the speakers apart. Pure: no model is needed here.

Nothing is lost or changed but who speaks: a segment in which the speaker changes is cut between two words, and only
there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from domain.transcript import Segment, Word

MIN_TURN_SECONDS = 0.5
"""Words of another speaker within a segment, for a shorter time than this, are a slip of the diarizer: people cannot
take turns so fast, and a cut by every word breaks more than it mends."""


@dataclass(frozen=True, slots=True)
class SaidBy:
    """A diarizer's labels for one segment: who says most of it, and each of its words. None: it hears nobody there."""

    most: str | None
    words: tuple[str | None, ...] = ()


def tell_apart(segments: Iterable[Segment], said_by: Iterable[SaidBy]) -> Iterator[Segment]:
    """The same text with its speakers: tags count from 0 in the order in which they first speak.

    Args:
        segments: in time order, with words where their engine has them; tags that they have are not kept.
        said_by: one for each segment, with one label for each of its words.
    """
    tags: dict[str, int] = {}
    for segment, labels in zip(segments, said_by, strict=True):
        for part, speaker in _parts(segment, labels):
            tag = None if speaker is None else tags.setdefault(speaker, len(tags))
            words = tuple(word.model_copy(update={"speaker_tag": tag}) for word in part.words)
            yield part.model_copy(update={"speaker_tag": tag, "words": words})


def _parts(segment: Segment, labels: SaidBy) -> Iterator[tuple[Segment, str | None]]:
    """The segment cut where its speaker changes, with who speaks."""
    turns = _turns(segment.words, labels)
    if len(turns) < 2:
        yield segment, turns[0].speaker if turns else labels.most
        return
    texts = _text_cuts(segment.text, segment.words, [turn.first for turn in turns])
    if texts is None:
        yield segment, max(turns, key=lambda turn: _seconds(segment.words, turn)).speaker
        return
    # A part ends with its last word, and begins with its first; only the outer edges are the segment's own.
    ends = [*(segment.words[turn.first].start for turn in turns[1:]), segment.end]
    for number, (turn, text, latest) in enumerate(zip(turns, texts, ends, strict=True)):
        # Two who speak at once are told apart by the moment at which the second begins: segments never overlap.
        words = [_ended_by(word, latest) for word in segment.words[turn.first : turn.last]]
        start = segment.start if number == 0 else words[0].start
        end = segment.end if number == len(turns) - 1 else max(word.end for word in words)
        yield segment.model_copy(update={"start": start, "end": end, "text": text, "words": tuple(words)}), turn.speaker


def _ended_by(word: Word, latest: float) -> Word:
    return word if word.end <= latest else word.model_copy(update={"end": max(word.start, latest)})


@dataclass(frozen=True, slots=True)
class _Turn:
    speaker: str | None
    first: int
    last: int
    """The word behind the turn."""


def _turns(words: Sequence[Word], labels: SaidBy) -> list[_Turn]:
    """Who says which words, without turns too short to be any."""
    speakers = _fill(labels.words, labels.most)
    turns = _runs(speakers)
    while len(turns) > 1:
        shortest = min(range(len(turns)), key=lambda at: _seconds(words, turns[at]))
        if _seconds(words, turns[shortest]) >= MIN_TURN_SECONDS:
            break
        beside = [at for at in (shortest - 1, shortest + 1) if 0 <= at < len(turns)]
        heir = max(beside, key=lambda at: _seconds(words, turns[at]))
        for at in range(turns[shortest].first, turns[shortest].last):
            speakers[at] = turns[heir].speaker
        turns = _runs(speakers)
    return turns


def _fill(speakers: Iterable[str | None], otherwise: str | None) -> list[str | None]:
    """A word in a pause between turns belongs to who spoke before, the first ones to who speaks next."""
    known = list(speakers)
    last = next((speaker for speaker in known if speaker is not None), otherwise)
    filled = []
    for speaker in known:
        last = speaker if speaker is not None else last
        filled.append(last)
    return filled


def _runs(speakers: Sequence[str | None]) -> list[_Turn]:
    turns = []
    first = 0
    for speaker, run in groupby(speakers):
        last = first + len(list(run))
        turns.append(_Turn(speaker, first, last))
        first = last
    return turns


def _seconds(words: Sequence[Word], turn: _Turn) -> float:
    return words[turn.last - 1].end - words[turn.first].start


def _text_cuts(text: str, words: Sequence[Word], firsts: Sequence[int]) -> list[str] | None:
    """`text` cut before the words `firsts`, so that spaces stay where the language has them.

    None where that cannot be told, as the words are not those of the text: some engines write "ten" as 10 there only.
    """
    begins = []
    position = 0
    for word in words:
        begin = text.find(word.text, position)
        if begin < 0:
            return None
        begins.append(begin)
        position = begin + len(word.text)
    edges = [0, *(begins[first] for first in firsts[1:]), len(text)]
    cuts = [text[begin:end].strip() for begin, end in pairwise(edges)]
    return cuts if all(cuts) else None
