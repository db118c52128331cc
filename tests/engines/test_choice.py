"""Which engine hears a job, over engines made up for the question."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.capabilities import EngineReport, ModelReport
from domain.lifecycle import JobOptions
from domain.wishes import unmet, waive
from engines.choice import LIKE_QUALITY, NoEngine, Pick, pick

PROMPT = {"type": "object", "properties": {"initial_prompt": {"type": "string", "maxLength": 9}}}


def report(engine: str, quality: int = 10, *, state: str = "ready", **more: Any) -> EngineReport:
    model = ModelReport(name="base", state=state)
    default = {"available": True, "languages": ("en", "es"), "models": (model,), "default_model": "base"}
    return EngineReport(engine=engine, quality=quality, **{**default, **more})


def job(engine: str = "auto", **asked: Any) -> JobOptions:
    return JobOptions(engine=engine, **asked)


WHISPER = report("whisper", 50)
WHISPERX = report("whisperx", 60, diarizes=True, boosts_words=True, options=PROMPT)
SPHINX = report("sphinx", 10, languages=("en-US",), models=(), default_model=None)
AWAY = report("away", 90, available=False, reason="the server does not answer")
DIARIZER = EngineReport(engine="diarizer", available=True, quality=99, stages=("diarize",))


@pytest.mark.parametrize(
    ("reports", "asked", "engine", "reason"),
    [
        ([SPHINX, WHISPER, AWAY], {}, "whisper", "the best engine that is ready"),
        ([SPHINX, WHISPER], {"language": "en-US"}, "whisper", "the best engine that is ready and knows en-US"),
        ([SPHINX, WHISPER], {"language": "es"}, "whisper", "the only ready engine that knows es"),
        ([SPHINX, AWAY], {}, "sphinx", "the only engine that is ready"),
        ([SPHINX, report("whisper", 50, state="absent")], {}, "sphinx", "the only engine that is ready"),
        (
            [SPHINX, report("whisper", 50, state="downloading")],
            {"language": "en"},
            "sphinx",
            "the only engine that is ready",
        ),
        ([report("b", 50), report("a", 50)], {}, "a", "the best engine that is ready"),
        ([report("best", 90, models=(), default_model=None), WHISPER], {"model": "base"}, "whisper", "has model base"),
        ([WHISPER, WHISPERX], {"num_speakers": 2}, "whisperx", "the only ready engine that tells speakers apart"),
        (
            [WHISPERX, report("asr", 90, diarizes=True), WHISPER],
            {"language": "es", "enable_diarization": True},
            "asr",
            "the best engine that is ready, knows es and tells speakers apart",
        ),
        ([WHISPER, WHISPERX, AWAY], {"engine_options": {"initial_prompt": "Hi"}}, "whisperx", "takes initial_prompt"),
        ([WHISPER, WHISPERX], {"context_id": UUID(int=1)}, "whisperx", "can be told which words to expect"),
        ([WHISPER, DIARIZER], {"min_speakers": 2}, "whisper", "the only engine that is ready"),
    ],
)
def test_auto_takes_the_best_one_that_is_ready_and_can_and_says_why(
    reports: list[EngineReport], asked: dict[str, Any], engine: str, reason: str
) -> None:
    picked = pick(reports, job(**asked))
    assert isinstance(picked, Pick)
    assert (picked.report.engine, picked.unmet) == (engine, ())
    assert picked.reason.endswith(reason)


@pytest.mark.parametrize(
    ("quality", "load", "engine"),
    [(50, 0, "whisperx"), (50, 3, "other"), (60, 3, "other"), (60 - LIKE_QUALITY - 1, 3, "whisperx")],
)
def test_engines_of_like_quality_are_told_apart_by_their_load(quality: int, load: int, engine: str) -> None:
    busy = WHISPERX.model_copy(update={"load": load})
    picked = pick([report("other", quality), busy], job())
    assert isinstance(picked, Pick)
    assert picked.report.engine == engine


def test_a_choice_by_load_says_so() -> None:
    picked = pick([WHISPER, WHISPERX.model_copy(update={"load": 3})], job(language="es"))
    assert isinstance(picked, Pick)
    assert picked.reason == (
        "whisperx, the best engine that is ready and knows es, has 3 jobs in line, while whisper, which comes close, "
        "has none"
    )


def test_auto_leaves_out_what_did_not_answer_and_says_so() -> None:
    picked = pick([SPHINX, WHISPER, WHISPERX], job(), passed_over=frozenset({"whisperx"}))
    assert isinstance(picked, Pick)
    assert picked.report.engine == "whisper"
    assert picked.reason == "the best engine that is ready, after whisperx, which did not answer"


def test_when_none_is_left_to_try_the_job_waits() -> None:
    for wanted in ("auto", "whisper"):
        missing = pick([WHISPER], job(wanted), passed_over=frozenset({"whisper"}))
        assert isinstance(missing, NoEngine)
        assert "did not answer" in missing.reason
        assert not missing.permanent


@pytest.mark.parametrize(
    ("reports", "asked", "words"),
    [
        ([], {}, "none is set up"),
        ([AWAY], {}, "away: the server does not answer"),
        ([SPHINX, report("whisper", 50, state="absent")], {"language": "es"}, "whisper would be after a download"),
        ([SPHINX, WHISPER], {"language": "ja"}, "it does not know 'ja'"),
        ([SPHINX, WHISPER], {"model": "large"}, "it has no model 'large'; it offers base (no engine here can)"),
        ([SPHINX, WHISPERX], {"language": "ja", "num_speakers": 2}, "'whisperx', cannot honour 'language'"),
        ([DIARIZER], {}, "none is set up"),
    ],
)
def test_auto_without_an_engine_waits_and_says_for_what(
    reports: list[EngineReport], asked: dict[str, Any], words: str
) -> None:
    missing = pick(reports, job(**asked))
    assert isinstance(missing, NoEngine)
    assert words in missing.reason
    assert not missing.permanent


def test_with_warnings_auto_takes_the_engine_that_comes_nearest_the_language_first() -> None:
    reports = [WHISPERX.model_copy(update={"languages": ("ja",)}), WHISPER, SPHINX]
    picked = pick(reports, job(language="es", num_speakers=2, on_unsupported="warn"))
    assert isinstance(picked, Pick)
    assert (picked.report.engine, [missing.option for missing in picked.unmet]) == ("whisper", ["num_speakers"])


def test_a_named_engine_is_taken_even_if_its_model_has_to_be_downloaded_first() -> None:
    picked = pick([SPHINX, report("whisper", state="absent")], job("whisper"))
    assert isinstance(picked, Pick)
    assert picked.report.engine == "whisper"


@pytest.mark.parametrize(
    ("wanted", "asked", "words", "permanent"),
    [
        ("asr", {}, "here now: away, sphinx, whisper", False),
        ("diarizer", {}, "no worker has an engine called 'diarizer'", False),
        ("away", {"language": "ja"}, "the server does not answer", False),
        ("sphinx", {"language": "es"}, "does not know 'es'; it knows en-US (engines that can: whisper)", True),
        ("whisper", {"model": "huge"}, "has no model 'huge'; it offers base", True),
        ("sphinx", {"engine_options": {"initial_prompt": "Hi"}}, "'options.initial_prompt': it has no such", True),
        ("whisper", {"context_id": UUID(int=1)}, "'context_id'", True),
    ],
)
def test_a_named_engine_that_cannot_says_why_and_whether_waiting_helps(
    wanted: str, asked: dict[str, Any], words: str, permanent: bool
) -> None:
    missing = pick([SPHINX, WHISPER, AWAY, DIARIZER.model_copy(update={"available": False})], job(wanted, **asked))
    assert isinstance(missing, NoEngine)
    assert words in missing.reason
    assert missing.permanent == permanent


def test_a_named_engine_that_cannot_is_taken_where_the_caller_wishes_for_warnings() -> None:
    picked = pick([SPHINX, WHISPERX], job("sphinx", language="es", num_speakers=2, on_unsupported="warn"))
    assert isinstance(picked, Pick)
    assert (picked.report.engine, len(picked.unmet)) == ("sphinx", 2)


REPORTS = st.lists(
    st.builds(
        EngineReport,
        engine=st.sampled_from("abcde"),
        available=st.booleans(),
        reason=st.just("it rests"),
        quality=st.integers(0, 100),
        models=st.sampled_from([(), *(((ModelReport(name="base", state=state),)) for state in ("ready", "absent"))]),
        default_model=st.sampled_from([None, "base"]),
        languages=st.sampled_from([(), ("en",), ("es", "ja")]),
        diarizes=st.booleans(),
        boosts_words=st.booleans(),
        stages=st.sampled_from([("transcribe",), ("transcribe", "diarize"), ("diarize",)]),
        options=st.sampled_from([{}, PROMPT]),
        load=st.integers(0, 3),
    ),
    unique_by=lambda found: found.engine,
    max_size=5,
)
ASKED = st.fixed_dictionaries(
    {"engine": st.sampled_from(["auto", "a", "b"]), "on_unsupported": st.sampled_from(["fail", "warn"])},
    optional={
        "language": st.sampled_from(["en", "en-GB", "ja", "tlh"]),
        "model": st.sampled_from(["base", "huge"]),
        "enable_diarization": st.booleans(),
        "num_speakers": st.just(2),
        "context_id": st.just(UUID(int=1)),
        "engine_options": st.dictionaries(
            st.sampled_from(["initial_prompt", "colour"]), st.sampled_from(["", "x" * 10])
        ),
    },
)


@given(REPORTS, ASKED, st.frozensets(st.sampled_from("abc")))
def test_what_is_picked_is_there_and_transcribes(
    reports: list[EngineReport], asked: dict[str, Any], passed_over: frozenset[str]
) -> None:
    picked = pick(reports, job(**asked), passed_over=passed_over)
    if isinstance(picked, Pick):
        assert picked.report in reports
        assert picked.report.available
        assert picked.report.transcribes
        assert picked.report.engine not in passed_over
        assert picked.reason
    else:
        assert picked.reason


@given(REPORTS, ASKED)
def test_no_option_is_dropped_without_a_warning_or_an_error(reports: list[EngineReport], asked: dict[str, Any]) -> None:
    options = job(**asked)
    picked = pick(reports, options)
    if isinstance(picked, NoEngine):
        return
    diarizer = next((found for found in reports if found.available and found.stages == ("diarize",)), None)
    kept = waive(options, picked.report.engine, picked.unmet)
    assert unmet(picked.report, kept, diarizer=diarizer) == ()
    if options.on_unsupported == "fail":
        assert kept == options
    warned = " ".join(warning["message"] for warning in kept.warnings)
    dropped = {name for name in asked if getattr(kept, name) != asked[name]} - {"engine_options"}
    dropped |= {f"options.{name}" for name in options.engine_options.keys() - kept.engine_options.keys()}
    assert all(f"'{name}'" in warned for name in dropped)
    assert len(kept.warnings) == len(dropped)


@given(REPORTS, ASKED, st.randoms())
def test_the_order_of_the_reports_says_nothing(reports: list[EngineReport], asked: dict[str, Any], random: Any) -> None:
    shuffled = random.sample(reports, len(reports))
    assert pick(shuffled, job(**asked)) == pick(reports, job(**asked))


@given(REPORTS, ASKED)
def test_auto_finds_an_engine_wherever_one_is_ready_and_can(reports: list[EngineReport], asked: dict[str, Any]) -> None:
    options = job(**{**asked, "engine": "auto"})
    diarizer = next((found for found in reports if found.available and found.stages == ("diarize",)), None)
    able = [
        found for found in reports if found.transcribes and found.ready and not unmet(found, options, diarizer=diarizer)
    ]
    picked = pick(reports, options)
    if able and options.model is None:
        assert isinstance(picked, Pick)
        assert picked.unmet == ()
        assert picked.report.quality >= max(found.quality for found in able) - LIKE_QUALITY


def test_an_engine_that_is_not_for_everybody_hears_only_who_names_it() -> None:
    tones = report("touch-tones", 99, auto=False)
    assert picked([tones, SPHINX], job()) == "sphinx"
    assert isinstance(pick([tones], job()), NoEngine)
    assert picked([tones, SPHINX], job("touch-tones")) == "touch-tones"


def picked(reports: list[EngineReport], asked: JobOptions) -> str:
    found = pick(reports, asked)
    assert isinstance(found, Pick)
    return found.report.engine
