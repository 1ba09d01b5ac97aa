from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import DIGITS, TEXTS, tokenizer

from realm.core.errors import ConfigError
from realm.models.tokenizer import SPECIAL, train_tokenizer


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    ids = tokenizer().encode(text, add_special_tokens=False)
    assert tokenizer().decode(ids) == text


@given(st.lists(st.sampled_from([*DIGITS, *"0123456789"]), max_size=40).map("".join))
def test_every_digit_is_one_token(digits: str) -> None:
    assert len(tokenizer().encode(digits, add_special_tokens=False)) == len(digits)


def test_digits_need_not_occur_in_the_texts() -> None:
    made = train_tokenizer(["abc"] * 9, 300, ["⓪", "①", "é", "漢"])
    pieces = made.encode("x①⓪é漢éa", add_special_tokens=False)
    assert [made.decode([i]) for i in pieces] == ["x", "①", "⓪", "é", "漢", "é", "a"]


def test_frequent_digits_never_merge_with_their_neighbours() -> None:
    made = train_tokenizer(["①⓪ add①"] * 500, 400, DIGITS)
    assert [made.decode([i]) for i in made.encode("①⓪ add①")] == ["①", "⓪", " add", "①"]


def test_equal_texts_give_an_equal_tokenizer() -> None:
    made = [train_tokenizer(TEXTS, 320, DIGITS).backend_tokenizer.to_str() for _ in range(2)]
    assert made[0] == made[1]


def test_vocabulary_is_bounded_and_holds_bytes_and_turns() -> None:
    made = train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 50, 280, DIGITS)
    assert len(made) == 280
    assert all(made.convert_tokens_to_ids(token) is not None for token in SPECIAL)
    assert made.eos_token == "<|end|>"
    assert made.pad_token == "<|pad|>"


def test_too_small_a_vocabulary_says_what_is_needed() -> None:
    with pytest.raises(ConfigError, match="262"):
        train_tokenizer(["abc"], 100)


def test_alphabet_takes_single_characters() -> None:
    with pytest.raises(ConfigError, match="'ab'"):
        train_tokenizer(["abc"], 300, ["ab"])


def test_layout_of_a_chat() -> None:
    chat = [{"role": "system", "content": " s\n"}, {"role": "user", "content": "u"}]
    text = tokenizer().apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|system|> s\n<|end|><|user|>u<|end|><|assistant|>"
