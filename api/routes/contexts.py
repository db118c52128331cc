"""Vocabularies over HTTP."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import PlatformDep, SettingsCallerDep
from api.errors import documented
from api.schemas import View
from db.tables import Context
from domain import errors
from domain.capabilities import Term
from domain.text import IS_PLAIN, Plain
from services import contexts

router = APIRouter(prefix="/api/contexts", tags=["contexts"])

MOST_TERMS = 1000

NOT_FOUND = documented(errors.ContextNotFound, errors.DatabaseUnavailable)


class ContextBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "cardiology",
                    "terms": [
                        {"text": "metoprolol", "boost": 20, "sounds_like": ["meta pro lol"], "category": "drug"},
                        {"text": "ejection fraction"},
                    ],
                }
            ]
        },
    )

    name: Annotated[str, Field(min_length=1, max_length=200), IS_PLAIN]
    terms: list[Term] = Field(max_length=MOST_TERMS)


class ContextSummary(View):
    context_id: UUID
    name: str
    version: int
    terms_count: int
    updated_at: datetime

    @classmethod
    def of(cls, context: Context) -> Self:
        return cls(
            context_id=context.id,
            name=context.name,
            version=context.version,
            terms_count=len(context.terms),
            updated_at=context.updated_at,
        )


class ContextView(View):
    context_id: UUID
    name: str
    version: int
    terms: list[Term]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, context: Context) -> Self:
        return cls(
            context_id=context.id,
            name=context.name,
            version=context.version,
            terms=[Term.model_validate(term) for term in context.terms],
            created_at=context.created_at,
            updated_at=context.updated_at,
        )


class ContextPage(View):
    contexts: list[ContextSummary]


@router.post("", status_code=201, responses=documented(errors.Invalid, errors.DatabaseUnavailable))
async def create(body: ContextBody, platform: PlatformDep, caller: SettingsCallerDep) -> ContextView:
    """Keep a vocabulary; name it in `context_id` when you send a recording."""
    return ContextView.of(await contexts.create(platform, caller, body.name, body.terms))


@router.get("", responses=documented(errors.DatabaseUnavailable))
async def list_contexts(
    platform: PlatformDep, caller: SettingsCallerDep, after: Annotated[Plain | None, Query(max_length=200)] = None
) -> ContextPage:
    """Your vocabularies by name, 200 at a time; `after` goes on behind a name."""
    found = await contexts.listed(platform, caller, after=after)
    return ContextPage(contexts=[ContextSummary.of(context) for context in found])


@router.get("/{context_id}", responses=NOT_FOUND)
async def read(context_id: UUID, platform: PlatformDep, caller: SettingsCallerDep) -> ContextView:
    return ContextView.of(await contexts.read(platform, caller, context_id))


@router.put("/{context_id}", responses=NOT_FOUND)
async def replace(context_id: UUID, body: ContextBody, platform: PlatformDep, caller: SettingsCallerDep) -> ContextView:
    """Replace a vocabulary under its next version; jobs already submitted keep the words they had."""
    return ContextView.of(await contexts.replace(platform, caller, context_id, body.name, body.terms))


@router.delete("/{context_id}", status_code=204, responses=NOT_FOUND)
async def delete(context_id: UUID, platform: PlatformDep, caller: SettingsCallerDep) -> Response:
    await contexts.delete(platform, caller, context_id)
    return Response(status_code=204)
