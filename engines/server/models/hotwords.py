"""What Whisper reads before every window: the caller's words to listen for, most wanted first, then their prompt.

Both go into what faster-whisper and WhisperX call `hotwords`: their own `initial_prompt` reaches the first window only,
or other windows in another order.
"""

from collections.abc import Callable, Iterable
from typing import Any

from domain.capabilities import Term
from domain.transcript import LeftOutTerm, Notice, TermsUsed
from engines.contract import Hearing

PROMPT_TOKENS = 223
"""Whisper's context is 448 tokens, of which the text needs half and the library keeps one back."""

CONTROL_MARK = "<|"
"""Begins what the tokenizer takes for a command and not for text, wherever it stands: it could end the transcript."""

PROMPT_OPTIONS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "hotwords": {
            "type": "string",
            "maxLength": 4000,
            "pattern": "^[^,]{0,200}(,[^,]{0,200})*$",
            "description": "Words and phrases to listen for, parted by commas, each of at most 200 characters.",
        },
        "initial_prompt": {
            "type": "string",
            "maxLength": 4000,
            "not": {"pattern": r"<\|"},
            "description": "Text that Whisper takes for what was said before, in every window: it sets a style. "
            f"It must not contain {CONTROL_MARK}, with which Whisper's own commands begin.",
        },
    },
    "additionalProperties": False,
}

_SEPARATOR = ", "

Count = Callable[[str], int]
"""How many tokens a text is, with the space that goes before it in a prompt."""


def read_prompt(hearing: Hearing, count: Count) -> tuple[str | None, list[Notice | TermsUsed]]:
    """What Whisper is to read before every window, None for nothing; and what the caller should know of it."""
    asked = [text.strip() for text in hearing.options.get("hotwords", "").split(",")]
    terms = [*(Term(text=text) for text in asked if text), *hearing.terms]
    prompt = hearing.options.get("initial_prompt", "")
    kept = _shorten(prompt, count)
    hotwords, used = fit_terms(terms, count, PROMPT_TOKENS - (count(kept) if kept else 0))
    told: list[Notice | TermsUsed] = []
    if len(kept.split()) < len(prompt.split()):
        read_last = f"of the prompt, Whisper reads the last {PROMPT_TOKENS} tokens"
        told.append(Notice(code="prompt_shortened", message=read_last))
    if terms:
        told.append(used)
    return " ".join(part for part in (hotwords, kept) if part) or None, told


def fit_terms(terms: Iterable[Term], count: Count, limit: int = PROMPT_TOKENS) -> tuple[str | None, TermsUsed]:
    """The hotwords for `terms`, None where there are none, and what became of each term.

    Terms with more boost come first, those without one as with 20; a term that does not fit is passed over, so that a
    shorter one may still find room.
    """
    used: list[str] = []
    left_out: list[LeftOutTerm] = []
    for term in sorted(terms, key=lambda term: -_boost(term)):
        text = " ".join(term.text.split())
        if _boost(term) <= 0:
            left_out.append(LeftOutTerm(text=term.text, reason="Whisper can only be told what to expect"))
        elif CONTROL_MARK in text:
            reason = f"it contains {CONTROL_MARK}, with which Whisper's own commands begin"
            left_out.append(LeftOutTerm(text=term.text, reason=reason))
        elif text in used:
            left_out.append(LeftOutTerm(text=term.text, reason="it is there twice"))
        elif count(_SEPARATOR.join([*used, text])) > limit:
            left_out.append(LeftOutTerm(text=term.text, reason=f"Whisper has room for {limit} tokens of vocabulary"))
        else:
            used.append(text)
    return _SEPARATOR.join(used) or None, TermsUsed(used=tuple(used), left_out=tuple(left_out))


def _shorten(prompt: str, count: Count) -> str:
    """The end of `prompt` that Whisper has room for, by whole words."""
    words = prompt.split()
    first = 0
    while first < len(words) and count(" ".join(words[first:])) > PROMPT_TOKENS:
        first += 1
    return " ".join(words[first:])


def _boost(term: Term) -> float:
    return 20.0 if term.boost is None else term.boost
