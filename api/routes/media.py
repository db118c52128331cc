"""Signed links of a local store, to recordings and to parts of them. The link itself is the permission, and expires."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect

from api import ranges
from api.dependencies import PlatformDep
from api.errors import documented
from domain import errors
from domain.intake_errors import WrongPartSize
from services.platform import Platform
from storage.local import LocalStore

router = APIRouter(tags=["media"])


@router.get(
    "/media/{token}",
    response_class=Response,
    responses=ranges.SERVED
    | documented(errors.BadLink, errors.RangeNotSatisfiable, errors.ObjectNotFound, errors.StorageUnavailable),
)
async def media(token: str, platform: PlatformDep, range: Annotated[str | None, Header()] = None) -> Response:  # noqa: A002
    """The recording that a link was made for, in whole or by range."""
    store = _local(platform)
    link = store.verify_link(token)
    size = await store.size(link.key)
    return await ranges.serve(
        store, link.key, size=size, content_type=link.content_type, wanted=range, filename=link.filename
    )


@router.put(
    "/media/{token}",
    response_class=Response,
    responses=documented(errors.BadLink, errors.ObjectNotFound, WrongPartSize, errors.StorageUnavailable),
)
async def put_part(token: str, request: Request, platform: PlatformDep) -> Response:
    """A part of a recording, where an upload said that it goes."""
    store = _local(platform)
    await store.put_part(store.verify_part_link(token), _body(request))
    return Response()


def _local(platform: Platform) -> LocalStore:
    if not isinstance(platform.store, LocalStore):
        raise errors.NotFound("recordings are served by the object store here")
    return platform.store


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise errors.MalformedUpload("the part broke off before its end") from error
