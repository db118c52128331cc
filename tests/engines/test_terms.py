"""Vocabulary in the models that Escriba brings along: what can be seen of it is seen on the real libraries."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jiwer
import pytest
from faster_whisper import WhisperModel
from pocketsphinx import Decoder

from domain.capabilities import Term
from domain.transcript import Heard, Segment, TermsUsed, Word
from engines.contract import Engine
from engines.server.models.faster_whisper import FasterWhisper
from engines.server.models.hotwords import PROMPT_TOKENS
from engines.server.models.sphinx_terms import MOST_TOGETHER, MOST_WAYS, compile_terms
from tests.engines.contract_suite import Recording
from tests.engines.harness import engine_server, hear, text_of

Decode = Callable[[Path], Recording]

SAID = {
    "quilter.wav": ("Quilter", "apostle"),
    "ls-2033-164914-0002.flac": ("eunuch", "poetry"),
    "ls-2609-156975-0005.flac": ("Hebrews",),
}
NOT_SAID = ("aspirin", "insulin", "diabetes", "pneumonia", "asthma", "antibiotic", "biopsy", "fever", "referral")


def terms(*texts: str, boost: float | None = None) -> tuple[Term, ...]:
    return tuple(Term(text=text, boost=boost) for text in texts)


async def hear_with(engine: Engine, recording: Recording, vocabulary: Sequence[Term]) -> list[Heard]:
    return await hear(engine, recording.path, recording.hearing.model_copy(update={"terms": tuple(vocabulary)}))


def split(heard: list[Heard]) -> tuple[list[TermsUsed], list[Heard]]:
    """What was told of the terms, and the rest."""
    told = [item for item in heard if isinstance(item, TermsUsed)]
    return told, [item for item in heard if not isinstance(item, TermsUsed)]


def words_of(heard: list[Heard]) -> list[Word]:
    return [word for item in heard if isinstance(item, Segment) for word in item.words]


def plain(text: str) -> str:
    return re.sub(r"[^a-z' ]+", " ", text.lower()).strip()


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Engine]:
    async with engine_server() as server, server.engine("sphinx") as engine:
        yield engine


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(samprate=16000, loglevel="FATAL")


class TestSphinx:
    @pytest.fixture
    def quilter(self, shared_data: Path, to_wav: Decode) -> Recording:
        """ "mister quilter is the apostle of …": heard as "mr coulter is the apostles …" without terms."""
        return to_wav(shared_data / "en" / "quilter.wav")

    async def test_more_terms_are_heard_and_none_that_was_not_said(
        self, engine: Engine, shared_data: Path, to_wav: Decode
    ) -> None:
        vocabulary = terms(*(text for said in SAID.values() for text in said), *NOT_SAID)
        before, after, references = [], [], []
        for name in SAID:
            recording = to_wav(shared_data / "en" / name)
            references.append(plain((shared_data / "en" / name).with_suffix(".txt").read_text()))
            before.append(plain(text_of(await hear(engine, recording.path, recording.hearing))))
            after.append(plain(text_of(await hear_with(engine, recording, vocabulary))))
        for said, reference, without, heard in zip(SAID.values(), references, before, after, strict=True):
            lacking = [text for text in said if text.lower() not in without.split()]
            assert lacking, "or there is nothing to gain"
            assert all(text.lower() in heard.split() for text in said)
            wrong = {term.text.lower() for term in vocabulary} & set(heard.split()) - set(reference.split())
            assert not wrong
        assert jiwer.wer(references, after) < jiwer.wer(references, before)

    async def test_what_became_of_the_terms_is_told_once_and_first(self, engine: Engine, quilter: Recording) -> None:
        heard = await hear_with(engine, quilter, [*terms("apostle", "metformin"), *terms("gospel", boost=-5)])
        (told,), _ = split(heard)
        assert heard[0] == told
        assert told.used == ("apostle",)
        assert [term.text for term in told.left_out] == ["metformin", "gospel"]
        assert "sounds_like" in told.left_out[0].reason

    async def test_a_term_is_heard_as_it_sounds_and_written_as_the_caller_writes_it(
        self, engine: Engine, quilter: Recording
    ) -> None:
        (_, *rest), heard = split(
            await hear_with(engine, quilter, [Term(text="QLT Group 7", sounds_like=("umbrella", "quilter"))])
        )
        words = words_of(heard)
        assert not rest
        assert [word.text for word in words[1:4]] == ["QLT", "Group", "7"]
        assert all(before.end <= after.start and before.start < before.end for before, after in pairwise(words[:5]))
        assert "QLT Group 7" in text_of(heard)

    async def test_a_job_with_terms_leaves_nothing_behind(self, engine: Engine, quilter: Recording) -> None:
        before = await hear(engine, quilter.path, quilter.hearing)
        assert split(await hear_with(engine, quilter, terms("Quilter")))[1] != before
        assert await hear(engine, quilter.path, quilter.hearing) == before

    async def test_terms_that_cannot_be_used_change_nothing(self, engine: Engine, quilter: Recording) -> None:
        unusable = [*terms("Quilter", boost=-100), *terms("apostle", boost=0), *terms("metoprolol", "<sil>", "H2O")]
        (told,), heard = split(await hear_with(engine, quilter, unusable))
        assert not told.used
        assert [term.text for term in told.left_out] == [term.text for term in unusable]
        assert heard == await hear(engine, quilter.path, quilter.hearing)

    async def test_it_says_that_it_boosts_words(self, engine: Engine) -> None:
        assert (await engine.report()).boosts_words


class TestPronunciation:
    @pytest.mark.parametrize(
        ("term", "phones"),
        [
            (Term(text="natural language"), "N AE CH ER AH L L AE NG G W AH JH"),
            (Term(text="ECG"), "IY S IY JH IY"),
            (Term(text="X-ray"), "EH K S R EY"),
            (Term(text="beta-blocker"), "B EY T AH B L AA K ER"),
            (Term(text="Müller"), "M AH L ER"),
            (Term(text="H2O", sounds_like=("h two oh",)), "EY CH T UW OW"),
            (Term(text="Lincoln", sounds_like=("gospel",)), "G AA S P AH L"),
            (Term(text="Lincoln", sounds_like=("xyzzyx",)), "L IH NG K AH N"),
        ],
        ids=lambda value: value.text if isinstance(value, Term) else "",
    )
    def test_it_is_that_of_the_words_it_is_made_of(self, decoder: Decoder, term: Term, phones: str) -> None:
        (boosted,), _ = compile_terms([term], decoder.lookup_word)
        assert phones in boosted.ways

    @pytest.mark.parametrize(
        "text", ["metformin", "HBAONEC", "7 mg", "read(2)", "<sil>", "[NOISE]", "?!", " ", "心電図"]
    )
    def test_what_has_none_is_left_out(self, decoder: Decoder, text: str) -> None:
        boosted, told = compile_terms(terms(text), decoder.lookup_word)
        assert not boosted
        assert [(term.text, "no pronunciation" in term.reason) for term in told.left_out] == [(text, True)]

    def test_all_pronunciations_of_a_word_count_but_not_all_combinations_of_a_phrase(self, decoder: Decoder) -> None:
        word, phrase = compile_terms(terms("read", "read " * 10), decoder.lookup_word)[0]
        assert set(word.ways) == {"R EH D", "R IY D"}
        assert len(set(phrase.ways)) == MOST_WAYS

    def test_a_term_that_is_named_twice_counts_once(self, decoder: Decoder) -> None:
        boosted, told = compile_terms([*terms("gospel", boost=10), *terms("gospel")], decoder.lookup_word)
        assert [term.weight for term in boosted] == [pytest.approx(10)]
        assert "twice" in told.left_out[0].reason

    def test_more_boost_makes_a_term_likelier_up_to_a_limit(self, decoder: Decoder) -> None:
        boosts = [1, 10, 20, 60, 100, None]
        weights = [compile_terms(terms("gospel", boost=boost), decoder.lookup_word)[0][0].weight for boost in boosts]
        assert weights[:5] == sorted(set(weights[:5]))
        assert weights[4] == pytest.approx(1000)
        assert weights[5] == weights[2] == pytest.approx(100)

    def test_many_terms_share_what_all_may_have_together(self, decoder: Decoder) -> None:
        names = [f"{one} {other}" for one in ("red", "blue", "green", "brown") for other in NOT_SAID]
        strong, *weak = compile_terms([*terms("gospel", boost=100), *terms(*names, boost=50)], decoder.lookup_word)[0]
        assert sum(term.weight for term in (strong, *weak)) == pytest.approx(MOST_TOGETHER)
        assert strong.weight / weak[0].weight == pytest.approx(10 ** (1 - 30 / 80))


class PromptsSeen(WhisperModel):  # type: ignore[misc]  # the library has no types
    """The real model, which keeps the prompt of each window."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), device="cpu", compute_type="int8")
        self.prompts: list[list[int]] = []

    def generate_with_fallback(self, encoder_output: Any, prompt: list[int], tokenizer: Any, options: Any) -> Any:
        self.prompts.append(list(prompt))
        return super().generate_with_fallback(encoder_output, prompt, tokenizer, options)

    def vocabulary(self) -> Iterator[list[int]]:
        """For each window, what stands in its prompt before the start of the transcript."""
        start = self.hf_tokenizer.token_to_id("<|startoftranscript|>")
        for prompt in self.prompts:
            yield prompt[: prompt.index(start)]

    def tokens(self, text: str) -> list[int]:
        return [
            self.hf_tokenizer.token_to_id("<|startofprev|>"),
            *self.hf_tokenizer.encode(f" {text}", add_special_tokens=False).ids,
        ]


class TestWhisper:
    @pytest.fixture
    def model(self, micro_model: Path) -> PromptsSeen:
        return PromptsSeen(micro_model)

    @pytest.fixture
    def long(self, shared_data: Path, to_wav: Decode) -> Recording:
        """44 s, so more than one window of 30 s."""
        return to_wav(shared_data / "long" / "two_cities_16k.wav")

    @pytest.fixture
    def short(self, shared_data: Path, to_wav: Decode) -> Recording:
        return to_wav(shared_data / "en" / "jfk.flac")

    def hear(self, model: PromptsSeen, recording: Recording, vocabulary: Sequence[Term]) -> list[Heard]:
        hearing = recording.hearing.model_copy(update={"terms": tuple(vocabulary), "language": "en"})
        return list(FasterWhisper(model).transcribe(recording.path, hearing))

    def test_the_terms_stand_in_the_prompt_of_every_window(self, model: PromptsSeen, long: Recording) -> None:
        (told,), _ = split(self.hear(model, long, terms("Kalpana Chawla", "incredulity")))
        assert told == TermsUsed(used=("Kalpana Chawla", "incredulity"))
        assert len(model.prompts) >= 2
        assert all(seen == model.tokens("Kalpana Chawla, incredulity") for seen in model.vocabulary())

    def test_what_does_not_fit_is_left_out_from_the_least_boosted_on(
        self, model: PromptsSeen, short: Recording
    ) -> None:
        many = [Term(text=f"zyqxwv{number:03}", boost=number) for number in range(1, 100)]
        (told,), _ = split(self.hear(model, short, many))
        by_boost = [term.text for term in reversed(many)]
        assert [*told.used, *(term.text for term in told.left_out)] == by_boost
        assert all(f"{PROMPT_TOKENS} tokens" in term.reason for term in told.left_out)
        assert 0 < len(told.used) < len(many)
        whole, one_more = model.tokens(", ".join(told.used)), model.tokens(", ".join(by_boost[: len(told.used) + 1]))
        assert len(whole) <= PROMPT_TOKENS + 1 < len(one_more)
        assert all(seen == whole for seen in model.vocabulary())

    def test_terms_that_cannot_be_used_change_nothing(self, model: PromptsSeen, short: Recording) -> None:
        unusable = [*terms("country", boost=-10), *terms("<|endoftext|>", "fellow <|es|>")]
        (told,), heard = split(self.hear(model, short, unusable))
        assert not told.used
        assert {term.text for term in told.left_out} == {"country", "<|endoftext|>", "fellow <|es|>"}
        assert all(seen == [] for seen in model.vocabulary())
        assert heard == self.hear(model, short, [])

    async def test_terms_reach_it_through_the_engine_server(self, micro_model: Path, short: Recording) -> None:
        environ = {"WHISPER_MODEL": str(micro_model), "WHISPER_DEVICE": "cpu"}
        async with engine_server(**environ) as server, server.engine("whisper") as engine:
            assert (await engine.report()).boosts_words
            heard = await hear_with(engine, short, [Term(text="fellow", sounds_like=("fell oh",))])
        assert heard[0] == TermsUsed(used=("fellow",))
        assert len(split(heard)[0]) == 1
