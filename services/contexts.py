"""Vocabularies: the words that a recording's owner expects in it."""

import re
from collections.abc import Iterable, Sequence
from uuid import UUID, uuid4

from db import contexts
from db.tables import Context
from domain.access import Caller
from domain.capabilities import Term
from domain.errors import ContextNotFound
from domain.lifecycle import JobOptions
from services.platform import Platform

MOST_LISTED = 200

WORD_EDGE = re.compile(r"\b")
BETWEEN_WORDS = re.compile(r"(?<!\w)(?!\w)")


class _Folded(dict[int, str]):
    """A sign for a sign, as `re.IGNORECASE` has it: str.casefold makes two of "ß"."""

    def __missing__(self, code: int) -> str:
        folded = chr(code).casefold()
        if len(folded) > 1:
            folded = chr(code).lower()[0]
        return self.setdefault(code, "i" if folded == "ı" else folded)


FOLDED = _Folded()


async def create(platform: Platform, caller: Caller, name: str, terms: Sequence[Term]) -> Context:
    context = Context(id=uuid4(), owner=caller.owner, name=name, terms=_rows(terms))
    async with platform.sessions.begin(owner=caller.owner) as session:
        return await contexts.insert(session, context)


async def listed(platform: Platform, caller: Caller, *, after: str | None) -> list[Context]:
    async with platform.sessions.begin(owner=caller.owner) as session:
        return await contexts.listed(session, owner=caller.owner, limit=MOST_LISTED, after=after)


async def read(platform: Platform, caller: Caller, context_id: UUID) -> Context:
    async with platform.sessions.begin(owner=caller.owner) as session:
        found = await contexts.get(session, context_id, owner=caller.owner)
    if found is None:
        raise ContextNotFound
    return found


async def replace(platform: Platform, caller: Caller, context_id: UUID, name: str, terms: Sequence[Term]) -> Context:
    """Say everything anew, under the next version. Jobs that were submitted before keep the words they had."""
    async with platform.sessions.begin(owner=caller.owner) as session:
        found = await contexts.replace(session, context_id, owner=caller.owner, name=name, terms=_rows(terms))
    if found is None:
        raise ContextNotFound
    return found


async def delete(platform: Platform, caller: Caller, context_id: UUID) -> None:
    async with platform.sessions.begin(owner=caller.owner) as session:
        if not await contexts.remove(session, context_id, owner=caller.owner):
            raise ContextNotFound


async def freeze(platform: Platform, caller: Caller, options: JobOptions) -> JobOptions:
    """The same options with the words of their context, as they are now. Raises ContextNotFound."""
    if options.context_id is None:
        return options
    found = await read(platform, caller, options.context_id)
    terms = tuple(Term.model_validate(term) for term in found.terms)
    return options.model_copy(update={"context_version": found.version, "terms": terms})


def _rows(terms: Sequence[Term]) -> list[dict[str, object]]:
    return [term.model_dump(mode="json", exclude_none=True) for term in terms]


def matched(terms: Iterable[Term], text: str) -> tuple[str, ...]:
    """The terms that stand in `text` as whole words, whatever their case.

    Half a second for the words of ten hours and a thousand terms, so it belongs into a thread.
    """
    marked = _marked(text)
    return tuple(term.text for term in terms if _marked(term.text) in marked)


def _marked(text: str) -> str:
    """The text with every edge of a word marked, in one case: whole words of it are substrings, and "AF" no part of
    "after". No text that is kept has a NUL of its own."""
    return WORD_EDGE.sub("\0", BETWEEN_WORDS.sub("\0\0", text)).translate(FOLDED)
