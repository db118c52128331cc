"""The answer of GET /engines, made for everybody who asks at the same time."""

import hashlib
from dataclasses import dataclass

from api.answers import Shared
from api.schemas import EnginesView
from services import engine_reports
from services.platform import Platform

FRESH_SECONDS = 0.5
"""How long an answer serves; a tenth of the five seconds within which a change has to be seen."""


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    etag: str

    def is_known_to(self, if_none_match: str | None) -> bool:
        """Does the client that sent this header have the answer already?"""
        known = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
        return not known.isdisjoint({self.etag, "*"})


class EngineBoard:
    """One of a process: dashboards that poll cost a look at the database twice a second, however many they are."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._shared = Shared(self._make, fresh_seconds=FRESH_SECONDS)

    async def answer(self) -> Answer:
        """What is known of the engines now. Raises DatabaseUnavailable."""
        return await self._shared.get()

    async def _make(self) -> Answer:
        overview = await engine_reports.overview(self._platform)
        view = EnginesView.of(overview, default_engine=self._platform.settings.engines.default_engine)
        body = view.model_dump_json().encode()
        return Answer(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
