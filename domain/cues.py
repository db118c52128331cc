"""Segments → cues: what stands on the screen at once, cut and timed by a profile. Pure.

Cues come from word times where there are any, else a segment's time is shared out by characters. No text is lost,
added or moved; cues never overlap.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from domain.graphemes import clusters, columns, shorten
from domain.profiles import DEFAULT_PROFILE, Profile
from domain.transcript import Segment


@dataclass(frozen=True, slots=True)
class Cue:
    """Seconds, in whole milliseconds; `lines` without any markup, at least one; `speaker` is the name of the tag."""

    start: float
    end: float
    lines: tuple[str, ...]
    speaker_tag: int | None
    speaker: str | None


NO_NAMES: Mapping[int, str] = {}


def to_cues(
    segments: Iterable[Segment], profile: Profile = DEFAULT_PROFILE, names: Mapping[int, str] = NO_NAMES
) -> list[Cue]:
    """The cues of a transcript, in time order.

    `names` says what to call the speakers; one without a name is "Speaker 1" for tag 0. Segments that overlap take
    turns, cue by cue. Only a word wider than a line is ever broken.
    """
    heard = [segment for segment in segments if segment.text.strip()]
    prefixes = _prefixes(heard, profile, names)
    room = max((columns(prefix) for prefix in prefixes.values()), default=0)
    blocks = [block for segment in heard for block in _blocks(segment, profile, room)]
    blocks.sort(key=lambda block: block.tokens[0].start)
    return list(_cues(blocks, profile, prefixes, names))


# Speakers


def is_dialogue(segments: Iterable[Segment]) -> bool:
    """Does more than one known speaker speak?"""
    return len({segment.speaker_tag for segment in segments} - {None}) > 1


def speaker_name(tag: int | None, names: Mapping[int, str]) -> str | None:
    """What to call a speaker: their name on one line, else "Speaker 1" for tag 0."""
    return None if tag is None else " ".join(names.get(tag, "").split()) or f"Speaker {tag + 1}"


def _prefixes(segments: Sequence[Segment], profile: Profile, names: Mapping[int, str]) -> dict[int | None, str]:
    """What announces each speaker: at most half a line, so that there is room for words beside it."""
    if profile.speaker_style in ("none", "colour") or not is_dialogue(segments):
        return {}
    tags = {segment.speaker_tag for segment in segments} - {None}
    if profile.speaker_style == "dash":
        return dict.fromkeys(tags, "-")
    limit = profile.max_chars_per_line // 2
    return {tag: shorten(speaker_name(tag, names) or "", limit - 1) + ":" for tag in tags}


# Tokens: what must stay together, with the time in which it is said


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: float
    end: float
    spaced: bool
    """Does a space part it from the token before?"""
    width: int


_SPACES = re.compile(r"[^\S\u00a0\u2007\u202f]+")
"""White space that may become a line break: all but the no-break spaces, which French puts before "!" and "?"."""

_HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff]")
"""Korean has wide characters, but parts its words by spaces."""

# What no line may begin or end with in Chinese and Japanese: the core of JIS X 4051, classes CL, NS and OP of UAX 14.
_NEVER_FIRST = frozenset("、。，．・：；？！）」』】〉》〕］｝”’…‥ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ々ゝヽ")
_NEVER_LAST = frozenset("（「『【〈《〔［｛“‘")


def _may_part(left: str, right: str) -> bool:
    """Do Chinese and Japanese allow a new line between two neighbours within a run without spaces?"""
    if left in _NEVER_LAST or right in _NEVER_FIRST:
        return False
    return any(columns(sign[0]) == 2 and not _HANGUL.match(sign) for sign in (left, right))


def _pieces(word: str, limit: int) -> Iterator[str]:
    """`word` where it may be parted, and wherever it must be to fit `limit`."""
    piece, last = "", ""
    for sign in clusters(word):
        if piece and (_may_part(last, sign) or columns(piece) + columns(sign) > limit):
            yield piece
            piece = ""
        piece, last = piece + sign, sign
    yield piece


def _tokens(segment: Segment, limit: int) -> list[_Token]:
    words = [word for word in _SPACES.split(segment.text) if word]
    clock = _Clock(segment, words)
    tokens: list[_Token] = []
    position = 0
    for word in words:
        for nth, piece in enumerate(_pieces(word, limit)):
            start, end = clock.start(position), clock.end(position + len(piece))
            # Of no width at all (a lone joiner) would still cost the space beside it.
            tokens.append(_Token(piece, start, max(start, end), nth == 0, max(1, columns(piece))))
            position += len(piece)
    return tokens


class _Clock:
    """When each character of a segment's text is said; `position` counts characters without spaces.

    An engine's words need not be the words of its text: "25" may have been heard as "twenty five". Where they pair
    up, each word has its own time; else the text is spread over the words' times by its characters.
    """

    def __init__(self, segment: Segment, words: Sequence[str]) -> None:
        timed = [word for word in segment.words if word.text.strip()]
        total = sum(map(len, words))
        if len(timed) == len(words):
            lengths = [float(len(word)) for word in words]
        else:
            heard = sum(len(word.text.strip()) for word in timed)
            lengths = [len(word.text.strip()) * total / heard for word in timed]
        spans = [(word.start, word.end) for word in timed] or [(segment.start, segment.end)]
        self._edges = [0.0]
        self._spans: list[tuple[float, float]] = []
        latest = 0.0
        for length, (start, end) in zip(lengths or [float(total)], spans, strict=True):
            # Times never run backwards, whatever an aligner says.
            start = max(start, latest)
            latest = max(end, start)
            self._edges.append(self._edges[-1] + length)
            self._spans.append((start, latest))

    def start(self, position: float) -> float:
        return self._at(bisect_right(self._edges, position + 1e-6) - 1, position)

    def end(self, position: float) -> float:
        return self._at(bisect_left(self._edges, position - 1e-6) - 1, position)

    def _at(self, index: int, position: float) -> float:
        index = min(max(index, 0), len(self._spans) - 1)
        (start, end), left, right = self._spans[index], self._edges[index], self._edges[index + 1]
        share = min(max((position - left) / (right - left), 0.0), 1.0)
        return start + share * (end - start)


# Cuts: where a segment becomes cues, and a cue becomes lines

# Weights of our own, tuned by reading the results on dialogue and on read speech. Only their proportions matter.
_CUE_UNFILLED = 3.0  # squared: two half-empty cues cost 1.5 more than a full one
_CUE_PAUSE_PER_SECOND = 4.0
_PER_LINE = 1e6  # the fewest lines come first: NTTS, Line Treatment
_LINE_CUT = 60.0  # a cut in mid-clause may cost lines of 25 + 25 characters becoming 34 + 16, not more

_PAUSE_SECONDS = 0.5  # a silence that listeners hear as the end of a clause
_SHORT_WORD = 3  # articles and prepositions, in most languages; they belong to what follows

_SENTENCE_ENDS = tuple(".!?…。！？।؟")
_CLAUSE_ENDS = tuple(",;:—–،、，；：")
_CLOSING = "\"'”’»)]」』）"


@dataclass(frozen=True, slots=True)
class _Block:
    """The words of one cue, before it has its time and lines."""

    tokens: Sequence[_Token]
    speaker_tag: int | None


def _blocks(segment: Segment, profile: Profile, room: int) -> Iterator[_Block]:
    # A lone line has to hold the speaker's prefix as well.
    beside = room + 1 if room and profile.max_lines == 1 else 0
    tokens = _tokens(segment, profile.max_chars_per_line - beside)
    cuts = [_cut_cost(tokens, at) for at in range(len(tokens) + 1)]
    for first, last in _cheapest_cuts(len(tokens), lambda first: _cue_costs(tokens, cuts, first, profile, room)):
        yield _Block(tokens[first:last], segment.speaker_tag)


def _cheapest_cuts(count: int, costs: Callable[[int], Iterator[float]]) -> list[tuple[int, int]]:
    """Cut `count` things in a row into stretches (first, behind the last) of the least total cost.

    `costs(first)` yields the cost of the stretch of one, two, three … things from `first` on, and ends where a
    longer one is not allowed; it yields at least one.
    """
    best = [0.0] + [inf] * count
    came_from = [0] * (count + 1)
    for first in range(count):
        for behind, cost in enumerate(costs(first), start=first + 1):
            if best[first] + cost < best[behind]:
                best[behind], came_from[behind] = best[first] + cost, first
    cuts: list[tuple[int, int]] = []
    while count:
        cuts.append((came_from[count], count))
        count = came_from[count]
    return cuts[::-1]


def _cue_costs(
    tokens: Sequence[_Token], cuts: Sequence[float], first: int, profile: Profile, room: int
) -> Iterator[float]:
    capacity = profile.max_chars_per_line * profile.max_lines
    lines, line, width, pauses = 1, room, room, 0.0
    for at in range(first, len(tokens)):
        token = tokens[at]
        space = 1 if line and (token.spaced or at == first) else 0
        if line + space + token.width > profile.max_chars_per_line:
            lines, line, space = lines + 1, 0, 0
        line += space + token.width
        width += space + token.width
        span = token.end - tokens[first].start
        if at > first:
            pauses += max(0.0, token.start - tokens[at - 1].end - _PAUSE_SECONDS)
            if lines > profile.max_lines or span > profile.max_duration:
                return
        unfilled = 1 - width / capacity
        yield cuts[at + 1] + _CUE_UNFILLED * unfilled * unfilled + _CUE_PAUSE_PER_SECOND * pauses


def _cut_cost(tokens: Sequence[_Token], at: int) -> float:
    """How much a reader minds a cut before `tokens[at]`: 0 not at all, 5 most."""
    if at in (0, len(tokens)):
        return 0
    before, behind = tokens[at - 1], tokens[at]
    bare = before.text.rstrip(_CLOSING)
    if bare.endswith(_SENTENCE_ENDS):
        return 0
    if bare.endswith(_CLAUSE_ENDS) or behind.start - before.end >= _PAUSE_SECONDS:
        return 1
    return 5 if behind.spaced and before.width <= _SHORT_WORD else 4


def _lines(tokens: Sequence[_Token], limit: int) -> tuple[str, ...]:
    """As few lines as can be, as even as can be, cut where a reader minds least."""

    def costs(first: int) -> Iterator[float]:
        width = 0
        for at in range(first, len(tokens)):
            width += tokens[at].width + (at > first and tokens[at].spaced)
            if width > limit and at > first:
                return
            # The sum of squares is least where widths are equal.
            yield _PER_LINE + width * width + _LINE_CUT * _cut_cost(tokens, at + 1)

    return tuple(_joined(tokens[first:behind]) for first, behind in _cheapest_cuts(len(tokens), costs))


def _joined(tokens: Sequence[_Token]) -> str:
    return "".join(f" {token.text}" if token.spaced else token.text for token in tokens).lstrip(" ")


# Times and lines


def _cues(
    blocks: Sequence[_Block], profile: Profile, prefixes: Mapping[int | None, str], names: Mapping[int, str]
) -> Iterator[Cue]:
    shown = list(_announced(blocks, prefixes))
    for block, (start, end) in zip(shown, _times(shown, profile), strict=True):
        lines = _lines(block.tokens, profile.max_chars_per_line)
        yield Cue(start / 1000, end / 1000, lines, block.speaker_tag, speaker_name(block.speaker_tag, names))


def _announced(blocks: Sequence[_Block], prefixes: Mapping[int | None, str]) -> Iterator[_Block]:
    """The blocks, each with its speaker's prefix where another spoke before."""
    previous: int | None = None
    for block in blocks:
        first, tag = block.tokens[0], block.speaker_tag
        if tag != previous and tag in prefixes:
            prefix = _Token(prefixes[tag], first.start, first.start, False, columns(prefixes[tag]))
            block = replace(block, tokens=[prefix, replace(first, spaced=True), *block.tokens[1:]])
        previous = tag
        yield block


def _times(blocks: Sequence[_Block], profile: Profile) -> Iterator[tuple[int, int]]:
    """(start, end) of each cue in milliseconds: in order, never overlapping, never empty."""
    starts: list[int] = []
    for block in blocks:
        start = round(block.tokens[0].start * 1000)
        starts.append(max(start, starts[-1] + 1) if starts else start)
    longest = max(1, round(1000 * profile.max_duration))
    for block, start, behind in zip(blocks, starts, [*starts[1:], None], strict=False):
        spoken = max(round(block.tokens[-1].end * 1000), start + 1)
        reading = columns(_joined(block.tokens)) / profile.max_cps
        wanted = start + round(1000 * max(profile.min_duration, reading))
        end = max(spoken, min(wanted, spoken + round(1000 * profile.max_linger_seconds)))
        if behind is not None:
            # Between cues that begin almost at once, the words need the time more than the gap does.
            room = behind - start
            latest = behind - min(round(1000 * profile.min_gap_seconds), room // 2)
            flickers = behind - end < round(1000 * profile.close_gaps_below_seconds)
            end = latest if flickers else min(end, latest)
        yield start, min(end, start + longest)
