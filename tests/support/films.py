"""Films with a tone, made on the spot."""

import subprocess
from pathlib import Path

import imageio_ffmpeg


def film(*, seconds: float = 2.0, size: str = "320x180", rate: int = 10) -> bytes:
    """An MP4 of a black picture and a tone, as phones write it: H.264 and AAC."""
    picture = ["-f", "lavfi", "-i", f"color=c=black:s={size}:r={rate}:d={seconds}"]
    tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
    # Fragments, as nobody can go back in a pipe.
    made = ["-shortest", "-preset", "ultrafast", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "pipe:1"]
    return _ffmpeg(*picture, *tone, *made)


def about(video: bytes, folder: Path) -> str:
    """What ffmpeg says of a video; fails where it cannot be played to its end."""
    kept = folder / "video.mp4"
    kept.write_bytes(video)
    _ffmpeg("-i", str(kept), "-f", "null", "-")
    said = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", kept], stderr=subprocess.PIPE)
    return said.stderr.decode()


def subtitles_of(video: bytes, folder: Path) -> str:
    """Its subtitle track, as SubRip."""
    kept = folder / "video.mp4"
    kept.write_bytes(video)
    return _ffmpeg("-i", str(kept), "-f", "srt", "pipe:1").decode()


def _ffmpeg(*arguments: str) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-xerror", *arguments]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
