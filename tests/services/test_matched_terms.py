"""Which terms of a vocabulary stand in a text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.capabilities import Term
from services.contexts import matched

SIGNS = st.sampled_from("aAbB1_ \n.-+('éÉßẞſsSKkİIıiΣσςµμ٣")
"""Few, so that texts meet terms, and those of which Unicode's cases are odd."""


def by_search(term: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text, re.IGNORECASE) is not None


@given(terms=st.lists(st.text(SIGNS, min_size=1, max_size=4)), text=st.text(SIGNS, max_size=40))
def test_what_matches_is_what_a_search_for_each_term_would_find(terms: list[str], text: str) -> None:
    terms = [term for term in terms if term.isprintable()]
    expected = tuple(term for term in terms if by_search(term, text))
    assert matched([Term(text=term) for term in terms], text) == expected


@pytest.mark.parametrize(
    ("term", "text", "stands"),
    [
        ("AF", "Soon after.", False),
        ("af", "History of AF.", True),
        ("ejection fraction", "an Ejection Fraction of 40", True),
        ("ejection fraction", "ejection, fraction", False),
        ("C++", "written in C++, mostly", True),
        ("(left", "eye(left)", False),
        ("(left", "eye (left)", True),
    ],
)
def test_a_term_stands_in_a_text_as_whole_words_in_any_case(term: str, text: str, stands: bool) -> None:
    assert (matched([Term(text=term)], text) == (term,)) == stands
