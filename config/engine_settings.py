"""What speech engines there are, where they are, and what their models may take."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationInfo, field_validator

from config.fields import AnyCase, Folder, Folders, Names, Section, env


class EngineSettings(Section):
    """Speech engines."""

    default_engine: str = env(
        "DEFAULT_TRANSCRIPTION_ENGINE",
        "Engine of a job that names none; `escriba up` without RIVA_URI sets `auto`.",
        default="asr",
    )
    server_url: str | None = env(
        "ENGINE_SERVER_URL", "The engine server that hosts local models; `escriba up` starts one.", default=None
    )
    server_token: SecretStr | None = env(
        "ENGINE_SERVER_TOKEN", "Bearer token of the engine server; made and kept by `escriba up`.", default=None
    )
    models_dir: Folder = env("MODELS_DIR", "Folder for model weights.", default=Path("models"))
    offline: bool = env("MODELS_OFFLINE", "Never download weights.", default=False)
    whisper_model: str = env(
        "WHISPER_MODEL",
        "Whisper model of a job that names none: a size (tiny … large-v3) or a local folder.",
        default="base",
    )
    whisper_models: Names = env(
        "WHISPER_AVAILABLE_MODELS",
        "Whisper sizes that callers may name.",
        default=("tiny", "base", "small", "medium", "large-v2", "large-v3"),
    )
    whisper_device: Annotated[Literal["auto", "cpu", "cuda"], AnyCase] = env(
        "WHISPER_DEVICE", "Where Whisper and WhisperX compute.", default="auto"
    )
    whisper_compute_type: Annotated[Literal["auto", "int8", "float16", "float32", "int8_float16"], AnyCase] = env(
        "WHISPER_COMPUTE_TYPE",
        "Number format; auto is int8 on a CPU and float16 on CUDA.",
        default="auto",
        aliases=("GRABADORA_TRANSCRIPTION_QUANTIZATION",),
    )
    idle_timeout_minutes: PositiveFloat = env(
        "PROCESS_IDLE_TIMEOUT_MIN", "Minutes after which an unused model leaves memory.", default=5.0
    )
    max_loaded_models: PositiveInt = env(
        "ENGINE_MAX_LOADED_MODELS", "Models kept in memory at once; the longest unused makes room.", default=2
    )
    silence_timeout_seconds: PositiveFloat = env(
        "WHISPERX_TIMEOUT",
        "Seconds without any event from an engine after which an attempt fails; not a limit in total.",
        default=300.0,
    )
    whisperx_url: str | None = env(
        "WHISPERX_SERVICE_URL",
        "The engine server that hosts WhisperX; `escriba up` starts one where `make whisperx` has installed it.",
        default=None,
    )
    whisperx_models: Names = env(
        "WHISPERX_AVAILABLE_MODELS",
        "WhisperX models that callers may name.",
        default=("tiny", "base", "small", "medium", "large-v2", "large-v3"),
    )
    whisperx_model: str = env(
        "WHISPERX_DEFAULT_MODEL",
        "WhisperX model of a job that names none: a size or a local folder, as for WHISPER_MODEL.",
        default="base",
    )
    whisperx_batch_size: PositiveInt | None = env(
        "WHISPERX_BATCH_SIZE",
        "Stretches of speech that WhisperX hears at once; 16 on CUDA and 4 on a CPU where not set.",
        default=None,
    )
    whisperx_align_models: Folders = env(
        "WHISPERX_ALIGN_MODELS",
        "Folders of wav2vec2 models that give words their times, by language: en=/folder,es=/folder. For a language "
        "without one, WhisperX's own choice is downloaded once, unless MODELS_OFFLINE is set.",
        default={},
    )
    whisperx_diarization_model: Folder | None = env(
        "WHISPERX_DIARIZATION_MODEL",
        "Folder of the pyannote pipeline that tells speakers apart; the published one has to be asked for by hand.",
        default=None,
    )
    diarizer: Annotated[Literal["off", "on"], AnyCase] = env(
        "DIARIZER",
        "Whether the platform's own diarizer tells speakers apart for engines that cannot: good where people take "
        "turns, poor where they talk across one another.",
        default="on",
    )
    riva_uri: str | None = env(
        "RIVA_URI", "NVIDIA Riva or Speech NIM, as host:port of its gRPC door; it is engine `asr`.", default=None
    )
    riva_model: str = env(
        "RIVA_MODEL",
        "Which Riva model is wanted; a hint, as a container's name is not a model's.",
        default="parakeet-0-6b-ctc-en-us",
    )
    riva_language: str = env("RIVA_LANGUAGE", "Language of a job for `asr` that names none.", default="en-US")
    riva_use_ssl: bool = env("RIVA_USE_SSL", "Speak TLS to RIVA_URI.", default=False)
    riva_ssl_cert: Folder | None = env(
        "RIVA_SSL_CERT",
        "PEM file with the authorities that may vouch for RIVA_URI; those that gRPC brings where not set.",
        default=None,
    )
    riva_api_key: SecretStr | None = env(
        "RIVA_API_KEY", "Key for a hosted Riva, sent as a bearer token; needs RIVA_USE_SSL=1.", default=None
    )
    riva_function_id: str | None = env("RIVA_FUNCTION_ID", "Which function of a hosted Riva is meant.", default=None)
    riva_max_message_bytes: Annotated[int, Field(ge=262_144, le=1_073_741_824)] = env(
        "RIVA_MAX_MESSAGE_BYTES",
        "Largest request for Riva; longer recordings are streamed. The default is safe with every server; a larger "
        "one has to be allowed by the server.",
        default=3_670_016,
    )
    riva_boost_scale: PositiveFloat = env(
        "RIVA_BOOST_SCALE",
        "What a term's boost is multiplied by for the server; 1 suits a Speech NIM, 0.1 an open riva_server.",
        default=1.0,
    )
    riva_boost_max: PositiveFloat = env(
        "RIVA_BOOST_MAX", "Strongest boost that the server takes, of either sign, after scaling.", default=100.0
    )
    riva_diarization: Annotated[Literal["auto", "on", "off"], AnyCase] = env(
        "RIVA_DIARIZATION",
        "Whether the server tells speakers apart: `auto` goes by the names of its models, as it does not say itself.",
        default="auto",
    )

    @field_validator("riva_api_key")
    @classmethod
    def _is_kept_secret(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        # A malformed RIVA_USE_SSL is missing from `info.data` and has its own complaint.
        secure = info.data.get("riva_use_ssl", True) or info.data.get("riva_ssl_cert")
        if key is not None and not secure:
            raise ValueError("would be sent in the clear: set RIVA_USE_SSL=1 as well")
        return key
