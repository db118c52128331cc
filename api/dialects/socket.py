"""The socket dialect: jobs are submitted and read over HTTP, and followed over a WebSocket.

Its jobs are the platform's: the native API reads, follows and ends them, and this one those of the native API.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response, WebSocket
from starlette.requests import HTTPConnection

from api import forms
from api.dependencies import CallerDep, HubDep, PlatformDep
from api.dialects import socket_views as views
from api.dialects.socket_conversation import Connections, converse
from api.dialects.socket_form import SocketForm, SocketIntakeDep
from api.errors import documented
from api.schemas import Cancelled
from domain import account_errors, errors
from domain.lifecycle import JobState
from services import ending, queueing, reading

router = APIRouter(tags=["socket"])


async def get_connections(connection: HTTPConnection) -> Connections:
    connections: Connections = connection.app.state.connections
    return connections


ConnectionsDep = Annotated[Connections, Depends(get_connections)]


@router.post(
    "/transcribe-job",
    responses=documented(
        errors.MalformedUpload, errors.MissingFile, errors.Invalid, errors.UnknownModel, errors.UnsupportedLanguage,
        errors.EmptyMedia, errors.TooLarge, errors.EngineUnavailable, errors.StorageUnavailable,
        account_errors.QuotaExceeded,
    ),
    openapi_extra=forms.openapi_body(SocketForm),
)  # fmt: skip
async def submit(
    request: Request, intake: SocketIntakeDep, platform: PlatformDep, caller: CallerDep
) -> views.JobQueued:
    """Queue a recording. 200, as this dialect's clients know it, says what 202 says elsewhere: it is on disk."""
    accepted = await intake.take_job()
    outlook = await queueing.outlook(platform, caller, accepted.job_id)
    return views.JobQueued(
        job_id=accepted.job_id,
        websocket_url=_websocket_url(request, accepted.job_id),
        estimated_processing_time=views.seconds(outlook.work_seconds),
        queue_position=outlook.position,
    )


def _websocket_url(request: Request, job_id: UUID) -> str:
    """At the address that the caller used. A proxy's word for TLS is enough: whoever forges it misleads nobody else."""
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").lower())
    url = request.url.replace(scheme="wss" if secure else "ws", path=f"/ws/transcription/{job_id}", query="")
    return str(url)


@router.get(
    "/job/{job_id}",
    response_model=views.JobView,
    responses=documented(errors.JobNotFound, errors.StorageUnavailable),
)
async def job(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> Response:
    """Where a job stands, and of a completed one the result."""
    status = await reading.status(platform, caller, job_id)
    view = views.JobView.of(status, await queueing.outlook(platform, caller, job_id))
    result = "null"
    if status.job.state == JobState.COMPLETED:
        result = await views.result_json(platform, caller, job_id)
    body = views.with_raw(view.model_dump(mode="json", exclude={"result"}), "result", result)
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.delete("/job/{job_id}", responses=documented(errors.JobNotFound, errors.AlreadyFinished))
async def cancel(job_id: UUID, platform: PlatformDep, caller: CallerDep) -> Cancelled:
    """Cancel a job that has not ended; asking twice changes nothing. Its followers are told, as an `error`."""
    return Cancelled.of(await ending.cancel(platform, caller, job_id))


@router.get("/queue/info", responses=documented(errors.DatabaseUnavailable))
async def queue_info(platform: PlatformDep, caller: CallerDep, connections: ConnectionsDep) -> views.QueueInfo:
    """Your part of the line, and your connections; all of both where you are an administrator."""
    line = await queueing.line(platform, caller)
    return views.QueueInfo(queue=views.QueueCounts.of(line), websockets=connections.seen_by(caller))


@router.websocket("/ws/transcription/{job_id}")
async def follow(
    websocket: WebSocket,
    job_id: str,
    platform: PlatformDep,
    hub: HubDep,
    connections: ConnectionsDep,
    ticket: str | None = None,
) -> None:
    """Follow a job to its end, however many do; `ticket` as for the native stream."""
    await converse(websocket, job_id, platform=platform, hub=hub, connections=connections, ticket=ticket)
