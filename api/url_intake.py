"""The native submissions: a recording that is sent, or the URL that it is to be fetched from."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from pydantic import Field

from api.forms import LONGEST_FILENAME, AnyEngineForm, AsrForm, SubmitForm, WhisperXForm
from api.intake import Intake, accepted
from api.json_bodies import is_json, read_json
from api.schemas import JobAccepted
from api.uploads import Form
from domain import errors
from services import submission

LINK_FIELD = "audio_url"


class UrlForm(SubmitForm):
    audio_url: str | None = Field(
        default=None,
        repr=False,
        description="Instead of `file`: where the recording is to be fetched from, https://… on the public internet.",
        examples=["https://example.com/visit.mp3"],
    )
    filename: str | None = Field(
        default=None, max_length=LONGEST_FILENAME, description="What to call it; a file's own name where left out."
    )


class AsrUrlForm(UrlForm, AsrForm): ...


class WhisperXUrlForm(UrlForm, WhisperXForm): ...


class AnyEngineUrlForm(UrlForm, AnyEngineForm): ...


class UrlIntake(Intake):
    async def take(self, kind: type[SubmitForm]) -> JobAccepted:
        """A form with a recording; or a form, or a JSON object, that says where it is to be fetched from."""
        if is_json(self._request):
            return await self._take_link(kind, await read_json(self._request))
        form = await self._begin(may_lack_file=True)
        return await (self._take_file(kind, form) if form.has_file else self._take_link(kind, form.fields))

    async def _take_file(self, kind: type[SubmitForm], form: Form) -> JobAccepted:
        _refuse_both(form.before_file)
        return await super()._take_file(kind, form)

    def _name(self, form: Form) -> str | None:
        _refuse_both(form.fields)
        said = form.fields.get("filename")
        return said if said and isinstance(said, str) else form.filename

    async def _take_link(self, kind: type[SubmitForm], fields: Mapping[str, Any]) -> JobAccepted:
        if not fields.get(LINK_FIELD):
            raise errors.MissingFile
        wanted = self._read(kind, fields)
        link = submission.link(self._platform, fields[LINK_FIELD])
        receipt = await self._submit(wanted, link, filename=fields.get("filename"), key=self._key, approved=None)
        return accepted(receipt, self._response)


def _refuse_both(fields: Mapping[str, Any]) -> None:
    if fields.get(LINK_FIELD):
        raise errors.Invalid("one recording a job: send it as 'file', or its audio_url, and not both", field=LINK_FIELD)


UrlIntakeDep = Annotated[UrlIntake, Depends()]


def openapi_body(form: type[UrlForm]) -> dict[str, Any]:
    """The request body as OpenAPI sees it: the routes read it from the socket themselves."""
    properties = form.model_json_schema()["properties"]
    file = {"file": {"type": "string", "format": "binary", "description": "The recording."}}
    either = [{"required": ["file"]}, {"required": [LINK_FIELD]}]
    sent = {"type": "object", "properties": {**file, **properties}, "oneOf": either}
    fetched = {"type": "object", "properties": properties, "required": [LINK_FIELD]}
    content = {"multipart/form-data": {"schema": sent}, "application/json": {"schema": fetched}}
    return {"requestBody": {"required": True, "content": content}}
