import asyncio
import itertools
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.errors import BadMedia, EscribaError, MediaOutOfLimits, MediaTooLong, UnsupportedMedia
from media import sandbox
from media.decode import Decoded, DecodeLimits, decode, ffmpeg_arguments
from media.probe import WAV
from tests.media.conftest import Canary
from tests.support import hostile_media

Encode = Callable[..., bytes]

LIMITS = DecodeLimits(max_seconds=60, memory_bytes=1_073_741_824)


async def attempt(folder: Path, body: bytes, limits: DecodeLimits = LIMITS) -> Decoded | EscribaError:
    """What the platform makes of a file: a result, or an error that we foresaw. Anything else fails the test."""
    source, target = folder / "source", folder / "sound.wav"
    source.write_bytes(body)
    target.unlink(missing_ok=True)
    try:
        decoded = await decode(source, target, limits)
    except EscribaError as error:
        assert not target.exists()
        return error
    assert 0 < decoded.seconds <= limits.max_seconds
    assert target.stat().st_size == 44 + round(decoded.seconds * 32_000)
    return decoded


# --- Another file's sound, and the network -------------------------------------------------------------------------


ATTACKS: dict[str, tuple[Callable[[Canary], bytes], list[str]]] = {
    "hls-file": (
        lambda c: hostile_media.hls(f"file://{c.folder}/canary.ts"),
        ["-f", "hls", "-allowed_extensions", "ALL", "-extension_picky", "0"],
    ),
    "hls-http": (
        lambda c: hostile_media.hls(c.url("canary.ts")),
        ["-f", "hls", "-allowed_extensions", "ALL", "-extension_picky", "0"],
    ),
    "ffconcat-file": (
        lambda c: hostile_media.ffconcat(f"file://{c.folder}/canary.wav"),
        ["-f", "concat", "-safe", "0"],
    ),
    "ffconcat-http": (lambda c: hostile_media.ffconcat(c.url("canary.wav")), ["-f", "concat", "-safe", "0"]),
    "dash-http": (lambda c: hostile_media.dash(c.url("canary.mp4")), ["-f", "dash"]),
}
"""What is in the file, and the options of an ffmpeg that falls for it: older ones did so of their own accord."""

EVERY_PROTOCOL = "file,fd,pipe,http,tcp,udp,rtp,crypto,data,concat,subfile"


def walls() -> dict[str, list[str]]:
    """The options that hold the product's ffmpeg back, one by one, as the product gives them."""
    pairs = itertools.pairwise(ffmpeg_arguments(WAV))
    return {
        option: [option, value]
        for option, value in pairs
        if option.endswith(("format_whitelist", "protocol_whitelist"))
    }


def fall_for(ffmpeg: str, options: list[str]) -> list[str]:
    protocols = [] if "-protocol_whitelist" in options else ["-protocol_whitelist", EVERY_PROTOCOL]
    return [ffmpeg, "-nostdin", "-v", "error", *protocols, *options, "-i", "fd:", "-f", "s16le", "pipe:1"]


def heard_in_the_open(ffmpeg: str, source: Path, options: list[str]) -> bytes:
    with source.open("rb") as opened:
        return subprocess.run(fall_for(ffmpeg, options), check=False, stdin=opened, capture_output=True).stdout


@pytest.fixture(params=sorted(ATTACKS))
def attack(request: pytest.FixtureRequest, tmp_path: Path, canary: Canary) -> tuple[Path, list[str]]:
    content, options = ATTACKS[request.param]
    source = tmp_path / "hostile.wav"
    source.write_bytes(content(canary))
    return source, options


def test_every_attack_brings_the_canary_where_nothing_stands_in_its_way(
    ffmpeg: str, canary: Canary, attack: tuple[Path, list[str]]
) -> None:
    assert any(heard_in_the_open(ffmpeg, *attack))


@pytest.mark.parametrize("wall", ["-format_whitelist", "-protocol_whitelist"])
def test_each_whitelist_alone_stops_every_attack(
    ffmpeg: str, canary: Canary, attack: tuple[Path, list[str]], wall: str
) -> None:
    source, options = attack
    assert heard_in_the_open(ffmpeg, source, [*walls()[wall], *options]) == b""
    assert canary.calls == []


async def test_the_sandbox_alone_stops_every_attack(
    ffmpeg: str, tmp_path: Path, canary: Canary, attack: tuple[Path, list[str]], whole_sandbox: None
) -> None:
    source, options = attack
    output = tmp_path / "output"
    with source.open("rb") as opened, output.open("wb") as written:
        command = fall_for(ffmpeg, options)
        async with sandbox.confined(
            command, stdin=opened.fileno(), stdout=written.fileno(), limits=LIMITS.sandbox
        ) as process:
            said = [line async for line in sandbox.lines(process)]
            assert await process.wait() != 0
    assert said
    assert output.stat().st_size == 0
    assert canary.calls == []


async def test_no_attack_reaches_the_canary_through_the_platform(
    tmp_path: Path, canary: Canary, attack: tuple[Path, list[str]]
) -> None:
    body = attack[0].read_bytes()
    assert isinstance(await attempt(tmp_path, body), UnsupportedMedia)
    for front in (hostile_media.MP3_FRAME * 3, b"OggS", b"RIFF\x00\x00\x00\x00WAVE", b"\x00\x00\x00\x08moov", b"fLaC"):
        outcome = await attempt(tmp_path, front + body)
        if isinstance(outcome, Decoded):
            assert outcome.seconds < 1  # three frames of silence of its own; the canary lasts two seconds
    assert canary.calls == []


async def test_a_file_that_is_two_things_is_only_its_first(tmp_path: Path, canary: Canary) -> None:
    playlist = hostile_media.hls(f"file://{canary.folder}/canary.ts")
    outcome = await attempt(tmp_path, hostile_media.wav(bytes(16_000), info=b"\n" + playlist) + playlist)
    assert isinstance(outcome, Decoded)
    assert outcome.seconds == 0.5


# --- Limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [1, 3_999, 192_001, 0x7FFFFFFF])
async def test_an_odd_sample_rate_is_refused(tmp_path: Path, rate_hz: int) -> None:
    outcome = await attempt(tmp_path, hostile_media.wav(bytes(20_000), rate_hz=rate_hz, bits=8))
    assert isinstance(outcome, MediaOutOfLimits)
    assert f"{rate_hz:,} Hz" in str(outcome)


@pytest.mark.parametrize("rate_hz", [4_000, 192_000])
async def test_the_outermost_sample_rates_are_read(tmp_path: Path, rate_hz: int) -> None:
    outcome = await attempt(tmp_path, hostile_media.wav(bytes(rate_hz * 2), rate_hz=rate_hz))
    assert isinstance(outcome, Decoded)
    assert outcome.seconds == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("channels", [9, 16, 64, 65_535])
async def test_too_many_channels_are_refused(tmp_path: Path, channels: int) -> None:
    outcome = await attempt(tmp_path, hostile_media.wav(bytes(131_070 * 4), channels=channels))
    assert isinstance(outcome, BadMedia)
    assert isinstance(outcome, MediaOutOfLimits) or channels == 65_535  # more than ffmpeg itself will open


async def test_an_odd_sample_rate_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(hostile_media.wav(bytes(36_000), rate_hz=1, bits=8))
    told: list[float] = []
    with pytest.raises(MediaOutOfLimits):
        await decode(
            tmp_path / "source",
            tmp_path / "sound.wav",
            DecodeLimits(max_seconds=36_000, memory_bytes=LIMITS.memory_bytes),
            on_progress=lambda done, _: told.append(done),
        )
    assert told == []


async def test_a_slow_matroska_is_refused_like_a_slow_wav(tmp_path: Path, encode: Encode) -> None:
    whole = encode("mka", "-c:a", "pcm_s16le", "-ar", "8000", seconds=2)
    honest = b"\xb5\x88" + struct.pack(">d", 8000)
    assert honest in whole
    outcome = await attempt(tmp_path, whole.replace(honest, b"\xb5\x88" + struct.pack(">d", 1)))
    assert isinstance(outcome, MediaOutOfLimits)


async def test_metadata_cannot_talk_a_limit_away(tmp_path: Path) -> None:
    forged = b"x\n  Stream #0:0: Audio: pcm_s16le, 16000 Hz, mono, s16\n  Stream #0:7 -> #0:0 (pcm_s16le)\n"
    body = hostile_media.wav(bytes(20_000), rate_hz=1, bits=8, info=forged)
    assert isinstance(await attempt(tmp_path, body), MediaOutOfLimits)


async def test_compressed_silence_without_end_stops_at_the_limit(tmp_path: Path, encode: Encode) -> None:
    for body in (
        hostile_media.silent_mp3(4_000),
        encode("flac", "-af", "volume=0", seconds=4_000, rate_hz=8_000),
        encode("opus", "-af", "volume=0", "-b:a", "6k", seconds=120, rate_hz=8_000),
    ):
        assert isinstance(await attempt(tmp_path, body), MediaTooLong)


async def test_a_leap_of_the_time_stamps_costs_no_sound(tmp_path: Path, encode: Encode) -> None:
    ten_hours_later = "asetpts=if(gte(T\\,2)\\,PTS+36000/TB\\,PTS)"
    outcome = await attempt(tmp_path, encode("mka", "-c:a", "pcm_s16le", "-af", ten_hours_later, seconds=5))
    assert isinstance(outcome, Decoded)
    assert outcome.seconds == pytest.approx(5, abs=0.1)


async def test_a_tag_that_claims_256_mb_costs_nothing(tmp_path: Path, encode: Encode) -> None:
    claimed = 256 * 1024 * 1024 - 1
    assert isinstance(await attempt(tmp_path, hostile_media.id3_bomb(claimed, encode("mp3"))), UnsupportedMedia)


async def test_samples_that_are_no_numbers_are_only_noise(tmp_path: Path) -> None:
    samples = struct.pack("<f", float("nan")) * 8_000 + struct.pack("<f", float("inf")) * 8_000
    outcome = await attempt(tmp_path, hostile_media.wav(samples, bits=32, form=3))
    assert isinstance(outcome, Decoded)
    assert outcome.seconds == 1


async def test_a_coding_that_is_not_read_here_is_named_as_such(tmp_path: Path, encode: Encode) -> None:
    assert isinstance(await attempt(tmp_path, encode("mka", "-c:a", "mlp", "-strict", "-2")), UnsupportedMedia)


# --- Broken in every way -------------------------------------------------------------------------------------------

SUFFIXES = ["wav", "mp3", "m4a", "ogg", "opus", "webm", "flac", "aac", "wma"]


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_file_cut_anywhere_is_decoded_or_refused(tmp_path: Path, encode: Encode, suffix: str) -> None:
    for body in hostile_media.truncations(encode(suffix, seconds=1), 8):
        await attempt(tmp_path, body)


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_file_with_random_bytes_changed_is_decoded_or_refused(
    tmp_path: Path, encode: Encode, suffix: str
) -> None:
    for body in hostile_media.mutations(encode(suffix, seconds=0.5), 25, seed=len(suffix)):
        await attempt(tmp_path, body)
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "sound.wav"}


async def test_recordings_side_by_side_do_not_meet(tmp_path: Path, encode: Encode) -> None:
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    bodies = [hostile_media.wav(bytes(3_200 * (number + 1))) for number in range(4)]
    outcomes = await asyncio.gather(*(attempt(folder, body) for folder, body in zip(folders, bodies, strict=True)))
    assert [outcome.seconds for outcome in outcomes if isinstance(outcome, Decoded)] == [0.1, 0.2, 0.3, 0.4]
