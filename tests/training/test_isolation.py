"""Faint leaks between rows of a pack, which disturbing a row hardly shows before a model is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import chat, drills, losses, make_job, make_start, qwen3, run, tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from realm.core.events import MaskingProven
from realm.core.records import Example, Message
from realm.models.chat import encode_many
from realm.models.encodings import Encoded
from realm.training import fast, isolation
from realm.training.attention import use_packed
from realm.training.batching import Batch
from realm.training.isolation import Leak, prove_isolation, single_losses
from realm.training.unpacked import set_apart

LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "num_experts": 0,
    "mlp_only_layers": [0, 1],
    "decoder_sparse_step": 0,
}
EXPERTS = {"hidden_size": 256, "moe_intermediate_size": 256, "num_experts": 8, "num_experts_per_tok": 2}


def _model(kind: str, **settings: Any) -> PreTrainedModel:
    shape = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "initializer_range": 0.02,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made: PreTrainedModel = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(kind, **{**shape, **settings})
        )
    return made.float().eval()


def _rows(words: int) -> list[Encoded]:
    """Rows whose borders lie far before what is trained of them."""
    return encode_many(
        tokenizer(),
        [
            Example(
                messages=(
                    Message(role="system", content="be " * words),
                    Message(role="user", content=f"q{number}"),
                    Message(role="assistant", content="b" * number),
                )
            )
            for number in (1, 2, 3, 4)
        ],
        1024,
    )


def _found(model: PreTrainedModel, rows: list[Encoded]) -> tuple[str, ...] | Leak:
    alone = single_losses(model, rows)
    use_packed(model)
    return prove_isolation(model, rows, alone, [1, 2, 3, 4])


@pytest.mark.filterwarnings("ignore")  # transformers tells which kernels it does without
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [("lfm2", {"layer_types": ["conv", "full_attention"], "block_ff_dim": 48}), ("qwen3_next", LINEAR)],
)
def test_a_leak_too_faint_to_move_a_loss_is_found(
    kind: str, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    found = _found(_model(kind, **settings).to(dtype), _rows(100))
    assert isinstance(found, Leak)
    if (kind, dtype) == ("lfm2", torch.float32):
        assert "gradient" in found.what, "disturbing a row does not show it"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_that_follows_the_contents_is_no_leak(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """Which experts a row takes decides over the sizes of products, and so over how sums are rounded."""
    rows, model = _rows(10), _model("qwen3_moe", **EXPERTS).to(dtype)
    found = _found(model, rows)
    assert not isinstance(found, Leak), found
    assert found[1].endswith("no gradient leads from one to another")

    before = isolation.row_losses

    def rounded(model: PreTrainedModel, batch: Batch, count: int) -> torch.Tensor:
        return before(model, batch, count).double() * (1 + 1e-9 * float(batch.inputs_N[0]))

    monkeypatch.setattr(isolation, "row_losses", rounded)
    alone = [float(loss) for loss in before(model, isolation.pack(rows), len(rows))]
    assert not isinstance(prove_isolation(model, rows, alone, [1, 2, 3, 4]), Leak)


def test_the_fast_decoder_must_move_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, model = encode_many(tokenizer(), [*drills(3), chat("a", "b", "c")], 256), qwen3()
    assert fast.fit(model)
    checks = _found(model, rows)
    assert not isinstance(checks, Leak)
    assert checks[1].endswith("moves no other loss (at most 0.0e+00)")

    before = isolation.row_losses

    def leaking(model: PreTrainedModel, batch: Batch, count: int) -> torch.Tensor:
        return before(model, batch, count).double() * (1 + 1e-9 * float(batch.inputs_N[0]))

    monkeypatch.setattr(isolation, "row_losses", leaking)
    found = _found(qwen3_fast(), rows)
    assert isinstance(found, Leak)
    assert "changes another row's loss" in found.what


def qwen3_fast() -> PreTrainedModel:
    model = qwen3()
    fast.fit(model)
    return model


def test_a_model_that_knows_one_attention_alone_is_refused_and_not_ended() -> None:
    model, rows = _model("gemma2", sliding_window=8, initializer_range=0.15), _rows(3)
    alone = single_losses(model, rows)
    use_packed(model)
    assert isinstance(prove_isolation(model, rows, alone, [1, 2, 3, 4]), Leak)
    set_apart(model)
    found = prove_isolation(model, rows, alone, [1, 2, 3, 4])
    assert isinstance(found, Leak)
    assert "gemma2" in str(found.error())


WINDOW = 64
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
    "original_max_position_embeddings": WINDOW,
}


@pytest.mark.parametrize("beyond", [False, True])
def test_rows_beyond_the_window_of_their_frequencies_are_trained_apart(tmp_path: Path, beyond: bool) -> None:
    """Such rows are not among those that are compared: they turn their whole pack otherwise."""
    model = _model("llama", rope_parameters=LONG_ROPE, max_position_embeddings=4 * WINDOW)
    rows = [chat("a b", "c d"), chat("c", "d"), chat("b", "a"), chat("a " * (80 if beyond else 8), "b c")]
    make_start(tmp_path / "start", model)
    job = make_job(tmp_path, rows, batch_rows=4, steps=1, max_tokens=256)
    reference = AutoModelForCausalLM.from_pretrained(job.start, dtype=torch.float32)
    encoded = encode_many(tokenizer(), rows, 256)
    assert (max(len(row.ids) for row in encoded) > WINDOW) is beyond
    alone, trained = sum(single_losses(reference, encoded)), sum(row.trained.sum() for row in encoded)
    events = run(job)
    [proven] = [event for event in events if isinstance(event, MaskingProven)]
    assert proven.packed is not beyond
    assert ("rows of more than 64 tokens" in " ".join(proven.checks)) is beyond
    assert losses(events) == pytest.approx([alone / trained], rel=1e-5)
