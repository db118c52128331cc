"""What the submit routes share: a form read from the socket, an Idempotency-Key, and the answer."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response

from api import forms
from api.dependencies import CallerDep, PlatformDep
from api.observing import template_of
from api.schemas import JobAccepted
from api.uploads import NOTHING_REPEATS, Form, Repeating
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
        return await self._take_file(kind, await self._begin())

    async def _take_file(self, kind: type[forms.SubmitForm], form: Form) -> JobAccepted:
        """Refuse early what the fields before the file already rule out; then store, then look at all the fields."""
        approved = None
        if form.before_file and not await self._is_known():
            approved = await self._check_early(kind, form.before_file)
        kept = await self._store(form)
        async with submission.discarding(self._platform, self._caller, kept):
            wanted = self._read(kind, form.fields)
            name = self._name(form)
            receipt = await self._submit(wanted, kept, filename=name, key=self._key, approved=approved)
        return accepted(receipt, self._response)

    async def _submit(
        self,
        wanted: submission.Submission,
        recording: submission.Recording,
        *,
        filename: str | None,
        key: once.Key | None,
        approved: submission.Approved | None,
        request: str | None = None,
    ) -> submission.Receipt:
        receipt = await submission.submit(
            self._platform,
            self._caller,
            wanted,
            recording,
            filename=forms.bare_name(filename),
            key=key,
            approved=approved,
            request=request,
        )
        telemetry.note(job_id=str(receipt.job_id))
        traces.link(receipt.job_id)
        return receipt

    def _name(self, form: Form) -> str | None:
        """What to call a recording that is sent."""
        return form.filename

    async def _begin(self, repeating: Repeating = NOTHING_REPEATS, *, may_lack_file: bool = False) -> Form:
        """The form, read up to its file. Raises MissingFile where there is none, if it may not be so."""
        limit = self._platform.settings.api.max_file_size_bytes
        form = Form(self._request, largest_file_bytes=limit, repeating=repeating)
        await form.read_up_to_file()
        if not form.has_file and not may_lack_file:
            raise errors.MissingFile
        return form

    async def _store(self, form: Form) -> submission.Kept:
        kept = await submission.keep(self._platform, self._caller, form.media())
        metrics.UPLOADED_BYTES.labels(template_of(self._request.scope)).inc(kept.stored.size_bytes)
        return kept

    async def _is_known(self) -> bool:
        return self._key is not None and await once.is_known(self._platform, self._caller, self._key)

    def _read(self, kind: type[forms.SubmitForm], fields: Mapping[str, Any]) -> submission.Submission:
        return kind.read(fields).submission(self._platform.settings.engines.default_engine)

    async def _check_early(self, kind: type[forms.SubmitForm], fields: Mapping[str, Any]) -> submission.Approved | None:
        """None where a field behind the file may yet put right what is wrong: another engine, a wish for warnings."""
        try:
            return await submission.check(self._platform, self._caller, self._read(kind, fields))
        except (errors.UnsupportedOption, errors.EngineUnavailable):
            if (kind.engine_name or "engine" in fields) and "on_unsupported" in fields:
                raise
            return None


IntakeDep = Annotated[Intake, Depends()]
