"""A submission as OpenAI's clients make it: one job, however often their library sends it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import ClientDisconnect

from api.dialects.openai_form import REPEATING, OpenAIForm
from api.dialects.openai_models import settle
from api.intake import Intake
from api.uploads import Form
from domain.capabilities import AUTO
from domain.errors import Invalid, UnsupportedOption
from domain.lanes import Lane
from services import engine_reports, once, submission
from services.submission import Approved, Kept, Receipt, Submission

TRIES = re.compile(r"\d{1,3}", re.ASCII)
SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
LONGEST_PATIENCE = timedelta(days=1)

NAMES = {
    "options.initial_prompt": ("prompt",),
    "keywords": ("keywords[]", "hotwords[]"),
    "enable_diarization": ("enable_diarization", "diarize"),
    "options.task": ("translation",),
}
"""Of options, as these clients may know them; the first where they have said none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A job, and how its answer is to look."""

    job_id: UUID
    form: OpenAIForm


class OpenAIIntake(Intake):
    """OpenAI's library sends a request again, up to twice, where no answer came: with the whole file, and no key.

    It counts the tries. The first makes a job, always; a later one meets the job that a request for the same recording
    with the same words has made lately, running or ended. What is remembered is a row like an Idempotency-Key's.
    """

    async def take_in(self, kind: type[OpenAIForm]) -> Asked:
        """Raises what submitting raises; ModelNotFound; ClientDisconnect where nobody waits any more for a job that
        does not exist yet.
        """
        form = await self._begin(REPEATING)
        with _in_their_words(form):
            approved = await self._check_what_came(kind, form)
            kept = await self._store(form)
            async with submission.discarding(self._platform, self._caller, kept):
                asked = kind.read(form.fields)
                asked.refuse_contradictions()
                if await self._request.is_disconnected():
                    await submission.discard(self._platform, self._caller, kept)
                    raise ClientDisconnect
                receipt = await self._submit_once(asked, kept, form, approved)
        return Asked(receipt.job_id, asked)

    async def _check_what_came(self, kind: type[OpenAIForm], form: Form) -> Approved | None:
        """Before the file, where that comes last, as OpenAI's library for Python sends it."""
        headers = self._request.headers
        if headers.get("x-stainless-lang") != "python" or self._tries or await self._is_known():
            return None
        asked = kind.read(form.before_file)
        asked.refuse_contradictions()
        return await submission.check(self._platform, self._caller, await self._wanted(asked))

    async def _wanted(self, asked: OpenAIForm) -> Submission:
        settings = self._platform.settings.engines
        wanted = asked.submission(settings.default_engine)
        reports = await engine_reports.known(self._platform)
        settled = settle(wanted.options, reports, offline=settings.offline)
        if asked.engine not in (None, AUTO, settled.engine):
            raise Invalid(
                f"the model {asked.model!r} is {settled.engine}'s, not {asked.engine}'s: leave engine out",
                field="engine",
            )
        name, diarizes = asked.diarization
        if diarizes is False and settled.enable_diarization:
            raise Invalid("this model tells speakers apart: take another", field=name)
        return replace(wanted, options=settled, lane=wanted.lane or self._lane)

    @property
    def _lane(self) -> Lane:
        """Somebody waits for the answer with their connection open."""
        return Lane.INTERACTIVE if submission.may_take(self._caller, Lane.INTERACTIVE) else Lane.NORMAL

    async def _submit_once(self, asked: OpenAIForm, kept: Kept, form: Form, approved: Approved | None) -> Receipt:
        # Not what becomes of the words: engines may have come and gone since the first try.
        content = once.fingerprint(recording=kept.stored.sha256, asked=asked.as_said())
        return await self._submit(
            await self._wanted(asked),
            kept,
            filename=form.filename,
            key=self._key or self._key_of(content),
            approved=approved,
            request=content,
        )

    @property
    def _tries(self) -> int | None:
        """How often this was sent before; None where the client does not say."""
        said = self._request.headers.get("x-stainless-retry-count", "")
        return int(said) if TRIES.fullmatch(said) else None

    def _key_of(self, content: str) -> once.Key | None:
        if self._tries is None:
            return None
        window = timedelta(seconds=self._platform.settings.openai.retry_window_seconds)
        return once.Key(content, lasts=window + self._tries * self._patience if self._tries else timedelta(0))

    @property
    def _patience(self) -> timedelta:
        """How long the client waits for an answer before it tries again, as it says itself."""
        said = SECONDS.fullmatch(self._request.headers.get("x-stainless-read-timeout", ""))
        return min(timedelta(seconds=float(said[0])), LONGEST_PATIENCE) if said else timedelta(0)


OpenAIIntakeDep = Annotated[OpenAIIntake, Depends()]


@contextmanager
def _in_their_words(form: Form) -> Iterator[None]:
    try:
        yield
    except UnsupportedOption as error:
        names = NAMES.get(error.field or "", (error.field or "",))
        raise error.of(next((name for name in names if form.fields.get(name)), names[0])) from error
