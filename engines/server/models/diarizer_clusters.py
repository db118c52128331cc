"""Voices → speakers: how many there are, and which of them is heard at a time."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from domain.transcript import Segment, Span
from engines.contract import SAMPLE_RATE_HZ
from engines.server.models.diarizer_voices import FRAME_SAMPLES, WINDOW_FRAMES, Array, Seconds, Voices
from engines.server.models.speakers import SaidBy

APART = 0.38
"""Mean cosine distance from which two groups of windows are two speakers. On 24 dialogues put together from other
people than those of `bench.diarize` (its --choose) the number of speakers was right in 20, and the mean error 0.033; at
0.34 in 17 (six times too many), and 0.049; at 0.42 in 21 (three times too few), and 0.050. All was as good at 0.40,
where the two artificial voices of samples/ are one."""

LEAST_WINDOWS = 3
"""A group of fewer windows is a cough or a moment when two speak at once, and no speaker: 1.6 s and two steps."""

CLEAR = 0.855
"""Mean cosine between windows and their speakers, below which voices are mixed or their number is wrong. The meetings
of ../shared/data have 0.81 to 0.85; 23 of the 24 dialogues and all else there 0.86 to 0.93, and the one dialogue that
has less is one of five people who were taken for three. Three meetings are few: no more than a warning hangs on it."""

MOST_WINDOWS = 4_000
"""Windows that are compared with one another (64 MB); of a recording with more, as many, evenly drawn."""

_MOMENT_SECONDS = 0.1

_SHARPNESS = 0.2
"""How much the middle of a window counts more than its edges: the standard deviation, in lengths of the window."""

_MOMENTS_AT_ONCE = 1_000
"""That are compared with the windows near them: a matrix of 2 MB, however long the span."""

_NEAR_SECONDS = WINDOW_FRAMES * FRAME_SAMPLES / SAMPLE_RATE_HZ
"""The length of the longest window. One that ends so far from a moment counts 6e-13 there, or less: nothing."""

Labels = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Speakers:
    voices: Voices
    likeness: Array
    """(windows, speakers): how much each window sounds like each speaker."""

    @classmethod
    def among(
        cls,
        voices: Voices,
        *,
        exactly: int | None = None,
        least: int | None = None,
        most: int | None = None,
        apart: float = APART,
    ) -> Self:
        """Find them, within what is known of their number. There is at least one window."""
        count = len(voices.vectors)
        drawn = voices.vectors[np.linspace(0, count - 1, min(count, MOST_WINDOWS)).astype(int)]
        groups = _groups(drawn, exactly or least or 1, exactly or most or count, apart)
        means = np.stack([group.mean(axis=0) for group in groups])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return cls(voices, voices.vectors @ means.T)

    @property
    def are_clear(self) -> bool:
        return float(self.likeness.max(axis=1).mean()) >= CLEAR

    def label(self, segment: Segment) -> SaidBy:
        return SaidBy(str(self._at(segment)), tuple(str(self._at(word)) for word in segment.words))

    def _at(self, span: Span) -> int:
        """Who is heard in `span`: by the windows over it, or by the nearest one where nobody seemed to speak."""
        starts, ends = self.voices.starts, self.voices.ends
        first = int(np.searchsorted(ends, span.start, "right"))
        last = int(np.searchsorted(starts, span.end, "left"))
        if first >= last:
            before = span.start - ends[first - 1] if first > 0 else np.inf
            after = starts[first] - span.end if first < len(starts) else np.inf
            return int(self.likeness[first - 1 if before <= after else first].argmax())
        moments = np.linspace(span.start, span.end, 2 + int((span.end - span.start) / _MOMENT_SECONDS))
        heard = np.zeros(self.likeness.shape[1])
        for block in np.array_split(moments, 1 + moments.size // _MOMENTS_AT_ONCE):
            near = np.searchsorted(ends, block[0] - _NEAR_SECONDS), np.searchsorted(starts, block[-1] + _NEAR_SECONDS)
            heard += self._heard_at(block, slice(max(first, int(near[0])), min(last, int(near[1]))))
        return int(heard.argmax())

    def _heard_at(self, moments: Seconds, over: slice) -> Seconds:
        """How much of each speaker, by the windows `over`: (speakers,)."""
        starts, ends = self.voices.starts[over], self.voices.ends[over]
        distances = (moments[:, None] - (starts + ends) / 2) / (_SHARPNESS * (ends - starts))
        weights: Seconds = np.exp(-(distances**2) / 2).sum(axis=0)
        return weights @ self.likeness[over]


def _groups(vectors: Array, least: int, most: int, apart: float) -> list[Array]:
    """The vectors of each speaker. As many as `least` to `most`, if there are windows enough."""
    from scipy.cluster.hierarchy import fcluster, linkage  # slow to import, and only needed in a child

    if len(vectors) == 1:
        return [vectors]
    tree = linkage(vectors, "average", metric="cosine")
    found = _split(vectors, fcluster(tree, apart, "distance"))
    sure = [group for group in found if len(group) >= LEAST_WINDOWS] or found[:1]
    wanted = min(max(len(sure), least), most)
    if wanted == len(sure):
        return sure
    # The tree cut into `wanted` may give a cough a group of its own: cut on, until there are so many that speak.
    for pieces in range(wanted, len(vectors) + 1):
        found = _split(vectors, fcluster(tree, pieces, "maxclust"))
        if len(found) >= wanted and len(found[wanted - 1]) >= LEAST_WINDOWS:
            return found[:wanted]
    return _split(vectors, fcluster(tree, wanted, "maxclust"))


def _split(vectors: Array, labels: Labels) -> list[Array]:
    """The largest group first."""
    groups = [vectors[labels == label] for label in np.unique(labels)]
    return sorted(groups, key=len, reverse=True)
