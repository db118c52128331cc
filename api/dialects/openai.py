"""The OpenAI dialect: `/v1/audio/transcriptions` and what belongs to it, for clients that know nothing else.

An answer waits for the end of a job that is the platform's like any other: it goes on when the client leaves, and what
it hears can be read, corrected and erased by its id, which every answer has as `x-escriba-job-id`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from api import forms
from api.dependencies import CallerDep, HubDep, PlatformDep, while_allowed
from api.dialects import openai_models as models
from api.dialects import openai_stream, openai_views
from api.dialects.openai_errors import PREFIX, status_of_job
from api.dialects.openai_form import OpenAIForm, TranslationForm
from api.dialects.openai_intake import Asked, OpenAIIntake, OpenAIIntakeDep
from api.dialects.words import why_ended
from api.errors import Responses, documented, render
from api.event_streams import streamed
from domain import account_errors, errors
from domain.access import Caller
from domain.events import Event
from domain.lifecycle import JobState
from services import engine_reports, following, reading
from services.following import Hub, Told
from services.platform import Platform

router = APIRouter(prefix=PREFIX, tags=["openai"])

NOBODY_WAITS = Response(status_code=499)
"""Sent to nobody: the client has gone."""

JOB_ID = "x-escriba-job-id"

TEXT: dict[str, Any] = {"schema": {"type": "string"}}
KINDS_OF_TEXT = (*openai_views.MEDIA_TYPES.values(), "text/event-stream")
TRANSCRIPT = {"application/json": {"schema": {"type": "object"}}, **dict.fromkeys(KINDS_OF_TEXT, TEXT)}
RESPONSES: Responses = {
    200: {"description": "In the format asked for.", "content": TRANSCRIPT},
    **documented(
        errors.MalformedUpload, errors.MissingFile, errors.UnsupportedOption, errors.UnsupportedLanguage,
        errors.BadMedia, errors.ModelNotFound, errors.JobNotFound, errors.TooLarge, errors.EngineFailed,
        errors.EngineUnavailable, errors.StorageUnavailable, account_errors.QuotaExceeded,
    ),
}  # fmt: skip


@router.post(
    "/audio/transcriptions", response_class=Response, responses=RESPONSES, openapi_extra=forms.openapi_body(OpenAIForm)
)
async def transcriptions(
    request: Request, intake: OpenAIIntakeDep, platform: PlatformDep, caller: CallerDep, hub: HubDep
) -> Response:
    """The transcript of a recording, in the format asked for; with `stream=true` word by word."""
    return await _answer(request, intake, OpenAIForm, platform, caller, hub)


@router.post(
    "/audio/translations",
    response_class=Response,
    responses=RESPONSES,
    openapi_extra=forms.openapi_body(TranslationForm),
)
async def translations(
    request: Request, intake: OpenAIIntakeDep, platform: PlatformDep, caller: CallerDep, hub: HubDep
) -> Response:
    """What is said in a recording, in English, by an engine that translates."""
    return await _answer(request, intake, TranslationForm, platform, caller, hub)


@router.get("/models")
async def list_models(_: CallerDep, platform: PlatformDep) -> models.ModelList:
    """What can be named as `model` now."""
    return models.ModelList(data=list(models.listed(await engine_reports.known(platform)).values()))


@router.get("/models/{model:path}", responses=documented(errors.ModelNotFound))
async def get_model(model: str, _: CallerDep, platform: PlatformDep) -> models.ModelView:
    found = models.listed(await engine_reports.known(platform))
    if model not in found:
        raise errors.ModelNotFound(model, list(found))
    return found[model]


async def _answer(
    request: Request, intake: OpenAIIntake, kind: type[OpenAIForm], platform: Platform, caller: Caller, hub: Hub
) -> Response:
    try:
        asked = await intake.take_in(kind)
        events = await following.open_stream(platform, hub, caller, asked.job_id, None)
        assert events is not None, "only a client that knows the end already has nothing to be told"
        allowed = while_allowed(request, caller, events)
        if asked.form.stream:
            told = openai_stream.told(platform, caller, asked.job_id, allowed, asked.form)
            return streamed(told, {JOB_ID: str(asked.job_id)})
        return await _whole(platform, caller, asked, await _end_of(request, allowed))
    except ClientDisconnect:
        return NOBODY_WAITS


async def _whole(platform: Platform, caller: Caller, asked: Asked, end: Event | None) -> Response:
    """Raises JobNotFound, BadToken where nobody may see the end."""
    headers = {JOB_ID: str(asked.job_id), "Cache-Control": "no-store"}
    if end is None:
        await reading.find(platform, caller, asked.job_id)  # raises where the job was erased
        raise account_errors.BadToken
    if end.status != JobState.COMPLETED:
        code, message = why_ended(end)
        return render(status_of_job(code), code, message, headers=headers)
    found = await reading.result(platform, caller, asked.job_id)
    body = await asyncio.to_thread(openai_views.rendered, found, asked.form)
    media_type = openai_views.MEDIA_TYPES.get(asked.form.response_format, "application/json")
    return Response(body, media_type=media_type, headers=headers)


async def _end_of(request: Request, events: AsyncGenerator[Told]) -> Event | None:
    """None where the events end before the job. Raises ClientDisconnect where the client does not wait for it."""
    waiting, leaving = asyncio.create_task(_last(events)), asyncio.create_task(_leave(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        return waiting.result()
    finally:
        waiting.cancel()
        leaving.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)


async def _last(events: AsyncGenerator[Told]) -> Event | None:
    async with aclosing(events):
        async for event, _ in events:
            if event.terminal:
                return event
    return None


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
