"""What stages reached is kept: by a retry, by a late failure, and by the platform's own diarizer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard

from domain.errors import EngineFailed
from domain.transcript import Detected, Heard, Segment, StageReached
from engines.contract import Hearing
from services import attempts, ending, retention, stages
from services.platform import Platform
from storage import layout
from tests.support.jobs import ME, body, row
from tests.support.scripted import ScriptedEngine
from tests.support.staged import PLAIN, STAGED, diarizer, heard, plain, run, staged, submit, tags, text
from tests.support.staged import reported as reported
from tests.support.staged import settings as settings


async def test_a_retry_begins_behind_the_last_stage_that_was_reached(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="diarize"))
    assert (await row(platform, job_id))["state"] == "queued"
    second = staged()
    await run(platform, job_id, second)
    given = second.heard[0].given
    assert given is not None
    assert (given.stage, second.heard[0].language) == ("align", "pt")
    result = await heard(platform, job_id)
    assert ([segment.text for segment in result.segments], result.language) == (["GOOD", "MORNING"], "pt")
    assert (tags(result), result.speakers_from) == ([0, 1], "staged")


async def test_what_one_engine_reached_is_not_given_to_another(platform: Platform) -> None:
    job_id = await submit(platform, "auto")
    await run(platform, job_id, staged(fail_in="diarize"))
    second = plain()
    await run(platform, job_id, second)
    assert second.heard[0].given is None
    assert (await heard(platform, job_id)).engine == "plain"


async def test_a_late_failure_for_good_leaves_the_text_with_a_warning(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="diarize", retryable=False))
    result = await heard(platform, job_id)
    assert [segment.text for segment in result.segments] == ["GOOD", "MORNING"]
    assert [notice.code for notice in result.warnings] == ["stages_failed"]
    assert "no diarize today" in result.warnings[0].message


async def test_a_late_failure_that_lasts_does_so_once_the_tries_are_spent(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    for _ in range(4):
        await run(platform, job_id, staged(fail_in="diarize"))
    assert [notice.code for notice in (await heard(platform, job_id)).warnings] == ["stages_failed"]


async def test_a_failure_before_any_stage_is_one(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="transcribe", retryable=False))
    assert (await row(platform, job_id))["state"] == "failed"


async def test_the_diarizer_gives_speakers_to_an_engine_that_has_none(platform: Platform) -> None:
    job_id = await submit(platform, "plain", num_speakers=2)
    own = diarizer()
    await run(platform, job_id, plain(), own)
    result = await heard(platform, job_id)
    assert (tags(result), result.speakers_from, result.engine) == ([0, 1, 0], "diarizer", "plain")
    assert own.heard[0].num_speakers == 2


@pytest.mark.parametrize("wish", [None, False])
async def test_the_diarizer_is_left_alone_where_nobody_wishes_for_speakers(
    platform: Platform, wish: bool | None
) -> None:
    job_id = await submit(platform, "plain", enable_diarization=wish)
    own = diarizer()
    await run(platform, job_id, plain(), own)
    assert own.heard == []
    assert tags(await heard(platform, job_id)) == [None, None, None]


async def test_a_diarizer_that_fails_leaves_the_text_with_a_warning(platform: Platform) -> None:
    async def fails(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("it has no ears", retryable=False)
        yield

    job_id = await submit(platform, "plain", enable_diarization=True)
    await run(platform, job_id, plain(), diarizer(fails))
    result = await heard(platform, job_id)
    assert len(result.segments) == 3
    assert [notice.code for notice in result.warnings] == ["diarization_failed"]


async def test_a_diarizer_that_is_down_is_tried_again_without_transcribing_again(platform: Platform) -> None:
    async def down(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("it is starting", retryable=True)
        yield

    job_id = await submit(platform, "plain", enable_diarization=True)
    first, second = plain(), plain()
    await run(platform, job_id, first, diarizer(down))
    await run(platform, job_id, second, diarizer())
    assert (len(first.heard), len(second.heard)) == (1, 0)
    assert tags(await heard(platform, job_id)) == [0, 1, 0]


async def test_auto_moves_on_where_an_engine_is_down_before_it_has_begun(platform: Platform) -> None:
    async def down(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("nobody answers", retryable=True)
        yield

    job_id = await submit(platform, "auto")
    best = ScriptedEngine(down, name="staged", report=STAGED)
    await run(platform, job_id, best, plain())
    result = await heard(platform, job_id)
    assert (len(best.heard), result.engine) == (1, "plain")
    assert "staged" in result.engine_reason
    assert (await row(platform, job_id))["attempts"] == 0


async def test_auto_does_not_move_on_from_an_engine_that_has_begun(platform: Platform) -> None:
    async def breaks(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        yield Segment(start=0, end=0.5, text="one")
        raise EngineFailed("it broke", retryable=True)

    job_id = await submit(platform, "auto")
    second = plain()
    await run(platform, job_id, ScriptedEngine(breaks, name="staged", report=STAGED), second)
    assert second.heard == []
    assert (await row(platform, job_id))["attempts"] == 1


async def test_what_an_engine_says_that_cannot_be_kept_costs_nothing_else(platform: Platform) -> None:
    async def script(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        yield Detected(language="e\0n")
        yield StageReached(stage="transcribe", language="en\ud800", segments=text("good\0"))
        yield Segment(start=0, end=1, text="good\0 morn\ud800ing")

    job_id = await submit(platform, "plain", enable_diarization=False)
    await run(platform, job_id, ScriptedEngine(script, name="plain", report=PLAIN))
    transcript = await heard(platform, job_id)
    assert (transcript.language, transcript.text) == ("en", "good morning")


async def test_an_engine_whose_diarizer_is_missing_leaves_the_speakers_to_the_platforms_own(platform: Platform) -> None:
    without = PLAIN.model_copy(update={"speakers_unasked": True})
    for wish in (None, True):
        job_id = await submit(platform, "plain", enable_diarization=wish)
        lead = ScriptedEngine(name="plain", report=without)
        await run(platform, job_id, lead, diarizer())
        assert lead.heard[0].enable_diarization is False
        assert tags(await heard(platform, job_id)) == [0, 1, 0]


async def test_an_attempt_that_has_lost_its_job_leaves_no_text_behind(platform: Platform) -> None:
    job_id = await submit(platform, "staged")
    attempt = await attempts.claim(platform, job_id, worker="zombie")
    assert attempt is not None
    await ending.erase(platform, ME, job_id)
    assert await attempts.cancel(platform, attempt)
    await retention.finish_erasures(platform)
    assert (await ending.receipt(platform, ME, job_id)).erased_at is not None
    await stages.keep(platform, attempt, StageReached(stage="transcribe", segments=text("too late")))
    assert [found async for found in platform.store.list(layout.job_prefix("local", job_id))] == []


@pytest.mark.parametrize("damage", [b"no zstd", zstandard.compress(b'{"stage": "align", "of_the_future": 1}')])
async def test_what_was_kept_and_cannot_be_read_is_done_again(platform: Platform, damage: bytes) -> None:
    job_id = await submit(platform, "staged")
    await run(platform, job_id, staged(fail_in="diarize"))
    await platform.store.put(layout.stage("local", job_id, "align", 1), body(damage))
    second = staged()
    await run(platform, job_id, second)
    assert second.heard[0].given is None
    assert tags(await heard(platform, job_id)) == [0, 1]


async def test_one_engines_words_never_go_out_under_anothers_name(platform: Platform) -> None:
    async def down(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("nobody answers", retryable=True)
        yield

    async def fails(_: Path, __: Hearing) -> AsyncIterator[Heard]:
        raise EngineFailed("it cannot hear this", retryable=False)
        yield

    job_id = await submit(platform, "auto")
    await run(platform, job_id, staged(fail_in="diarize"))
    gone = ScriptedEngine(down, name="staged", report=STAGED)
    await run(platform, job_id, gone, ScriptedEngine(fails, name="plain", report=PLAIN))
    after = await row(platform, job_id)
    assert (after["state"], after["error_details"]["message"]) == ("failed", "it cannot hear this")  # type: ignore[index]


@pytest.mark.parametrize("keeps", [0, 1])
async def test_a_diarizer_that_loses_words_is_not_believed(platform: Platform, keeps: int) -> None:
    async def loses(_: Path, hearing: Hearing) -> AsyncIterator[Heard]:
        assert hearing.given is not None
        for segment in hearing.given.segments[:keeps]:
            yield segment.model_copy(update={"speaker_tag": 0})

    job_id = await submit(platform, "plain", enable_diarization=True)
    await run(platform, job_id, plain(), diarizer(loses))
    result = await heard(platform, job_id)
    assert result.text == "one two three"
    assert [notice.code for notice in result.warnings] == ["diarization_failed"]


async def test_the_result_names_the_model_that_heard_it(platform: Platform) -> None:
    small, large = (STAGED.model_copy(update={"default_model": name}) for name in ("small", "large"))
    job_id = await submit(platform, "staged")
    first, second = staged(fail_in="diarize"), staged()
    first.answer, second.answer = small, large
    await run(platform, job_id, first)
    await run(platform, job_id, second)
    assert (await heard(platform, job_id)).model == "small"
