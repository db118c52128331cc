"""Vocabulary → what Whisper reads before every window: as many terms as fit, the most wanted ones first."""

from collections.abc import Callable, Iterable

from domain.capabilities import Term
from domain.transcript import LeftOutTerm, TermsUsed

PROMPT_TOKENS = 223
"""Whisper's context is 448 tokens, of which the text needs half and the library keeps one back."""

CONTROL_MARK = "<|"
"""Begins what the tokenizer takes for a command and not for text, wherever it stands: it could end the transcript."""

_SEPARATOR = ", "

Count = Callable[[str], int]
"""How many tokens a text is."""


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


def _boost(term: Term) -> float:
    return 20.0 if term.boost is None else term.boost
