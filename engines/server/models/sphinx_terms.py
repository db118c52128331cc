"""Vocabulary → a PocketSphinx that listens for it.

A term, however many words it has, becomes one word of its own beside those that the language model knows. How likely
it is depends on its boost and little on the words before it, and a term that the model has never seen can be heard at
all. What competes with it stays as it was: only a term can get in the way of what would have been heard without.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np

from domain.capabilities import Term
from domain.transcript import LeftOutTerm, TermsUsed
from engines.contract import SAMPLE_RATE_HZ

START_BOOST = 20.0
"""For terms without a boost of their own."""

# How likely a term is, as the power of ten by which it exceeds an even share of the model's 72,547 words. Tried with 18
# terms that are said and 20 that are not on 121 s of English (`bench.terms`), of which 5 are heard without: at an even
# share 6, at 10 times as much 10, at 100 times 12, all without a false alarm; at 1,000 times 12 with one false alarm;
# at 10,000 times 14 with four. No step costs other words. At 100 times, 243 s of other speech (../shared/data/long)
# gain 3 of 23 terms, 18 for 15, without a false alarm.
_BOOSTS = (0.0, START_BOOST, 100.0)
_POWERS = (0.0, 2.0, 3.0)

MOST_TOGETHER = 7_000
"""What all terms get together at most, in even shares: a tenth of the probability. With 1,000 more terms that are not
said, 11 of those 18 are heard with 12 false alarms where nothing limits them, and 10 with four within this limit."""

MOST_WAYS = 8
"""Pronunciations of one term."""

LONGEST_ACRONYM = 5
"""Letters. What is written in capitals and is in no dictionary is spelt out, as ECG is."""

_BETWEEN = re.compile(r'[\s,;:!?"()/]+')
_SPELT = re.compile(r"[A-Za-z'.-]+")

Lookup = Callable[[str], str | None]
"""A word of the dictionary → its phones, parted by blanks; `word(2)` is its second pronunciation."""


@dataclass(frozen=True, slots=True)
class Boosted:
    text: str
    ways: tuple[str, ...]
    """Its pronunciations: phones parted by blanks."""
    weight: float
    """Its probability, in even shares of the language model's words."""


def compile_terms(terms: Iterable[Term], lookup: Lookup) -> tuple[tuple[Boosted, ...], TermsUsed]:
    """The terms that can be listened for, and what became of each."""
    chosen: dict[str, Boosted] = {}
    left_out: list[LeftOutTerm] = []
    for term in terms:
        boost = START_BOOST if term.boost is None else term.boost
        ways = _ways_to_say(term, lookup)
        if boost == 0:
            left_out.append(LeftOutTerm(text=term.text, reason="a boost of 0 does nothing"))
        elif boost < 0:
            left_out.append(LeftOutTerm(text=term.text, reason="PocketSphinx can only be told what to expect"))
        elif term.text in chosen:
            left_out.append(LeftOutTerm(text=term.text, reason="it is named twice: its first boost was used"))
        elif not ways:
            reason = "no pronunciation: give sounds_like, in words of an English dictionary"
            left_out.append(LeftOutTerm(text=term.text, reason=reason))
        else:
            chosen[term.text] = Boosted(term.text, ways, 10 ** float(np.interp(boost, _BOOSTS, _POWERS)))
    return _limited(tuple(chosen.values())), TermsUsed(used=tuple(chosen), left_out=tuple(left_out))


def open_decoder(boosted: Iterable[Boosted], language_model: str) -> tuple[Any, Mapping[str, str]]:
    """A decoder that listens for them (a quarter of a second, 90 MB), and its word for each → the term's text.

    It is for one job: a decoder's dictionary can only grow.
    """
    from pocketsphinx import Decoder, NGramModel  # native; the server that reports on this engine must not load it

    decoder = Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL", lm=None)
    model = NGramModel(decoder.config, decoder.logmath, language_model)
    texts = {}
    for number, term in enumerate(boosted):
        word = f"term:{number}"
        for way, phones in enumerate(term.ways, start=1):
            decoder.add_word(_variant(word, way), phones, update=False)
        model.add_word(word, term.weight)
        texts[word] = term.text
    decoder.add_lm("terms", model)
    decoder.activate_search("terms")
    return decoder, texts


def _limited(boosted: tuple[Boosted, ...]) -> tuple[Boosted, ...]:
    together = sum(term.weight for term in boosted)
    if together <= MOST_TOGETHER:
        return boosted
    return tuple(Boosted(term.text, term.ways, term.weight * MOST_TOGETHER / together) for term in boosted)


def _ways_to_say(term: Term, lookup: Lookup) -> tuple[str, ...]:
    """As the caller says that it sounds; as the dictionary has it where nothing usable is said."""
    told = (way for spelling in term.sounds_like for way in _pronunciations(spelling, lookup))
    return tuple(islice(dict.fromkeys(told), MOST_WAYS)) or tuple(_pronunciations(term.text, lookup))


def _pronunciations(text: str, lookup: Lookup) -> list[str]:
    """None where a word of `text` cannot be pronounced."""
    words = [list(_variants(word, lookup)) for word in _words_said(text, lookup)]
    return [" ".join(phones) for phones in islice(product(*words), MOST_WAYS)] if words else []


def _words_said(text: str, lookup: Lookup) -> Iterator[str]:
    """Those of the dictionary, as far as they are in it."""
    for word in filter(None, _BETWEEN.split(_without_accents(text))):
        if _SPELT.fullmatch(word) is None:
            yield ""  # digits and signs; the dictionary's own signs for silence and noise as well
        elif lookup(word.lower()) is not None:
            yield word.lower()
        elif word.isalpha() and word.isupper() and len(word) <= LONGEST_ACRONYM:
            yield from word.lower()
        else:
            yield from filter(None, word.lower().split("-"))


def _variants(word: str, lookup: Lookup) -> Iterator[str]:
    way = 1
    while word and (phones := lookup(_variant(word, way))) is not None:
        yield phones
        way += 1


def _variant(word: str, way: int) -> str:
    return word if way == 1 else f"{word}({way})"


def _without_accents(text: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
