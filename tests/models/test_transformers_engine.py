from __future__ import annotations

import pytest
import torch
from tiny_models import model, tokenizer

from realm.core.errors import DataError
from realm.core.records import Example, Message
from realm.models.chat import encode, prompt_ids
from realm.models.engines.transformers import Transformers
from realm.models.files import Loaded

PROMPTS = [
    (Message(role="system", content="You are small."), Message(role="user", content="Compute: " + "①⓪" * n))
    for n in (1, 5, 2, 2, 9, 1, 3)
]


def engine(seed: int = 0) -> Transformers:
    return Transformers(Loaded(model(seed), tokenizer()))


@pytest.mark.parametrize("seed", range(4))
def test_batched_equals_one_by_one_and_the_librarys_own_loop(seed: int) -> None:
    made = engine(seed)
    together = made.generate(PROMPTS, max_tokens=12)
    assert together == [made.generate([p], max_tokens=12)[0] for p in PROMPTS]
    for prompt, answer in zip(PROMPTS, together, strict=True):
        ids_1T = torch.tensor(prompt_ids(tokenizer(), [prompt]))
        out = model(seed).generate(ids_1T, max_new_tokens=12, do_sample=False)[0, ids_1T.shape[1] :]
        assert tokenizer().decode(out, skip_special_tokens=True) == answer


def test_sampling_depends_on_seed_and_index_alone() -> None:
    made = engine()
    settings = {"max_tokens": 10, "temperature": 1.0, "top_p": 0.9}
    first = made.generate(PROMPTS, seed=3, **settings)
    assert first == made.generate(PROMPTS, seed=3, **settings)
    assert first[:3] == made.generate(PROMPTS[:3], seed=3, **settings)
    assert first != made.generate(PROMPTS, seed=4, **settings)


def test_equal_prompts_are_sampled_differently() -> None:
    answers = engine().generate([PROMPTS[0]] * 20, max_tokens=10, temperature=1.0)
    assert len(set(answers)) > 15


def test_a_tiny_top_p_is_greedy() -> None:
    made = engine()
    sampled = made.generate(PROMPTS, max_tokens=8, temperature=1.0, top_p=1e-6)
    assert sampled == made.generate(PROMPTS, max_tokens=8)


def test_sampled_shares_follow_the_model() -> None:
    made = engine()
    ids_1T = torch.tensor(prompt_ids(tokenizer(), [PROMPTS[0]]))
    with torch.no_grad():
        expected_V = model()(ids_1T).logits[0, -1].softmax(-1)
    answers = made.generate([PROMPTS[0]] * 3000, max_tokens=1, temperature=1.0)
    likeliest = int(expected_V.argmax())
    share = answers.count(tokenizer().decode([likeliest], skip_special_tokens=True)) / 3000
    assert share >= float(expected_V[likeliest]) - 0.04


def test_pieces_of_a_stream_join_to_the_answer() -> None:
    made = engine()
    for index, prompt in enumerate(PROMPTS):
        pieces = list(made.stream(prompt, max_tokens=12, temperature=1.0, seed=index))
        assert "".join(pieces) == made.generate([prompt], max_tokens=12, temperature=1.0, seed=index)[0]


def test_a_stream_leaves_gradients_on_between_its_pieces() -> None:
    for _ in engine().stream(PROMPTS[0], max_tokens=3):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_rows_that_end_early_leave_the_batch_unharmed() -> None:
    made, end = model(), tokenizer().eos_token_id
    with torch.no_grad():
        made.model.embed_tokens.weight[end] *= 3
    answers = Transformers(Loaded(made, tokenizer())).generate(PROMPTS, max_tokens=30)
    taken = []
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids_1T = torch.tensor(prompt_ids(tokenizer(), [prompt]))
        out = made.generate(ids_1T, max_new_tokens=30, do_sample=False)[0, ids_1T.shape[1] :]
        assert tokenizer().decode(out, skip_special_tokens=True) == answer
        taken.append(len(out))
    assert len(set(taken)) > 1


def test_answers_never_leave_the_context() -> None:
    long = (Message(role="user", content="①" * 120),)
    assert len(tokenizer().encode(engine().generate([long], max_tokens=500)[0])) <= 128
    with pytest.raises(DataError, match="no room"):
        engine().generate([(Message(role="user", content="①" * 130),)], max_tokens=5)


def test_no_prompts_no_answers() -> None:
    assert engine().generate([], max_tokens=5) == []


def test_description_names_backend_dtype_and_template() -> None:
    description = engine().description
    assert description["backend"].startswith("transformers ")
    assert description["dtype"] == "float32"
    assert description["template"].startswith("sha256:")


def test_the_loss_of_answers_equals_transformers_own() -> None:
    chats = [(*prompt, Message(role="assistant", content="①⓪" * n)) for n, prompt in enumerate(PROMPTS, 1)]
    total, tokens = engine().loss(chats)
    made, expected, counted = model().eval(), 0.0, 0
    for chat in chats:
        row = encode(tokenizer(), Example(messages=chat), 128)
        ids_1T = torch.tensor(row.ids[None], dtype=torch.long)
        labels_1T = torch.where(torch.tensor(row.trained[None]), ids_1T, -100)
        counted += int(row.trained.sum())
        expected += float(made(input_ids=ids_1T, labels=labels_1T).loss.detach()) * int(row.trained.sum())
    assert tokens == counted
    assert total == pytest.approx(expected, rel=1e-5)
    assert engine().loss([]) == (0, 0)
