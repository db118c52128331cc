"""Links to recordings: what a signed one carries, and the header that makes a browser keep the file."""

import base64
import hashlib
import hmac
import json
import re
import unicodedata
from dataclasses import astuple, dataclass
from urllib.parse import quote

from domain.errors import BadLink

FILENAME_BYTES = 200
"""Longest file name that is offered, in UTF-8: common file systems take 255, and browsers add " (1)"."""

LONGEST_EXTENSION = 10


@dataclass(frozen=True, slots=True)
class Link:
    """What a verified link leads to."""

    key: str
    content_type: str
    filename: str


def sign(link: Link, *, secret: bytes, expires_at: float) -> str:
    """A token for URLs: the link and its last second (Unix time), readable by anyone, changed by nobody."""
    payload = _text(json.dumps([expires_at, *astuple(link)]).encode())
    return f"{payload}.{_signature(payload, secret)}"


def verify(token: str, *, secret: bytes, now: float) -> Link:
    """The link of a token that `sign` made and that has not expired at `now` (Unix time). Raises BadLink."""
    payload, _, signature = token.partition(".")
    # Compared as bytes: compare_digest refuses text beyond ASCII, which anyone may put into a URL.
    if not hmac.compare_digest(signature.encode(errors="replace"), _signature(payload, secret).encode()):
        raise BadLink
    expires_at, *link = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if now >= expires_at:
        raise BadLink
    return Link(*link)


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


def _signature(payload: str, secret: bytes) -> str:
    return _text(hmac.digest(secret, payload.encode(errors="replace"), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
