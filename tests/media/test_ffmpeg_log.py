import pytest

from media.ffmpeg_log import FfmpegLog, channels_of


@pytest.mark.parametrize(
    ("layout", "channels"),
    [
        ("mono", 1),
        ("stereo", 2),
        ("2.1", 3),
        ("quad(side)", 4),
        ("5.1(side)", 6),
        ("7.1(wide)", 8),
        ("5.1.2", 8),
        ("22.2", 24),
        ("9 channels (FL+FR+FC+LFE+BL+BR+FLC+FRC+BC)", 9),
        ("ambisonic 1", 0),
    ],
)
def test_layouts_are_counted_in_channels(layout: str, channels: int) -> None:
    assert channels_of(layout) == channels


def test_the_stream_that_is_decoded_is_the_one_that_counts() -> None:
    log = FfmpegLog()
    for line in (
        "Input #0, matroska,webm, from 'fd:':",
        "  Duration: 01:02:03.50, start: 0.000000, bitrate: 67 kb/s",
        "  Stream #0:0: Video: h264 (High), yuv420p(progressive), 160x120, 5 fps",
        "  Stream #0:1(eng): Audio: aac (LC), 48000 Hz, 22.2, fltp",
        "  Stream #0:2(spa): Audio: opus, 48000 Hz, stereo, fltp (default)",
        "Stream mapping:",
        "  Stream #0:2 -> #0:0 (opus (native) -> pcm_s16le (native))",
        "Output #0, s16le, to 'pipe:1':",
        "  Stream #0:0: Audio: pcm_s16le, 16000 Hz, mono, s16, 256 kb/s",
    ):
        log.read(line)
    assert [(stream.index, stream.codec, stream.channels) for stream in log.used] == [(2, "opus", 2)]
    assert log.has_video
    assert log.declared_seconds == 3723.5


def test_a_length_that_ffmpeg_guessed_is_not_taken_for_declared() -> None:
    log = FfmpegLog()
    log.read("[in#0/aac @ 0x55abb5015080] Estimating duration from bitrate, this may be inaccurate")
    log.read("  Duration: 00:00:05.03, bitrate: 1 kb/s")
    assert log.declared_seconds is None
