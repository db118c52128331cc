"""Signed links of a local store, to read an object or to send a part of one; and the header that has a file kept."""

import base64
import hashlib
import hmac
import json
import re
import unicodedata
from dataclasses import astuple, dataclass
from typing import TypeVar
from urllib.parse import quote

from domain.errors import BadLink

L = TypeVar("L", "Link", "PartLink")

FILENAME_BYTES = 200
"""Longest file name that is offered, in UTF-8: common file systems take 255, and browsers add " (1)"."""

LONGEST_EXTENSION = 10


@dataclass(frozen=True, slots=True)
class Link:
    """What a verified link leads to."""

    key: str
    content_type: str
    filename: str


@dataclass(frozen=True, slots=True)
class PartLink:
    """What a verified link lets be sent."""

    key: str
    sending: str
    number: int
    size_bytes: int


def sign(link: Link | PartLink, *, secret: bytes, expires_at: float) -> str:
    """A token for URLs: the link and its last second (Unix time), readable by anyone, changed by nobody."""
    payload = _text(json.dumps([expires_at, *astuple(link)]).encode())
    return f"{payload}.{_signature(payload, _own(secret, type(link)))}"


def verify(token: str, kind: type[L], *, secret: bytes, now: float) -> L:
    """The link of a token that `sign` made of this kind, and not expired at `now` (Unix time). Raises BadLink."""
    secret = _own(secret, kind)
    payload, _, signature = token.partition(".")
    # Compared as bytes: compare_digest refuses text beyond ASCII, which anyone may put into a URL.
    if not hmac.compare_digest(signature.encode(errors="replace"), _signature(payload, secret).encode()):
        raise BadLink
    expires_at, *link = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if now >= expires_at:
        raise BadLink
    return kind(*link)


def attachment(filename: str) -> str:
    """Content-Disposition for a download, RFC 6266: an ASCII name for old clients, the true one in UTF-8 beside it.

    Control and format characters and path separators become "_": no header can be split with a file name, and no
    right-to-left mark can disguise what a file is.
    """
    clean = "".join("_" if unicodedata.category(char)[0] == "C" or char in "/\\" else char for char in filename)
    clean = _cut(clean.strip(" .")) or "recording"
    # Only after the decomposition, which turns some letters into quotes, slashes and per cent signs.
    plain = "".join(char for char in unicodedata.normalize("NFKD", clean) if not unicodedata.combining(char))
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", plain)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"


def _cut(name: str) -> str:
    """At most FILENAME_BYTES of the name, with its extension where it has a true one."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > LONGEST_EXTENSION:
        stem, dot, extension = name, "", ""
    room = FILENAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension


def _own(secret: bytes, kind: type[Link | PartLink]) -> bytes:
    """A secret for each kind, so that no token of one is ever taken for the other."""
    return secret if kind is Link else hmac.digest(secret, kind.__name__.encode(), hashlib.sha256)


def _signature(payload: str, secret: bytes) -> str:
    return _text(hmac.digest(secret, payload.encode(errors="replace"), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
