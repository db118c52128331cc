"""What the contracts of other systems bring along besides what the platform has already."""

from pydantic import PositiveFloat

from config.fields import Section, env


class SubtitleSettings(Section):
    """The subtitles dialect."""

    transcription_model: str | None = env(
        "TRANSCRIPTION_MODEL",
        "What hears a `POST /jobs/{id}/run` that names no model: a model, an engine, or both as in whisper-base. A "
        "model that no engine offers becomes a warning; left out, DEFAULT_TRANSCRIPTION_ENGINE decides.",
        default=None,
    )


class SocketSettings(Section):
    """The socket dialect."""

    default_model: str | None = env(
        "DEFAULT_MODEL",
        "Model of a `POST /transcribe-job` that names none: taken where an engine offers it, else the engine's own "
        "default with a warning.",
        default="medium",
    )
    ping_interval_seconds: PositiveFloat = env(
        "WEBSOCKET_PING_INTERVAL", "How often a WebSocket is pinged.", default=30.0
    )
    timeout_seconds: PositiveFloat = env(
        "WEBSOCKET_TIMEOUT",
        "How long a WebSocket's client may leave a ping unanswered, or a message unread, before it is hung up on.",
        default=300.0,
    )


class OpenAISettings(Section):
    """The OpenAI dialect."""

    retry_window_seconds: PositiveFloat = env(
        "OPENAI_RETRY_WINDOW_SEC",
        "How long a recording that OpenAI's library sends again, as no answer came, meets the job that it made before.",
        default=3600.0,
    )
