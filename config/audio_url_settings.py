"""How recordings are fetched that come as a URL."""

from pydantic import PositiveFloat

from config.fields import Ports, Section, env


class AudioUrlSettings(Section):
    """Recordings that are fetched."""

    connect_timeout_seconds: PositiveFloat = env(
        "AUDIO_URL_CONNECT_TIMEOUT_SEC",
        "The longest that finding and reaching a recording's server may take.",
        default=10.0,
    )
    idle_timeout_seconds: PositiveFloat = env(
        "AUDIO_URL_IDLE_TIMEOUT_SEC", "The longest that such a server may be silent.", default=30.0
    )
    timeout_seconds: PositiveFloat = env(
        "AUDIO_URL_TIMEOUT_SEC",
        "The longest that fetching a recording may take in all; it counts as part of the attempt, so keep it below "
        "JOB_DEADLINE_FLOOR_SEC.",
        default=600.0,
    )
    ports: Ports = env("AUDIO_URL_PORTS", "Ports that an audio_url may name.", default=(443,))
    allow_http: bool = env(
        "AUDIO_URL_ALLOW_HTTP",
        "Take http:// URLs too, on port 80 or AUDIO_URL_PORTS: recordings come in the clear.",
        default=False,
    )
    allow_private: bool = env(
        "AUDIO_URL_ALLOW_PRIVATE",
        "Take URLs of this machine and of private networks, on any port. Only where every caller may reach these.",
        default=False,
    )
