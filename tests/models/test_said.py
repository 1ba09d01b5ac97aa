"""Answers with the probability of their tokens, taken while they are generated."""

from __future__ import annotations

import pytest
import torch
from tiny_models import model, tokenizer

from realm.core.records import Message
from realm.models.chat import prompt_ids
from realm.models.engines.transformers import Transformers
from realm.models.files import Loaded

PROMPTS = [
    (Message(role="system", content="You are small."), Message(role="user", content="Compute: " + "①⓪" * n))
    for n in (1, 4, 2)
]


class Scripted:
    """Makes the model write ①⓪①⓪… and end after so many tokens, whatever it wants to."""

    def __init__(self, length: int) -> None:
        words = tokenizer()
        self._tokens = words.encode("①⓪" * length, add_special_tokens=False)[:length]
        self._tokens.append(words.eos_token_id)
        self._step = 0

    def __call__(self, written_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(logits_BV, -torch.inf)
        forced[:, self._tokens[self._step]] = 0
        self._step += 1
        return forced


def test_a_whole_answer_is_as_probable_as_when_it_is_read_back() -> None:
    loaded = Loaded(model(0), tokenizer())
    for length in (0, 1, 5):
        [said] = Transformers(loaded, [Scripted(length)]).say(PROMPTS[:1], max_tokens=9)
        told = (*PROMPTS[0], Message(role="assistant", content=said.text))
        [read] = Transformers(loaded).confidences([told])
        assert said.confidence.tokens == read.tokens == length + 1
        assert said.confidence.log_probability == pytest.approx(read.log_probability, rel=1e-5)


def test_a_cut_answer_counts_the_tokens_that_were_given() -> None:
    loaded = Loaded(model(0), tokenizer())
    [said] = Transformers(loaded, [Scripted(9)]).say(PROMPTS[:1], max_tokens=3)
    assert said.confidence.tokens == 3
    prompt = prompt_ids(tokenizer(), PROMPTS[:1])[0]
    written = tokenizer().encode("①⓪①⓪", add_special_tokens=False)[:3]
    with torch.no_grad():
        logs_TV = model(0).eval()(torch.tensor([prompt + written])).logits[0].float().log_softmax(-1)
    by_hand = sum(float(logs_TV[len(prompt) - 1 + i, token]) for i, token in enumerate(written))
    assert said.confidence.log_probability == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_answers_are_those_of_generate_and_each_has_its_own_confidence(temperature: float) -> None:
    engine = Transformers(Loaded(model(0), tokenizer()))
    said = engine.say(PROMPTS, max_tokens=6, temperature=temperature, seed=3)
    plain = engine.generate(PROMPTS, max_tokens=6, temperature=temperature, seed=3)
    assert [each.text for each in said] == plain
    if temperature == 0:
        for prompt, each in zip(PROMPTS, said, strict=True):
            [alone] = engine.say([prompt], max_tokens=6)
            assert each.confidence.log_probability == pytest.approx(
                alone.confidence.log_probability, rel=1e-4
            )
    assert engine.say([], max_tokens=6) == []
