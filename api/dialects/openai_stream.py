"""A transcript as OpenAI's clients hear it come: `stream=true`.

They go by the `type` in the data, and take one that they do not know for one that they do: nothing else is ever said.
"""

import json
import logging
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from sse_starlette import ServerSentEvent

from api.dialects import openai_views as views
from api.dialects.openai_errors import status_of_job, type_of
from api.dialects.openai_form import OpenAIForm
from api.dialects.words import Delta, Place, as_heard, why_ended
from api.errors import status_of
from domain import account_errors, errors
from domain.access import Caller
from domain.lifecycle import JobState
from services import reading
from services.following import Told
from services.platform import Platform

log = logging.getLogger(__name__)

DONE = ServerSentEvent("[DONE]")


async def told(
    platform: Platform, caller: Caller, job_id: UUID, events: AsyncGenerator[Told], form: OpenAIForm
) -> AsyncGenerator[ServerSentEvent]:
    """Each word once and in order, then the end: together they are the text."""
    text = ""
    try:
        async for said, _ in as_heard(events, Place()):
            if isinstance(said, Delta):
                text += said.text
                yield _event("transcript.text.delta", delta=said.text)
            elif said.status != JobState.COMPLETED:
                code, message = why_ended(said)
                yield _failed(status_of_job(code), code, message)
                return
            else:
                async for event in _end(await reading.result(platform, caller, job_id), text, form):
                    yield event
                return
        await reading.find(platform, caller, job_id)  # raises where the job was erased
        raise account_errors.BadToken
    except errors.EscribaError as error:
        log.warning("the end of job %s could not be told: %s", job_id, error.code)
        yield _failed(status_of(error), error.code, str(error))


async def _end(found: reading.Result, text: str, form: OpenAIForm) -> AsyncGenerator[ServerSentEvent]:
    whole = found.heard.text
    if whole.startswith(text) and whole != text:  # what was told last may have been lost on the way
        yield _event("transcript.text.delta", delta=whole[len(text) :])
    if form.tells_speakers:
        for segment in views.speaker_segments(found):
            yield _event(**segment)
    about = views.logprobs(found.heard.segments) if form.include else {}
    # Speakers may part a segment where nobody left a blank.
    same = "".join(text.split()) == "".join(whole.split())
    end = {"text": text if same else whole, "languages": views.languages(found), "usage": views.usage(found)}
    yield _event("transcript.text.done", **end, **about, job_id=str(found.job.id))
    yield DONE


def _failed(status: int, code: str, message: str) -> ServerSentEvent:
    return _event("error", error={"message": message, "type": type_of(status), "param": None, "code": code})


def _event(type: str, **data: Any) -> ServerSentEvent:  # noqa: A002  # its name in the data
    return ServerSentEvent(json.dumps({"type": type, **data}))
