"""A multipart form read from the socket straight into the store: no spooling, no temporary file, bounded memory."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from domain.errors import Invalid, MalformedUpload, TooLarge

FILE_FIELD = "file"
LARGEST_FIELDS_BYTES = 65_536
MOST_PARTS = 64
LARGEST_HEADER_BYTES = 8_192
OVERHEAD_BYTES = LARGEST_FIELDS_BYTES + MOST_PARTS * LARGEST_HEADER_BYTES
"""What a form may weigh besides its file."""

Fields = dict[str, str | list[str]]
"""By name; a list for those of `Repeating.names`."""


@dataclass(frozen=True, slots=True)
class Repeating:
    """What a form may have besides single fields."""

    names: frozenset[str] = frozenset()
    """Fields that may come again and again, as `keywords[]`; without the brackets they are the same."""
    most: int = MOST_PARTS
    """Parts of one form."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Fields of which not even the value is read, each with the reason."""

    def name_of(self, name: str) -> str:
        return f"{name}[]" if f"{name}[]" in self.names | self.refused.keys() else name


NOTHING_REPEATS = Repeating()


@dataclass(slots=True)
class _Part:
    name: str = ""
    filename: str | None = None
    value: bytearray = field(default_factory=bytearray)


class Form:
    """A form whose fields are at hand when `media()` begins to yield, those behind the file when it has ended."""

    def __init__(self, request: Request, *, largest_file_bytes: int, repeating: Repeating = NOTHING_REPEATS) -> None:
        self.fields: Fields = {}
        self.before_file: Fields = {}
        """The fields that came before the file; of those behind it, some may have come along with its first bytes."""
        self.filename: str | None = None
        self._request, self._repeating = request, repeating
        self._limit = largest_file_bytes
        self._body = request.stream()
        self._parser = _parser_for(request, self)
        self._part = _Part()
        self._header = (bytearray(), bytearray())
        self._parts = self._fields_bytes = self._file_bytes = 0
        self._chunks: list[bytes] = []
        self._file_began = self._ended = False
        _refuse_declared(request, largest_file_bytes)

    async def read_up_to_file(self) -> None:
        """Read the fields that come before the file, or all where there is none."""
        while not self._file_began and await self._feed():
            pass

    @property
    def has_file(self) -> bool:
        return self._file_began

    async def media(self) -> AsyncIterator[bytes]:
        """The bytes of the file, then whatever fields follow it. Raises TooLarge, MalformedUpload."""
        while True:
            for chunk in self._take():
                yield chunk
            if not await self._feed():
                break
        for chunk in self._take():
            yield chunk

    def _take(self) -> list[bytes]:
        taken, self._chunks = self._chunks, []
        return taken

    async def _feed(self) -> bool:
        """Parse one more piece of the body; False at its end."""
        try:
            piece = await anext(self._body, b"")
        except ClientDisconnect as error:
            raise MalformedUpload("the upload broke off before its end") from error
        try:
            if piece:
                self._parser.write(piece)
                return True
            self._parser.finalize()
        except MultipartParseError as error:
            raise MalformedUpload("the body is not a well-formed multipart form") from error
        if not self._ended:
            raise MalformedUpload("the form breaks off before its closing boundary")
        return False

    # What the parser calls

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._repeating.most:
            raise Invalid(f"a form of more than {self._repeating.most} parts is not one of ours")
        self._part = _Part()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])
        if len(self._header[1]) > LARGEST_HEADER_BYTES:
            raise MalformedUpload("a part's header is too long")

    def on_header_end(self) -> None:
        name, value = bytes(self._header[0]).lower(), bytes(self._header[1])
        self._header = (bytearray(), bytearray())
        if name == b"content-disposition":
            _, options = parse_options_header(value)
            self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
            raw = options.get(b"filename")
            self._part.filename = None if raw is None else raw.decode("utf-8", "replace")

    def on_headers_finished(self) -> None:
        self._part.name = self._repeating.name_of(self._part.name)
        if self._part.name in self._repeating.refused:
            raise Invalid(self._repeating.refused[self._part.name], field=self._part.name)
        if self._part.name != FILE_FIELD:
            return
        if self._file_began:
            raise Invalid("one recording a job: the field 'file' comes twice", field=FILE_FIELD)
        if self._part.filename is None:
            raise Invalid("'file' came as text; send it as a file (curl: -F file=@recording.mp3)", field=FILE_FIELD)
        self._file_began = True
        self.before_file = dict(self.fields)
        self.filename = self._part.filename

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == FILE_FIELD:
            self._file_bytes += end - start
            if self._file_bytes > self._limit:
                raise TooLarge(self._limit)
            self._chunks.append(data[start:end])
            return
        self._fields_bytes += end - start
        if self._fields_bytes > LARGEST_FIELDS_BYTES:
            raise Invalid(f"the form's fields are too long: together they may have {LARGEST_FIELDS_BYTES:,} bytes")
        self._part.value.extend(data[start:end])

    def on_part_end(self) -> None:
        part = self._part
        if part.name == FILE_FIELD:
            return
        if part.filename is not None:
            raise Invalid(f"send the recording as the form field {FILE_FIELD!r}, not as another", field=FILE_FIELD)
        try:
            value = part.value.decode()
        except UnicodeDecodeError as error:
            raise Invalid("a form field is not UTF-8 text") from error
        if part.name in self._repeating.names:
            self.fields[part.name] = [*self.fields.get(part.name, ()), value]
        else:
            self.fields[part.name] = value

    def on_end(self) -> None:
        self._ended = True


def _refuse_declared(request: Request, limit: int) -> None:
    """Refuse what says itself that it is too large, before a byte of it is read."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit + OVERHEAD_BYTES:
        raise TooLarge(limit)


def _parser_for(request: Request, form: Form) -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise MalformedUpload("send the recording as multipart/form-data (curl: -F file=@recording.mp3)")
    names = (
        "part_begin",
        "header_field",
        "header_value",
        "header_end",
        "headers_finished",
        "part_data",
        "part_end",
        "end",
    )
    callbacks: Any = {f"on_{name}": getattr(form, f"on_{name}") for name in names}
    try:
        return MultipartParser(boundary, callbacks)
    except FormParserError as error:
        raise MalformedUpload("the form's boundary is too long; RFC 2046 allows 70 characters") from error
