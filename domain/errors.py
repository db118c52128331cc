"""Every failure that we foresaw, as one tree. Doors translate it; nothing here knows HTTP.

EscribaError                    internal
├── Invalid                     invalid_request       the caller's words do not fit
│   ├── MalformedUpload         malformed_upload
│   ├── MissingFile             missing_file
│   ├── UnknownEngine           unknown_engine
│   ├── IdempotencyKeyReused    idempotency_key_reused
│   ├── BadSocketMessage        bad_message           said over a WebSocket
│   │   ├── BinaryMessage       binary_message
│   │   ├── UnknownMessage      unknown_message
│   │   └── WrongJob            wrong_job
│   └── UnsupportedOption       unsupported_option
│       ├── UnknownModel        unknown_model
│       └── UnsupportedLanguage  unsupported_language
├── TooLarge                    file_too_large
├── BodyTooLarge                body_too_large        of a request that is no recording
├── NotFound                    not_found
│   ├── JobNotFound             job_not_found
│   ├── ModelNotFound           model_not_found
│   ├── ContextNotFound         context_not_found
│   ├── ObjectNotFound          object_not_found
│   └── AudioDeleted            audio_deleted
├── RangeNotSatisfiable         range_not_satisfiable
├── Refused                     refused               right words, wrong moment
│   ├── IllegalMove             illegal_move
│   ├── AlreadyFinished         already_<state>
│   ├── ResultNotReady          result_not_ready
│   └── JobHasNoResult          job_has_no_result
├── Forbidden                   forbidden
│   ├── HostNotAllowed          host_not_allowed
│   ├── OriginNotAllowed        origin_not_allowed
│   ├── BadLink                 bad_link              a signed link that is forged or has expired
│   └── BadTicket               bad_ticket            of a stream
├── Unavailable                 unavailable           something that we need is away; try again
│   ├── EngineUnavailable       engine_unavailable
│   ├── DatabaseUnavailable     database_unavailable
│   ├── RowsUnguarded           rows_unguarded        PostgreSQL would not hold owners apart
│   └── StorageUnavailable      storage_unavailable
├── BadMedia                    media_unreadable      the recording itself; trying again does not help
│   ├── EmptyMedia              media_empty
│   ├── UnsupportedMedia        media_unsupported
│   ├── NoAudio                 media_no_audio
│   ├── MediaTooLong            media_too_long
│   └── MediaOutOfLimits        media_out_of_limits
├── EngineFailed                engine_failed         `retryable` says whether the same call may succeed later
│   ├── EngineBusy              engine_busy
│   ├── EngineCrashed           engine_crashed
│   ├── EngineOutOfMemory       engine_oom            the accelerator's memory, or the machine's
│   ├── EngineSilent            engine_silent         no event for too long
│   └── ModelMissing            model_missing
├── DeadlinePassed              deadline              the attempt took longer than the recording allows
└── BadSettings                 bad_settings          stops the start of a process
"""

from typing import ClassVar, Self

from domain.text import keepable


class EscribaError(Exception):
    """A failure we foresaw. `code` is public: clients match on it, so never rename one.

    The message is public too: it says what is wrong and what to do about it, and never carries a
    transcript, a file name or a token.
    """

    code: ClassVar[str] = "internal"
    said: ClassVar[str] = ""
    """The message, where it is always the same."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.said if message is None else message)


class Invalid(EscribaError):
    code = "invalid_request"

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class MalformedUpload(Invalid):
    code = "malformed_upload"


class MissingFile(Invalid):
    code = "missing_file"

    def __init__(self) -> None:
        super().__init__("there is no recording: send it as the form field 'file', or its audio_url", field="file")


class UnknownEngine(Invalid):
    code = "unknown_engine"

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no engine called {name!r}; choose one of {', '.join(known)}", field="engine")


class UnsupportedOption(Invalid):
    """`who` is the engine, as in "engine 'sphinx'"; `why` is said of it; `able` are engines that could."""

    code = "unsupported_option"

    def __init__(self, option: str, who: str, why: str, able: list[str]) -> None:
        self.who, self.why, self.able = who, why, able
        others = f"engines that can: {', '.join(able)}" if able else "no engine here can"
        super().__init__(
            f"{who} cannot honour {option!r}: {why} ({others}); leave it out, or send on_unsupported=warn",
            field=option,
        )

    def of(self, option: str) -> Self:
        """The same, of an option that its caller knows by another name."""
        return type(self)(option, self.who, self.why, self.able)


class UnknownModel(UnsupportedOption):
    code = "unknown_model"


class UnsupportedLanguage(UnsupportedOption):
    code = "unsupported_language"


class IdempotencyKeyReused(Invalid):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was sent with another recording or other options; send a new key for a new job",
            field="Idempotency-Key",
        )


class BadSocketMessage(Invalid):
    code = "bad_message"
    said = 'this is no message: send a JSON object such as {"type": "ping"}'


class BinaryMessage(BadSocketMessage):
    code = "binary_message"
    said = "messages are text: send JSON in text frames"


class UnknownMessage(BadSocketMessage):
    code = "unknown_message"

    def __init__(self, known: list[str]) -> None:
        super().__init__(f"there is no message of this type; send one of {', '.join(known)}")


class WrongJob(BadSocketMessage):
    code = "wrong_job"
    said = "this connection is another job's; connect to /ws/transcription/JOB_ID of the one that is meant"


class TooLarge(EscribaError):
    code = "file_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the recording is over the limit of {limit_bytes:,} bytes; compress it (Opus, MP3) or cut it")


class BodyTooLarge(EscribaError):
    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is over the limit of {limit_bytes:,} bytes; only recordings may be longer")


class NotFound(EscribaError):
    code = "not_found"


class JobNotFound(NotFound):
    code = "job_not_found"
    said = "there is no such job; it may have been deleted"


class ModelNotFound(NotFound):
    code = "model_not_found"

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no model {name!r}; choose one of {', '.join(known)}")
        self.field = "model"


class ContextNotFound(NotFound):
    code = "context_not_found"
    said = "there is no such context; GET /api/contexts lists yours"


class ObjectNotFound(NotFound):
    code = "object_not_found"
    said = "the stored object is not there"


class AudioDeleted(NotFound):
    code = "audio_deleted"
    said = "the recording has been deleted, as its retention time says; the transcript may remain"


class RangeNotSatisfiable(EscribaError):
    code = "range_not_satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the range lies outside the {size_bytes:,} bytes of the recording")
        self.size_bytes = size_bytes


class Refused(EscribaError):
    code = "refused"


class IllegalMove(Refused):
    code = "illegal_move"

    def __init__(self, source: str, target: str) -> None:
        super().__init__(f"a {source} job cannot become {target}")


class AlreadyFinished(Refused):
    """`code` is one of already_completed, already_failed, already_purged, by the state found."""

    code = "already_finished"

    def __init__(self, state: str) -> None:
        super().__init__(f"the job is already {state}; to remove it, DELETE /api/transcribe/jobs/JOB_ID")
        self.code = f"already_{state}"  # type: ignore[misc]  # one class, a code for each state


class ResultNotReady(Refused):
    code = "result_not_ready"

    def __init__(self, state: str) -> None:
        super().__init__(f"the job is {state}; follow its stream, or ask again later")


class JobHasNoResult(Refused):
    code = "job_has_no_result"

    def __init__(self, state: str, reason: str | None) -> None:
        why = f": {reason}" if reason else ""
        super().__init__(f"the job is {state}, so there is no transcript{why}")


class Forbidden(EscribaError):
    code = "forbidden"


class HostNotAllowed(Forbidden):
    code = "host_not_allowed"
    said = "this Host is not served here; add it to ALLOWED_HOSTS if it is yours"


class OriginNotAllowed(Forbidden):
    code = "origin_not_allowed"
    said = "pages of this Origin may not use the platform; add it to ALLOWED_ORIGINS if it is yours"


class BadLink(Forbidden):
    code = "bad_link"
    said = "this link has expired or was changed; fetch the result again for a fresh one"


class BadTicket(Forbidden):
    code = "bad_ticket"
    said = "this ticket is not for this stream, was used before, or has expired; ask for a new one"


class Unavailable(EscribaError):
    code = "unavailable"


class EngineUnavailable(Unavailable):
    code = "engine_unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    said = "the database does not answer; nothing was lost, try again in a few seconds"


class RowsUnguarded(Unavailable):
    code = "rows_unguarded"
    said = (
        "nobody is served while the platform's database role sees every owner's rows: its operator has to give "
        "DATABASE_URL a role that is no superuser and has no BYPASSRLS"
    )


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"
    said = "the object store does not answer; try again in a few seconds"


class BadMedia(EscribaError):
    code = "media_unreadable"


class EmptyMedia(BadMedia):
    code = "media_empty"


class UnsupportedMedia(BadMedia):
    code = "media_unsupported"


class NoAudio(BadMedia):
    code = "media_no_audio"


class MediaTooLong(BadMedia):
    code = "media_too_long"


class MediaOutOfLimits(BadMedia):
    code = "media_out_of_limits"


class EngineFailed(EscribaError):
    code = "engine_failed"

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(keepable(message))  # may quote what the engine said
        self.retryable = retryable


class EngineBusy(EngineFailed):
    code = "engine_busy"


class EngineCrashed(EngineFailed):
    code = "engine_crashed"


class EngineOutOfMemory(EngineFailed):
    code = "engine_oom"


class EngineSilent(EngineFailed):
    code = "engine_silent"


class ModelMissing(EngineFailed):
    code = "model_missing"


class DeadlinePassed(EscribaError):
    code = "deadline"
    said = "the attempt took longer than a recording of this length may; try a faster engine or model"


class BadSettings(EscribaError):
    code = "bad_settings"
