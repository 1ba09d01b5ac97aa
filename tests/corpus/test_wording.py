"""Words of a text: the fast way for ASCII finds what the definition says."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from realm.corpus.texts.wording import normalised

DEFINITION = re.compile(r"""\w+|(?<!\*)\*(?!\*)|[^\w\s*.,;:!?"'()\[\]{}`#]""", re.ASCII)
SIGNS = st.text("aZ1_ *#.,-+=<>()\"'`\t\n\x0b\x1c\x00/\\|~", max_size=30)


@given(st.one_of(SIGNS, st.text(st.characters(max_codepoint=127), max_size=60)))
def test_plain_words_are_those_of_the_definition(text: str) -> None:
    assert normalised(text) == DEFINITION.findall(text.lower())


def test_stars_that_emphasise_are_no_words() -> None:
    assert normalised("**3 * 4** is ***not*** 3*4") == ["3", "*", "4", "is", "not", "3", "*", "4"]
