from collections.abc import Callable
from pathlib import Path

import pytest

from domain.errors import EmptyMedia, UnsupportedMedia
from media import probe
from tests.support import hostile_media

Encode = Callable[..., bytes]


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("formats/jfk.m4a", probe.MP4),
        ("formats/jfk.mp3", probe.MP3),
        ("formats/jfk.ogg", probe.OGG),
        ("formats/jfk.opus", probe.OGG),
        ("formats/jfk.webm", probe.WEBM),
        ("formats/jfk_24bit_48k.wav", probe.WAV),
        ("formats/jfk_video.mp4", probe.MP4),
        ("en/jfk.flac", probe.FLAC),
        ("long/columbia.wma", probe.ASF),
    ],
)
def test_a_real_file_is_known_by_its_first_bytes(shared_data: Path, name: str, container: probe.Container) -> None:
    assert probe.identify(shared_data / name) is container


@pytest.mark.parametrize(
    ("suffix", "options", "container"),
    [
        ("aac", (), probe.ADTS),
        ("mp2", (), probe.MP3),
        ("mp3", ("-id3v2_version", "0", "-write_xing", "0"), probe.MP3),
        ("mp3", ("-ar", "44100", "-b:a", "320k"), probe.MP3),
        ("mp3", ("-ar", "8000", "-b:a", "8k"), probe.MP3),
        ("w64", (), probe.WAVE64),
        ("wav", ("-rf64", "always"), probe.WAV),
        ("mov", (), probe.QUICKTIME),
        ("mka", (), probe.MATROSKA),
    ],
)
def test_what_ffmpeg_writes_is_known(
    tmp_path: Path, encode: Encode, suffix: str, options: tuple[str, ...], container: probe.Container
) -> None:
    file = tmp_path / "nameless"
    file.write_bytes(encode(suffix, *options))
    assert probe.identify(file) is container


def test_a_tag_of_any_size_in_front_hides_nothing(tmp_path: Path, encode: Encode) -> None:
    file = tmp_path / "nameless"
    tag = b"ID3\x04\x00\x00\x00\x20\x00\x00" + bytes(0x20 << 14)
    for body, container in ((encode("mp3"), probe.MP3), (encode("flac"), probe.FLAC), (encode("aac"), probe.ADTS)):
        file.write_bytes(tag + tag + body)
        assert probe.identify(file) is container


@pytest.mark.parametrize(
    "body",
    [
        b"a",
        b"RIFF",
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"\x89PNG\r\n\x1a\n" + bytes(60),
        b"\xff" * 300_000,
        b"\xff\xfeH\x00e\x00l\x00l\x00o\x00" * 1000,
        b"\xff\xfb\x90\xc4" + bytes(90_000),
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000),
        b"\x7fELF" + bytes(5000),
        hostile_media.hls("file:///etc/passwd"),
        hostile_media.ffconcat("canary.wav"),
        hostile_media.sdp(9),
        hostile_media.dash("http://127.0.0.1/"),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_recording_is_refused_before_ffmpeg_sees_it(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "named.wav"
    file.write_bytes(body)
    with pytest.raises(UnsupportedMedia, match="WAV, MP3"):
        probe.identify(file)


def test_a_file_of_no_bytes_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "empty.wav"
    file.touch()
    with pytest.raises(EmptyMedia):
        probe.identify(file)


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_an_ogg_that_lost_its_last_page_is_seen_to_be_cut(tmp_path: Path, encode: Encode, suffix: str) -> None:
    whole = encode(suffix)
    file = tmp_path / "nameless"
    for length, cut in ((len(whole), False), (len(whole) - 1, True), (len(whole) // 2, True), (30, True)):
        file.write_bytes(whole[:length])
        assert probe.ogg_is_cut(file) is cut
