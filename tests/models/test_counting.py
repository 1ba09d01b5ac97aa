"""Counts are those of the tokenizer itself, whatever the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.models import counting
from realm.models.counting import TokenCounter
from realm.models.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(
    ["the quick brown fox jumps over the lazy dog and the dog sleeps", "x = f(a, b)  # c"],
    600,
    alphabet=list("abc"),
)
COUNT = TokenCounter(TOKENIZER)
PIECES = st.sampled_from(
    ["the", "dog", " ", "  ", "\n", "\t ", "ü", "密", "🙂", "<", ">", "a", "'s", "12", "", "\u200d"]
)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map("".join)))
def test_counts_are_those_of_the_tokenizer(text: str) -> None:
    said = text.encode("utf-8", "replace").decode()
    assert COUNT(said) == len(TOKENIZER.encode(said, add_special_tokens=False))


def test_a_word_costs_one_tokenisation() -> None:
    count = TokenCounter(TOKENIZER)
    assert count("dog the dog the dog") == count("dog the dog the dog")
    assert len(count._known) == 3  # "dog" at the beginning, " the", " dog"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MOST_KEPT", 10)
    count = TokenCounter(TOKENIZER)
    for number in range(40):
        text = f"a{number} the b{number} the c{number}"
        assert count(text) == len(TOKENIZER.encode(text, add_special_tokens=False))
    assert len(count._known) <= 15
