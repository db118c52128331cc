"""What no database and no encoding can keep: refused of a caller, left out of what an engine says."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from api.routes.contexts import ContextBody
from domain.capabilities import EngineReport, Term
from domain.errors import EngineFailed
from domain.speakers import SpeakerChanges
from domain.transcript import Detected, Notice, Segment, StageReached, TermsUsed, Word

UNKEEPABLE = ["a\0b", "a\ud800b"]


@pytest.mark.parametrize("said", [*UNKEEPABLE, "a\x1bb"])
@pytest.mark.parametrize(
    "make",
    [
        lambda said: Term(text=said),
        lambda said: Term(text="a", category=said),
        lambda said: Term(text="a", sounds_like=(said,)),
        lambda said: ContextBody(name=said, terms=[]),
        lambda said: SpeakerChanges(names={0: said}),
    ],
)
def test_a_caller_is_told(make: Callable[[str], object], said: str) -> None:
    with pytest.raises(ValidationError, match=r"control characters are not taken|unicode"):
        make(said)


@pytest.mark.parametrize("said", UNKEEPABLE)
def test_an_engine_is_heard_without_it(said: str) -> None:
    word = Word(start=0, end=1, text=said)
    segment = Segment(start=0, end=1, text=said, words=(word,))
    for heard in (
        segment,
        Detected(language=said),
        Notice(code="odd", message=said),
        TermsUsed(used=(said,)),
        StageReached(stage="transcribe", language=said, segments=(segment,)),
        EngineReport(engine="strange", available=True, reason=said, options={said: [said]}, detail={"a": {said: said}}),
    ):
        kept = heard.model_dump_json()
        assert "ab" in kept
        assert "\\u" not in kept
    assert str(EngineFailed(said, retryable=False)) == "ab"


def test_line_breaks_and_every_other_sign_are_kept() -> None:
    text = "one\ntwo\tthree\u2028four\x85 \x1b \U0001f600"
    assert Segment(start=0, end=1, text=text).text == text
    assert Term(text="a\tb\n\u2028").text == "a\tb\n\u2028"
