"""What ffmpeg says about a recording while it decodes it, read from the few lines that have been stable for years.

All of it comes from a stranger's file and may be forged by its metadata. So nothing here widens a limit: a forged line
can only make us stricter with the forger, or change the wording of an error.
"""

import re
from dataclasses import dataclass, field

_AUDIO = re.compile(r"^  Stream #0:(\d+).*?: Audio: (\w+)(.*)$")
_VIDEO = re.compile(r"^  Stream #0:\d+.*?: Video: (\w+)(?!.*\(attached pic\))(.*)$")
_SIZE = re.compile(r", (\d{1,6})x(\d{1,6})(?: \[SAR (\d{1,6}):(\d{1,6}) )?")
_TURNED = re.compile(r"^\s+(?:Display Matrix|displaymatrix): rotation of -?(?:90|270)\.00 degrees")
_FORMAT = re.compile(r", (\d+) Hz, ([^,]+)")
_MAPPED = re.compile(r"^  Stream #0:(\d+) -> #0:0 \(")
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+),")
_CUT = ("File ended prematurely", "corrupt input packet in stream", ": partial file")
_DAMAGED = ("Error submitting packet to decoder", "Decoding error:")

_LAYOUTS = {
    "mono": 1,
    "stereo": 2,
    "downmix": 2,
    "binaural": 2,
    "quad": 4,
    "quad(side)": 4,
    "hexagonal": 6,
    "octagonal": 8,
    "cube": 8,
    "hexadecagonal": 16,
}


@dataclass(frozen=True, slots=True)
class AudioStream:
    """`sample_rate_hz` and `channels` are 0 where ffmpeg does not know them, or we not the layout it names."""

    index: int
    codec: str
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class VideoStream:
    """Width and height are of square pixels, before any turn of the picture; 0 where ffmpeg does not know them."""

    codec: str
    width: int
    height: int


@dataclass(slots=True)
class FfmpegLog:
    started: bool = False
    """ffmpeg itself could be loaded; without its banner, whatever went wrong is not the recording's fault."""
    opened: bool = False
    """The container could be read."""
    streams: list[AudioStream] = field(default_factory=list)
    mapped: int | None = None
    """Index of the stream that is being decoded, once ffmpeg has chosen."""
    video: VideoStream | None = None
    """The first of the moving pictures; the cover of an album is none."""
    turned: bool = False
    """The picture was taken with the camera on its side, and is shown upright."""
    declared_seconds: float | None = None
    """What the container claims to hold; None where it claims nothing and ffmpeg guessed."""
    cut: bool = False
    damaged: bool = False
    _guessed: bool = False
    _output: bool = False

    def read(self, line: str) -> None:
        if self._output or line.startswith("Output #0"):
            self._output = True
        elif line.startswith("ffmpeg version "):
            self.started = True
        elif line.startswith("Input #0"):
            self.opened = True
        elif found := _AUDIO.match(line):
            self.streams.append(_audio_stream(found))
        elif found := _VIDEO.match(line):
            self.video = self.video or _video_stream(found)
        elif _TURNED.match(line):
            self.turned = True
        elif found := _MAPPED.match(line):
            self.mapped = int(found[1])
        elif (found := _DURATION.match(line)) and not self._guessed:
            self.declared_seconds = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
        self._guessed |= "Estimating duration from bitrate" in line
        self.cut |= any(sign in line for sign in _CUT)
        self.damaged |= any(sign in line for sign in _DAMAGED)

    @property
    def has_video(self) -> bool:
        return self.video is not None

    @property
    def used(self) -> list[AudioStream]:
        """The stream that is decoded, more than one where a forger wrote a second line; all where that is unclear."""
        return [stream for stream in self.streams if stream.index == self.mapped] or self.streams


def _audio_stream(found: re.Match[str]) -> AudioStream:
    form = _FORMAT.search(found[3])
    rate, channels = (int(form[1]), channels_of(form[2].strip())) if form else (0, 0)
    return AudioStream(int(found[1]), found[2], rate, channels)


def _video_stream(found: re.Match[str]) -> VideoStream:
    size = _SIZE.search(found[2])
    if size is None:
        return VideoStream(found[1], 0, 0)
    width, height, *sample = (int(group or 1) for group in size.groups())
    return VideoStream(found[1], round(width * sample[0] / max(1, sample[1])), height)


def channels_of(layout: str) -> int:
    """ "stereo" → 2, "5.1(side)" → 6, "9 channels (FL+…" → 9; 0 where the layout is unknown."""
    if layout in _LAYOUTS:
        return _LAYOUTS[layout]
    if counted := re.match(r"(\d+) channels", layout):
        return int(counted[1])
    if dotted := re.fullmatch(r"(\d+(?:\.\d+)+)(?:\(\w+\))?", layout):
        return sum(int(part) for part in dotted[1].split("."))
    return 0
