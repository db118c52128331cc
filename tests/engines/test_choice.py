from typing import Any

import pytest

from domain.capabilities import EngineReport, ModelReport
from engines.choice import NoEngine, Pick, pick


def report(engine: str, quality: int = 10, *, state: str = "ready", **more: Any) -> EngineReport:
    model = ModelReport(name="base", state=state)
    default = {"available": True, "languages": ("en", "es"), "models": (model,), "default_model": "base"}
    return EngineReport(engine=engine, quality=quality, **{**default, **more})


WHISPER = report("whisper", 50)
SPHINX = report("sphinx", 10, languages=("en-US",), models=(), default_model=None)
AWAY = report("away", 90, available=False, reason="the server does not answer")


@pytest.mark.parametrize(
    ("reports", "language", "engine", "reason"),
    [
        ([SPHINX, WHISPER, AWAY], None, "whisper", "the best engine that is ready"),
        ([SPHINX, WHISPER], "en-US", "whisper", "the best engine that is ready and knows en-US"),
        ([SPHINX, WHISPER], "es", "whisper", "the only ready engine that knows es"),
        ([SPHINX, AWAY], None, "sphinx", "the only engine that is ready"),
        ([SPHINX, report("whisper", 50, state="absent")], None, "sphinx", "the only engine that is ready"),
        ([SPHINX, report("whisper", 50, state="downloading")], "en", "sphinx", "the only engine that is ready"),
        ([report("b", 50), report("a", 50)], None, "a", "the best engine that is ready"),
    ],
)
def test_auto_takes_the_best_one_that_is_ready_and_says_why(
    reports: list[EngineReport], language: str | None, engine: str, reason: str
) -> None:
    picked = pick(reports, "auto", language=language)
    assert isinstance(picked, Pick)
    assert (picked.report.engine, picked.reason) == (engine, reason)


@pytest.mark.parametrize(
    ("reports", "language", "model", "words"),
    [
        ([], None, None, "none is set up"),
        ([AWAY], None, None, "away: the server does not answer"),
        ([SPHINX, report("whisper", 50, state="absent")], "es", None, "whisper would be after a download"),
        ([SPHINX, WHISPER], "ja", None, "no engine here knows 'ja'"),
        ([SPHINX, WHISPER], None, "large", "no engine here has a model 'large'"),
    ],
)
def test_auto_without_an_engine_waits_and_says_for_what(
    reports: list[EngineReport], language: str | None, model: str | None, words: str
) -> None:
    missing = pick(reports, "auto", language=language, model=model)
    assert isinstance(missing, NoEngine)
    assert words in missing.reason
    assert not missing.permanent


def test_auto_with_a_model_takes_an_engine_that_has_it() -> None:
    picked = pick([report("best", 90, models=(), default_model=None), WHISPER], "auto", model="base")
    assert isinstance(picked, Pick)
    assert picked.report.engine == "whisper"


def test_a_named_engine_is_taken_even_if_its_model_has_to_be_downloaded_first() -> None:
    picked = pick([SPHINX, report("whisper", state="absent")], "whisper")
    assert isinstance(picked, Pick)
    assert picked.report.engine == "whisper"


@pytest.mark.parametrize(
    ("wanted", "language", "model", "words", "permanent"),
    [
        ("asr", None, None, "here now: away, sphinx, whisper", False),
        ("away", "ja", None, "the server does not answer", False),
        ("sphinx", "es", None, "does not know 'es'; it knows en-US", True),
        ("whisper", None, "huge", "has no model 'huge'; it offers base", True),
    ],
)
def test_a_named_engine_that_cannot_says_why_and_whether_waiting_helps(
    wanted: str, language: str | None, model: str | None, words: str, permanent: bool
) -> None:
    missing = pick([SPHINX, WHISPER, AWAY], wanted, language=language, model=model)
    assert isinstance(missing, NoEngine)
    assert words in missing.reason
    assert missing.permanent == permanent
