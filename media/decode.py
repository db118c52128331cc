"""Any recording → WAV, 16 kHz, mono, signed 16-bit, streamed to disk by ffmpeg in a sandbox."""

import asyncio
import errno
import logging
import os
import signal
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.settings import MediaSettings
from domain.errors import (
    BadMedia,
    EmptyMedia,
    MediaOutOfLimits,
    MediaTooLong,
    NoAudio,
    Unavailable,
    UnsupportedMedia,
)
from domain.transcript import Notice
from media import ffmpeg, sandbox
from media.ffmpeg_log import AudioStream, FfmpegLog
from media.probe import OGG, Container, identify, ogg_is_cut

logger = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 16_000
SAMPLE_BYTES = 2
HEADER_BYTES = 44

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4_000, 192_000
MOST_CHANNELS = 8
MOST_STREAMS = 128
"""A film has some dozens of sound and subtitle tracks; a million tiny ones are an attack."""

AUDIO_CODECS = (
    "aac,aac_latm,ac3,alac,amr_nb,amrnb,amr_wb,amrwb,dca,dts,eac3,flac,gsm,gsm_ms,g723_1,mp1,mp1float,mp2,mp2float,"
    "mp3,mp3float,opus,speex,truespeech,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice,"
    "adpcm_g722,g722,adpcm_g726,g726,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_s8,pcm_u8,"
    "pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le"
)
"""The only decoders that may run: codec names, and ffmpeg's names of the decoders where those differ."""

OnProgress = Callable[[float, float], None]
"""Told about twice a second: seconds of sound written, and the share (0 to 1) of the source read; neither falls."""

_TICK_SECONDS = 0.5
_MISSING_SECONDS, _MISSING_SHARE = 0.5, 0.001
"""How far what is declared and what is there may differ in honest files: encoder padding, rounded rates."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one recording may cost. A WAV header counts to 4 GiB, which is 37 hours."""

    max_seconds: int
    memory_bytes: int

    @classmethod
    def of(cls, settings: MediaSettings) -> "DecodeLimits":
        return cls(max_seconds=settings.max_duration_seconds, memory_bytes=settings.decode_memory_bytes)

    @property
    def max_samples(self) -> int:
        return self.max_seconds * SAMPLE_RATE_HZ

    @property
    def cpu_seconds(self) -> int:
        """A sixtieth of the recording: Opus at 32 kbit/s takes a six-hundredth of it on a core of 2023 (measured)."""
        return 30 + self.max_seconds // 60

    @property
    def wall_seconds(self) -> float:
        return 4 * self.cpu_seconds

    @property
    def sandbox(self) -> sandbox.Limits:
        """One second more than allowed may be written, which tells too long from just long enough."""
        file_bytes = HEADER_BYTES + (self.max_samples + SAMPLE_RATE_HZ) * SAMPLE_BYTES
        return sandbox.Limits(self.memory_bytes, self.cpu_seconds, file_bytes)


@dataclass(frozen=True, slots=True)
class Decoded:
    """`seconds` are counted from the samples written; rate and channels are those of the source.

    `content_type` is what the file may be served as. `notices` may hold `audio_truncated` and `audio_damaged`.
    """

    seconds: float
    content_type: str
    codec: str
    sample_rate_hz: int
    channels: int
    notices: tuple[Notice, ...] = ()

    @property
    def truncated(self) -> bool:
        return any(notice.code == "audio_truncated" for notice in self.notices)


async def decode(
    source: Path,
    target: Path,
    limits: DecodeLimits,
    *,
    channel: int | None = None,
    on_progress: OnProgress | None = None,
) -> Decoded:
    """Decode the sound of `source` into a new file `target`, which is gone again where this raises or is cancelled.

    Args:
        source: any file, in a folder that only we can enter. Its name means nothing.
        target: must not exist; WAV, 16 kHz, mono, signed 16-bit, with at least one sample.
        channel: take this one alone, from 0, of a recording that has it; all of them mixed where None.

    Raises:
        EmptyMedia: no bytes, or a header without sound.
        UnsupportedMedia: not a container or coding that is read here.
        NoAudio: a film without sound.
        MediaTooLong: more than `limits.max_seconds` of sound, whatever the file declares.
        MediaOutOfLimits: an odd sample rate, too many channels, or more work than any honest recording makes.
        BadMedia: looks like a recording, but cannot be decoded.
        Unavailable: the disk is full, or ffmpeg cannot be started.
    """
    container = await asyncio.to_thread(identify, source)
    written = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        async with asyncio.timeout(limits.wall_seconds):
            log, status = await _run(ffmpeg_arguments(container, channel), source, written, limits, on_progress)
        samples = _samples(written)
        stream = _accept(log, status, samples, limits)
        os.pwrite(written, _wav_header(samples), 0)
    except BaseException as error:
        target.unlink()
        if isinstance(error, TimeoutError):
            raise _too_much_work() from error
        raise
    finally:
        os.close(written)
    cut = log.cut or (container is OGG and await asyncio.to_thread(ogg_is_cut, source))
    seconds = samples / SAMPLE_RATE_HZ
    return Decoded(
        seconds=seconds,
        content_type=container.video_type if log.has_video else container.audio_type,
        codec=stream.codec,
        sample_rate_hz=stream.sample_rate_hz,
        channels=stream.channels,
        notices=_notices(log, seconds, cut=cut),
    )


def ffmpeg_arguments(container: Container, channel: int | None = None) -> list[str]:
    """Standard input → samples without a header on standard output.

    `fd` is the one protocol that ffmpeg may use, and only for what is already open: no file, no address. The number of
    samples is capped by the size of the output file and not by `-t`, which counts time stamps: a recording with a gap
    in them would lose its end.
    """
    return [
        *("-nostdin", "-loglevel", "info", "-progress", "pipe:2", "-nostats"),
        *("-stats_period", str(_TICK_SECONDS), "-filter_threads", "1"),
        *("-protocol_whitelist", "fd", "-format_whitelist", container.demuxer, "-f", container.demuxer),
        *("-codec_whitelist", AUDIO_CODECS, "-max_streams", str(MOST_STREAMS), "-threads", "2"),
        *("-i", "fd:", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
        *(("-ac", "1") if channel is None else ("-af", f"pan=mono|c0=c{channel}")),
        *("-ar", str(SAMPLE_RATE_HZ), "-f", "s16le", "-flush_packets", "0", "pipe:1"),
    ]


async def _run(
    arguments: list[str], source: Path, written: int, limits: DecodeLimits, on_progress: OnProgress | None
) -> tuple[FfmpegLog, int]:
    """Let ffmpeg fill `written` behind the place of the header; answers what it said and its exit status."""
    log, share = FfmpegLog(), 0.0
    os.lseek(written, HEADER_BYTES, os.SEEK_SET)
    os.truncate(written, HEADER_BYTES)
    command = [await asyncio.to_thread(ffmpeg.executable), *arguments]
    opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        async with sandbox.confined(command, stdin=opened, stdout=written, limits=limits.sandbox) as process:
            async for line in sandbox.lines(process):
                log.read(line)
                if log.mapped is not None and _refusal(log.used) is not None:
                    break  # which kills ffmpeg before a rate of 1 Hz becomes gigabytes
                if on_progress is not None and line.startswith("progress="):
                    share = max(share, _share_read(opened))
                    on_progress(_samples(written) / SAMPLE_RATE_HZ, share)
            else:
                await process.wait()
    finally:
        os.close(opened)
    assert process.returncode is not None
    return log, process.returncode


def _accept(log: FfmpegLog, status: int, samples: int, limits: DecodeLimits) -> AudioStream:
    """The stream that was decoded, where all went well.

    The order matters: what a file asks for comes before how its decoder ended, as we may have ended it ourselves.
    """
    if not log.started:
        logger.error("ffmpeg could not be started in the sandbox: exit status %d", status)
        raise Unavailable("the decoder could not be started on this worker; its operator finds more in the log")
    if (refusal := _refusal(log.used)) is not None:
        raise refusal
    if status == -signal.SIGXFSZ or samples > limits.max_samples:
        raise MediaTooLong(f"the recording is longer than {limits.max_seconds:,} seconds; cut it into parts")
    if status in (-signal.SIGKILL, -signal.SIGXCPU, ffmpeg.exit_status(errno.ENOMEM)):
        raise _too_much_work()
    if status in (ffmpeg.exit_status(errno.ENOSPC), ffmpeg.exit_status(errno.EDQUOT)):
        raise Unavailable("the disk for recordings that are being worked on is full; try again later")
    if not log.streams:
        raise NoAudio("there is no sound in this file") if log.opened else _unreadable()
    if samples == 0 and status == 0:
        raise EmptyMedia("the recording holds no sound, only a header; send it again")
    if samples == 0 and log.used[0].codec not in AUDIO_CODECS.split(","):
        raise UnsupportedMedia("the sound is in a coding that is not read here; convert it to FLAC, Opus or MP3")
    if samples == 0 or status != 0:
        raise _unreadable()
    return log.used[0]


def _refusal(streams: Sequence[AudioStream]) -> BadMedia | None:
    for stream in streams:
        rate, channels = stream.sample_rate_hz, stream.channels
        if not rate or not channels:
            return _unreadable()
        if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
            return MediaOutOfLimits(
                f"the sample rate is {rate:,} Hz; between {LOWEST_RATE_HZ:,} and {HIGHEST_RATE_HZ:,} Hz are read here"
            )
        if channels > MOST_CHANNELS:
            return MediaOutOfLimits(f"there are {channels:,} channels; up to {MOST_CHANNELS} are read here")
    return None


def _unreadable() -> BadMedia:
    return BadMedia("the recording is damaged and cannot be decoded; export it again, as WAV, FLAC or MP3")


def _too_much_work() -> MediaOutOfLimits:
    return MediaOutOfLimits("decoding takes more time or memory than any sound recording needs; convert it to FLAC")


def _notices(log: FfmpegLog, seconds: float, *, cut: bool) -> tuple[Notice, ...]:
    """A film may be longer than its sound, so what it declares says nothing about the sound."""
    declared = None if log.has_video else log.declared_seconds
    missing = 0.0 if declared is None else declared - seconds
    if cut or missing > _MISSING_SECONDS + _MISSING_SHARE * seconds:
        message = f"the recording breaks off: {seconds:.1f} seconds could be decoded, the rest is missing"
        return (Notice(code="audio_truncated", message=message),)
    if log.damaged:
        message = "parts of the recording are damaged and were left out; times after them may be early"
        return (Notice(code="audio_damaged", message=message),)
    return ()


def _samples(written: int) -> int:
    return max(0, os.fstat(written).st_size - HEADER_BYTES) // SAMPLE_BYTES


def _share_read(opened: int) -> float:
    """ffmpeg reads through our own open file, so where it is can be seen from here."""
    return min(1.0, os.lseek(opened, 0, os.SEEK_CUR) / os.fstat(opened).st_size)


def _wav_header(samples: int) -> bytes:
    size, rate = samples * SAMPLE_BYTES, SAMPLE_RATE_HZ
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES)
    return b"RIFF" + struct.pack("<I", HEADER_BYTES - 8 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size)
