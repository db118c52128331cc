"""What a worker must know before it makes a video with subtitles."""

from pydantic import PositiveInt

from config.fields import Folder, Section, env


class RenderSettings(Section):
    """Videos with subtitles."""

    fonts_dir: Folder | None = env(
        "SUBTITLE_FONTS_DIR",
        "Folder of fonts for subtitles in the picture, preferred to those of the system.",
        default=None,
    )
    memory_bytes: PositiveInt = env(
        "RENDER_MEMORY_BYTES", "Address space of the rendering child.", default=4_294_967_296
    )
    max_video_bytes: PositiveInt = env("RENDER_MAX_BYTES", "Largest video that is made.", default=8_000_000_000)
