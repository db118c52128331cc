"""What can go wrong with recordings that wait to be run, and with videos: a branch of the tree in `domain.errors`.

EscribaError                    internal
├── NotFound                    not_found
│   ├── VideoNotFound           video_not_found
│   └── AudioDeleted            audio_deleted
│       └── VideoDeleted        video_deleted
└── Refused                     refused
    ├── NotRun                  not_run               its recording waits, or is still to come
    ├── NotPending              not_pending
    ├── UploadUnfinished        upload_unfinished
    ├── VideoNotReady           video_not_ready
    ├── VideoFailed             video_failed
    └── TooManyVideos           too_many_videos
"""

from domain.errors import AudioDeleted, NotFound, Refused


class VideoNotFound(NotFound):
    code = "video_not_found"
    said = "the job has no such video; ask for one with POST /api/transcribe/jobs/JOB_ID/videos"


class VideoDeleted(AudioDeleted):
    code = "video_deleted"
    said = "the video has been deleted along with its recording, as the retention time says; the transcript may remain"


class NotRun(Refused):
    code = "not_run"
    said = "the job is pending, so nothing was heard yet: run it (POST /jobs/JOB_ID/run), or finish its upload"


class NotPending(Refused):
    code = "not_pending"

    def __init__(self, state: str) -> None:
        super().__init__(f"the job is {state}, so it does not wait to be run; send the recording again for another")


class UploadUnfinished(Refused):
    code = "upload_unfinished"
    said = "the recording is not there to its end: finish its upload first"


class VideoNotReady(Refused):
    code = "video_not_ready"

    def __init__(self, state: str) -> None:
        super().__init__(f"the video is {state}; ask again later")


class VideoFailed(Refused):
    code = "video_failed"

    def __init__(self, reason: str | None) -> None:
        super().__init__(f"the video could not be made: {reason}" if reason else "the video could not be made")


class TooManyVideos(Refused):
    code = "too_many_videos"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the job has {limit} videos, which is the limit; take one of these")
