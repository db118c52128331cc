"""Signed links and download names, whatever anybody writes into them."""

from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadLink
from storage.links import FILENAME_BYTES, Link, attachment, sign, verify

SECRET = b"the secret of these tests"
LINK = Link("o/local/j/7/source", "audio/ogg", "Visita nº 3.ogg")


def test_a_token_carries_the_link_until_it_expires() -> None:
    token = sign(LINK, secret=SECRET, expires_at=1000.5)
    assert verify(token, Link, secret=SECRET, now=1000.4) == LINK
    for late in (1000.5, 1001.0):
        with pytest.raises(BadLink):
            verify(token, Link, secret=SECRET, now=late)


@given(st.text(), st.text(), st.text())
def test_any_name_survives_the_token_which_is_safe_in_a_path(key: str, content_type: str, filename: str) -> None:
    token = sign(Link(key, content_type, filename), secret=SECRET, expires_at=1)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert verify(token, Link, secret=SECRET, now=0) == Link(key, content_type, filename)


@given(st.data())
def test_a_token_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    token = sign(LINK, secret=SECRET, expires_at=1)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda char: char != token[place]))
    with pytest.raises(BadLink):
        verify(token[:place] + other + token[place + 1 :], Link, secret=SECRET, now=0)


@given(st.text())
def test_no_text_is_a_token_by_chance(text: str) -> None:
    with pytest.raises(BadLink):
        verify(text, Link, secret=SECRET, now=0)


def test_a_token_of_another_secret_is_refused() -> None:
    with pytest.raises(BadLink):
        verify(sign(LINK, secret=b"another", expires_at=1), Link, secret=SECRET, now=0)


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("visit.mp3", "attachment; filename=\"visit.mp3\"; filename*=UTF-8''visit.mp3"),
        ("Café nº 3.ogg", "attachment; filename=\"Cafe no 3.ogg\"; filename*=UTF-8''Caf%C3%A9%20n%C2%BA%203.ogg"),
        ("診察.wav", "attachment; filename=\"__.wav\"; filename*=UTF-8''%E8%A8%BA%E5%AF%9F.wav"),
        ('a".mp3\r\nSet-Cookie: x=1', None),
        ("../../etc/passwd", "attachment; filename=\"_.._etc_passwd\"; filename*=UTF-8''_.._etc_passwd"),
        ("fee\u202egpm.exe", "attachment; filename=\"fee_gpm.exe\"; filename*=UTF-8''fee_gpm.exe"),
        ("\uff02quoted\uff3c", None),
        ("n" * 300 + ".ogg", f"attachment; filename=\"{'n' * 196}.ogg\"; filename*=UTF-8''{'n' * 196}.ogg"),
        ("é" * 300, f"attachment; filename=\"{'e' * 100}\"; filename*=UTF-8''{'%C3%A9' * 100}"),
        (".", "attachment; filename=\"recording\"; filename*=UTF-8''recording"),
        ("", "attachment; filename=\"recording\"; filename*=UTF-8''recording"),
    ],
)
def test_a_file_name_becomes_a_download_name(filename: str, header: str | None) -> None:
    written = attachment(filename)
    assert header is None or written == header
    assert written.isprintable()


@given(st.text(max_size=300))
def test_no_file_name_can_break_out_of_the_header(filename: str) -> None:
    header = attachment(filename)
    assert header.isascii()
    assert header.isprintable()
    message = Message()
    message["Content-Disposition"] = header
    assert [name for name, _ in message.get_params([], "Content-Disposition")] == ["attachment", "filename", "filename"]
    plain, extended = header.removeprefix('attachment; filename="').split("\"; filename*=UTF-8''")
    assert not set(plain) & set('"\\/%;')
    offered = unquote(extended, errors="strict")
    assert 0 < len(offered.encode()) <= FILENAME_BYTES
    assert not set(offered) & set("/\\\r\n")
