"""Signed links to recordings in a local store. The link itself is the permission, and expires."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from api import ranges
from api.dependencies import PlatformDep
from api.errors import documented
from domain import errors
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
    if not isinstance(platform.store, LocalStore):
        raise errors.NotFound("recordings are served by the object store here")
    link = platform.store.verify_link(token)
    size = await platform.store.size(link.key)
    return await ranges.serve(
        platform.store, link.key, size=size, content_type=link.content_type, wanted=range, filename=link.filename
    )
