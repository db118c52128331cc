"""What can go wrong with how a recording comes in, where it is not sent: a branch of the tree in `domain.errors`.

EscribaError                    internal
├── Invalid                     invalid_request
│   ├── BatchRefused            batch_refused         for some of its items
│   ├── AudioUrlRefused         audio_url_refused     by its spelling, or by where it leads
│   └── WrongPartSize           wrong_part_size       of an upload in parts
├── TooLarge                    file_too_large
│   └── AudioUrlTooLarge        audio_url_too_large
├── Unavailable                 unavailable
│   └── AudioUrlUnreachable     audio_url_unreachable  for now; it is tried again
├── NotFound                    not_found
│   ├── UploadNotFound          upload_not_found
│   └── BatchNotFound           batch_not_found
├── Refused                     refused
│   ├── TooManyUploads          too_many_uploads
│   ├── PartsMissing            parts_missing         of an upload that is to be completed
│   └── AudioNotThere           audio_not_there       it has not been fetched, or not been uploaded to its end
└── BadMedia                    media_unreadable
    ├── RecordingChanged        recording_changed     the store has other bytes than were sent
    ├── AudioUrlTooSlow         audio_url_too_slow
    └── AudioUrlNotServed       audio_url_not_served  its server answers, but with no recording
        └── AudioUrlRedirects   audio_url_redirects
"""

from collections.abc import Mapping, Sequence

from domain.errors import BadMedia, EscribaError, Invalid, NotFound, Refused, TooLarge, Unavailable

MOST_NAMED = 20


class AudioUrlRefused(Invalid):
    """`why` is said of the URL; it never repeats it."""

    code = "audio_url_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"this audio_url is not fetched: {why}", field="audio_url")


class BatchRefused(Invalid):
    """`items` are those that are wrong, by their place from 0, and what is wrong with each."""

    code = "batch_refused"

    def __init__(self, items: Mapping[int, EscribaError]) -> None:
        index, first = next(iter(items.items()))
        super().__init__(
            f"nothing was queued, as {len(items)} of the items are wrong; the first, items[{index}]: {first}",
            field=f"items[{index}]",
        )
        self.items = items


class WrongPartSize(Invalid):
    code = "wrong_part_size"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"this part has {size_bytes:,} bytes, and not as many as were sent; cut the file by `part_size`"
        )


class AudioUrlTooLarge(TooLarge):
    code = "audio_url_too_large"


class AudioUrlUnreachable(Unavailable):
    code = "audio_url_unreachable"

    def __init__(self, why: str) -> None:
        super().__init__(f"the audio_url cannot be fetched now: {why}")


class UploadNotFound(NotFound):
    code = "upload_not_found"
    said = "there is no such upload; this job's recording came another way"


class BatchNotFound(NotFound):
    code = "batch_not_found"
    said = "there is no such batch, or all of its jobs have been deleted"


class TooManyUploads(Refused):
    code = "too_many_uploads"

    def __init__(self, limit: int) -> None:
        super().__init__(f"you have {limit} uploads that have not ended, which is the limit; end one first")


class PartsMissing(Refused):
    code = "parts_missing"

    def __init__(self, numbers: Sequence[int]) -> None:
        first = ", ".join(map(str, numbers[:MOST_NAMED])) + (" …" if len(numbers) > MOST_NAMED else "")
        super().__init__(
            f"{len(numbers)} parts are missing, or have another size: {first}; get the upload for their URLs"
        )


class AudioNotThere(Refused):
    code = "audio_not_there"
    said = "the recording has not come yet; follow the job's stream, or ask again later"


class RecordingChanged(BadMedia):
    code = "recording_changed"
    said = "the recording that was stored has another sha256 than was said of it; compute it anew and send both again"


class AudioUrlTooSlow(BadMedia):
    code = "audio_url_too_slow"

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"the audio_url's server took over {limit_seconds:,.0f} s; fetch the recording and upload it")


class AudioUrlNotServed(BadMedia):
    code = "audio_url_not_served"

    def __init__(self, status: int, advice: str = "check that it opens without a log-in") -> None:
        super().__init__(f"the audio_url's server answered {status}: {advice}")


class AudioUrlRedirects(AudioUrlNotServed):
    code = "audio_url_redirects"

    def __init__(self, status: int) -> None:
        super().__init__(status, "redirects are not followed, so send the URL that it leads to")
