import asyncio
import os
import subprocess
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.settings import MediaSettings
from domain.errors import (
    BadMedia,
    EmptyMedia,
    EscribaError,
    MediaOutOfLimits,
    MediaTooLong,
    NoAudio,
    Unavailable,
    UnsupportedMedia,
)
from media.decode import DecodeLimits, decode
from tests.support import hostile_media

Encode = Callable[..., bytes]

LIMITS = DecodeLimits(max_seconds=600, memory_bytes=2_147_483_648)


def samples_of(target: Path) -> bytes:
    with wave.open(str(target)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return bytes(file.readframes(file.getnframes()))


def plain(ffmpeg: str, source: Path) -> bytes:
    """The samples of the ffmpeg command that anyone would type."""
    command = [ffmpeg, "-v", "error", "-nostdin", "-i", str(source), "-vn", "-ac", "1", "-ar", "16000"]
    done = subprocess.run([*command, "-f", "s16le", "pipe:1"], check=True, stdout=subprocess.PIPE)
    return bytes(done.stdout)


def add_cover(ffmpeg: str, song: Path, target: Path) -> None:
    inputs = ["-i", str(song), "-f", "lavfi", "-i", "color=c=red:s=64x64:d=0.04"]
    outputs = ["-map", "0", "-map", "1", "-c:a", "copy", "-c:v", "png", "-disposition:v", "attached_pic"]
    command = [ffmpeg, "-v", "error", *inputs, *outputs, str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("only root may mount the small file system that this test fills")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("formats/jfk.m4a", "audio/mp4"),
        ("formats/jfk.mp3", "audio/mpeg"),
        ("formats/jfk.ogg", "audio/ogg"),
        ("formats/jfk.opus", "audio/ogg"),
        ("formats/jfk.webm", "audio/webm"),
        ("formats/jfk_24bit_48k.wav", "audio/wav"),
        ("formats/jfk_8k_mulaw.wav", "audio/wav"),
        ("formats/jfk_video.mp4", "video/mp4"),
        ("formats/vibe_short.mp4", "video/mp4"),
        ("bad/silence_10s.wav", "audio/wav"),
        ("en/jfk.flac", "audio/flac"),
        ("stereo/libri_call.wav", "audio/wav"),
        ("long/columbia.wma", "audio/x-ms-wma"),
        ("long/two_cities_16k.wav", "audio/wav"),
    ],
)
async def test_a_recording_is_decoded_to_the_samples_that_plain_ffmpeg_gives(
    shared_data: Path, tmp_path: Path, ffmpeg: str, name: str, content_type: str
) -> None:
    expected = plain(ffmpeg, shared_data / name)
    decoded = await decode(shared_data / name, tmp_path / "sound.wav", LIMITS)
    assert samples_of(tmp_path / "sound.wav") == expected
    assert decoded.seconds == len(expected) / 32_000
    assert decoded.content_type == content_type
    assert decoded.notices == ()


async def test_the_source_is_described_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    decoded = await decode(shared_data / "formats/jfk_24bit_48k.wav", tmp_path / "sound.wav", LIMITS)
    assert (decoded.codec, decoded.sample_rate_hz, decoded.channels) == ("pcm_s24le", 48_000, 2)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("empty.wav", EmptyMedia),
        ("header_only.wav", EmptyMedia),
        ("png_named.wav", UnsupportedMedia),
        ("text_named.mp3", UnsupportedMedia),
        ("video_without_audio.mp4", NoAudio),
    ],
)
async def test_what_holds_no_sound_is_refused_and_leaves_nothing(
    shared_data: Path, tmp_path: Path, name: str, error: type[BadMedia]
) -> None:
    with pytest.raises(error) as caught:
        await decode(shared_data / "bad" / name, tmp_path / "sound.wav", LIMITS)
    assert type(caught.value) is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "seconds"), [("truncated.mp3", 3.658), ("lying_header.wav", 2.99)])
async def test_a_recording_that_breaks_off_gives_what_there_is_and_says_so(
    shared_data: Path, tmp_path: Path, name: str, seconds: float
) -> None:
    decoded = await decode(shared_data / "bad" / name, tmp_path / "sound.wav", LIMITS)
    assert decoded.seconds == pytest.approx(seconds, abs=0.001)
    assert decoded.truncated
    assert [notice.code for notice in decoded.notices] == ["audio_truncated"]


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "opus", "webm", "mka"])
async def test_half_of_a_recording_is_said_to_be_cut_in_every_format_that_can_tell(
    tmp_path: Path, encode: Encode, suffix: str
) -> None:
    whole = encode(suffix, seconds=20, rate_hz=48_000)
    source = tmp_path / "source"
    source.write_bytes(whole[: len(whole) // 2])
    decoded = await decode(source, tmp_path / "sound.wav", LIMITS)
    assert 5 < decoded.seconds < 15
    assert decoded.truncated


async def test_a_recording_with_a_hole_says_that_it_is_damaged(tmp_path: Path, encode: Encode) -> None:
    whole = bytearray(encode("flac", seconds=30, rate_hz=48_000))
    middle = len(whole) // 2
    whole[middle : middle + 400] = bytes(400)
    source = tmp_path / "source"
    source.write_bytes(whole)
    decoded = await decode(source, tmp_path / "sound.wav", LIMITS)
    assert [notice.code for notice in decoded.notices] == ["audio_damaged"]


@pytest.mark.parametrize("suffix", ["aac", "w64", "mov", "mka", "mp2", "wma"])
async def test_the_other_containers_are_read_too(tmp_path: Path, ffmpeg: str, encode: Encode, suffix: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(encode(suffix, seconds=3))
    decoded = await decode(source, tmp_path / "sound.wav", LIMITS)
    assert decoded.seconds == pytest.approx(3, abs=0.2)
    assert samples_of(tmp_path / "sound.wav") == plain(ffmpeg, source)


@pytest.mark.parametrize(
    ("options", "channels"),
    [(("-ac", "2"), 2), (("-ac", "6"), 6), (("-ac", "8"), 8)],
)
async def test_all_channels_are_heard_in_the_one(
    tmp_path: Path, encode: Encode, options: tuple[str, ...], channels: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(encode("wav", *options))
    decoded = await decode(source, tmp_path / "sound.wav", LIMITS)
    assert decoded.channels == channels
    assert decoded.seconds == 3
    assert any(samples_of(tmp_path / "sound.wav"))


async def test_a_cover_does_not_make_a_song_a_film(tmp_path: Path, ffmpeg: str, encode: Encode) -> None:
    (tmp_path / "tone.mp3").write_bytes(encode("mp3"))
    add_cover(ffmpeg, tmp_path / "tone.mp3", tmp_path / "song.mp3")
    decoded = await decode(tmp_path / "song.mp3", tmp_path / "sound.wav", LIMITS)
    assert decoded.content_type == "audio/mpeg"
    assert decoded.notices == ()


async def test_progress_never_falls_and_reaches_the_end(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(hostile_media.silent_mp3(500))
    told: list[tuple[float, float]] = []
    decoded = await decode(
        source, tmp_path / "sound.wav", LIMITS, on_progress=lambda seconds, share: told.append((seconds, share))
    )
    assert told == sorted(told)
    assert told[-1] == (decoded.seconds, 1.0)


@pytest.mark.parametrize(("seconds", "fits"), [(59.9, True), (60.5, False), (3600, False)])
async def test_sound_is_counted_and_not_believed(tmp_path: Path, seconds: float, fits: bool) -> None:
    source = tmp_path / "source"
    source.write_bytes(hostile_media.silent_mp3(seconds))
    written: list[float] = []
    limits = DecodeLimits(max_seconds=60, memory_bytes=LIMITS.memory_bytes)
    decoding = decode(source, tmp_path / "sound.wav", limits, on_progress=lambda done, _: written.append(done))
    if fits:
        assert (await decoding).seconds == pytest.approx(seconds, abs=0.1)
    else:
        with pytest.raises(MediaTooLong, match="60 seconds"):
            await decoding
        assert all(done <= 61 for done in written)
        assert not (tmp_path / "sound.wav").exists()


async def test_cancelling_kills_the_decoder_and_removes_the_target(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(hostile_media.silent_mp3(200_000))
    before = children()
    started = asyncio.Event()
    limits = DecodeLimits(max_seconds=400_000, memory_bytes=LIMITS.memory_bytes)
    task = asyncio.create_task(decode(source, tmp_path / "sound.wav", limits, on_progress=lambda *_: started.set()))
    await started.wait()
    assert children() != before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before
    assert not (tmp_path / "sound.wav").exists()


async def test_cancelling_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(hostile_media.silent_mp3(20_000))
    before = children()
    for turns in range(0, 400, 8):
        task = asyncio.create_task(decode(source, tmp_path / "sound.wav", DecodeLimits(40_000, LIMITS.memory_bytes)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() == before
        assert not (tmp_path / "sound.wav").exists()


class Hasty(DecodeLimits):
    @property
    def wall_seconds(self) -> float:
        return 0.05


class Thrifty(DecodeLimits):
    @property
    def cpu_seconds(self) -> int:
        return 1


@pytest.mark.parametrize("limits", [Hasty, Thrifty])
async def test_a_recording_that_takes_too_long_to_decode_is_refused(tmp_path: Path, limits: type[DecodeLimits]) -> None:
    source = tmp_path / "source"
    source.write_bytes(hostile_media.silent_mp3(100_000))
    before = children()
    with pytest.raises(MediaOutOfLimits, match="more time or memory"):
        await decode(source, tmp_path / "sound.wav", limits(max_seconds=400_000, memory_bytes=LIMITS.memory_bytes))
    assert children() == before
    assert not (tmp_path / "sound.wav").exists()


@pytest.mark.parametrize("memory_bytes", [10_000_000, 130_000_000])
async def test_a_decoder_that_cannot_start_is_not_the_fault_of_the_recording(tmp_path: Path, memory_bytes: int) -> None:
    (tmp_path / "source").write_bytes(hostile_media.silent_mp3(5))
    with pytest.raises(Unavailable):
        await decode(tmp_path / "source", tmp_path / "sound.wav", DecodeLimits(600, memory_bytes))


async def test_a_full_disk_is_not_the_fault_of_the_recording(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "source").write_bytes(hostile_media.silent_mp3(500))
    with pytest.raises(Unavailable, match="disk"):
        await decode(tmp_path / "source", small_disk / "sound.wav", LIMITS)
    assert list(small_disk.iterdir()) == []


async def test_an_existing_target_is_never_overwritten(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "source").write_bytes(encode("wav"))
    (tmp_path / "sound.wav").write_text("someone's")
    with pytest.raises(FileExistsError):
        await decode(tmp_path / "source", tmp_path / "sound.wav", LIMITS)
    assert (tmp_path / "sound.wav").read_text() == "someone's"


async def test_errors_never_name_the_file(tmp_path: Path) -> None:
    source = tmp_path / "patient-smith.wav"
    source.write_bytes(hostile_media.wav(bytes(1000), form=0x1234))
    with pytest.raises(EscribaError) as caught:
        await decode(source, tmp_path / "sound.wav", LIMITS)
    assert "smith" not in str(caught.value)


def test_limits_come_from_the_settings() -> None:
    limits = DecodeLimits.of(MediaSettings(max_duration_seconds=36_000, decode_memory_bytes=1_000_000_000))
    assert limits == DecodeLimits(max_seconds=36_000, memory_bytes=1_000_000_000)
