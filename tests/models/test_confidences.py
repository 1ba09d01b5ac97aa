from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from tiny_models import model, tokenizer

from realm.core.errors import DataError
from realm.core.records import Example, Message
from realm.models.chat import encode
from realm.models.engines.transformers import Transformers
from realm.models.files import Loaded
from realm.models.generator import Confidence, Confident

PROMPT = (Message(role="system", content="You are small."), Message(role="user", content="Compute: ①⓪①"))
CHATS = [(*PROMPT, Message(role="assistant", content="①⓪" * n)) for n in (3, 1, 7, 2, 7, 4)]


def engine() -> Transformers:
    return Transformers(Loaded(model(0), tokenizer()))


def by_hand(chat: tuple[Message, ...]) -> tuple[float, int]:
    row = encode(tokenizer(), Example(messages=chat), 128)
    ids_1T = torch.tensor(row.ids[None], dtype=torch.long)
    with torch.no_grad():
        logs_TV = model(0).eval()(ids_1T).logits[0].float().log_softmax(-1)
    places = [t for t in range(1, len(row.ids)) if row.trained[t]]
    return sum(float(logs_TV[t - 1, int(row.ids[t])]) for t in places), len(places)


def test_confidences_are_the_products_of_token_probabilities_in_order() -> None:
    made = engine()
    assert isinstance(made, Confident)
    found = made.confidences(CHATS)
    for chat, confidence in zip(CHATS, found, strict=True):
        logs, tokens = by_hand(chat)
        assert confidence.tokens == tokens
        assert confidence.log_probability == pytest.approx(logs, rel=1e-5)
        assert confidence.product == pytest.approx(math.exp(logs), rel=1e-4)
        assert confidence.mean == pytest.approx(math.exp(logs / tokens), rel=1e-4)
    assert made.confidences([]) == []


def test_they_add_up_to_the_loss() -> None:
    total, tokens = engine().loss(CHATS)
    found = engine().confidences(CHATS)
    assert -sum(confidence.log_probability for confidence in found) == pytest.approx(total, rel=1e-6)
    assert sum(confidence.tokens for confidence in found) == tokens


def test_an_answer_that_is_cut_has_no_confidence() -> None:
    with pytest.raises(DataError, match="do not fit"):
        engine().confidences([(*PROMPT, Message(role="assistant", content="①⓪" * 500))])


def test_a_probability_above_one_is_refused() -> None:
    with pytest.raises(ValidationError):
        Confidence(log_probability=0.1, tokens=1)
    assert Confidence(log_probability=0.0, tokens=0).mean == 1.0
