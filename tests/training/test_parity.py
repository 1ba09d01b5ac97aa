"""Packed losses and gradients against transformers' own: padded, eager, labels of -100."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import chat, drills, llama, loss_of, qwen3, texts, tokenizer
from transformers import PreTrainedModel

from realm.core.records import Example
from realm.models.chat import encode_many
from realm.models.encodings import Encoded
from realm.training import forward
from realm.training.attention import use_packed
from realm.training.batching import Batch, pack
from realm.training.isolation import Leak, cut, prove_isolation, single_losses
from realm.training.methods.supervised import Supervised
from realm.training.trimming import trim_last_layer

FAMILIES = [qwen3, llama]
LONG = [chat("a " * 40, "⓪①", "the fox"), chat("b", "①" * 30)]
ROWS = {
    "drills": drills(12),
    "texts": texts(6),
    "mixed": [*drills(5), *texts(4), *LONG],
    "one": drills(1),
    "equal lengths": [chat("①⓪", "①"), chat("⓪⓪", "⓪"), chat("⓪①", "①")],
}


def _padded(model: PreTrainedModel, rows: list[Encoded]) -> float:
    model.set_attn_implementation("eager")
    width = max(len(row.ids) for row in rows)
    gaps = [width - len(row.ids) for row in rows]
    ids = torch.tensor([[*row.ids.tolist(), *[0] * gap] for row, gap in zip(rows, gaps, strict=True)])
    mask = torch.tensor([[1] * len(row.ids) + [0] * gap for row, gap in zip(rows, gaps, strict=True)])
    labels = ids.clone()
    for place, row in enumerate(rows):
        labels[place, [i for i, trained in enumerate(row.trained) if not trained]] = -100
        labels[place, len(row.ids) :] = -100
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    return float(loss.detach())


def _packed(model: PreTrainedModel, rows: list[Encoded], *, trim: bool) -> float:
    use_packed(model)
    if trim:
        assert trim_last_layer(model)
    loss = loss_of(Supervised(Supervised.Config()), model, rows)
    loss.backward()
    return float(loss.detach())


def _assert_equal_gradients(model: PreTrainedModel, reference: PreTrainedModel) -> None:
    for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert parameter.grad is not None
        assert other.grad is not None
        difference = (parameter.grad - other.grad).norm() / other.grad.norm().clamp(min=1e-12)
        assert difference < 1e-5, name


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_equal_padded_transformers(
    family: Callable[[], PreTrainedModel], rows: str, trim: bool
) -> None:
    encoded = encode_many(tokenizer(), ROWS[rows], 256)
    model, reference = family(), family()
    assert _packed(model, encoded, trim=trim) == pytest.approx(_padded(reference, encoded), rel=1e-5)
    _assert_equal_gradients(model, reference)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_rows_weigh_by_their_length_as_the_formula_says(exponent: float) -> None:
    encoded = encode_many(tokenizer(), ROWS["mixed"], 256)
    model, reference = qwen3(), qwen3()
    use_packed(model)
    batch = pack(encoded)
    loss = loss_of(Supervised(Supervised.Config(length_exponent=exponent)), model, encoded)
    loss.backward()

    counts = batch.row_of_M.bincount().tolist()  # trained tokens a row
    weights = [count**-exponent * count for count in counts]
    expected = 0.0
    for row, weight in zip(encoded, weights, strict=True):
        before = [None if p.grad is None else p.grad.clone() for p in reference.parameters()]
        reference.zero_grad(set_to_none=True)
        share = weight / sum(weights)
        expected += share * _padded(reference, [row])  # the mean over the row's trained tokens
        for parameter, old in zip(reference.parameters(), before, strict=True):
            assert parameter.grad is not None
            parameter.grad *= share
            if old is not None:
                parameter.grad += old
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    _assert_equal_gradients(model, reference)


def test_cross_entropy_in_pieces_equals_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode_many(tokenizer(), ROWS["mixed"], 256)
    model, reference = qwen3(), qwen3()
    monkeypatch.setattr(forward, "LOGITS_AT_ONCE", 5 * len(tokenizer()))
    loss = _packed(model, encoded, trim=True)
    monkeypatch.undo()
    assert loss == pytest.approx(_packed(reference, encoded, trim=True), rel=1e-6)
    _assert_equal_gradients(model, reference)


def test_sliding_window_is_kept() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=len(tokenizer()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    model = MistralForCausalLM(config)
    reference = MistralForCausalLM(config)
    reference.load_state_dict(model.state_dict())
    assert not trim_last_layer(model), "this family is not known to be trimmed rightly"
    encoded = encode_many(tokenizer(), ROWS["mixed"], 256)
    assert _packed(model, encoded, trim=False) == pytest.approx(_padded(reference, encoded), rel=1e-5)
    _assert_equal_gradients(model, reference)


@pytest.mark.parametrize("family", FAMILIES)
def test_packs_of_known_families_are_isolated(family: Callable[[], PreTrainedModel]) -> None:
    rows = encode_many(tokenizer(), ROWS["mixed"], 256)
    model = family()
    alone = single_losses(model, rows)
    use_packed(model)
    trim_last_layer(model)
    checks = prove_isolation(model, rows, alone, list(range(len(rows))))
    assert not isinstance(checks, Leak)
    assert any(check.startswith("isolation: disturbing each of 11 rows") for check in checks)


def _leaky(model: PreTrainedModel) -> None:
    """Mix each token with the one before it, across rows, as an unaware convolution would."""
    layer = model.base_model.layers[0]
    before = layer.forward

    def mixed(hidden: torch.Tensor, **arguments: object) -> torch.Tensor:
        return before(hidden + 0.01 * hidden.roll(1, dims=1), **arguments)

    layer.forward = mixed


def _scaled(model: PreTrainedModel) -> None:
    """Scale the logits in the model's own forward pass only, as some families do."""
    before = model.forward

    def scaled(*inputs: object, **arguments: object) -> object:
        output = before(*inputs, **arguments)
        output.logits = output.logits * 0.5
        return output

    model.forward = scaled


@pytest.mark.parametrize(("spoil", "message"), [(_leaky, "row"), (_scaled, "packed loss differs")])
def test_models_that_leak_or_scale_are_refused(
    spoil: Callable[[PreTrainedModel], None], message: str
) -> None:
    rows = encode_many(tokenizer(), drills(4), 256)
    model = qwen3()
    spoil(model)
    alone = single_losses(model, rows)
    use_packed(model)
    found = prove_isolation(model, rows, alone, [1, 2, 3, 4])
    assert isinstance(found, Leak)
    assert re.search(message, found.what)


def test_a_pack_that_ignores_row_borders_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = encode_many(tokenizer(), drills(4), 256)
    model = qwen3()
    alone = single_losses(model, rows)
    use_packed(model)

    def borderless(encoded: list[Encoded], device: object) -> Batch:
        good = pack(encoded)
        return replace(good, groups=((1, len(good.inputs_N)),))

    monkeypatch.setattr("realm.training.isolation.pack", borderless)
    found = prove_isolation(model, rows, alone, [1, 2, 3, 4])
    assert isinstance(found, Leak)
    assert "packed loss differs" in found.what


@pytest.mark.parametrize("spoil", [None, _leaky, _scaled])
def test_isolation_is_proven_in_bf16_too(spoil: Callable[[PreTrainedModel], None] | None) -> None:
    rows = encode_many(tokenizer(), ROWS["mixed"], 256)
    model = qwen3().to(torch.bfloat16)
    if spoil is not None:
        spoil(model)
    alone = single_losses(model, rows)
    use_packed(model)
    found = prove_isolation(model, rows, alone, list(range(len(rows))))
    assert isinstance(found, Leak) == (spoil is not None)


def test_long_rows_are_compared_around_what_they_train() -> None:
    def row(tokens: int, *trained: int) -> Encoded:
        weights = np.zeros(tokens, np.float32)
        weights[list(trained)] = 1
        return Encoded(np.arange(tokens, dtype=np.int32), weights, turns=1, full_tokens=tokens)

    assert [len(cut(row(size, 3)).ids) for size in (4, 1024, 1025, 65_536)] == [4, 1024, 1024, 1024]
    for first in (0, 700, 40_000, 65_535):
        part = cut(row(65_536, first))
        assert part.weights.sum() == 1
        assert part.ids[part.trained].tolist() == [first]
        assert np.array_equal(part.ids, np.arange(part.ids[0], part.ids[0] + 1024))
    assert cut(row(65_536, 40_000)).trained_tokens == 1


def test_autocast_rounds_no_sum_of_losses() -> None:
    """A product of two vectors is a matrix product, which autocast computes in bf16."""
    model = qwen3()
    batch = pack(encode_many(tokenizer(), ROWS["mixed"], 256))
    weights_M = torch.linspace(0.1, 2.0, len(batch.targets_M))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        hidden_MC = torch.randn(len(batch.targets_M), model.config.hidden_size)
        logits_MV = model.get_output_embeddings()(hidden_MC).float()
        found = forward.cross_entropy_sum(model, hidden_MC, batch.targets_M, weights_M)
        losses_M = torch.nn.functional.cross_entropy(logits_MV, batch.targets_M, reduction="none")
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float((losses_M.double() * weights_M.double()).sum()), rel=1e-6)


def test_text_rows_are_trained_on_every_token_but_the_first() -> None:
    rows = encode_many(tokenizer(), [Example(text="abc")], 100)
    assert pack(rows).trained_tokens == len(rows[0].ids) - 1
