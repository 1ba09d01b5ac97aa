"""Distillation against TRL's GKD and distillation losses, its teachers, and their answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import assert_equal_gradients, gradients_of, made, step, turns, units_of
from tiny_runs import SHAPE, chat, drills, make_job, make_start, qwen3, run, tokenizer
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
)

from realm.core.errors import ConfigError, DataError
from realm.core.events import StepTaken
from realm.core.records import Example
from realm.models.blank import BLANKS, SpecialIds
from realm.models.files import save
from realm.models.tokenizer import train_tokenizer
from realm.training import pieces
from realm.training.method import METHODS

ROWS = [*drills(5), chat("a", "the quick brown fox")]
WRITTEN = {"kind": "endpoint", "url": "http://127.0.0.1:1/v1", "model": "sage"}


def _config(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"kind": "distillation", "teacher": {"kind": "local", "folder": str(folder)}, **settings}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_loss_and_gradients_equal_trl(tmp_path: Path, beta: float, temperature: float) -> None:
    from trl.experimental.gkd import GKDTrainer
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    trainee = made(tmp_path)
    teacher = make_start(tmp_path / "teacher", qwen3(5))
    method, units = units_of(trainee, _config(teacher, beta=beta, temperature=temperature), ROWS)
    loss, gradients, figures = step(trainee, method, units)

    student, other = qwen3(0), qwen3(5)
    rows = [unit.sequences[0] for unit in units]
    width = max(len(row.ids) for row in rows)
    ids, labels = torch.zeros(len(rows), width, dtype=torch.long), torch.full((len(rows), width), -100)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.from_numpy(row.ids)
        trained = torch.from_numpy(row.trained)
        labels[place, : len(row.ids)][trained] = ids[place, : len(row.ids)][trained]
    with torch.no_grad():
        theirs = other(input_ids=ids)
        hidden_other = other.model(input_ids=ids).last_hidden_state
    ours = student(input_ids=ids)
    expected = GKDTrainer.generalized_jsd_loss(
        ours.logits[:, :-1], theirs.logits[:, :-1], labels[:, 1:], beta=beta, temperature=temperature
    )
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert_equal_gradients(gradients, gradients_of(student))
    chunked = _chunked_divergence_loss(
        student.model(input_ids=ids).last_hidden_state[:, :-1],
        hidden_other[:, :-1],
        student.lm_head.weight,
        other.lm_head.weight,
        (labels[:, 1:] != -100).long(),
        beta,
        temperature=temperature,
    )[0]
    assert loss == pytest.approx(float(chunked.detach()), rel=1e-5)
    assert figures["divergence"] > 0
    assert 0 <= figures["agreement"] < 1


def test_logits_in_pieces_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, _config(make_start(tmp_path / "teacher", qwen3(5))), ROWS)
    loss, gradients, figures = step(trainee, method, units)
    monkeypatch.setattr(pieces, "LOGITS_AT_ONCE", 3 * len(tokenizer()))
    again, others, same = step(trainee, method, units)
    assert again == pytest.approx(loss, rel=1e-6)
    assert same == pytest.approx(figures, rel=1e-5)
    assert_equal_gradients(others, gradients)


def test_a_teacher_that_equals_the_model_teaches_nothing(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, _config(make_start(tmp_path / "teacher", qwen3(0))), ROWS)
    loss, _, figures = step(trainee, method, units)
    assert loss == pytest.approx(0, abs=1e-5)
    assert figures["agreement"] == pytest.approx(1)


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    other = train_tokenizer(["another corpus of words"] * 5, 320, ["⓪", "①"])
    shape = {"kind": "qwen3", "hidden_size": 32, "layers": 1, "heads": 4, "kv_heads": 2, "head_dim": 8}
    special = SpecialIds(end=other.eos_token_id, pad=other.pad_token_id)
    model = BLANKS.build({**shape, "intermediate_size": 48, "context_tokens": 256}).build(
        len(other), special, 0
    )
    folder = tmp_path / "teacher"
    folder.mkdir()
    save(model, other, folder)
    with pytest.raises(ConfigError, match=r"another vocabulary[\s\S]*kind endpoint"):
        units_of(made(tmp_path), _config(folder), ROWS)


def _other(tmp_path: Path, vocabulary: int, context_tokens: int) -> Path:
    special = SpecialIds(end=tokenizer().eos_token_id, pad=tokenizer().pad_token_id)
    model = BLANKS.build({**SHAPE, "context_tokens": context_tokens}).build(vocabulary, special, 5)
    return make_start(tmp_path / "teacher", model)


def test_a_teacher_with_another_output_matrix_is_refused(tmp_path: Path) -> None:
    teacher = _other(tmp_path, len(tokenizer()) + 64, 256)
    with pytest.raises(ConfigError, match=rf"scores {len(tokenizer()) + 64} tokens, the model"):
        units_of(made(tmp_path), _config(teacher), ROWS)


def test_a_teacher_that_reads_less_than_rows_have_is_refused(tmp_path: Path) -> None:
    teacher = _other(tmp_path, len(tokenizer()), 128)
    with pytest.raises(ConfigError, match="reads 128 tokens, rows have up to 256"):
        units_of(made(tmp_path), _config(teacher), ROWS)


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,
    "bos_token_id": None,
}
SCALING: dict[str, Any] = {
    "granite": (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 8.0}),
    "cohere": (CohereConfig, CohereForCausalLM, {"logit_scale": 1 / 16}),
}


@pytest.mark.parametrize("name", SCALING)
def test_a_teacher_that_scales_its_logits_is_refused(tmp_path: Path, name: str) -> None:
    config, model, settings = SCALING[name]
    ends = {"eos_token_id": tokenizer().eos_token_id, "pad_token_id": tokenizer().pad_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(5)
        built = model(config(vocab_size=len(tokenizer()), **SIZES, **ends, **settings))
    teacher = make_start(tmp_path / "teacher", built)
    with pytest.raises(ConfigError, match=rf"scales or caps what its head gives \({name}\)"):
        units_of(made(tmp_path), _config(teacher), ROWS)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_row_of_weight_two_counts_like_two_rows(tmp_path: Path, beta: float) -> None:
    trainee = made(tmp_path)
    config = _config(make_start(tmp_path / "teacher", qwen3(5)), beta=beta)
    method, units = units_of(trainee, config, [ROWS[0], ROWS[-1].model_copy(update={"weight": 2.0})])
    _, twice = units_of(trainee, config, [ROWS[0], ROWS[-1], ROWS[-1]])
    loss, gradients, _ = step(trainee, method, units)
    expected, reference, _ = step(trainee, method, twice)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert_equal_gradients(gradients, reference, 1e-6)


@pytest.mark.parametrize("setting", ["beta", "temperature"])
def test_a_divergence_from_words_alone_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="beta and temperature belong to a teacher that gives its logits"):
        METHODS.config({"kind": "distillation", "teacher": WRITTEN, setting: 0.9})
    METHODS.config(METHODS.config({"kind": "distillation", "teacher": WRITTEN}).model_dump())


def test_words_of_a_teacher_are_trained_as_they_are(tmp_path: Path) -> None:
    """Against a distribution that is all on one token, the forward KL is the cross-entropy."""
    written = [row.model_copy(update={"tags": {"teacher": "sage"}}) for row in ROWS]
    trainee = made(tmp_path)
    method, units = units_of(trainee, {"kind": "distillation", "teacher": WRITTEN}, written)
    plain, same = units_of(trainee, "supervised", written)
    loss, gradients, _ = step(trainee, method, units)
    expected, reference, _ = step(trainee, plain, same)
    assert loss == expected
    assert_equal_gradients(gradients, reference, 1e-9)


def test_rows_that_the_teacher_has_not_answered_are_refused() -> None:
    method = METHODS.build({"kind": "distillation", "teacher": WRITTEN})
    with pytest.raises(DataError, match="sage has not answered this row"):
        method.sequences(Example(messages=turns("a", "b"), tags={"teacher": "other"}))


def test_a_tiny_run_comes_closer_to_its_teacher(tmp_path: Path) -> None:
    teacher = make_start(tmp_path / "teacher", qwen3(5))
    job = make_job(tmp_path, drills(8), steps=30, method=_config(teacher), optimizer={"learning_rate": 5e-3})
    taken = [event for event in run(job) if isinstance(event, StepTaken)]
    assert taken[-1].figures["divergence"] < 0.3 * taken[0].figures["divergence"]
    assert taken[-1].figures["agreement"] > taken[0].figures["agreement"]
