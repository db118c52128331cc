"""The registry with adapters of strangers, found as any installed package's would be."""

import textwrap
from pathlib import Path

import pytest

from config.load import load_settings
from domain.lifecycle import JobOptions
from engines.choice import NoEngine
from engines.registry import Choice, Registry
from tests.engines.harness import INFRASTRUCTURE

ADAPTERS = """
    import asyncio
    from domain.capabilities import EngineReport


    class Engine:
        def __init__(self, name):
            self.name = name

        async def report(self):
            if self.name == "mute":
                await asyncio.Event().wait()
            if self.name == "clumsy":
                raise ValueError("oh")
            return EngineReport(engine=self.name, available=True, quality=10 if self.name == "good" else 5)


    class Source:
        names = ()
        closed = []

        def __init__(self, settings):
            assert settings.engines

        async def engines(self):
            return [Engine(name) for name in self.names]

        async def close(self):
            self.closed.append(type(self).__name__)


    class Good(Source):
        names = ("good", "fair")

    class Odd(Source):
        names = ("mute", "clumsy", "good", "Not A Name")

    class Lost(Source):
        async def engines(self):
            raise ConnectionError("nobody there")

    class Clumsy(Source):
        async def close(self):
            raise ConnectionError("gone already")

    class Unmakeable(Source):
        def __init__(self, settings):
            raise RuntimeError("no licence")
"""

ENTRY_POINTS = """
    [escriba.engines]
    a_clumsy = adapters_of_the_tests:Clumsy
    good = adapters_of_the_tests:Good
    lost = adapters_of_the_tests:Lost
    odd = adapters_of_the_tests:Odd
    unmakeable = adapters_of_the_tests:Unmakeable
    unloadable = adapters_of_the_tests:NotThere
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    info = tmp_path / "adapters_of_the_tests-1.0.dist-info"
    info.mkdir()
    (tmp_path / "adapters_of_the_tests.py").write_text(textwrap.dedent(ADAPTERS))
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRY_POINTS))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adapters-of-the-tests\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("engines.registry.PATIENCE_SECONDS", 0.2)
    return Registry.load(load_settings(INFRASTRUCTURE))


async def test_every_engine_reports_and_what_is_broken_is_said_and_harms_nobody(registry: Registry) -> None:
    reports = {report.engine: report for report in await registry.reports()}
    assert [name for name, report in reports.items() if report.available] == ["fair", "good"]
    assert "RuntimeError" in (reports["unmakeable"].reason or "")
    assert "AttributeError" in (reports["unloadable"].reason or "")
    assert "did not answer" in (reports["mute"].reason or "")
    assert "ValueError" in (reports["clumsy"].reason or "")


async def test_an_engine_is_had_by_its_name(registry: Registry) -> None:
    fair = await registry.engine("fair")
    assert fair is not None
    assert fair.name == "fair"
    assert await registry.engine("lost") is None


async def test_a_choice_comes_with_the_engine_and_the_reason(registry: Registry) -> None:
    choice = await registry.choose(JobOptions(engine="auto"))
    assert isinstance(choice, Choice)
    assert choice.engine.name == choice.report.engine == "good"
    assert choice.reason == "the best engine that is ready"
    assert isinstance(await registry.choose(JobOptions(engine="unmakeable")), NoEngine)


async def test_an_engine_that_was_down_is_passed_over(registry: Registry) -> None:
    choice = await registry.choose(JobOptions(engine="auto"), passed_over=frozenset({"good"}))
    assert isinstance(choice, Choice)
    assert choice.engine.name == "fair"
    assert "after good, which did not answer" in choice.reason


async def test_a_choice_says_what_the_engine_cannot_honour(registry: Registry) -> None:
    choice = await registry.choose(JobOptions(engine="good", num_speakers=2, on_unsupported="warn"))
    assert isinstance(choice, Choice)
    assert [missing.option for missing in choice.unmet] == ["num_speakers"]


async def test_closing_closes_all_sources_even_if_one_cannot(registry: Registry) -> None:
    await registry.close()
    from adapters_of_the_tests import Source  # type: ignore[import-not-found]  # made by the fixture

    assert Source.closed[-3:] == ["Good", "Lost", "Odd"]
