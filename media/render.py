"""A recording and its cues → MP4, by ffmpeg in the sandbox: as a track that players can turn off, or in the picture.

Sound without pictures gets a plain background. What comes out starts at once in a browser, as its index lies in front.
"""

import asyncio
import errno
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from config.render_settings import RenderSettings
from config.settings import MediaSettings
from domain.cues import Cue
from domain.errors import BadMedia, MediaOutOfLimits, NoAudio, Unavailable
from domain.profiles import DEFAULT_PROFILE, Profile
from domain.subtitles import WORD_JOINER, Look, write_ass, write_srt
from domain.videos import Rendered
from media import ffmpeg, fonts, sandbox
from media.decode import AUDIO_CODECS, MOST_STREAMS
from media.ffmpeg_log import FfmpegLog
from media.languages import three_letters
from media.probe import Container, identify

logger = logging.getLogger(__name__)

VIDEO_CODECS = (
    "av1,dnxhd,h263,h263i,h263p,h264,hevc,libdav1d,mjpeg,mpeg1video,mpeg2video,mpeg4,msmpeg4,msmpeg4v1,msmpeg4v2,"
    "msmpeg4v3,prores,theora,vc1,vp8,vp9,wmv1,wmv2,wmv3"
)
"""The only decoders of pictures that may run, as `AUDIO_CODECS` for sound."""

_KEPT_VIDEO = frozenset({"h264", "hevc", "av1", "vp9"})
_KEPT_AUDIO = frozenset({"aac", "mp3"})
"""What browsers play out of an MP4 is copied, where nothing is drawn into it."""

MOST_PIXELS = 4096 * 2304
"""Of a picture; cinema cameras have 4096 × 2160."""
_LONG_SIDE, _SHORT_SIDE = 1920, 1080
"""Larger pictures are made smaller when they are drawn upon: four times the pixels cost four times the work."""
_BACKGROUND = (1280, 720)
_BACKGROUND_COLOUR = "0x14181f"  # nearly black, so that white letters and their black edge both show
_BACKGROUND_RATE = 25  # a cue is at most half of a fortieth of a second off

_TICK_SECONDS = 0.5
_MISSING_GLYPH = "failed to find any fallback with glyph 0x"
_NO_FONT = _MISSING_GLYPH + "0 "
_LACKS = ("No such filter: 'ass'", "Unknown encoder 'libx264'")
_EXHAUSTED = ("x264 [error]: malloc", "Error while opening encoder", "Cannot allocate memory")

OnProgress = Callable[[float, float], None]
"""Told about twice a second: seconds of video made, and the share (0 to 1) of the whole; neither falls."""


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """What one video may cost."""

    max_seconds: int
    memory_bytes: int
    max_video_bytes: int

    @classmethod
    def of(cls, media: MediaSettings, rendering: RenderSettings) -> "RenderLimits":
        return cls(media.max_duration_seconds, rendering.memory_bytes, rendering.max_video_bytes)

    def cpu_seconds(self, seconds: float) -> int:
        """For a film of `seconds`: a second of 1080p at 30 frames took 0.7 seconds of a core of 2023, one of 2160p at
        60 frames 2.2 (measured).
        """
        return 120 + 12 * round(min(seconds, self.max_seconds))


@dataclass(frozen=True, slots=True)
class Captions:
    """What is shown: `seconds` is the length of the sound as `decode` counted it, `language` a BCP 47 tag."""

    cues: Sequence[Cue]
    seconds: float
    language: str | None = None
    profile: Profile = DEFAULT_PROFILE


async def mux(
    source: Path, target: Path, captions: Captions, limits: RenderLimits, *, on_progress: OnProgress | None = None
) -> Rendered:
    """Write `source` into a new MP4 `target` with a subtitle track; sound and pictures stay as they are if they can.

    `target` must not exist, and is gone again where this raises or is cancelled.

    Raises:
        EmptyMedia, UnsupportedMedia, NoAudio, BadMedia: as `decode`.
        MediaOutOfLimits: the picture or the video is too large, or takes more work than is allowed.
        Unavailable: the disk is full, or this ffmpeg cannot do it.
    """
    job = await _look_at(source, captions, limits)
    with _shared_memory(write_srt([_unmarked(cue) for cue in captions.cues])) as cues:
        grants = sandbox.Grants(descriptors=(cues,), reopen_output=True)
        return await _render(job, job.muxing(cues), grants, target, on_progress)


async def burn(
    source: Path,
    target: Path,
    captions: Captions,
    limits: RenderLimits,
    *,
    fonts_dir: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Rendered:
    """As `mux`, but draw the cues into the pictures, which are encoded anew, at most 1920 × 1080.

    A script for which there is no font is a notice in the answer; without any font at all, this raises Unavailable.
    """
    job = await _look_at(source, captions, limits)
    width, height = job.picture
    ass = write_ass(captions.cues, Look(width, height, profile=captions.profile))
    places = fonts.folders(fonts_dir)
    with _shared_memory(ass) as cues, TemporaryDirectory(dir=target.parent) as folder:
        configuration = Path(folder) / "fonts.conf"
        configuration.write_text(fonts.configuration(places, captions.language))
        grants = sandbox.Grants(
            descriptors=(cues,),
            folders=(*places, Path(folder)),
            environment={"FONTCONFIG_FILE": str(configuration)},
            reopen_output=True,
        )
        return await _render(job, job.burning(cues), grants, target, on_progress)


@dataclass(frozen=True, slots=True)
class _Job:
    source: Path
    container: Container
    log: FfmpegLog
    captions: Captions
    limits: RenderLimits

    @property
    def picture(self) -> tuple[int, int]:
        """Width and height of what is made: even, as the coding of colours needs."""
        video = self.log.video
        if video is None or not video.width or not video.height:
            return _BACKGROUND
        sides = (video.height, video.width) if self.log.turned else (video.width, video.height)
        shrink = min(1.0, _LONG_SIDE / max(sides), _SHORT_SIDE / min(sides))
        width, height = (max(32, 2 * round(side * shrink / 2)) for side in sides)
        return width, height

    @property
    def seconds(self) -> float:
        """How long the video will be: pictures may outlast the sound, as far as what is declared can be believed."""
        return max(self.captions.seconds, (self.log.declared_seconds or 0) if self.log.has_video else 0)

    def muxing(self, cues: int) -> list[str]:
        video, has_cues = self.log.video, bool(self.captions.cues)
        kept_sound = {stream.codec for stream in self.log.streams} <= _KEPT_AUDIO
        language = three_letters(self.captions.language)
        pictures = ["-c:v", "copy"] if video is not None and video.codec in _KEPT_VIDEO else _ENCODED
        return [
            *_input(self.container, pictures=self.log.has_video),
            *(("-protocol_whitelist", "fd", "-f", "srt", "-fd", str(cues), "-i", "fd:") if has_cues else ()),
            *(() if self.log.has_video else self._background()),
            *pictures,
            *(("-tag:v", "hvc1") if video is not None and video.codec == "hevc" else ()),
            *(("-c:a", "copy") if kept_sound else _ENCODED_SOUND),
            *(
                ("-c:s", "mov_text", "-metadata:s:s:0", f"language={language}", "-disposition:s:0", "default")
                if has_cues
                else ()
            ),
        ]

    def burning(self, cues: int) -> list[str]:
        width, height = self.picture
        return [
            *_input(self.container, pictures=self.log.has_video),
            *(() if self.log.has_video else self._background()),
            *("-vf", f"scale={width}:{height},setsar=1,format=yuv420p,ass=filename=/proc/self/fd/{cues}"),
            *_ENCODED,
            *_ENCODED_SOUND,
        ]

    def _background(self) -> list[str]:
        width, height = self.picture
        graph = f"color=c={_BACKGROUND_COLOUR}:s={width}x{height}:r={_BACKGROUND_RATE}:d={self.captions.seconds:.3f}"
        return ["-f", "lavfi", "-i", graph]


_ENCODED = [
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "21", "-pix_fmt", "yuv420p"),
    *("-threads:v", "2", "-fpsmax", "60"),
]
_ENCODED_SOUND = ["-c:a", "aac", "-b:a", "128k", "-ac", "2", "-ar", "48000"]


def _input(container: Container, *, pictures: bool) -> list[str]:
    """As `decode` reads a stranger's file, but with the decoders of pictures where there are any."""
    codecs = f"{AUDIO_CODECS},{VIDEO_CODECS}" if pictures else AUDIO_CODECS
    return [
        *("-protocol_whitelist", "fd", "-format_whitelist", container.demuxer, "-f", container.demuxer),
        *("-codec_whitelist", codecs, "-max_streams", str(MOST_STREAMS), "-max_pixels", str(MOST_PIXELS)),
        *("-threads", "2", *(() if pictures else ("-vn",)), "-sn", "-dn", "-i", "fd:"),
    ]


def _output(limits: RenderLimits) -> list[str]:
    """By the name of the file that is standard output, as the index is moved to the front by reading it again."""
    return [
        *("-map_metadata", "-1", "-map_chapters", "-1", "-t", str(limits.max_seconds), "-movflags", "+faststart"),
        *("-f", "mp4", "-y", "file:/proc/self/fd/1"),
    ]


def _unmarked(cue: Cue) -> Cue:
    """ffmpeg takes `<i>`, `{\\pos}` and `\\N` in SubRip for commands; behind something invisible they are text."""
    marks = {ord(mark): mark + WORD_JOINER for mark in "<{\\"}
    return replace(cue, lines=tuple(line.translate(marks) for line in cue.lines))


@contextmanager
def _shared_memory(text: str) -> Iterator[int]:
    """The descriptor of a file without a name, which needs no right to be opened again."""
    opened = os.memfd_create("cues")
    try:
        with open(opened, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        os.lseek(opened, 0, os.SEEK_SET)
        yield opened
    finally:
        os.close(opened)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    opened = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    try:
        yield opened
    finally:
        os.close(opened)


async def _look_at(source: Path, captions: Captions, limits: RenderLimits) -> _Job:
    """What is in the file, by its headers alone."""
    container = await asyncio.to_thread(identify, source)
    log = FfmpegLog()
    command = [await asyncio.to_thread(ffmpeg.executable), *_QUIETLY, *_input(container, pictures=True)]
    bounds = sandbox.Limits(limits.memory_bytes, limits.cpu_seconds(0), 0)
    with _opened(source, os.O_RDONLY) as opened, _opened(Path(os.devnull), os.O_WRONLY) as null:
        async with sandbox.confined(command, stdin=opened, stdout=null, limits=bounds) as process:
            async for line in sandbox.lines(process):
                log.read(line)
    if not log.started:
        raise _not_started()
    if not log.streams and not log.has_video:
        raise NoAudio("there is no sound in this file") if log.opened else _unreadable()
    if log.video is not None and log.video.width * log.video.height > MOST_PIXELS:
        raise MediaOutOfLimits(f"the picture has more than {MOST_PIXELS:,} pixels; make it smaller")
    return _Job(source, container, log, captions, limits)


_QUIETLY = ("-nostdin", "-loglevel", "info", "-progress", "pipe:2", "-nostats", "-stats_period", str(_TICK_SECONDS))


async def _render(
    job: _Job, arguments: list[str], grants: sandbox.Grants, target: Path, on_progress: OnProgress | None
) -> Rendered:
    run, cpu = _Run(job.seconds, on_progress), job.limits.cpu_seconds(job.seconds)
    bounds = sandbox.Limits(job.limits.memory_bytes, cpu, job.limits.max_video_bytes)
    command = [ffmpeg.executable(), *_QUIETLY, "-filter_threads", "1", *arguments, *_output(job.limits)]
    with (
        _opened(job.source, os.O_RDONLY) as opened,
        _opened(target, os.O_RDWR | os.O_CREAT | os.O_EXCL) as written,
    ):
        try:
            async with (
                asyncio.timeout(2 * cpu),
                sandbox.confined(command, stdin=opened, stdout=written, limits=bounds, grants=grants) as process,
            ):
                async for line in sandbox.lines(process):
                    run.read(line)
                    if run.fontless:
                        raise _no_font()
                status = await process.wait()
            _accept(run, status, job.limits)
        except BaseException as error:
            target.unlink()
            if isinstance(error, TimeoutError):
                raise _too_much_work() from error
            raise
    width, height = job.picture
    return Rendered(run.seconds, width, height, fonts.missing(run.missing))


class _Run:
    """What ffmpeg says while it renders."""

    def __init__(self, total: float, on_progress: OnProgress | None) -> None:
        self._total, self._on_progress = total, on_progress
        self.started = False
        self.lacks = False
        self.exhausted = False
        self.fontless = False
        """Not one letter could be drawn."""
        self.seconds = 0.0
        self.missing: set[str] = set()

    def read(self, line: str) -> None:
        if line.startswith("out_time_us="):
            told = line.removeprefix("out_time_us=")
            self.seconds = max(self.seconds, int(told) / 1_000_000 if told.isdecimal() else 0.0)
        elif line.startswith("progress="):
            if self._on_progress is not None:
                self._on_progress(self.seconds, min(1.0, self.seconds / self._total) if self._total else 1.0)
        elif _NO_FONT in line:
            self.fontless = True
        elif _MISSING_GLYPH in line:
            self.missing.add(chr(int(line.partition(_MISSING_GLYPH)[2].partition(" ")[0], 16)))
        self.started |= line.startswith("ffmpeg version ")
        self.lacks |= any(sign in line for sign in _LACKS)
        self.exhausted |= any(sign in line for sign in _EXHAUSTED)


def _accept(run: _Run, status: int, limits: RenderLimits) -> None:
    if not run.started:
        raise _not_started()
    if run.lacks:
        raise Unavailable("this ffmpeg has no libass or no libx264; unset IMAGEIO_FFMPEG_EXE to use ours")
    if status == -signal.SIGXFSZ:
        raise MediaOutOfLimits(f"the video would be over the limit of {limits.max_video_bytes:,} bytes")
    # Where memory is short, threads cannot be started either.
    exhausted = (-signal.SIGKILL, -signal.SIGXCPU, ffmpeg.exit_status(errno.ENOMEM), ffmpeg.exit_status(errno.EAGAIN))
    if status in exhausted or (status and run.exhausted):
        raise _too_much_work()
    if status in (ffmpeg.exit_status(errno.ENOSPC), ffmpeg.exit_status(errno.EDQUOT)):
        raise Unavailable("the disk for recordings that are being worked on is full; try again later")
    if status != 0:
        raise _unreadable()


def _not_started() -> Unavailable:
    logger.error("ffmpeg could not be started in the sandbox")
    return Unavailable("the renderer could not be started on this worker; its operator finds more in the log")


def _no_font() -> Unavailable:
    return Unavailable(
        "there is no font on this worker, so no subtitle can be drawn; its operator installs fonts-noto-core and "
        "fonts-noto-cjk, or sets SUBTITLE_FONTS_DIR"
    )


def _unreadable() -> BadMedia:
    return BadMedia("the recording is damaged and no video can be made of it; export it again, as MP4 or WAV")


def _too_much_work() -> MediaOutOfLimits:
    return MediaOutOfLimits("this video takes more time or memory than is allowed; make its picture smaller")
