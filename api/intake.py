"""What the submit routes share: a form read from the socket, an Idempotency-Key, and the answer."""

from typing import Annotated

from fastapi import Depends, Header, Request, Response

from api import forms
from api.dependencies import CallerDep, PlatformDep
from api.observing import template_of
from api.schemas import JobAccepted
from api.uploads import NOTHING_REPEATS, Fields, Form, Repeating
from config import metrics, telemetry, traces
from domain import errors
from services import once, submission


async def get_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Send the same key again after an answer that was lost: it makes no second job, and gets the "
            "first answer again for seven days."
        ),
    ] = None,
) -> once.Key | None:
    return None if idempotency_key is None else once.Key.parse(idempotency_key)


KeyDep = Annotated[once.Key | None, Depends(get_key)]


def accepted(receipt: submission.Receipt, response: Response) -> JobAccepted:
    if receipt.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return JobAccepted.of(receipt)


class Intake:
    """One submission by form, whose fields `kind` reads."""

    def __init__(
        self, request: Request, response: Response, platform: PlatformDep, caller: CallerDep, key: KeyDep
    ) -> None:
        self._request, self._response = request, response
        self._platform, self._caller, self._key = platform, caller, key

    async def take(self, kind: type[forms.SubmitForm]) -> JobAccepted:
        """Refuse early what the fields before the file already rule out; then store, then look at all the fields."""
        form = await self._begin()
        approved = None
        if form.before_file and not await self._is_known():
            approved = await self._check_early(kind, form.before_file)
        kept = await self._store(form)
        async with submission.discarding(self._platform, self._caller, kept):
            wanted = self._read(kind, form.fields)
            receipt = await self._submit(wanted, kept, form, key=self._key, approved=approved)
        return accepted(receipt, self._response)

    async def _submit(
        self,
        wanted: submission.Submission,
        kept: submission.Kept,
        form: Form,
        *,
        key: once.Key | None,
        approved: submission.Approved | None,
        request: str | None = None,
    ) -> submission.Receipt:
        receipt = await submission.submit(
            self._platform,
            self._caller,
            wanted,
            kept,
            filename=forms.bare_name(form.filename),
            key=key,
            approved=approved,
            request=request,
        )
        telemetry.note(job_id=str(receipt.job_id))
        traces.link(receipt.job_id)
        return receipt

    async def _begin(self, repeating: Repeating = NOTHING_REPEATS) -> Form:
        """The form, read up to its file."""
        limit = self._platform.settings.api.max_file_size_bytes
        form = Form(self._request, largest_file_bytes=limit, repeating=repeating)
        await form.read_up_to_file()
        return form

    async def _store(self, form: Form) -> submission.Kept:
        kept = await submission.keep(self._platform, self._caller, form.media())
        metrics.UPLOADED_BYTES.labels(template_of(self._request.scope)).inc(kept.stored.size_bytes)
        return kept

    async def _is_known(self) -> bool:
        return self._key is not None and await once.is_known(self._platform, self._caller, self._key)

    def _read(self, kind: type[forms.SubmitForm], fields: Fields) -> submission.Submission:
        return kind.read(fields).submission(self._platform.settings.engines.default_engine)

    async def _check_early(self, kind: type[forms.SubmitForm], fields: Fields) -> submission.Approved | None:
        """None where a field behind the file may yet put right what is wrong: another engine, a wish for warnings."""
        try:
            return await submission.check(self._platform, self._caller, self._read(kind, fields))
        except (errors.UnsupportedOption, errors.EngineUnavailable):
            if (kind.engine_name or "engine" in fields) and "on_unsupported" in fields:
                raise
            return None


IntakeDep = Annotated[Intake, Depends()]
