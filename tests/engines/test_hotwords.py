"""What Whisper reads before every window: the caller's words to listen for, and their prompt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faster_whisper import WhisperModel

from config.load import load_section
from config.settings import EngineSettings
from domain.capabilities import Term
from domain.transcript import LeftOutTerm, Notice, TermsUsed
from engines.contract import Hearing
from engines.server.contract import LocalModel
from engines.server.models.faster_whisper import FasterWhisper
from engines.server.models.hotwords import PROMPT_TOKENS, fit_terms, read_prompt
from engines.server.models.whisperx import WhisperX
from tests.engines.contract_suite import Recording


def words(text: str) -> int:
    return len(text.split())


def test_terms_that_are_wanted_most_come_first() -> None:
    terms = [Term(text="weak", boost=5), Term(text="plain"), Term(text="strong", boost=90)]
    hotwords, used = fit_terms(terms, words)
    assert hotwords == "strong, plain, weak"
    assert used.used == ("strong", "plain", "weak")


def test_a_term_that_finds_no_room_leaves_it_to_shorter_ones() -> None:
    terms = [Term(text="two words"), Term(text="three more words"), Term(text="one")]
    hotwords, used = fit_terms(terms, words, limit=3)
    assert hotwords == "two words, one"
    assert used.left_out == (
        LeftOutTerm(text="three more words", reason="Whisper has room for 3 tokens of vocabulary"),
    )


def test_terms_that_cannot_be_honoured_are_named() -> None:
    hotwords, used = fit_terms([Term(text="no", boost=-1), Term(text="a"), Term(text=" a ")], words)
    assert hotwords == "a"
    assert [term.text for term in used.left_out] == [" a ", "no"]
    assert fit_terms([], words)[0] is None


def test_no_words_are_commands_to_whisper() -> None:
    hotwords, used = fit_terms([Term(text="<|endoftext|>"), Term(text="a")], words)
    assert hotwords == "a"
    assert [term.text for term in used.left_out] == ["<|endoftext|>"]


@pytest.mark.parametrize("model", [WhisperX, FasterWhisper])
def test_options_are_checked_before_whisper_reads_them(model: type[LocalModel]) -> None:
    options = jsonschema.Draft202012Validator(model.report(load_section(EngineSettings, {})).options)
    assert options.is_valid({"initial_prompt": "a < b | c", "hotwords": "a" * 200 + ", b"})
    assert not options.is_valid({"initial_prompt": "so <|endoftext|>"})
    assert not options.is_valid({"hotwords": "b, " + "a" * 201})
    assert not options.is_valid({"num_speakers": 2}), "which is the platform's own"


def test_the_prompt_stands_behind_the_hotwords_and_both_share_the_room() -> None:
    options = {"hotwords": "Boaz , Ruth,", "initial_prompt": " It was  said. "}
    hearing = Hearing(audio_seconds=1, terms=(Term(text="Naomi", boost=90),), options=options)
    prompt, told = read_prompt(hearing, words)
    assert prompt == "Naomi, Boaz, Ruth It was said."
    assert told == [TermsUsed(used=("Naomi", "Boaz", "Ruth"))]
    assert read_prompt(Hearing(audio_seconds=1), words) == (None, [])
    options = {"hotwords": "Ruth, no room", "initial_prompt": "word " * (PROMPT_TOKENS - 1)}
    prompt, (used,) = read_prompt(Hearing(audio_seconds=1, options=options), words)
    assert prompt == "Ruth" + " word" * (PROMPT_TOKENS - 1)
    assert isinstance(used, TermsUsed)
    assert [term.text for term in used.left_out] == ["no room"]


def test_of_a_prompt_that_is_too_long_the_end_is_read() -> None:
    options = {"initial_prompt": "early " * 5 + "late " * PROMPT_TOKENS}
    prompt, (notice,) = read_prompt(Hearing(audio_seconds=1, options=options), words)
    assert prompt == " ".join(["late"] * PROMPT_TOKENS)
    assert isinstance(notice, Notice)
    assert notice.code == "prompt_shortened"


class PromptsSeen(WhisperModel):  # type: ignore[misc]  # the library has no types
    """The real model, which keeps what stands before the start of the transcript in each window."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), device="cpu", compute_type="int8")
        self.prompts: list[str] = []

    def generate_with_fallback(self, encoder_output: Any, prompt: list[int], tokenizer: Any, options: Any) -> Any:
        start = self.hf_tokenizer.token_to_id("<|startoftranscript|>")
        self.prompts.append(self.hf_tokenizer.decode(prompt[: prompt.index(start)]))
        return super().generate_with_fallback(encoder_output, prompt, tokenizer, options)


def test_whisper_reads_prompt_and_hotwords_before_every_window(
    micro_model: Path, shared_data: Path, to_wav: Callable[[Path], Recording]
) -> None:
    model = PromptsSeen(micro_model)
    long = to_wav(shared_data / "long" / "two_cities_16k.wav")
    options = {"initial_prompt": "By Charles Dickens.", "hotwords": "incredulity"}
    hearing = long.hearing.model_copy(update={"language": "en", "options": options})
    told, *_ = [item for item in FasterWhisper(model).transcribe(long.path, hearing) if isinstance(item, TermsUsed)]
    assert told.used == ("incredulity",)
    assert len(model.prompts) > 1
    assert set(model.prompts) == {" incredulity By Charles Dickens."}
