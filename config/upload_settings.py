"""What a process must know of recordings that are uploaded before they are run."""

from pydantic import PositiveFloat, PositiveInt

from config.fields import Section, env


class UploadSettings(Section):
    """Recordings that wait to be run."""

    expiry_hours: PositiveFloat = env(
        "UPLOAD_EXPIRY_HOURS",
        "How long a recording that was uploaded, or is to be, waits to be run before it is deleted.",
        default=24.0,
    )
    max_open: PositiveInt = env(
        "UPLOADS_MAX_OPEN", "Uploads in parts that one owner may have begun and not ended.", default=100
    )
