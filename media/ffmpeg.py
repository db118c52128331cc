"""Where ffmpeg is, and what its exit status means."""

from functools import cache

import imageio_ffmpeg

from domain.errors import Unavailable


@cache
def executable() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise Unavailable("there is no ffmpeg for this machine; install one and set IMAGEIO_FFMPEG_EXE") from error


def exit_status(number: int) -> int:
    """ffmpeg ends with the low byte of a negative errno."""
    return 256 - number
