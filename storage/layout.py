"""Where objects lie. Keys are made here and nowhere else, from ids only: never from what a caller wrote."""

from uuid import UUID

ROOT = "o/"


def job_prefix(owner: str, job_id: UUID) -> str:
    return f"{ROOT}{owner}/j/{job_id}/"


def source(owner: str, job_id: UUID) -> str:
    return f"{job_prefix(owner, job_id)}source"


def fetched(owner: str, job_id: UUID, fence: int) -> str:
    """A recording that a worker has brought in. With its fence, so that one that lost its lease overwrites nothing."""
    return f"{job_prefix(owner, job_id)}fetched/{fence}"


def result(owner: str, job_id: UUID, fence: int) -> str:
    """The fence is in the key, so a worker that lost its lease overwrites nobody's result."""
    return f"{job_prefix(owner, job_id)}result/{fence}.json.zst"


def text_beside(result_key: str) -> str:
    """The plain text of a result, for who reads objects and not our API."""
    return f"{result_key.removesuffix('.json.zst')}.txt"


def result_beside(text_key: str) -> str:
    return f"{text_key.removesuffix('.txt')}.json.zst"


def video(owner: str, job_id: UUID, video_id: UUID, fence: int) -> str:
    """The fence is in the key, as of a result."""
    return f"{videos_prefix(owner, job_id)}{video_id}/{fence}.mp4"


def videos_prefix(owner: str, job_id: UUID) -> str:
    return f"{job_prefix(owner, job_id)}video/"


def stage(owner: str, job_id: UUID, stage: str, fence: int) -> str:
    """What a try reached after a stage; fence 0: given by the job that this one goes on from."""
    return f"{stages_prefix(owner, job_id)}{stage}/{fence}.json.zst"


def stages_prefix(owner: str, job_id: UUID) -> str:
    return f"{job_prefix(owner, job_id)}stage/"


def stage_of(key: str) -> str | None:
    """The stage whose output an object is, or None where it is something else."""
    parts = key.split("/")
    return parts[5] if len(parts) == 7 and parts[4] == "stage" else None


def job_of(key: str) -> UUID | None:
    """The job that an object belongs to, or None where the key is not of this layout."""
    parts = key.split("/")
    if len(parts) < 5 or parts[0] != "o" or parts[2] != "j":
        return None
    try:
        return UUID(parts[3])
    except ValueError:
        return None
