"""What can be wrong with a request by message, as branches of the tree of `domain.errors`.

BadRequestMessage           bad_request_message         (Invalid)
AudioFilesOff               audio_files_off             (Forbidden)
AudioFileRefused            audio_file_refused          (Forbidden) its path leads out of what is served
AudioFileNotFound           audio_file_not_found        (NotFound)
RequestErased               request_erased              (NotFound) while it waited for its next try
BrokerUnavailable           broker_unavailable          (Unavailable) ends the start of the door
"""

from domain.errors import Forbidden, Invalid, NotFound, Unavailable


class BadRequestMessage(Invalid):
    """`why` is said of the message."""

    code = "bad_request_message"

    def __init__(self, why: str) -> None:
        super().__init__(f"this message is no request: {why}")


class AudioFilesOff(Forbidden):
    code = "audio_files_off"
    said = "no folder is served by path here; set AUDIO_FILE_ROOTS to those that may be read"


class AudioFileRefused(Forbidden):
    code = "audio_file_refused"
    said = "audio_file_path is not an absolute path, without .., below a folder of AUDIO_FILE_ROOTS"


class AudioFileNotFound(NotFound):
    code = "audio_file_not_found"
    said = "Audio file not found: audio_file_path names no regular file that can be read; links are not followed"


class RequestErased(NotFound):
    code = "request_erased"
    said = "the job of the try before was erased, so the request is not tried again"


class BrokerUnavailable(Unavailable):
    code = "broker_unavailable"

    def __init__(self, tries: int, why: str) -> None:
        super().__init__(
            f"RabbitMQ could not be reached in {tries} tries ({why}); see that it runs and that RABBITMQ_URL is its own"
        )
