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


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("h264 (High) (avc1 / 0x31637661), yuv420p(progressive), 320x240 [SAR 1:1 DAR 4:3], 28 kb/s", (320, 240)),
        ("mpeg2video (Main), yuv420p(tv), 720x576 [SAR 64:45 DAR 16:9], 25 fps", (1024, 576)),
        ("vp8, yuv420p(tv, bt470bg/unknown/unknown), 160x120, SAR 1:1 DAR 4:3, 5 fps", (160, 120)),
        ("none (H264 / 0x34363248), 1k tbn", (0, 0)),
        ("h264, yuv420p, 320x240 [SAR 1:0 DAR 4:3]", (320, 240)),
    ],
)
def test_a_picture_is_measured_in_square_pixels(line: str, size: tuple[int, int]) -> None:
    log = FfmpegLog()
    log.read(f"  Stream #0:0[0x1](und): Video: {line}")
    log.read("  Stream #0:1: Video: h264, yuv420p, 16x16")
    assert log.video is not None
    assert (log.video.width, log.video.height) == size
    assert not log.turned


def test_a_cover_is_no_picture_that_moves() -> None:
    log = FfmpegLog()
    log.read("  Stream #0:1: Video: png, rgba(pc), 64x64 [SAR 1:1 DAR 1:1], 90k tbr, 90k tbn (attached pic)")
    assert log.video is None


@pytest.mark.parametrize(("degrees", "turned"), [("-90.00", True), ("90.00", True), ("180.00", False)])
def test_a_camera_on_its_side_turns_the_picture(degrees: str, turned: bool) -> None:
    log = FfmpegLog()
    log.read("  Stream #0:0: Video: h264, yuv420p, 320x240")
    log.read(f"        Display Matrix: rotation of {degrees} degrees")
    assert log.turned is turned
