"""`whisperx`: the engine server at WHISPERX_SERVICE_URL, which has an environment of its own for WhisperX's pins."""

from config.settings import EngineSettings, Settings
from domain.capabilities import EngineReport
from engines.hosted import HostedEngine, HostedEngines

NAME = "whisperx"


class WhisperXService(HostedEngines):
    """The entry point `whisperx`: that one engine of the server, also before it has ever answered."""

    url_setting = "WHISPERX_SERVICE_URL"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._known = {NAME: EngineReport(engine=NAME, available=False)}

    async def engines(self) -> list[HostedEngine]:
        if self._url is None:
            return []
        await self.reports()  # at the same time as others are asked, so that two servers that hang cost one time-out
        return [HostedEngine(self, NAME)]

    async def reports(self) -> dict[str, EngineReport]:
        """With the fields that clients of the native API know: where the service is, and whether it answers."""
        reports = await super().reports()
        return {name: report.model_copy(update={"detail": self._detail(report)}) for name, report in reports.items()}

    def _detail(self, report: EngineReport) -> dict[str, object]:
        health = {"status": "ok"} if report.available else {"status": "unavailable", "reason": report.reason}
        return {**report.detail, "url": self._url, "health": health}

    def _url_of(self, settings: EngineSettings) -> str | None:
        return settings.whisperx_url

    def _offers(self, engine: str) -> bool:
        return engine == NAME
